"""A head whose student and teacher are there at once: the same table of tokens, and a map that is nearly none."""

import numpy as np
import pytest

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
