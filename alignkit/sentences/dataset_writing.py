"""Write a data set as a stream. Only a few numbers per sample are kept, so a million fit in memory."""

from __future__ import annotations

import contextlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from alignkit.errors import DataError
from alignkit.sentences.dataset_folder import CORPUS, DATASET, QUERIES, RAW, SENTENCES, SPLIT, SPLITS
from alignkit.sentences.grouping import MOST_NEAR_CHECKED, MOST_NEAR_CHECKED_PER_GROUP, ClosedGroups, close_groups
from alignkit.sentences.near_duplicates import THRESHOLD
from alignkit.sentences.normalise import digest_of
from alignkit.sentences.records import Sample
from alignkit.sentences.splits import split_groups


@dataclass
class Written:
    """Counts of what was written.

    Attributes:
        texts: of all samples, with paraphrases and hard negatives.
        first: the first samples, for the quality report.
        closed: the merged groups, and how many texts are distinct.
        splits: split -> its number of samples.
        threshold: similarity at and above which texts count as near-duplicates.
    """

    samples: int = 0
    texts: int = 0
    seeds: int = 0
    domains: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    sources: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    first: list[Sample] = field(default_factory=list)
    groups: int = 0
    closed: ClosedGroups = field(default_factory=lambda: ClosedGroups([], 0, 0, 0, 0))
    splits: dict[str, int] = field(default_factory=dict)
    threshold: float = THRESHOLD

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        self.samples += 1
        self.texts += 1 + len(sample.paraphrases) + len(sample.hard_negatives)
        self.domains[sample.domain] += 1
        self.languages[sample.language] += 1
        self.sources[sample.source] += 1
        self.kinds.update(negative.kind for negative in sample.hard_negatives)


def write_dataset(
    folder: Path,
    samples: Iterable[Sample],
    seeds: Iterable[Sample],
    *,
    seed: int,
    validation: float = 0.1,
    test: float = 0.1,
    threshold: float = THRESHOLD,
    keep_first: int = 2_000,
    on_sample: Callable[[], None] = lambda: None,
) -> Written:
    """Write everything but the data card.

    Args:
        folder: empty; see `new_folder`.
        samples: read once, one at a time.
        seeds: for `raw_sentences.jsonl`.
        seed: of the split.
        validation: its share of the samples.
        test: its share of the samples.
        threshold: similarity at and above which two groups stay together; see `find_near_duplicates`.
        keep_first: number of samples to keep for the quality report.
        on_sample: called after each sample.

    Raises:
        DataError: if there is no sample or fewer groups than splits.
    """
    written = Written(threshold=threshold)
    ids: list[str] = []
    groups: list[str] = []
    compared: list[tuple[str, str]] = []
    compared_of: Counter[str] = Counter()
    documents: set[int] = set()
    digests, texts_of, paraphrases_of = array("Q"), array("L"), array("L")
    with contextlib.ExitStack() as stack:
        raw, dataset, queries, corpus, sentences = (
            stack.enter_context(_create(folder / name)) for name in (RAW, DATASET, QUERIES, CORPUS, SENTENCES)
        )
        for one in seeds:
            _write_row(raw, one.to_json())
            written.seeds += 1
        for sample in samples:
            texts = sample.texts()
            found = [text_digest(text) for text in texts]
            _write_row(dataset, sample.to_json())
            _write_row(queries, {"_id": sample.id, "text": sample.text})
            sentences.writelines(text + "\n" for text in texts)
            # A sentence without paraphrases is no query, having no answer, but belongs in the corpus.
            begin = 1 if sample.paraphrases else 0
            for text, digest in zip(texts[begin:], found[begin:], strict=True):
                if digest not in documents:
                    documents.add(digest)
                    _write_row(corpus, {"_id": document_id(digest), "title": "", "text": text})
            ids.append(sample.id)
            groups.append(sample.group)
            digests.extend(found)
            texts_of.append(len(found))
            paraphrases_of.append(len(sample.paraphrases))
            written.add(sample)
            if len(written.first) < keep_first:
                written.first.append(sample)
            if len(compared) < MOST_NEAR_CHECKED and compared_of[sample.group] < MOST_NEAR_CHECKED_PER_GROUP:
                compared.extend((sample.group, text) for text in texts)
                compared_of[sample.group] += len(texts)
            on_sample()
    if not ids:
        raise DataError("there is no sentence to write")
    del documents
    sizes = np.array(texts_of, dtype=np.int64)
    written.groups = len(set(groups))
    written.closed = close_groups(groups, np.array(digests, dtype=np.uint64), sizes, compared, threshold)
    rows_of = dict(
        zip(SPLITS, split_groups(written.closed.names, seed=seed, validation=validation, test=test), strict=True)
    )
    written.splits = {name: len(rows) for name, rows in rows_of.items()}
    with _create(folder / SPLIT) as file:
        file.write(json.dumps({name: [ids[row] for row in rows] for name, rows in rows_of.items()}, ensure_ascii=False))
        file.write("\n")
    starts = np.cumsum(sizes) - sizes
    (folder / "qrels").mkdir()
    for name, rows in rows_of.items():
        with _create(folder / "qrels" / f"{name}.tsv") as file:
            file.write("query-id\tcorpus-id\tscore\n")
            for row in rows:
                begin = int(starts[row]) + 1
                _write_qrels(file, ids[row], digests[begin : begin + paraphrases_of[row]])
    return written


def text_digest(text: str) -> int:
    """A 64-bit digest, equal for equal normalised texts."""
    return int.from_bytes(digest_of(text), "big")


def document_id(digest: int) -> str:
    """A text's id in the corpus, derived from the text, so that equal texts are one document."""
    return f"d{digest:016x}"


def _write_qrels(file: IO[str], query_id: str, digests: Sequence[int]) -> None:
    for digest in dict.fromkeys(digests):
        file.write(f"{query_id}\t{document_id(digest)}\t1\n")


def _create(path: Path) -> IO[str]:
    # "\n" everywhere: the same bytes on every platform
    return path.open("w", encoding="utf-8", newline="\n")


def _write_row(file: IO[str], row: dict[str, Any]) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
