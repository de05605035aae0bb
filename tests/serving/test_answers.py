"""What the server hands out where a model leaves a text without an answer."""

import dataclasses

import numpy as np
import pytest
from odd_students import OddStudent, odd_artifact

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import EmbedderError
from alignkit.serving.answers import Answerer


class Forgetful(OddStudent):
    """Leaves every text out that starts with `skip`."""

    def embed(self, texts, role="document"):
        for batch in super().embed(texts, role):
            kept = np.array([not texts[row].startswith("skip") for row in batch.indices])
            yield dataclasses.replace(batch, indices=batch.indices[kept], vectors=batch.vectors[kept])


class Teacher(Forgetful):
    dim = 6

    def identity(self, role="document"):
        return {"backend": "odd-teacher"}

    def embed(self, texts, role="document"):
        for batch in super().embed(texts, role):
            yield EmbeddedBatch(batch.indices, batch.vectors[:, :6], batch.failures)


def answerer(confidence=True):
    aligned = AlignedEmbedder(odd_artifact(confidence), Forgetful())
    return Answerer(aligned, Teacher(dim=6) if confidence else None)


def test_memory_that_nobody_filled_is_not_served():
    asked = answerer()
    for ask in (asked.answer, asked.ask_teacher):
        vectors = ask(["one", "nan", "three"])
        assert list(vectors.failures) == [1] and np.allclose(np.linalg.norm(vectors.vectors[[0, 2]], axis=1), 1)
        with pytest.raises(EmbedderError, match="no answer for 1 of 3 texts, the first is text 1"):
            ask(["one", "skip", "three"])


def test_without_a_teacher_there_are_no_vectors_of_one():
    with pytest.raises(EmbedderError, match="no answer for 1 of 1 texts"):
        answerer(confidence=False).ask_teacher(["one"])
