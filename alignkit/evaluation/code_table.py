"""What an index of codes costs and what is still found in it, by the teacher's own queries and by aligned ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from alignkit.codes.kinds import Asked, Code, check_dims, make_code
from alignkit.codes.search import RESCORED, rescore, search_codes
from alignkit.evaluation.aligning import align
from alignkit.evaluation.table_rows import RowName
from alignkit.heads.base import Head
from alignkit.metrics.retrieval import ndcg_at_k, ranking_overlap
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.vectors import l2_normalize, top_k

DEPTH = 10
# rows of the table whose queries search every index
ASKING = (RowName.TEACHER, RowName.ALIGNED)
BLOCK_ROWS = 4096


@dataclass(frozen=True)
class CodeRow:
    """One way to store the teacher's index.

    Attributes:
        code: `float32`, `float16`, `int8` or `binary`.
        dims: leading dimensions that are stored.
        rescored_by: by which code the first hits are ordered once more, with float queries; `None` for no rescoring.
        bytes_a_text: in the index that is searched; what a rescoring by another code reads from disk is not in it.
        overlap: queries → mean share of the teacher's ten nearest texts (float32, all dimensions) among the ten found.
        ndcg: queries → mean nDCG@10, `None` where nothing is judged. Queries are those of `ASKING`.
    """

    code: str
    dims: int
    rescored_by: str | None
    bytes_a_text: int
    overlap: Mapping[RowName, float]
    ndcg: Mapping[RowName, float | None]

    @property
    def name(self) -> str:
        """For the table."""
        rescored = {None: "", self.code: ", rescored"}.get(self.rescored_by, f", rescored by {self.rescored_by}")
        return f"{self.code} {self.dims}{rescored}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @property
    def is_judged(self) -> bool:
        """Whether there is an nDCG."""
        return all(value is not None for value in self.ndcg.values())


def code_table(test: EvaluationSet, head: Head, asked: Asked) -> tuple[CodeRow, ...]:
    """Search the teacher's corpus in every code that was asked for, and in float32 to compare with.

    Args:
        test: its corpus is encoded a block at a time; int8's ranges are the corpus' own.
        head: makes the aligned queries.
        asked: kinds and widths.

    Raises:
        ConfigError: if a width is larger than the teacher's.
    """
    corpus = test.corpus.teacher
    check_dims(asked.dims, corpus.shape[1])
    queries = {
        RowName.TEACHER: np.asarray(test.queries.teacher),
        RowName.ALIGNED: l2_normalize(align(head, test.queries.student)).numpy(),
    }
    wanted = top_k(queries[RowName.TEACHER], corpus, DEPTH, exclude=test.itself)[1].numpy()
    together = np.concatenate(list(queries.values()))
    itself = np.concatenate([test.itself] * len(queries))
    rows = []
    for dims in dict.fromkeys((corpus.shape[1], *asked.dims)):
        codes = [make_code(kind, dims, _blocks(corpus)) for kind in dict.fromkeys(("float32", *asked.kinds))]
        for code in codes:
            depth = DEPTH if code.name.startswith("float") else DEPTH * RESCORED
            found = search_codes(together, corpus, code, depth, exclude=itself)
            rows.append(_row(test, queries, wanted, code, None, found))
            for better in codes if depth > DEPTH else ():
                if better is code or (code.name, better.name) == ("binary", "int8"):
                    again = rescore(together, corpus, better, found, DEPTH)
                    rows.append(_row(test, queries, wanted, code, better, again))
    return tuple(rows)


def _row(
    test: EvaluationSet,
    queries: Mapping[RowName, np.ndarray],
    wanted: np.ndarray,
    code: Code,
    better: Code | None,
    found: np.ndarray,
) -> CodeRow:
    parts = dict(zip(queries, np.split(found[:, :DEPTH], len(queries)), strict=True))
    judged = {name: test.judge(hits) for name, hits in parts.items()}
    return CodeRow(
        code=code.name,
        dims=code.dims,
        rescored_by=better.name if better else None,
        bytes_a_text=code.width * code.dtype.itemsize,
        overlap={name: float(np.nanmean(ranking_overlap(hits, wanted, DEPTH))) for name, hits in parts.items()},
        ndcg={name: None if own is None else float(np.nanmean(ndcg_at_k(own, DEPTH))) for name, own in judged.items()},
    )


def _blocks(corpus: np.ndarray) -> Iterator[np.ndarray]:
    return (corpus[start : start + BLOCK_ROWS] for start in range(0, len(corpus), BLOCK_ROWS))
