"""A head after the day it went live, by the commands of the README: served with a log, watched, taught what is new."""

import json

import pytest

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.resources.demo_pack import PACK, TABLE
from alignkit.sentences.query_logs import LoggedBy

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("wordllama")

TEACHER = ("teacher=table", f"teacher.path={TABLE}")
BOTH = ("student=static", *TEACHER)


@pytest.fixture(scope="module")
def days():
    """Sentences to train on, some of the same intents for a day like those, and a day of all other intents."""
    rows = [json.loads(line) for line in (PACK / "sentences.jsonl").read_text(encoding="utf-8").splitlines()]
    labels = sorted({row["label"] for row in rows})
    known = {*labels[: len(labels) // 2]}
    usual = [row["text"] for row in rows if row["label"] in known]
    return usual[::2], usual[1::2], [row["text"] for row in rows if row["label"] not in known]


@pytest.fixture
def asked(tmp_path):
    """A server of a run with a log of all that it is asked, and a client that asks it."""
    from running_server import running
    from waiting import Client

    from alignkit.serving.answers import Answerer
    from alignkit.serving.log_folder import LogFolder
    from alignkit.serving.query_log import QueryLog
    from alignkit.serving.service import Service

    def ask(run, name, texts):
        aligned = AlignedEmbedder.load(run, StaticEmbedder())
        by = LoggedBy("0011aabb", aligned.artifact.student_identity, aligned.artifact.digest(), None, 1.0, "")
        service = Service(Answerer(aligned))
        service.keep_queries(QueryLog(LogFolder(tmp_path / name, by, 10_000_000, 30)))
        with running(service) as url, Client(base_url=url) as client:
            for start in range(0, len(texts), 50):
                assert client.post("/v1/embeddings", json={"input": texts[start : start + 50]}).status_code == 200

    return ask


def test_from_the_first_day_to_a_head_that_learnt_what_is_new(run_command, asked, days, tmp_path):
    base, usual, strange = days
    (tmp_path / "base.txt").write_text("\n".join(base), encoding="utf-8")

    def do(command, *words, code=0):
        got, out, err = run_command(command, *words)
        assert got == code, err
        return " ".join(out.split())

    def watched(folder):
        return json.loads((tmp_path / folder / "metrics.json").read_text(encoding="utf-8"))["meta"]["watch"]

    do("embed", "which=both", "sentences=base.txt", *BOTH)
    train = ("data=cached", *BOTH, "model=linear", "html=false")
    do("train", *train, "data.path=base.txt", "keep_moments=true", "hydra.run.dir=first")
    look = (*BOTH, "html=false")

    asked(tmp_path / "first", "monday", usual[:600])
    said = do("watch", "head=first", "queries=monday", "hydra.run.dir=w1", *look)
    assert watched("w1")["verdict"] == "as_before" and "As before" in said

    asked(tmp_path / "first", "tuesday", strange[:900])
    said = do("watch", "head=first", "queries=tuesday", "hydra.run.dir=w2", *look, code=3)
    tuesday = watched("w2")
    assert "Worse, since" in said and "the queries have changed" in said
    assert tuesday["unlikeness"]["all"]["far"] > 0.05 and tuesday["unlikeness"]["clusters"][0]["examples"]

    do("choose", "sentences=tuesday", "budget=300", "already=first", *BOTH, "out=chosen.txt")
    chosen = (tmp_path / "chosen.txt").read_text(encoding="utf-8").splitlines()
    assert len(chosen) == 300 and {*chosen} <= {*strange[:900]}
    do("embed", "which=both", "sentences=chosen.txt", *BOTH)
    do("train", *train, "data.path=chosen.txt", "update=first", "hydra.run.dir=second")

    # other queries of that kind, which neither head has seen
    asked(tmp_path / "second", "wednesday", strange[900:])
    for head in ("first", "second"):
        run_command("watch", f"head={head}", "queries=wednesday", f"hydra.run.dir=after-{head}", *look)
    before, after = (watched(f"after-{head}")["looks"][-1]["means"]["cosine_mean"] for head in ("first", "second"))
    assert after["low"] > before["high"]
