"""Checks that an index holds one model's vectors, and that this teacher made them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from alignkit.checking.embedding import cosines
from alignkit.checking.findings import Finding, failure, ok, warning
from alignkit.checking.index_reading import (
    Reading,
    batches_of_file,
    batches_of_index,
    read_whole,
    sampled_rows,
)
from alignkit.checking.two_models import MIN_ROWS, Parting, changed_at, parted_by_texts
from alignkit.embedders.base import Embedder
from alignkit.embedders.steadiness import ALIKE
from alignkit.errors import AlignkitError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows
from alignkit.parts import group_choices

SAMPLE_ROWS = 32
NEARLY_ALIKE = 0.98
SEARCHED_ROWS = 200_000
_SOME = 0.1
_NAMED = 5
_EMBED_AGAIN = "embed the rows of one part again, with the model of the other"


def check_index(
    index: str | Path, sentences: str | Path | None, teacher: Embedder | None, key: str | None = None
) -> Iterator[Finding]:
    """Look at a file of vectors, and embed a sample of the sentences again.

    Args:
        index: `.npy`, `.npz` or `.safetensors`.
        sentences: the file of the rows' sentences, in order.
        teacher: the model said to have made the index; `None` if it cannot be asked.
        key: which array of the file.
    """
    from alignkit.sentences.sentence_files import texts_at
    from alignkit.vector_files import open_vectors

    try:
        vectors = open_vectors(index, key)
        # of the sentences only those are kept whose rows are looked at
        chosen = sampled_rows(len(vectors))
        texts, count = (None, 0) if sentences is None else texts_at(sentences, chosen)
    except AlignkitError as error:
        engines = "" if Path(index).suffix else f"give a file, or one of {', '.join(group_choices('index'))}"
        yield failure("index", error, engines)
        return
    yield ok("index", f"{index}: {vectors.shape[0]:,} rows, {vectors.shape[1]}-d {vectors.dtype}")
    belong = texts is not None and count == len(vectors)
    reading = read_whole(batches_of_file(vectors, texts if belong else None), len(vectors))
    yield from _usable(reading)
    yield from _one_model(reading, "sentences=FILE")
    if texts is None:
        fix = "give the sentences that its rows stand for: sentences=FILE"
        yield warning("index rows", "which model made these vectors was not checked", fix)
    elif not belong:
        fix = "give the file that the index was made from, in its order"
        yield failure("index rows", f"the index has {len(vectors):,} rows, {sentences} {count:,} sentences", fix)
    elif teacher is not None:
        yield _again(reading.sample, teacher, vectors)


def check_engine(index: VectorIndex, teacher: Embedder | None) -> Iterator[Finding]:
    """Look at an index where it lives, and embed a sample of its texts again.

    Args:
        index: it is only read.
        teacher: the model said to have made it; `None` leaves that out.
    """
    try:
        described = index.describe()
        width = f"{described.dim}-d {described.dtype}"
        metric = f", searched by {described.metric}" if described.metric else ""
        yield ok("index", f"{described.place}: {described.rows:,} rows, {width}{metric}")
        reading = read_whole(batches_of_index(index, described.dim), described.rows)
    except AlignkitError as error:
        yield failure("index", error)
        return
    yield from _usable(reading)
    yield from _one_model(reading, "index.text=")
    if teacher is not None and reading.usable:
        if reading.sample.texts is None:
            fix = "name the field of texts: index.text="
            yield warning("index rows", "which model made these vectors was not checked", fix)
        else:
            yield _again(reading.sample, teacher)


def _usable(reading: Reading) -> Iterator[Finding]:
    """How many vectors can be used, and how long they are."""
    topic = "index vectors"
    if not reading.usable:
        why = "; ".join(f"{count:,}: {reason}" for reason, (count, _) in reading.faults.items())
        yield failure(topic, f"no row has a vector that can be used{f' ({why})' if why else ''}")
        return
    if reading.faults:
        parts = [f"{count:,}: {why}, the first is row {first}" for why, (count, first) in reading.faults.items()]
        message = f"{reading.usable:,} of {reading.rows:,} rows can be used; {'; '.join(parts)}"
        yield warning(topic, message, "embed those rows again; other commands leave them out")
    if 0 < reading.unit < reading.usable:
        message = (
            f"{reading.unit:,} vectors have length 1, the first is row {reading.first_unit}; "
            f"{reading.usable - reading.unit:,} have another, {reading.shortest:.3g} to {reading.longest:.3g}, the "
            f"first is row {reading.first_other}"
        )
        yield warning(topic, message, "were they made in two ways? A search by dot product or distance suffers")
    elif not reading.faults:
        shape = "all of length 1" if reading.unit else f"lengths {reading.shortest:.3g} to {reading.longest:.3g}"
        yield ok(topic, f"all {reading.rows:,} rows can be used, {shape}")


def _one_model(reading: Reading, how_texts: str) -> Iterator[Finding]:
    """Whether two models made the index."""
    topic, sample = "index one model", reading.sample
    if len(sample) < MIN_ROWS:
        yield ok(
            topic, f"cannot be told from {len(sample):,} rows, it takes {MIN_ROWS:,}; teacher= embeds a sample again"
        )
        return
    if sample.texts is None:
        parting = changed_at(sample.vectors)
        if parting is None:
            yield ok(topic, "the vectors do not change from one row on; with texts more can be told")
            return
        which = _named(parting, sample, reading.rows)
        message = f"{which} lie elsewhere than all others: another model made them, or their texts are very different"
        yield warning(topic, message, f"name the texts, which tell: {how_texts}")
        return
    parting, pairs = parted_by_texts(sample.vectors, sample.texts)
    if parting is not None:
        message = (
            f"two models made this index: one {_named(parting, sample, reading.rows)}, one the others; across, texts "
            f"that share rare words are {max(parting.likeness, 0):.0%} as alike as on one side"
        )
        yield failure(topic, message, _EMBED_AGAIN)
    elif pairs:
        yield ok(topic, "texts that share rare words have alike vectors all over the index")
    else:
        yield ok(topic, "cannot be told: too few texts share words; teacher= embeds a sample again")


def _named(parting: Parting, sample: IndexRows, rows: int) -> str:
    """The rows of a part, in words."""
    if parting.stretch is None:
        some = ", ".join(str(sample.ids[row]) for row in np.flatnonzero(parting.other)[:_NAMED])
        return f"{parting.other.mean():.0%} of the rows, scattered, {some} among them"
    first, last = parting.stretch
    about = "" if len(sample) == rows else "about "
    if last == len(sample) - 1:
        return f"the rows from {about}{sample.ids[first]} on ({parting.other.mean():.0%})"
    if first == 0:
        return f"the rows up to {about}{sample.ids[last]} ({parting.other.mean():.0%})"
    return f"the rows from {about}{sample.ids[first]} to {sample.ids[last]} ({parting.other.mean():.0%})"


def _again(rows: IndexRows, teacher: Embedder, vectors: np.ndarray | None = None) -> Finding:
    try:
        return _compare(rows, teacher, vectors)
    except AlignkitError as error:
        return failure("index rows", error)


def _compare(rows: IndexRows, teacher: Embedder, vectors: np.ndarray | None) -> Finding:
    """Embed some of these rows again; `vectors` are all of a file, to tell another order from another model."""
    topic, texts = "index rows", rows.texts or []
    if teacher.dim != rows.vectors.shape[1]:
        fix = "choose the teacher that made the index: teacher=…"
        return failure(topic, f"the index is {rows.vectors.shape[1]}-d, this teacher {teacher.dim}-d", fix)
    full = np.array([row for row, text in enumerate(texts) if text.strip()], np.int64)
    if not len(full):
        return warning(topic, "which model made these vectors was not checked", "no row has a text")
    # spread over the whole index, to detect a part made by another model too
    chosen = full[np.unique(np.linspace(0, len(full) - 1, SAMPLE_ROWS).astype(np.int64))]
    again: dict[int, np.ndarray] = {}
    for batch in teacher.embed([texts[row] for row in chosen.tolist()], "document"):
        again.update(zip(chosen[batch.indices].tolist(), batch.vectors, strict=True))
    if not again:
        return failure(topic, f"the teacher has no vector for any of {len(chosen)} sampled sentences")
    sampled = np.array(sorted(again))
    fresh = np.stack([again[row] for row in sampled.tolist()])
    alike = cosines(fresh, rows.vectors[sampled])
    message = f"{len(sampled)} sentences embedded again: median cosine {np.median(alike):.4f}, lowest {alike.min():.4f}"
    if alike.min() >= ALIKE:
        return ok(topic, message)
    if alike.min() >= NEARLY_ALIKE:
        fix = "another version or quantisation of the model? Use the one that made the index, or rebuild the index"
        return warning(topic, message, fix)
    if (alike >= ALIKE).mean() > _SOME:
        unlike = [str(rows.ids[row]) for row in sampled[alike < ALIKE]]
        more = f" and {len(unlike) - _NAMED} more" if len(unlike) > _NAMED else ""
        message = f"{message}; rows that differ: {', '.join(unlike[:_NAMED])}{more}"
        return failure(topic, message, "embed those sentences again, and their neighbours")
    return failure(topic, message, _explain(rows, sampled, fresh, vectors))


def _explain(rows: IndexRows, sampled: np.ndarray, fresh: np.ndarray, vectors: np.ndarray | None) -> str:
    """Say whether it is another model, or this one with the rows in another order."""
    if vectors is not None:
        from alignkit.vectors import top_k

        scores, found = top_k(fresh, vectors[:SEARCHED_ROWS], k=1)
        elsewhere = np.asarray(scores[:, 0]) >= ALIKE
        if elsewhere.mean() > 0.5:
            row, there = rows.ids[int(sampled[elsewhere][0])], int(found[elsewhere][0, 0])
            return f"the rows are in another order than the sentences: the vector of sentence {row} is in row {there}"
    return "this teacher did not make the index; choose the model, prompt and normalisation that did (teacher=…)"
