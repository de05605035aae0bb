"""Texts that a student was not trained for, to see whether training made it forget them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignkit import resources
from alignkit.errors import DataError
from alignkit.metrics.alignment import sample_rows
from alignkit.sentences.delimited import tsv_rows
from alignkit.sentences.normalise import is_cjk, normalise_text
from alignkit.sentences.sentence_files import read_sentences

PACKAGED = Path(resources.__file__).parent / "general" / "sentences.tsv"
MOST_TEXTS, FEWEST_TEXTS = 1_000, 30
LOOKED_AT = 1_000


def general_texts(trained_on: Sequence[str], path: str | Path | None = None, seed: int = 0) -> tuple[list[str], str]:
    """The texts, without repetitions and without training texts, and what they are called in a report.

    Args:
        trained_on: the training texts; most of them in Chinese or Japanese characters gives the Chinese packaged ones.
        path: a file of the user's own texts, as `read_sentences` takes it; `None` is 500 packaged everyday sentences.
            Of more than 1,000 texts a seeded sample is taken.
        seed: of the samples.

    Raises:
        DataError: if the file cannot be read, or leaves fewer than 30 texts.
    """
    if path is None:
        sample = sample_rows(len(trained_on), LOOKED_AT, seed).tolist()
        chinese = np.mean([is_cjk(trained_on[row]) for row in sample]) > 0.5 if sample else False
        texts = [str(row["zh" if chinese else "en"]) for _, row in tsv_rows(PACKAGED)]
        source = "everyday sentences of Tatoeba"
    else:
        texts, source = [sentence.text for sentence in read_sentences(path)], str(path)
    by_form: dict[str, str] = {}
    for text in texts:
        by_form.setdefault(normalise_text(text), text)
    for text in ("", *trained_on):
        by_form.pop(normalise_text(text), None)
    left = list(by_form.values())
    if len(left) < FEWEST_TEXTS:
        raise DataError(
            f"check_on={source}: {len(left)} of its {len(texts):,} texts are distinct and no training texts; give at "
            f"least {FEWEST_TEXTS}, or check_on=null for the packaged sentences"
        )
    return [left[row] for row in sample_rows(len(left), MOST_TEXTS, seed).tolist()], source
