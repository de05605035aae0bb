"""A head whose student and teacher are there at once: the same table of tokens, and a map that is nearly none."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

# nothing is reported to anybody, nor looked up, by a thread that outlives its test
os.environ |= {
    "ANONYMIZED_TELEMETRY": "False",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}

TEXTS = ["where is my parcel", "how do i reset my password", "book a table for two", "what is the weather tomorrow"]


@pytest.fixture(scope="session")
def near_head(tmp_path_factory):
    """A run folder; not to be written to."""
    import torch

    from alignkit.artifact import save_head
    from alignkit.embedders.static import StaticEmbedder
    from alignkit.heads.linear import LinearHead

    static = StaticEmbedder()
    head = LinearHead(static.dim, static.dim)
    noise = np.random.default_rng(0).normal(size=(static.dim, static.dim), scale=0.005)
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(static.dim) + torch.from_numpy(noise))
    folder = tmp_path_factory.mktemp("near") / "run"
    identity = static.identity()
    save_head(head, folder / "head", student_identity=identity, teacher_identity=identity)
    return folder


@pytest.fixture(scope="session")
def expected(near_head):
    """Vectors of the texts by their teacher, by student and head as queries, and as documents."""
    from alignkit.aligned import AlignedEmbedder
    from alignkit.embedders.base import embed_all

    aligned = AlignedEmbedder.load(near_head)
    teacher = embed_all(aligned.student, TEXTS)
    return {"teacher": teacher, "queries": aligned.encode(TEXTS), "head": aligned.encode(TEXTS, "document")}


PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def blocks_of(title, language):
    """The code of a language in a section of the page of recipes."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"\n## {title}\n")
    section = rest.partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


@pytest.fixture
def recipe():
    """The code of a language in a section of the page of recipes."""
    return blocks_of


@pytest.fixture
def follow(near_head, tmp_path, monkeypatch, capsys):
    """Run the Python of a section, in a folder with a head where the page has one; it prints what its comments say."""
    shutil.copytree(near_head, tmp_path / "outputs" / "my_run")
    monkeypatch.chdir(tmp_path)

    def run(title, change=lambda code: code):
        blocks = blocks_of(title, "python")
        assert blocks, title
        for code in blocks:
            exec(compile(change(code), f"{PAGE.name}: {title}", "exec"), {})
        expected = [line[2:] for code in blocks for line in code.splitlines() if line.startswith("# ")]
        assert expected
        assert capsys.readouterr().out.splitlines() == expected

    return run
