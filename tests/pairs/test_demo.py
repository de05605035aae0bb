from pathlib import Path

import numpy as np
import pytest

from alignkit import resources
from alignkit.errors import ConfigError
from alignkit.pairs.demo import STUDENTS, load_demo
from alignkit.sentences.normalise import normalise_text

PACK = Path(resources.__file__).parent / "demo"


@pytest.mark.parametrize("student", STUDENTS)
def test_the_pack_is_whole_and_no_text_stands_in_two_splits(student):
    splits = load_demo(student)
    parts = [splits.train, splits.validation, splits.test]
    assert [len(part) for part in parts] == [2700, 300, 600]
    texts = [{normalise_text(text) for text in part.texts} for part in parts]
    assert not texts[0] & texts[1] and not texts[0] & texts[2] and not texts[1] & texts[2]
    assert sum(map(len, texts)) == 3600
    assert len(set(splits.test.labels)) == 150 and len(set(splits.test.groups)) == 10
    assert splits.train.student_dim == {"two_layer": 384, "static": 256}[student]
    for part in parts:
        assert np.isfinite(part.student).all() and np.isfinite(part.teacher).all()
        assert np.allclose(np.linalg.norm(part.teacher.astype(np.float32), axis=1), 1, atol=1e-2)


def test_the_pack_is_small_and_says_whose_the_sentences_are():
    assert sum(path.stat().st_size for path in PACK.iterdir()) <= 8_000_000
    assert "Creative Commons Attribution 3.0" in (PACK / "README.md").read_text(encoding="utf-8")


def test_another_student_is_refused():
    with pytest.raises(ConfigError, match="student=ollama: the demo pack holds vectors of two_layer and static"):
        load_demo("ollama")


def test_the_packs_vectors_are_the_models_own():
    from alignkit.embedders.base import embed_all
    from alignkit.embedders.minilm import MinilmEmbedder
    from alignkit.embedders.static import StaticEmbedder
    from alignkit.embedders.two_layer import TwoLayerEmbedder

    for embedder, student in (
        (TwoLayerEmbedder(), "two_layer"),
        (StaticEmbedder(), "static"),
        (MinilmEmbedder(), None),
    ):
        test = load_demo(student or "two_layer").test
        stored = (test.student if student else test.teacher)[:20].astype(np.float32)
        fresh = embed_all(embedder, test.texts[:20])
        cosines = (stored * fresh).sum(1) / np.linalg.norm(stored, axis=1) / np.linalg.norm(fresh, axis=1)
        assert cosines.min() > 0.999
