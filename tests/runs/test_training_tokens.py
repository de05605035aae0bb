"""Which tokens of a table a head saw in training, and which of later texts are new to it."""

import numpy as np
import pytest
from small_table import save_table

from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.pairs.base import Origin, Pairs, PairSplits
from alignkit.resources.demo_pack import TABLE
from alignkit.runs.fingerprints import save_fingerprints, training_fingerprints
from alignkit.runs.training_tokens import TRAINING_TOKENS, new_tokens, seen_tokens, token_table

TEXTS = ["where is my parcel", "please reset my password"]


@pytest.fixture(params=["packed", "static", "distilled"])
def student(request, tmp_path):
    """Each student whose identity tells where its table is."""
    if request.param == "static":
        pytest.importorskip("wordllama")
        return StaticEmbedder()
    return TableEmbedder(TABLE) if request.param == "packed" else DistilledEmbedder(save_table(tmp_path / "student"))


def test_tokens_of_the_training_texts_are_known_and_others_new(student, tmp_path):
    seen = seen_tokens(TEXTS, student.identity("query"), tmp_path)
    table = token_table(student)
    assert seen.tolist() == sorted({token for text in TEXTS for token in table.tokens([text])[0].tolist()})
    known, strange, both = new_tokens(table, ["my parcel", "kubelet", "my kubelet"], seen).tolist()
    assert known[0] == 0 and known[1] >= 2
    assert strange[0] > 0 and both[0] == strange[0] and both[1] > strange[1]
    assert new_tokens(table, [""], seen).tolist() == [[0, 0]]


def test_other_students_have_none_to_tell(tmp_path):
    for identity in (None, {"backend": "ollama", "model": "a"}, {"backend": "table", "digest": "somewhere"}):
        assert seen_tokens(TEXTS, identity, tmp_path) is None
    gone = {"backend": "distilled", "digest": "ab" * 32}
    assert seen_tokens(TEXTS, gone, tmp_path) is None


def test_a_run_keeps_them_and_those_of_the_run_that_it_adds_to(tmp_path):
    pytest.importorskip("wordllama")
    identity = StaticEmbedder().identity("query")

    def save(folder, texts, earlier=None):
        part = Pairs(["0", "1"], np.ones((2, 2)), np.ones((2, 2)), texts)
        folder.mkdir()
        save_fingerprints(folder, PairSplits(part, part, part, Origin("x", True, student_identity=identity)), earlier)
        return training_fingerprints(folder, TRAINING_TOKENS)

    first = save(tmp_path / "first", TEXTS)
    both = save(tmp_path / "second", ["the kubelet evicts pods", "again"], tmp_path / "first")
    assert {*first.tolist()} < {*both.tolist()}
