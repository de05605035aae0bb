"""Checks that a file of vectors was made by this teacher, from these sentences in this order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from alignkit.checking.embedding import ALIKE, cosines
from alignkit.checking.findings import Finding, failure, ok, warning
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError

SAMPLE_ROWS = 32
NEARLY_ALIKE = 0.98
SEARCHED_ROWS = 200_000


def check_index(
    index: str | Path, sentences: str | Path | None, teacher: Embedder, key: str | None = None
) -> Iterator[Finding]:
    """Embed a sample of the sentences again and compare it with the index.

    Args:
        index: `.npy`, `.npz` or `.safetensors`.
        sentences: the file of the rows' sentences, in order.
        teacher: the model said to have made the index.
        key: which array of the file.
    """
    from alignkit.sentences.sentence_files import read_sentences
    from alignkit.vector_files import open_vectors

    try:
        vectors = open_vectors(index, key)
        texts = [] if sentences is None else [sentence.text for sentence in read_sentences(sentences)]
    except AlignkitError as error:
        yield failure("index", error)
        return
    yield ok("index", f"{index}: {vectors.shape[0]:,} rows, {vectors.shape[1]}-d {vectors.dtype}")
    if sentences is None:
        fix = "give the sentences that its rows stand for: sentences=FILE"
        yield warning("index rows", "which model made these vectors was not checked", fix)
    elif len(texts) != len(vectors):
        fix = "give the file that the index was made from, in its order"
        yield failure("index rows", f"the index has {len(vectors):,} rows, {sentences} {len(texts):,} sentences", fix)
    else:
        try:
            yield _compare(vectors, texts, teacher)
        except AlignkitError as error:
            yield failure("index rows", error)


def _compare(vectors: np.ndarray, texts: Sequence[str], teacher: Embedder) -> Finding:
    topic = "index rows"
    if teacher.dim != vectors.shape[1]:
        fix = "choose the teacher that made the index: teacher=…"
        return failure(topic, f"the index is {vectors.shape[1]}-d, this teacher {teacher.dim}-d", fix)
    # spread over the whole file, to detect a part made by another model too
    rows = np.unique(np.linspace(0, len(texts) - 1, SAMPLE_ROWS).astype(np.int64))
    again: dict[int, np.ndarray] = {}
    for batch in teacher.embed([texts[row] for row in rows], "document"):
        again.update(zip(rows[batch.indices].tolist(), batch.vectors, strict=True))
    if not again:
        return failure(topic, f"the teacher has no vector for any of {len(rows)} sampled sentences")
    sampled = np.array(sorted(again))
    fresh = np.stack([again[row] for row in sampled.tolist()])
    alike = cosines(fresh, np.asarray(vectors[sampled]))
    message = f"{len(sampled)} sentences embedded again: median cosine {np.median(alike):.4f}, lowest {alike.min():.4f}"
    if alike.min() >= ALIKE:
        return ok(topic, message)
    if alike.min() >= NEARLY_ALIKE:
        fix = "another version or quantisation of the model? Use the one that made the index, or rebuild the index"
        return warning(topic, message, fix)
    if np.median(alike) >= ALIKE:
        strange = ", ".join(str(row) for row in sampled[alike < ALIKE][:5])
        return failure(topic, f"{message}; rows that differ: {strange}", "embed those sentences again")
    return failure(topic, message, _explain(vectors, sampled, fresh))


def _explain(vectors: np.ndarray, sampled: np.ndarray, fresh: np.ndarray) -> str:
    """Say whether it is another model, or this one with the rows in another order."""
    from alignkit.vectors import top_k

    scores, rows = top_k(fresh, vectors[:SEARCHED_ROWS], k=1)
    elsewhere = np.asarray(scores[:, 0]) >= ALIKE
    if elsewhere.mean() > 0.5:
        row, found = int(sampled[elsewhere][0]), int(rows[elsewhere][0, 0])
        return f"the rows are in another order than the sentences: the vector of sentence {row} is in row {found}"
    return "this teacher did not make the index; choose the model, prompt and normalisation that did (teacher=…)"
