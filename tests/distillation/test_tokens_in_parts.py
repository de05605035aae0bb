"""Texts that workers tokenise are the student's very tokens, in order."""

import pickle

import numpy as np
import pytest

from alignkit.distillation import tokens_in_parts
from alignkit.distillation.tokens_in_parts import TokensInParts
from alignkit.distillation.trainable import trainable
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.errors import AlignkitError
from alignkit.workers.local import LocalEngine

TEXTS = ["bara dewo", "", "kisel lora muwo naxu", "unknown words", "muxu bara", "lotin " * 300] * 40


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(tokens_in_parts, "MANY", 10)


@pytest.mark.parametrize("kind", ["table", "transformer"])
def test_they_are_the_same_as_in_one_process(students, kind, tmp_path):
    prompts = {"query_prompt": "kisel ", "document_prompt": "lora muxu "}
    student = trainable(SentenceTransformerEmbedder(str(students[kind]), device="cpu", **prompts), role="query")
    expected = student.tokenize(TEXTS)
    seen = []
    in_parts = TokensInParts(LocalEngine(), tmp_path, seen.append)

    def travelled(texts, ids_of):
        """What tokenises gets to a worker by pickle."""
        return in_parts(texts, pickle.loads(pickle.dumps(ids_of)))

    found = student.tokenize(TEXTS, travelled)
    np.testing.assert_array_equal(found.ends, expected.ends)
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert (seen[-1].done, len(seen)) == (240, 5)
    assert not list(tmp_path.iterdir())


def test_a_part_that_fails_is_named_and_nothing_stays(tmp_path):
    def ids_of(texts):
        raise ValueError("no such token")

    with pytest.raises(AlignkitError, match=r"part 0 \(first=0, texts=60\): ValueError: no such token"):
        TokensInParts(LocalEngine(), tmp_path)(TEXTS, ids_of)
    assert not list(tmp_path.iterdir())
