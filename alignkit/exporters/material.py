"""Real vectors to check an export on: the user's file, the user's sentences, or the demo pack's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignkit.artifact import Artifact
from alignkit.embedders.base import Embedder, Role, embed_all
from alignkit.embedders.sameness import same_vectors
from alignkit.errors import ConfigError, DataError
from alignkit.pairs.demo import STUDENTS, load_demo
from alignkit.sentences.sentence_files import read_sentences
from alignkit.vector_files import check_vectors, open_vectors

MOST_ROWS = 1000


@dataclass(frozen=True)
class Material:
    """What an export is checked on.

    Attributes:
        vectors: `(N, student_dim)` float32.
        origin: one line on where they come from.
        texts: their N texts, where a student has just embedded them.
        student: that student.
    """

    vectors: np.ndarray
    origin: str
    texts: list[str] | None = None
    student: Embedder | None = None


def find_material(
    artifact: Artifact,
    make_student: Callable[[], Embedder],
    vectors: str | Path | None = None,
    sentences: str | Path | None = None,
    carries_models: bool = False,
) -> Material:
    """Vectors of the head's student, without loading it where that can be done.

    Args:
        artifact: the head.
        make_student: builds the student; called only where it is needed.
        vectors: a file of student vectors.
        sentences: a file of sentences for the student.
        carries_models: whether the student is needed in any case.

    Raises:
        ConfigError: if `vectors` is given where texts are needed.
        DataError: if the vectors do not fit the head.
    """
    width = artifact.head.student_dim
    if vectors is not None:
        if carries_models:
            raise ConfigError("this format carries the student along and is checked on texts; give sentences=FILE")
        opened = open_vectors(vectors)
        found = np.asarray(opened[:: max(1, -(-len(opened) // MOST_ROWS))], dtype=np.float32)
        check_vectors(found, vectors)
        origin = str(Path(vectors).name)
    elif sentences is None and not carries_models and (demo := _packaged(artifact)) is not None:
        found, origin = demo, "demo pack"
    else:
        texts = _texts(sentences)
        student = make_student()
        found = embed_all(student, texts, _role(student, artifact))
        origin = "demo pack, embedded now" if sentences is None else f"{Path(sentences).name}, embedded now"
        _check_width(found, width, origin)
        return Material(found, origin, texts, student)
    _check_width(found, width, origin)
    return Material(found, origin)


def _packaged(artifact: Artifact) -> np.ndarray | None:
    for name in STUDENTS:
        splits = load_demo(name)
        if same_vectors(splits.origin.student_identity, artifact.student_identity):
            return np.asarray(splits.test.student[:MOST_ROWS], dtype=np.float32)
    return None


def _texts(sentences: str | Path | None) -> list[str]:
    if sentences is None:
        return list(load_demo().test.texts or [])[:MOST_ROWS]
    texts = list(dict.fromkeys(sentence.text for sentence in read_sentences(sentences)))
    return texts[:: max(1, -(-len(texts) // MOST_ROWS))]


def _role(student: Embedder, artifact: Artifact) -> Role:
    return "document" if same_vectors(student.identity("document"), artifact.student_identity) else "query"


def _check_width(found: np.ndarray, width: int, origin: str) -> None:
    if found.shape[1] != width:
        raise DataError(
            f"{origin}: {found.shape[1]}-d vectors, this head takes {width}-d; name its student with student=… or give "
            "its vectors with vectors=FILE"
        )
