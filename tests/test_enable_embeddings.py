"""The command as a user gives it, against a server with Ollama's API for models."""

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("gguf")
from enabling.own_ollama import OwnOllama  # noqa: E402
from gguf_files.small_model import write_model  # noqa: E402
from waiting import HANG_S, until  # noqa: E402

COMMAND = "enable_embeddings"


@pytest.fixture
def ollama(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ollama")
    with OwnOllama(folder) as running:
        running.add("qwen2.5:7b", write_model(folder / "qwen.gguf", "qwen2"))
        yield running


def test_what_it_prints(ollama, run_command, tmp_path):
    code, out, err = run_command(COMMAND, "model=qwen2.5:7b", f"base_url={ollama.url}")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"qwen2.5:7b: {ollama.models['qwen2.5:7b']['blob']}, ")
    assert lines[1].startswith("made qwen2.5:7b-embed: the weights, template, licence and parameters of qwen2.5:7b")
    assert lines[2].startswith("it gives vectors: 16 dimensions")
    assert lines[3] == "student=ollama and teacher=ollama find it by themselves where the model is qwen2.5:7b"
    code, out, _ = run_command(COMMAND, "model=qwen2.5:7b", f"base_url={ollama.url}")
    assert (code, out.splitlines()[0]) == (
        0,
        "qwen2.5:7b-embed is there already, a copy of qwen2.5:7b with pooling=last",
    )
    assert not list(tmp_path.iterdir())


def test_another_name_and_how_to_use_it(ollama, run_command):
    settings = ("pooling=mean", "as=my-qwen", f"base_url={ollama.url}/v1/")
    code, out, _ = run_command(COMMAND, "model=qwen2.5:7b", *settings)
    assert code == 0
    assert "use it: student=ollama student.model=my-qwen, or teacher=ollama teacher.model=my-qwen" in out


def test_the_server_of_ollamas_own_client(ollama, run_command, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", ollama.url.removeprefix("http://"))
    assert run_command(COMMAND, "model=qwen2.5:7b")[0] == 0


def test_a_model_that_needs_nothing_is_no_failure(ollama, run_command):
    ollama.refuses = None
    code, out, _ = run_command(COMMAND, "model=qwen2.5:7b", f"base_url={ollama.url}")
    assert code == 0
    assert "needs nothing" in out and "find it" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "model is not set; give it as model=NAME"),
        (["model=qwen2.5:14b"], "ollama pull qwen2.5:14b"),
        (["model=qwen2.5:7b", "as=library/Qwen2.5:7b"], "is the model itself"),
        (["model=qwen2.5:7b", "pooling=cls"], "expected last or mean"),
        (["model=qwen2.5:7b", "gguf=~/none.gguf"], "none.gguf: cannot be read"),
        (["model=qwen2.5:7b", "api_key_env=NONE_SUCH"], "the environment variable NONE_SUCH is not set"),
    ],
)
def test_what_is_wrong_is_one_line(ollama, run_command, tmp_path, arguments, words):
    code, out, err = run_command(COMMAND, *arguments, f"base_url={ollama.url}")
    assert (code, out) == (1, "")
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="sends signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_leaves_nothing(ollama, tmp_path, sent):
    large = write_model(tmp_path / "large.gguf", "qwen2")
    with large.open("ab") as file:
        file.truncate(64 << 20)
    ollama.slow = True
    (tmp_path / "temporary").mkdir()
    (tmp_path / "here").mkdir()
    command = [sys.executable, "-m", "alignkit.enable_embeddings", "model=qwen2.5:7b", f"base_url={ollama.url}"]
    process = subprocess.Popen(
        [*command, f"gguf={large}"],
        cwd=tmp_path / "here",
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(lambda: list(ollama.blobs.glob("part-*")), process)
        process.send_signal(sent)
        _, err = process.communicate(timeout=HANG_S)
    finally:
        process.kill()
    assert process.returncode != 0
    assert "Traceback" not in err
    until(lambda: not list(ollama.blobs.glob("part-*")))
    assert list(ollama.models) == ["qwen2.5:7b"]
    assert len(list(ollama.blobs.iterdir())) == 1
    assert not list((tmp_path / "temporary").iterdir()) and not list((tmp_path / "here").iterdir())
