"""What an index of codes costs and what is still found in it, by the teacher's own queries and by aligned ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.codes.kinds import Asked, Code, check_dims, make_code
from alignkit.codes.search import RESCORED, rescore, search_codes
from alignkit.evaluation.aligning import align
from alignkit.evaluation.columns import Column
from alignkit.evaluation.evidence import query_groups
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.heads.base import Head
from alignkit.metrics.intervals import RESAMPLES, Interval, PairedBootstrap
from alignkit.metrics.retrieval import ndcg_at_k, ranking_overlap
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import l2_normalize, top_k

DEPTH = 10
# overlap is with the teacher's ten nearest texts in float32 with all dimensions
MEASURES = (Column.OVERLAP_10, Column.NDCG_10)
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class Index:
    """One way to store the teacher's vectors.

    Attributes:
        code: `float32`, `float16`, `int8` or `binary`.
        dims: leading dimensions that are stored.
        rescored_by: by which code the first hits are ordered once more, with float queries; `None` for no rescoring.
        bytes_a_text: in the index that is searched; what a rescoring by another code reads from disk is not in it.
    """

    code: str
    dims: int
    rescored_by: str | None
    bytes_a_text: int

    @property
    def name(self) -> str:
        """For the table."""
        rescored = {None: "", self.code: ", rescored"}.get(self.rescored_by, f", rescored by {self.rescored_by}")
        return f"{self.code} {self.dims}{rescored}"


@dataclass(frozen=True)
class Found:
    """A mean over queries, with 95% intervals from the same draws for all rows; `None` where it is undefined.

    Attributes:
        mean: the figure.
        difference: from that of the same queries in float32 with all dimensions.
        share: of it.
    """

    mean: Interval | None
    difference: Interval | None
    share: Interval | None


@dataclass(frozen=True)
class CodeRow:
    """What is found in one index.

    Attributes:
        index: how the teacher's vectors are stored.
        found: measure → queries → figure. `ndcg@10` is missing where nothing is judged. Queries are the teacher's and
            the product's.
    """

    index: Index
    found: Mapping[Column, Mapping[RowName, Found]]

    @property
    def asking(self) -> tuple[RowName, ...]:
        """The rows of the table whose queries search every index."""
        return tuple(self.found[Column.OVERLAP_10])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        plain = {
            kind: {
                measure.value: {asking.value: _json(getattr(one, name)) for asking, one in found.items()}
                for measure, found in self.found.items()
            }
            for kind, name in {"intervals": "mean", "differences": "difference", "shares": "share"}.items()
        }
        means = plain["intervals"]
        values = {
            name: {asking.value: (means.get(measure, {}).get(asking) or {}).get("value") for asking in self.asking}
            for name, measure in zip(("overlap", "ndcg"), MEASURES, strict=True)
        }
        return {**vars(self.index), **values, **plain}


def code_table(
    test: EvaluationSet, head: Head, asked: Asked, *, seed: int = 0, resamples: int = RESAMPLES,
    product: Product = HEAD_ALONE,
) -> tuple[CodeRow, ...]:  # fmt: skip
    """Search the teacher's corpus in every code that was asked for, and in float32 to compare with.

    Args:
        test: its corpus is encoded a block at a time; int8's ranges are the corpus' own.
        head: makes the aligned queries.
        asked: kinds and widths.
        seed: of the bootstrap.
        resamples: of the bootstrap; related queries are drawn together, as for the other tables.
        product: which row the aligned queries are.

    Returns:
        One row for each index; the first is float32 with all dimensions.

    Raises:
        ConfigError: if a width is larger than the teacher's.
    """
    check_dims(asked.dims, test.corpus.teacher.shape[1])
    queries = {
        RowName.TEACHER: np.asarray(test.queries.teacher),
        product.row: l2_normalize(align(head, test.queries.student)).numpy(),
    }
    wanted = top_k(queries[RowName.TEACHER], test.corpus.teacher, DEPTH, exclude=test.itself)[1].numpy()
    indexes: list[Index] = []
    figures: dict[Column, dict[str, np.ndarray]] = {}
    for index, found in _searched(test, np.concatenate(list(queries.values())), asked):
        indexes.append(index)
        for name, hits in zip(queries, np.split(found[:, :DEPTH], len(queries)), strict=True):
            judged = test.judge(hits)
            told = {Column.OVERLAP_10: ranking_overlap(hits, wanted, DEPTH)}
            if judged is not None and (judged.relevant > 0).any():
                told[Column.NDCG_10] = ndcg_at_k(judged, DEPTH)
            for measure, values in told.items():
                figures.setdefault(measure, {})[_column(index, name)] = values
    groups = query_groups(test)
    bootstraps = {
        measure: PairedBootstrap(columns, groups, seed=seed, resamples=resamples)
        for measure, columns in figures.items()
    }
    return tuple(
        CodeRow(
            index,
            {
                measure: {name: _found(bootstrap, index, indexes[0], name) for name in queries}
                for measure, bootstrap in bootstraps.items()
            },
        )
        for index in indexes
    )


def _searched(test: EvaluationSet, queries: np.ndarray, asked: Asked) -> Iterator[tuple[Index, np.ndarray]]:
    """Every index and what is found in it, by the queries of all that ask one below the other."""
    corpus = test.corpus.teacher
    itself = np.tile(test.itself, len(queries) // len(test.itself))
    for dims in dict.fromkeys((corpus.shape[1], *asked.dims)):
        codes = [make_code(kind, dims, _blocks(corpus)) for kind in dict.fromkeys(("float32", *asked.kinds))]
        for code in codes:
            depth = DEPTH if code.name.startswith("float") else DEPTH * RESCORED
            found = search_codes(queries, corpus, code, depth, exclude=itself)
            yield _index(code, None), found
            for better in codes if depth > DEPTH else ():
                if better is code or (code.name, better.name) == ("binary", "int8"):
                    yield _index(code, better), rescore(queries, corpus, better, found, DEPTH)


def _index(code: Code, better: Code | None) -> Index:
    return Index(code.name, code.dims, better.name if better else None, code.width * code.dtype.itemsize)


def _column(index: Index, name: RowName) -> str:
    return f"{name.value} in {index.name}"


def _found(bootstrap: PairedBootstrap[str], index: Index, whole: Index, name: RowName) -> Found:
    own, rival = _column(index, name), _column(whole, name)
    return Found(bootstrap.mean(own), bootstrap.difference(own, rival), bootstrap.ratio(own, rival))


def _json(interval: Interval | None) -> dict[str, float] | None:
    return interval.to_json() if interval else None


def _blocks(corpus: np.ndarray) -> Iterator[np.ndarray]:
    return (corpus[start : start + BLOCK_ROWS] for start in range(0, len(corpus), BLOCK_ROWS))
