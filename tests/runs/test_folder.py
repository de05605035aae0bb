import threading

import pytest

from alignkit.errors import AlignkitError, ConfigError
from alignkit.runs.folder import claim_run_folder


def test_of_runs_that_start_at_once_one_gets_the_folder(tmp_path):
    start, refused, claimed = threading.Barrier(8), [], []

    def claim(number):
        start.wait()
        try:
            claim_run_folder(tmp_path / "run", f"seed: {number}\n")
            claimed.append(number)
        except ConfigError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 1
    assert (tmp_path / "run" / "config.yaml").read_text(encoding="utf-8") == f"seed: {claimed[0]}\n"
    assert len(refused) == 7
    assert all("holds an unfinished run" in message for message in refused)


def test_a_file_in_the_way_is_one_line(tmp_path):
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    with pytest.raises(AlignkitError, match="run: could not be written"):
        claim_run_folder(tmp_path / "run", "seed: 0\n")
    assert (tmp_path / "run").read_text(encoding="utf-8") == "mine"
