"""A data set's folder: it appears complete or not at all, and is read sample by sample."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from alignkit.errors import ConfigError, DataError
from alignkit.files import move, refused
from alignkit.sentences.records import Sample
from alignkit.sentences.sentence_files import read_rows

SPLITS = ("train", "validation", "test")
README = "README.md"
RAW = "raw_sentences.jsonl"
DATASET = "dataset.jsonl"
SPLIT = "split.json"
QUERIES = "queries.jsonl"
CORPUS = "corpus.jsonl"
SENTENCES = "sentences.txt"


@contextlib.contextmanager
def new_folder(out: str | Path) -> Iterator[Path]:
    """A folder beside `out` that replaces it when the block succeeds, and is removed when it fails.

    Raises:
        ConfigError: if `out` is not empty or another build is writing it.
        AlignkitError: if the disk refuses.
    """
    out = Path(out).expanduser()
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ConfigError(f"out={out} is not empty; name an empty or a new folder")
    part = out.with_name(out.name + ".part")
    try:
        part.mkdir(parents=True)
    except FileExistsError:
        if not part.is_dir():
            raise refused(out, NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))) from None
        raise ConfigError(
            f"{part} exists: another build is writing out={out}, or one was killed; wait for it or remove the folder"
        ) from None
    except OSError as error:
        raise refused(out, error) from None
    try:
        yield part
        if out.is_dir():
            out.rmdir()
        move(part, out)
    except BaseException as error:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(error, OSError):
            raise refused(out, error) from None
        raise


def read_dataset(folder: str | Path) -> tuple[list[Sample], dict[str, set[str]]]:
    """Samples of a built folder, and the ids of each split.

    Raises:
        DataError: if the folder is not a data set, a line is broken, or the split does not fit the samples.
    """
    folder = Path(folder).expanduser()
    if not (folder / DATASET).is_file() or not (folder / SPLIT).is_file():
        raise DataError(
            f"{folder} is not a data set: expected dataset.jsonl and split.json; make one with python -m alignkit.build"
        )
    samples = []
    for line, row in read_rows(folder / DATASET):
        try:
            samples.append(Sample.from_json(row))
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / 'dataset.jsonl'}, line {line}: not a sample: {error!r}") from None
    try:
        split = json.loads((folder / SPLIT).read_text(encoding="utf-8"))
        splits = {name: {str(one) for one in split[name]} for name in SPLITS}
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{folder / 'split.json'} must hold a list of ids for each of {', '.join(SPLITS)}") from None
    known = {sample.id for sample in samples}
    for name, ids in splits.items():
        if ids - known:
            raise DataError(f"{folder / 'split.json'}: {len(ids - known)} ids of {name} are not in dataset.jsonl")
    if sum(map(len, splits.values())) != len(set().union(*splits.values())):
        raise DataError(f"{folder / 'split.json'}: an id is in two splits")
    return samples, splits
