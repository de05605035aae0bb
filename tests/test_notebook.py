"""The quickstart notebook runs from top to bottom, and is kept without outputs."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"


@pytest.fixture
def cells():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_it_is_kept_without_outputs(cells):
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


# what nobody looks at here: pictures of a training, epochs beyond the first, resamples beyond a few
SHORTER = {
    "train": ("html=false", "confidence=false", "trainer.max_epochs=1"),
    "evaluate": ("resamples=50", "tensorboard=false"),
    "distill": ("trainer.max_epochs=1", "batch_size=256"),
}


def test_its_cells_run_in_order(cells, run_command, tmp_path, monkeypatch, capsys):
    """In this process, the commands too: each would import for seconds in one of its own."""

    def in_this_process(words, **_):
        assert words[:2] == [sys.executable, "-m"]
        name = words[2].removeprefix("alignkit.")
        return subprocess.CompletedProcess(words, *run_command(name, *words[3:], *SHORTER.get(name, ())))

    monkeypatch.setattr(subprocess, "run", in_this_process)
    source, printed = "\n\n".join("".join(cell["source"]) for cell in cells), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, NOTEBOOK.name, "exec"), {"__name__": "__main__"})
    assert "Use it" in printed.getvalue() and printed.getvalue().count(" -> [") == 2
    assert (tmp_path / "outputs/quickstart/evaluate/report.html").is_file()
    if importlib.util.find_spec("sentence_transformers"):
        assert "training the student took" in printed.getvalue()
        assert (tmp_path / "outputs/quickstart/distill/student/modules.json").is_file()
