"""Makes a student out of a teacher and texts: a vocabulary, the teacher's vectors of its entries, a closed form."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.token_table import TokenTable
from alignkit.errors import ConfigError, DataError
from alignkit.runs.table_report import TableReport
from alignkit.setting_rules import SEED, check, one_of, whole
from alignkit.shapes import check_shapes
from alignkit.tables.blocks import NAMES, TEACHER
from alignkit.tables.budget_curve import budget_curve
from alignkit.tables.entries import Entries
from alignkit.tables.fitting import fit_rows
from alignkit.tables.inside import shared_ids
from alignkit.tables.spelling import build_tokenizer
from alignkit.tables.writing import save_table

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# rarity weights a / (a + p): Arora, Liang and Ma, A Simple but Tough-to-Beat Baseline for Sentence Embeddings (2017)
RARITY = 1e-2
# the length of a byte's row, in that of an average entry
FAINT = 0.01
# the fit needs no more, and has them all in memory, with so many numbers of the teacher's vectors
MOST_TEXTS, MOST_ELEMENTS = 200_000, 150_000_000
# wider tables cost time and disk for nothing: the head makes the teacher's width out of so many columns
WIDEST = 512


def make_table(
    texts: Sequence[str],
    teacher: Embedder,
    cache_dir: str | Path,
    out: Path,
    *,
    vectors: np.ndarray | None = None,
    budget: int = 30_000,
    tables: Sequence[str] = (TEACHER,),
    role: Role = "document",
    seed: int = 0,
) -> TableReport:
    """Make a token table and save it as a folder that sentence-transformers, model2vec and `student=table` load.

    Args:
        texts: N training texts, and no others: what is tested must not be among them.
        teacher: asked for single words and pieces, through the cache.
        cache_dir: of the vector cache.
        out: the folder.
        vectors: `(N, D)`, the teacher's vectors of the texts. With them the rows are fitted to the texts in closed
            form; without them they stay the sources' columns side by side.
        budget: most texts that the teacher is asked for. Entries beyond it, the rarest, are spelled by shorter ones.
        tables: the sources: `teacher`, `input_embeddings`, `wordllama`, folders of token tables, or GGUF files.
        role: whose prompt the teacher uses.
        seed: of the sample of texts that is fitted, if there are more than 200,000; fewer of wide vectors.

    Raises:
        ConfigError: if a setting is wrong.
        DataError: if there are no texts, or the vectors are not theirs.
        AlignkitError: if the teacher, the cache or the disk fails.
    """
    check({"budget": budget, "seed": seed}, {"budget": whole(1), "seed": SEED})
    sources = _checked(tables)
    if not len(texts):
        raise DataError("a table is made out of texts, and there are none")
    if vectors is not None:
        check_shapes(texts=(texts, "N"), vectors=(vectors, "N D"))
    started = time.perf_counter()
    found = Entries.of(texts, teacher, cache_dir, sources, budget, role)
    names, blocks = found.blocks()
    tokenizer = build_tokenizer(names, found.candidates.pattern)
    texts, wanted = _sample(texts, vectors, seed)
    table, fitted_on, known = _filled(blocks, tokenizer, shared_ids(names), texts, wanted)
    save_table(out, tokenizer, table.rows, fitted=fitted_on > 0)

    def smaller(most: int) -> TokenTable:
        names, blocks = found.blocks(most)
        fewer = build_tokenizer(names, found.candidates.pattern)
        return _filled(blocks, fewer, shared_ids(names), texts, wanted)[0]

    curve, judged_on = ((), 0) if wanted is None else budget_curve(table, smaller, found.asked, texts, wanted)
    return TableReport(
        folder=out,
        entries=len(names),
        words=found.candidates.words,
        width=table.rows.shape[1],
        asked=found.asked,
        calls=found.calls,
        wanted=found.wanted,
        fitted_on=fitted_on,
        known=known,
        tables=sources,
        seconds=time.perf_counter() - started - found.seconds,
        teacher_seconds=found.seconds,
        curve=curve,
        judged_on=judged_on,
    )


def _checked(tables: Sequence[str]) -> tuple[str, ...]:
    sources = (tables,) if isinstance(tables, str) else tuple(tables)
    if not sources or len(set(sources)) < len(sources):
        raise ConfigError(f"tables={list(sources)}: expected some of {', '.join(NAMES)}, or folders, each once")
    for source in sources:
        if source not in NAMES and not Path(source).expanduser().exists():
            check({"tables": source}, {"tables": one_of([*NAMES, "the folder of a token table", "a GGUF file"])})
    return sources


def _sample(texts: Sequence[str], vectors: np.ndarray | None, seed: int) -> tuple[Sequence[str], np.ndarray | None]:
    """The texts that a table is fitted to, and their vectors, of length 1 and no more than `WIDEST` numbers."""
    most = MOST_TEXTS if vectors is None else min(MOST_TEXTS, MOST_ELEMENTS // vectors.shape[1])
    some = np.arange(len(texts))
    if len(texts) > most:
        some = np.sort(np.random.default_rng(seed).choice(len(texts), most, replace=False))
        texts = [texts[row] for row in some.tolist()]
    if vectors is None:
        return texts, None
    wanted = np.array(vectors[some], dtype=np.float32)
    wanted /= np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-12)
    return texts, _narrow(wanted)


def _filled(
    blocks: list[np.ndarray],
    tokenizer: Tokenizer,
    shared: np.ndarray,
    texts: Sequence[str],
    wanted: np.ndarray | None,
) -> tuple[TokenTable, int, float]:
    """The table, with rows `(T, D)`, how many texts they were fitted to, and the share of tokens that are entries.

    The tokens are the unknown one, V entries and the bytes behind them.
    """
    from scipy.sparse import csr_array

    tokens, lengths = TokenTable(np.empty((0, 0)), tokenizer).tokens(texts)
    entries, size = len(shared), tokenizer.get_vocab_size()
    shared = np.append(shared, np.arange(entries, size))
    known = float((tokens < entries).mean()) if len(tokens) else 1.0
    tokens = shared[tokens]
    shape = (len(texts), size)
    counts = csr_array((np.ones(len(tokens), np.float32), tokens, np.append(0, np.cumsum(lengths))), shape=shape)
    counts.sum_duplicates()
    frequency = np.bincount(tokens, minlength=size) / max(len(tokens), 1)
    weights = (RARITY / (RARITY + frequency)).astype(np.float32)
    columns = []
    for block in blocks:
        weighted = np.zeros((size, block.shape[1]), dtype=np.float32)
        weighted[1:entries] = block * weights[1:entries, None]
        # every source has the same say
        length = float(np.linalg.norm(counts @ weighted, axis=1).mean())
        columns.append(weighted / max(length, 1e-12))
    rows = _narrow(np.concatenate(columns, axis=1))
    rows[entries:] = _faint(size - entries, rows[1:entries])
    rounds = 0
    if wanted is not None:
        rows, rounds = fit_rows(counts, rows, wanted)
        rows[0] = 0
    return TokenTable(rows[shared], tokenizer), len(texts) if rounds else 0, known


def _faint(count: int, rows: np.ndarray) -> np.ndarray:
    """Rows for bytes, of which no source knows anything: they count only where a text has nothing else."""
    length = FAINT * float(np.linalg.norm(rows, axis=1).mean())
    drawn = np.random.default_rng(0).standard_normal((count, rows.shape[1])).astype(np.float32)
    return drawn * (length / np.linalg.norm(drawn, axis=1, keepdims=True))


def _narrow(rows: np.ndarray) -> np.ndarray:
    """The same rows if they are narrow, else their first principal components."""
    if rows.shape[1] <= WIDEST:
        return rows
    values, axes = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    return rows @ axes[:, np.argsort(values)[::-1][:WIDEST]].astype(np.float32)
