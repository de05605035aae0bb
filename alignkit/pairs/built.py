"""`data=built`: a folder of `python -m alignkit.build`, with its splits, its paraphrases and its hard negatives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import DataError
from alignkit.pairs.base import MIN_PAIRS, Origin, Pairs, PairSplits
from alignkit.pairs.cached_sides import CachedSides, check_role
from alignkit.sentences.dataset_folder import DATASET, SPLITS, read_dataset
from alignkit.sentences.records import Sample, Sentence, texts_of_sample
from alignkit.sentences.text_fields import QUERIES, FieldRows


def load_built(
    path: str,
    student: Embedder | None,
    teacher: Embedder,
    cache_dir: str = "cache",
    student_live: bool = True,
    role: Role = "document",
) -> PairSplits:
    """Pairs of all texts of a built set: anchors, paraphrases and hard negatives.

    An anchor and its paraphrases have one label; sentences imported with an intent, or with many of one
    meaning, are labelled by that. They are grouped by domain, or by intent where all are of one domain. The teacher
    is never called: its vectors come from the cache.

    Args:
        path: the folder.
        student: embeds what the cache lacks, unless `student_live` is False; `None` gives the teacher's side alone.
        teacher: only its settings are looked at.
        cache_dir: folder of the vector cache.
        student_live: False: the student's vectors too come from the cache only.
        role: whose prompt the vectors were made with, `query` or `document`.

    Raises:
        DataError: if the folder cannot be used, or too few sentences are left.
        MissingVectorsError: if the cache lacks vectors; it says how many, and of which side.
        EmbedderError: if the student has to be asked and cannot.
    """
    check_role(role)
    folder = Path(path).expanduser()
    samples, split_ids = read_dataset(folder)
    parts = {name: [sample for sample in samples if sample.id in split_ids[name]] for name in SPLITS}
    labelled = {name: _labelled(part) for name, part in parts.items()}
    groups = _groups(samples)
    sentences = list({one.text: one for name in SPLITS for one in labelled[name]}.values())
    try:
        with VectorCache(cache_dir) as cache:
            sides = CachedSides(
                cache,
                student,
                teacher,
                Path(cache_dir),
                role,
                student_live,
            ).both(sentences)
            kept = sides.sentences
            row_of = {sentence.text: row for row, sentence in enumerate(kept)}
            pairs = {}
            for name in SPLITS:
                rows = [one for one in labelled[name] if one.text in row_of]
                texts = [one.text for one in rows]
                student_vectors, teacher_vectors = sides.arrays(cache, [row_of[text] for text in texts])
                pairs[name] = Pairs(
                    ids=[one.id for one in rows],
                    student=student_vectors,
                    teacher=teacher_vectors,
                    texts=texts,
                    labels=[str(one.label) for one in rows],
                    negatives=_negative_rows(parts[name], texts),
                    groups=[groups[text] for text in texts],
                )
    finally:
        for side in (student, teacher):
            if side is not None:
                side.close()
    if len(pairs["train"]) < MIN_PAIRS:
        both = "both vectors" if student is not None else "a vector"
        raise DataError(
            f"{folder}: {len(pairs['train'])} training sentences with {both}, expected at least {MIN_PAIRS}; "
            "build a larger set"
        )
    origin = Origin(
        source=f"{folder.name}: {len(samples):,} samples, {len(kept):,} sentences, vectors from the cache",
        real=not any(sample.source in ("grammar", "llm") for sample in samples),
        split="the set's own: by group, so paraphrases and hard negatives stay together",
        student_identity=sides.student_identity,
        teacher_identity=sides.teacher_identity,
        quarantined=sides.quarantined,
        cut=sides.cut,
        fields=(FieldRows(DATASET, QUERIES, texts_of_sample, folder / DATASET),),
    )
    return PairSplits(pairs["train"], pairs["validation"], pairs["test"], origin)


def _groups(samples: Sequence[Sample]) -> dict[str, str]:
    """Name of the domain by text, or of the intent where all are of one domain (the name of an imported file)."""
    name = "domain" if len({sample.domain for sample in samples}) > 1 else "intent"
    return {text: getattr(sample, name) or "(none)" for sample in reversed(samples) for text in sample.texts()}


def _labelled(samples: Sequence[Sample]) -> list[Sentence]:
    """Each text of the samples once; a text that is somewhere an anchor or a paraphrase is that."""
    found: dict[str, Sentence] = {}
    for sample in samples:
        label = sample.intent if sample.intent and not sample.slots else sample.id
        for number, text in enumerate((sample.text, *sample.paraphrases)):
            found.setdefault(text, Sentence(f"{sample.id}/p{number}" if number else sample.id, text, label))
    for sample in samples:
        for number, negative in enumerate(sample.hard_negatives, start=1):
            name = f"{sample.id}/n{number}"
            found.setdefault(negative.text, Sentence(name, negative.text, name))
    return list(found.values())


def _negative_rows(samples: Sequence[Sample], texts: Sequence[str]) -> np.ndarray | None:
    """`(N, K)` rows of each row's hard negatives, -1 where there are fewer; None where there are none at all."""
    most = max((len(sample.hard_negatives) for sample in samples), default=0)
    if not most:
        return None
    row_of = {text: row for row, text in enumerate(texts)}
    rows = np.full((len(texts), most), -1, dtype=np.int64)
    for sample in samples:
        against = [row_of.get(negative.text, -1) for negative in sample.hard_negatives]
        for text in (sample.text, *sample.paraphrases):
            if text in row_of:
                rows[row_of[text], : len(against)] = against
        for row in against:
            # Seen from the negative, the anchor is one: it too has most words in common and means something else.
            if row >= 0 and rows[row, 0] < 0:
                rows[row, 0] = row_of.get(sample.text, -1)
    return rows
