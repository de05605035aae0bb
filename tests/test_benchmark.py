"""The command: from a head and a folder to MTEB's files, and one line for whatever is wrong."""

from __future__ import annotations

import json
import os
import sys

import pytest

from alignkit.pasting import command_line


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "small faq"
    (folder / "qrels").mkdir(parents=True)
    for name in ("corpus", "queries"):
        rows = [{"_id": str(n), "text": f"{word} {name}"} for n, word in enumerate(("parcel", "card", "login", "plan"))]
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    lines = ["query-id\tcorpus-id\tscore", *(f"{n}\t{n}\t1" for n in range(4))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_a_folder_is_benchmarked_without_a_call_of_the_teacher(static_run, folder, run_command, tmp_path):
    rows = "rows=[aligned_both,student]"
    # whoever asks the teacher gets an error
    teacher = ("teacher=ollama", "teacher.base_url=http://127.0.0.1:9", "teacher.model=m")
    code, out, err = run_command("benchmark", f"head={static_run}", f"tasks=[{folder}]", rows, *teacher)
    assert code == 0, err
    assert "small-faq: ndcg_at_10 over 4 queries" in out and "aligned_both" in out
    *lines, verdict = out.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines if "outputs" not in line)
    asked = [f"head={static_run}", "data=beir", f"data.path={folder}"]
    assert verdict == f"for a verdict: {command_line('evaluate', asked)}"
    (run,) = (tmp_path / "outputs" / "benchmark").iterdir()
    names = {path.name for path in (run / "results").glob("*/*/*.json")}
    assert names == {"small-faq.json", "model_meta.json"} and (run / "report.html").is_file()
    assert str(tmp_path) not in (run / "benchmark.json").read_text().replace(str(static_run), "")
    code, _, err = run_command("benchmark", f"head={static_run}", f"tasks=[{folder}]", rows, "group_by=team", *teacher)
    assert code == 1 and err.count("\n") == 1 and "queries.jsonl and corpus.jsonl: _id, text" in err


def test_mistakes_are_said_before_anything_is_loaded(run_command):
    for word, said in (
        ("rows=[teachers]", "expected some of [teacher,aligned,aligned_both,student]"),
        ("rows=[]", "expected some of"),
        ("document=body", "title+text"),
        ("resamples=0", "at least 1"),
    ):
        code, _, err = run_command("benchmark", "tasks=faq", word)
        assert code == 1 and err.count("\n") == 1 and said in err, err
    code, _, err = run_command("benchmark")
    assert code == 1 and "tasks is not set; give it as tasks=..." in err


def test_without_mteb_the_command_says_what_to_install(static_run, run_command, monkeypatch):
    monkeypatch.setitem(sys.modules, "mteb", None)
    code, _, err = run_command("benchmark", f"head={static_run}", "tasks=faq")
    assert code == 1 and err == 'alignkit: mteb is not installed; install it with: pip install "alignkit[mteb]"\n'


def test_a_hub_that_does_not_answer_is_asked_once(folder, monkeypatch, caplog):
    from alignkit.benchmarking.tasks import offline_if_unreachable

    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    offline_if_unreachable([str(folder)])
    assert not os.environ["HF_HUB_OFFLINE"]  # nothing is wanted of it
    offline_if_unreachable([str(folder), "NFCorpus"])
    assert os.environ["HF_HUB_OFFLINE"] == "1" and "the Hub does not answer" in caplog.text
