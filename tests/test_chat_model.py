"""The README's job from check to serve with a real chat model as the teacher."""

import json

import numpy as np
import pytest
from real_llama_server import chat_model, llama_server
from served_command import served
from waiting import post

pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore:The number of training batches")]

SENTENCES = "data/short/sentences.txt"


def test_the_whole_job_with_a_chat_model(run_command, tmp_path):
    pytest.importorskip("wordllama")
    with llama_server(chat_model(), tmp_path, "--pooling", "last", "--alias", "gemma") as url:
        pair = ("student=static", "teacher=openai", f"teacher.base_url={url}", "teacher.model=gemma")
        built = ("data=built", "data.path=data/short", *pair)
        (tmp_path / "cache").mkdir()
        for name, arguments in (
            ("check", pair),
            ("build", ("target=60", "language=en", "out=data/short")),
            ("embed", ("which=both", f"sentences={SENTENCES}", *pair)),
            ("train", (*built, "hydra.run.dir=outputs/train/run")),
            ("evaluate", built),
            ("demo", built),
            ("export", ("head=outputs/train/run", "format=numpy", "out=my_head")),
        ):
            code, out, err = run_command(name, *arguments)
            assert code == 0, f"{name}: {out} {err}"
    (report,) = (tmp_path / "outputs" / "evaluate").iterdir()
    rows = json.loads((report / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert rows["aligned"]["cosine_mean"] > rows["raw"]["cosine_mean"] + 0.2
    with served(["head=outputs/train/run"]) as address:
        answer = post(f"{address}/v1/embeddings", json={"model": "alignkit", "input": "where is my parcel"})
    assert np.array(answer.json()["data"][0]["embedding"]).shape == (640,)
