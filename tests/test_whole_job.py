"""A user's whole job, as the README tells it, with the models that run in this process."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
JOB = ["check", "build", "embed", "train", "evaluate", "demo"]


def job_of_the_readme():
    """The commands on a user's own pair of models: name and arguments of each."""
    lines = re.findall(
        r"^python -m alignkit\.(\w+) (.*student=ollama teacher=ollama.*|target=.*)$", README.read_text("utf-8"), re.M
    )
    return [(name, shlex.split(arguments)) for name, arguments in lines]


# sixty samples make fewer steps than Lightning likes to log
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_the_six_commands_of_the_readme_run_to_the_end(run_command, tmp_path):
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("wordllama")
    job = job_of_the_readme()
    assert [name for name, _ in job] == JOB
    in_process = {"student=ollama": "student=static", "teacher=ollama": "teacher=two_layer", "target=1000": "target=60"}
    # the report's pictures are looked at, not the training's; neither fine intervals nor long training
    shorter = {
        "train": ("html=false", "trainer.max_epochs=2"),
        "evaluate": ("resamples=50", "tensorboard=false"),
    }
    printed = {}
    for name, arguments in job:
        code, printed[name], err = run_command(
            name, *(in_process.get(one, one) for one in arguments), *shorter.get(name, ())
        )
        assert code == 0, f"{name}: {err}"
    assert printed["check"].count("texts/s") == 2 and "60 samples" in printed["build"]
    assert (tmp_path / "outputs" / "my_pair" / "head" / "head.safetensors").is_file()
    (report,) = (tmp_path / "outputs" / "evaluate").iterdir()
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    assert {"teacher", "aligned", "aligned_both", "student", "ridge", "raw", "mean"} <= set(metrics["rows"])
    assert metrics["rows"]["aligned"]["overlap@10"] > metrics["rows"]["raw"]["overlap@10"] + 0.1
    assert metrics["meta"]["verdict"] in ("use", "use_with_cascade", "own_index", "do_not", "too_little_data")
    assert (report / "report.html").stat().st_size > 10_000
    assert printed["demo"].count("CPU milliseconds: head ") == 5
