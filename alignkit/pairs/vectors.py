"""`data=vectors`: anybody's own arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignkit.errors import ConfigError, DataError
from alignkit.pairs.base import MIN_PAIRS, Origin, Pairs, PairSplits, no_student
from alignkit.pairs.vector_fingerprints import first_equal_rows, join_equal_rows
from alignkit.pairs.views import RowIds, take_pairs
from alignkit.sentences.sentence_files import read_sentences
from alignkit.sentences.splits import first_equal_texts, split_groups
from alignkit.sentences.text_fields import fields_of_file
from alignkit.vector_files import check_vectors, open_vectors

# one for each split
FEWEST_SENTENCES = 3


def load_vectors(
    student: str | None,
    teacher: str,
    test_student: str | None = None,
    test_teacher: str | None = None,
    sentences: str | None = None,
    student_key: str | None = None,
    teacher_key: str | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> PairSplits:
    """Pairs of two files whose row i is the same sentence.

    Args:
        student: `.npy`, `.npz` or `.safetensors` of `(N, student_dim)`, float16 to float64; mapped, not read. `None`
            gives the teacher's side alone, with its sentences.
        teacher: the same for `(N, teacher_dim)`.
        test_student: `(M, student_dim)`; without test files a seeded share of the rows is held out.
        test_teacher: `(M, teacher_dim)`.
        sentences: file of the N sentences in the order of the rows: equal texts then stay in one split, as equal
            vectors do, and the report can name them.
        student_key: which array of an `.npz` or `.safetensors` with several.
        teacher_key: likewise.
        validation: share of the rows.
        test: share of the rows, where there are no test files.
        seed: of the split.

    Raises:
        DataError: if a file cannot be used, or the files do not go together; it names the file and the fix.
        ConfigError: if one test file is given without the other, or no student and no sentences.
    """
    if student is None:
        return _of_teacher(teacher, teacher_key, sentences, (test_student, test_teacher), (validation, test), seed)
    if (test_student is None) != (test_teacher is None):
        raise ConfigError("data.test_student and data.test_teacher go together; give both or neither")
    student_vectors, teacher_vectors = _open_both(student, student_key, teacher, teacher_key)
    texts, ids = _read_sentences(sentences, student, len(student_vectors))
    own_test = test_student is not None and test_teacher is not None
    kept, held_out, test_rows = split_groups(
        group_rows(student_vectors, teacher_vectors, texts, student),
        seed=seed,
        validation=validation,
        test=0.0 if own_test else test,
    )

    whole = Pairs(ids=ids, student=student_vectors, teacher=teacher_vectors, texts=texts)
    if test_student is not None and test_teacher is not None:
        tests = _open_both(test_student, student_key, test_teacher, teacher_key)
        widths = whole.student_dim, whole.teacher_dim
        for path, part, width in zip((test_student, test_teacher), tests, widths, strict=True):
            if part.shape[1] != width:
                raise DataError(
                    f"{path}: holds {part.shape[1]}-d vectors, the training file {width}-d ones; "
                    "embed both with the same model"
                )
        test_pairs = Pairs(ids=RowIds(np.arange(len(tests[0])), "test-"), student=tests[0], teacher=tests[1])
        split = "the test files given; validation is a seeded share of the other rows"
    else:
        test_pairs = take_pairs(whole, test_rows)
        split = f"seeded shares of the rows, equal {'texts and ' if texts else ''}vectors together"
    source = f"vector files: {Path(student).name} and {Path(teacher).name}"
    origin = Origin(source=source, split=split, fields=() if sentences is None else (fields_of_file(sentences),))
    train, validation_pairs = take_pairs(whole, kept), take_pairs(whole, held_out)
    return PairSplits(train=train, validation=validation_pairs, test=test_pairs, origin=origin)


def _of_teacher(
    path: str, key: str | None, sentences: str | None, tests: tuple[str | None, str | None],
    shares: tuple[float, float], seed: int,
) -> PairSplits:  # fmt: skip
    """The teacher's vectors of sentences that a student will embed."""
    if sentences is None:
        raise ConfigError(
            "data.sentences is not set: a student is trained on texts, and vectors alone cannot be turned back into "
            "them; give the file of the sentences in the order of the rows"
        )
    if tests != (None, None):
        raise ConfigError(
            "data.test_student and data.test_teacher hold vectors without texts, which a trained student cannot "
            "embed; leave them out: a share of the rows is then held out"
        )
    teacher = open_vectors(path, key)
    if len(teacher) < MIN_PAIRS:
        raise DataError(f"{path}: {len(teacher)} vectors, expected at least {MIN_PAIRS}; embed more sentences")
    check_vectors(teacher, path)
    texts, ids = _read_sentences(sentences, path, len(teacher))
    whole = Pairs(ids=ids, student=no_student(len(teacher)), teacher=teacher, texts=texts)
    groups = group_rows(teacher, teacher, texts, path)
    parts = split_groups(groups, seed=seed, validation=shares[0], test=shares[1])
    train, held_out, tested = (take_pairs(whole, rows) for rows in parts)
    source = f"vector file {Path(path).name} with the sentences of {Path(sentences).name}"
    split = "seeded shares of the rows, equal texts and vectors together"
    origin = Origin(source=source, split=split, fields=(fields_of_file(sentences),))
    return PairSplits(train=train, validation=held_out, test=tested, origin=origin)


def _open_both(
    student: str, student_key: str | None, teacher: str, teacher_key: str | None
) -> tuple[np.ndarray, np.ndarray]:
    students, teachers = open_vectors(student, student_key), open_vectors(teacher, teacher_key)
    if len(students) != len(teachers):
        raise DataError(
            f"{student} has {len(students)} rows, {teacher} has {len(teachers)}; "
            "row i of both must be the same sentence: write both from the same list"
        )
    if len(students) < MIN_PAIRS:
        raise DataError(f"{student}: {len(students)} pairs, expected at least {MIN_PAIRS}; embed more sentences")
    check_vectors(students, student)
    check_vectors(teachers, teacher)
    return students, teachers


def group_rows(student: np.ndarray, teacher: np.ndarray, texts: Sequence[str] | None, path: str) -> RowIds:
    """A name a row; what is the same sentence by its vectors, or by its text, has one name."""
    first = first_equal_rows(student, teacher)
    distinct = int((first == np.arange(len(first))).sum())
    if distinct < FEWEST_SENTENCES:
        raise DataError(
            f"{path}: {len(first)} rows are vectors of {distinct} different sentence(s), expected at least "
            f"{FEWEST_SENTENCES} to split; embed different sentences"
        )
    if texts is None:
        return RowIds(first)
    return RowIds(join_equal_rows(first, first_equal_texts(texts)), prefix="")


def _read_sentences(path: str | None, student: str, count: int) -> tuple[list[str] | None, Sequence[str]]:
    if path is None:
        return None, RowIds(np.arange(count))
    sentences = read_sentences(path)
    if len(sentences) != count:
        raise DataError(f"{path} has {len(sentences)} sentences, {student} has {count} rows; expected one a row")
    return [sentence.text for sentence in sentences], [sentence.id for sentence in sentences]
