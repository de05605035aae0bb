import hashlib

import numpy as np
import pytest

from alignkit.cache import VectorCache
from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import CacheError, ConfigError, DataError
from alignkit.pairs.built import load_built
from alignkit.sentences.dataset_folder import new_folder, read_dataset
from alignkit.sentences.dataset_writing import write_dataset
from alignkit.sentences.grammar import generate
from alignkit.sentences.importing import import_samples
from alignkit.sentences.normalise import normalise_text
from alignkit.sentences.seeds import read_seeds


def vector_of(text, dim):
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big")).standard_normal(dim).astype(np.float16)


class DigestEmbedder:
    """Vectors that follow from the text alone; none for texts in `refused`."""

    def __init__(self, model, dim, refused=()):
        self.model, self.dim, self.refused = model, dim, set(refused)
        self.asked = 0

    def settings(self, role="document"):
        return {"model": self.model, "role": role}

    identity = settings

    def provenance(self):
        return {}

    def embed(self, texts, role="document"):
        self.asked += len(texts)
        good = [place for place, text in enumerate(texts) if text not in self.refused]
        rows = np.array([vector_of(texts[place], self.dim) for place in good], dtype=np.float32).reshape(-1, self.dim)
        yield EmbeddedBatch(
            np.array(good, dtype=np.int64), rows, dict.fromkeys(set(range(len(texts))) - set(good), "no")
        )

    def close(self):
        pass


@pytest.fixture
def folder(tmp_path):
    with new_folder(tmp_path / "set") as part:
        write_dataset(part, generate([read_seeds("en")], 100, 0), [], seed=0)
    return tmp_path / "set"


@pytest.fixture
def load(tmp_path):
    def load(folder, refused=(), fill=True, **settings):
        teacher = DigestEmbedder("big", 6, refused)
        if fill:
            texts = (folder / "sentences.txt").read_text(encoding="utf-8").splitlines()
            with VectorCache(tmp_path / "cache") as cache:
                cache.fill(teacher, texts)
        teacher.asked = 0
        try:
            return load_built(str(folder), DigestEmbedder("small", 4), teacher, str(tmp_path / "cache"), **settings)
        finally:
            assert teacher.asked == 0

    return load


def test_splits_labels_and_hard_negatives_are_those_of_the_set(folder, load):
    splits = load(folder)
    samples, ids = read_dataset(folder)
    seen = []
    for name in ("train", "validation", "test"):
        pairs = getattr(splits, name)
        own = [one for one in samples if one.id in ids[name]]
        assert sorted(pairs.texts) == sorted({text for one in own for text in one.texts()})
        row_of = {text: row for row, text in enumerate(pairs.texts)}
        for one in own:
            for text in (one.text, *one.paraphrases):
                row = row_of[text]
                assert pairs.labels[row] == one.id and pairs.groups[row] == one.domain
                assert [pairs.texts[other] for other in pairs.negatives[row]] == [n.text for n in one.hard_negatives]
            for negative in one.hard_negatives:
                row = row_of[negative.text]
                assert pairs.labels.count(pairs.labels[row]) == 1 and pairs.groups[row]
                assert pairs.negatives[row].tolist() == [row_of[one.text], -1, -1]
        for row in (0, len(pairs) - 1):
            assert np.array_equal(pairs.student[row], vector_of(pairs.texts[row], 4))
            assert np.array_equal(pairs.teacher[row], vector_of(pairs.texts[row], 6))
        seen.append(set(map(normalise_text, pairs.texts)))
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert splits.origin.real is False and splits.origin.teacher_identity["model"] == "big"


def test_a_missing_teacher_is_counted(folder, load):
    with pytest.raises(CacheError, match="800 of 800 sentences have no teacher vector"):
        load(folder, fill=False)


def test_texts_without_a_vector_are_left_out_and_their_rows_with_them(folder, load):
    samples, ids = read_dataset(folder)
    one = next(sample for sample in samples if sample.id in ids["train"])
    lost = one.hard_negatives[1].text
    splits = load(folder, refused=[lost])
    assert lost not in splits.train.texts
    row = splits.train.texts.index(one.text)
    found = [splits.train.texts[other] if other >= 0 else None for other in splits.train.negatives[row]]
    assert found == [one.hard_negatives[0].text, None, one.hard_negatives[2].text]
    assert splits.origin.quarantined == {"teacher": 1, "student": 0}


def test_imported_intents_are_the_labels(tmp_path, load):
    rows = [f"{word} {number}\t{word}" for word in "pay move call book ask send".split() for number in range(12)]
    (tmp_path / "i.tsv").write_text("text\tlabel\n" + "\n".join(rows), encoding="utf-8")
    with new_folder(tmp_path / "set") as part:
        write_dataset(part, import_samples(tmp_path / "i.tsv"), [], seed=0, threshold=1.0)
    splits = load(tmp_path / "set")
    assert splits.train.negatives is None and splits.origin.real is True
    assert all(text.split()[0] == label for text, label in zip(splits.train.texts, splits.train.labels, strict=True))
    # one file is one domain, which groups nothing
    assert splits.train.groups == splits.train.labels


def test_what_cannot_be_loaded_is_said(tmp_path, folder, load):
    with pytest.raises(DataError, match="is not a data set"):
        load(tmp_path / "nothing", fill=False)
    with pytest.raises(ConfigError, match="expected query or document"):
        load(folder, role="both")
    with new_folder(tmp_path / "tiny") as part:
        write_dataset(part, generate([read_seeds("en")], 3, 0), [], seed=0)
    with pytest.raises(DataError, match="8 training sentences with both vectors, expected at least 20"):
        load(tmp_path / "tiny")
