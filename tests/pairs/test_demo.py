import json
import shutil

import numpy as np
import pytest
import torch
from measured_sets import ridge_of

from alignkit.errors import ConfigError
from alignkit.pairs.demo import STUDENTS, load_demo
from alignkit.resources.demo_pack import PACK, TABLE, about_pack, is_packed_table
from alignkit.sentences.normalise import normalise_text
from alignkit.vectors import cosine


@pytest.mark.parametrize("student", STUDENTS)
def test_the_pack_is_whole_and_no_text_stands_in_two_splits(student):
    splits = load_demo(student)
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [2700, 300, 600]
    texts = [{normalise_text(text) for text in part.texts} for part in parts]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    assert sum(map(len, texts)) == 3600
    assert len(set(splits.test.labels)) == 150 and len(set(splits.test.groups)) == 10
    assert splits.train.student_dim == {"table": 256, "two_layer": 384, "static": 256}[student]
    for part in parts:
        assert np.isfinite(part.student).all() and np.isfinite(part.teacher).all()
        assert np.allclose(np.linalg.norm(part.teacher.astype(np.float32), axis=1), 1, atol=1e-2)


def test_the_pack_is_small_and_says_whose_the_sentences_are():
    assert sum(path.stat().st_size for path in PACK.rglob("*") if path.is_file()) <= 13_500_000
    assert sum(path.stat().st_size for path in TABLE.iterdir()) <= 3_500_000
    assert "Creative Commons Attribution 3.0" in (PACK / "README.md").read_text(encoding="utf-8")


def test_another_student_is_refused():
    with pytest.raises(ConfigError, match="student=ollama: the demo pack holds vectors of table, two_layer and static"):
        load_demo("ollama")


def test_the_packs_vectors_are_the_models_own():
    from alignkit.embedders.base import embed_all
    from alignkit.embedders.minilm import MinilmEmbedder
    from alignkit.embedders.static import StaticEmbedder
    from alignkit.embedders.table import TableEmbedder
    from alignkit.embedders.two_layer import TwoLayerEmbedder

    for embedder, student in (
        (TwoLayerEmbedder(), "two_layer"),
        (StaticEmbedder(), "static"),
        (TableEmbedder(TABLE), "table"),
        (MinilmEmbedder(), None),
    ):
        test = load_demo(student or "two_layer").test
        stored = (test.student if student else test.teacher)[:20].astype(np.float32)
        fresh = embed_all(embedder, test.texts[:20])
        cosines = (stored * fresh).sum(1) / np.linalg.norm(stored, axis=1) / np.linalg.norm(fresh, axis=1)
        assert cosines.min() > 0.999


def test_the_table_is_known_again_by_what_it_holds(tmp_path):
    pytest.importorskip("tokenizers")
    from alignkit.embedders.table import TableEmbedder

    moved = shutil.copytree(TABLE, tmp_path / "moved")
    assert is_packed_table(TableEmbedder(moved).identity())
    assert TableEmbedder(moved).identity() == about_pack()["identities"]["table"]
    assert not is_packed_table({"backend": "table", "digest": "0" * 64}) and not is_packed_table(None)


def test_the_table_leads_on_the_packs_test_sentences():
    """Why it is the demo's student: nearer to the teacher than two layers of the teacher itself."""
    figures = {}
    for student in STUDENTS:
        splits = load_demo(student)
        head = ridge_of(splits.train.student, splits.train.teacher)
        aligned = head(torch.from_numpy(np.array(splits.test.student, dtype=np.float32)))
        teacher = torch.from_numpy(np.array(splits.test.teacher, dtype=np.float32))
        figures[student] = float(cosine(aligned, teacher).mean())
    assert figures["table"] > 0.84 > figures["two_layer"] > figures["static"]


def test_no_sentence_of_the_pack_is_in_its_table(tmp_path):
    """Neither what is trained on in the demo nor what is tested may be what the student was made of."""
    from alignkit.tables.demo_table import other_texts

    pack = load_demo()
    texts = [pack.train.texts[0], f"  {pack.test.texts[0].upper()} ", pack.validation.texts[0], "a sentence of its own"]
    lines = "\n".join(json.dumps({"text": text}) for text in texts)
    (tmp_path / "train.jsonl").write_text(lines, encoding="utf-8")
    assert other_texts(tmp_path / "train.jsonl") == ["a sentence of its own"]


def test_a_small_table_says_the_same(tmp_path):
    pytest.importorskip("tokenizers")
    from small_table import rows_for, save_table, word_pieces

    from alignkit.embedders.base import embed_all
    from alignkit.embedders.table import TableEmbedder
    from alignkit.tables import demo_table

    texts = ["reset my password please", "where is the parcel", "the order arrived late", "cancel another card"]
    rows = rows_for(word_pieces(), 300) * np.linspace(1, 1e-3, 300, dtype=np.float32)
    whole = TableEmbedder(save_table(tmp_path / "whole", rows=rows))
    demo_table.save_small(tmp_path / "small", whole.table, texts)
    small = TableEmbedder(tmp_path / "small")
    assert small.dim == demo_table.WIDTH
    weighs = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "whole")]
    assert weighs[0] < weighs[1] / 4
    # the axes are others, the angles are not
    first, second = embed_all(whole, texts), embed_all(small, texts)
    np.testing.assert_allclose(second @ second.T, first @ first.T, atol=0.02)
