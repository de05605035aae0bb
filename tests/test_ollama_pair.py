"""The README's job on a pair behind Ollama, line by line, against a server that answers as Ollama 0.32 does."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

for package in ("gguf", "onnxscript", "starlette", "uvicorn"):
    if importlib.util.find_spec(package) is None:  # every worker of the tests reads this file, one imports them
        pytest.skip(f"needs {package}", allow_module_level=True)

from gguf_files.small_model import write_model  # noqa: E402
from ports import quiet_port  # noqa: E402
from served_command import served  # noqa: E402
from waiting import HANG_S, answers, post, until  # noqa: E402

README = Path(__file__).parents[1] / "README.md"
REPLICA = Path(__file__).resolve().parents[2] / "shared" / "cases" / "fake_ollama.py"
JOB = [
    "enable_embeddings",
    "enable_embeddings",
    "check",
    "build",
    "embed",
    "train",
    "evaluate",
    "demo",
    "export",
    "serve",
]
# the pair of the README, each as what the replica has: a chat model of 576 dimensions, one of 640
PAIR = {"qwen2.5:0.5b": ("smol", "llama"), "qwen2.5:7b": ("gemma", "gemma3")}


def job_of_the_readme():
    """Name and arguments of each command of the section."""
    (section,) = re.findall(
        r"^## The whole job on a pair behind Ollama\n+```\n(.*?)^```", README.read_text("utf-8"), re.M | re.S
    )
    return [(name, shlex.split(rest)) for name, rest in re.findall(r"^python -m alignkit\.(\w+) (.*)$", section, re.M)]


@pytest.fixture
def ollama(monkeypatch):
    """The replica with the README's pair, where `base_url` looks when nothing is said."""
    if not REPLICA.is_file():
        pytest.skip("needs the replica of Ollama beside the checkout")
    port = quiet_port()
    process = subprocess.Popen([sys.executable, str(REPLICA), str(port), "0.32.15"], stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
    try:
        until(lambda: answers(url), process)
        for name, (origin, _) in PAIR.items():
            assert post(f"{url}/api/create", json={"model": name, "from": origin}).json()["status"] == "success"
        yield url
    finally:
        process.terminate()
        process.wait(timeout=HANG_S)


# sixty samples make fewer steps than Lightning likes to log
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_the_section_runs_in_order(ollama, run_command, tmp_path):
    job = job_of_the_readme()
    assert [name for name, _ in job] == JOB
    code, printed, _ = run_command("check", "student=ollama", "teacher=ollama")
    assert code == 1
    for name, arguments in job[:2]:
        assert f"python -m alignkit.{name} {arguments[0]}" in printed
    printed, run = {}, tmp_path / "outputs" / "my_pair"
    for name, arguments in job[:-1]:
        words = [word.replace("target=1000", "target=60") for word in arguments]
        if name == "enable_embeddings":  # the replica's files lie nowhere
            model = words[0].removeprefix("model=")
            words.append(f"gguf={write_model(tmp_path / 'model.gguf', PAIR[model][1])}")
        code, printed[name], err = run_command(name, *words)
        assert code == 0, f"{name}: {err}"
    assert printed["check"].count("texts/s") == 2
    assert "agrees with the head on" in printed["export"]
    described = json.loads((run / "head" / "head.json").read_text(encoding="utf-8"))
    assert described["student_identity"]["model"] == "qwen2.5:0.5b"
    assert described["teacher_identity"]["model"] == "qwen2.5:7b"
    (report,) = (tmp_path / "outputs" / "evaluate").iterdir()
    rows = json.loads((report / "metrics.json").read_text(encoding="utf-8"))["rows"]
    assert rows["aligned"]["overlap@10"] > rows["raw"]["overlap@10"] + 0.1
    with served(job[-1][1]) as address:
        answer = post(f"{address}/v1/embeddings", json={"model": "alignkit", "input": "where is my parcel"})
    vector = np.array(answer.json()["data"][0]["embedding"])
    assert vector.shape == (576,)  # whatever is created from a file has that width there
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)
