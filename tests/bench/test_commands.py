"""What a command takes beside what it imports, in processes of its own: python -m pytest tests/bench/test_commands.py

Processor time of one thread, so that a busy machine tells nearly the same. Of compiled files, as pip leaves them: the
first of the rounds compiles what an environment that writes none (`PYTHONDONTWRITEBYTECODE`) has not.
"""

import os
import statistics
import subprocess
import sys

import pytest

from alignkit.__main__ import commands

ROUNDS = 3
WORDS = {"--help": 0, "sede=1": 1}
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
FOREIGN = {"torch": "import torch", "torch and Lightning": "import torch, lightning.pytorch"}


def processor_s(folder, *arguments, status=0):
    """Of a Python process."""
    before = os.times()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, env=os.environ | ENVIRONMENT)
    after = os.times()
    assert done.returncode == status, done.stderr.decode()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.skipif(sys.platform == "win32", reason="os.times tells nothing of children there")
def test_help_and_a_mistyped_setting(tmp_path, record_property):
    asked = {f"{name} {word}": (name, word, status) for name in commands() for word, status in WORDS.items()}
    seconds = {
        words: statistics.median(
            processor_s(tmp_path, "-m", f"alignkit.{name}", word, status=status) for _ in range(ROUNDS)
        )
        for words, (name, word, status) in asked.items()
    }
    slowest = max(seconds, key=lambda words: seconds[words])
    print(f"\nslowest of {len(seconds)}: {slowest}, {seconds[slowest]:.2f} s of CPU")
    record_property("slowest_s", seconds[slowest])
    assert seconds[slowest] <= 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="os.times tells nothing of children there")
@pytest.mark.parametrize(
    ("arguments", "foreign", "most_s"),
    [((), "torch and Lightning", 3.5), (("trainer.max_epochs=0",), "torch", 4.0)],
    ids=["demo", "closed_form"],
)
def test_training_on_the_demo_pack_beside_its_imports(arguments, foreign, most_s, tmp_path, record_property):
    runs = {"whole": ("-m", "alignkit.train", *arguments), "imports": ("-c", FOREIGN[foreign])}
    seconds = {name: [] for name in runs}
    for _ in range(ROUNDS):  # in turns: what else the machine does hits both alike
        for name, words in runs.items():
            seconds[name].append(processor_s(tmp_path, *words))
    whole, imports = (statistics.median(seconds[name]) for name in runs)
    print(f"\nwhole command {whole:.1f} s of CPU, {foreign} {imports:.1f}, own {whole - imports:.1f}")
    record_property("own_s", whole - imports)
    assert whole - imports <= most_s
