import os
import subprocess
import sys

import pytest
from hash_embedder import HashEmbedder

from alignkit.cache import VectorCache


def closed_early(*arguments):
    """Run with a reader that goes away after one line, as `head -1` does; returns exit code and stderr."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env={**os.environ, "PYTHONUNBUFFERED": ""})  # fmt: skip
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read().decode()
    process.stderr.close()
    return process.wait(), err


@pytest.mark.parametrize(
    "arguments", [["alignkit", "--help"], ["alignkit", "check", "--help"], ["alignkit.check", "--cfg", "job"]]
)
def test_a_reader_that_leaves_ends_a_command_in_peace(arguments):
    assert closed_early(*arguments) == (0, "")


def test_a_reader_that_is_gone_from_the_start_ends_a_command_in_peace(tmp_path):
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(HashEmbedder(dim=16), ["one"])
    reading, writing = os.pipe()
    os.close(reading)
    for arguments in (["alignkit"], ["alignkit.check", "--help"], ["alignkit.embed", "action=list"]):
        done = subprocess.run([sys.executable, "-m", *arguments], stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, b"")
    os.close(writing)


def test_a_terminal_obeys_no_word_of_a_message(run_command):
    code, _, err = run_command("train", "resume=no\x1b[31m\x9b2J run")
    assert code == 1 and "no[31m2J run" in err and err.rstrip("\n").isprintable()
