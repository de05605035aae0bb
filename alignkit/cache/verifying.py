"""Is every byte of a cache as it was written?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alignkit.cache.headers import ShardHeader
from alignkit.cache.index import ROW_BITS
from alignkit.cache.shards import Shard
from alignkit.cache.store import ShardStore
from alignkit.files import write_whole

BLOCK_ROWS = 50_000


@dataclass
class VerifyReport:
    """What a full check found.

    Attributes:
        rows: vectors whose checksum was read and holds.
        problems: one line each; empty if all is well.
    """

    rows: int = 0
    problems: list[str] = field(default_factory=list)


def verify(store: ShardStore, on_rows: Callable[[int], None] = lambda count: None) -> VerifyReport:
    """Read every header, record and vector, and compare the index with them.

    A damaged row is taken out of the index, so that it is never handed out and the next fill embeds its text again;
    a row that the index has lost is put back.

    Args:
        store: whose.
        on_rows: called with the number of rows that are read.
    """
    with store.upkeep():
        return _verify(store, on_rows)


def _verify(store: ShardStore, on_rows: Callable[[int], None]) -> VerifyReport:
    store.take_in()
    report = VerifyReport(problems=[f"index: {fault}; the next command rebuilds it" for fault in store.index.check()])
    known = {shard.name: shard for shard in store.index.shards()}
    shards, in_index = store.shards(), store.index.found_rows()
    folder = store.shard_folder
    damaged = []
    # a shard without vectors was begun and never used
    found = {path.stem for path in folder.glob("*.vectors") if path.stat().st_size}
    for name in sorted(known.keys() | found | {path.stem for path in folder.glob("*.json")}):
        fault = _header_fault(folder / f"{name}.json")
        if fault:
            report.problems.append(f"shard {name}: {fault}")
        if name in known:
            if fault and not store.why_read_only:
                write_whole(folder / f"{name}.json", known[name].header)
                report.problems[-1] += "; rewritten from the index"
            number = known[name].id
            damaged += _verify_rows(store, number, shards[number], in_index[number], report, on_rows)
    if damaged:  # all at once: the whole index is read for it
        store.index.drop_places(np.concatenate(damaged))
    return report


def _header_fault(path: Path) -> str | None:
    try:
        ShardHeader.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return f"its header {path.name} is gone"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its header {path.name} is damaged: {error}"
    return None


def _verify_rows(
    store: ShardStore, shard_id: int, shard: Shard, in_index: np.ndarray, report: VerifyReport,
    on_rows: Callable[[int], None],
) -> list[np.ndarray]:  # fmt: skip
    """Compare a shard with `in_index` `(rows,)`, which of its rows can be found; returns the damaged ones' places."""
    name, damaged = f"shard {shard.name} ({shard.header.identity.get('model', '?')})", []
    for start in range(0, len(in_index), BLOCK_ROWS):
        wanted = in_index[start : start + BLOCK_ROWS]
        keys, intact = shard.intact_rows(start, start + len(wanted))
        on_rows(len(wanted))
        report.rows += int((intact & wanted).sum())
        bad = start + np.flatnonzero(wanted & ~intact)
        report.problems += [
            f"{name}: row {row} is damaged; its text will be embedded again" for row in bad[:5].tolist()
        ]
        if len(bad) > 5:
            report.problems.append(f"{name}: {len(bad) - 5} more rows are damaged")
        if len(bad):
            damaged.append(bad + (shard_id << ROW_BITS))
        lost = np.flatnonzero(intact)
        lost = lost[store.locate(keys[lost]) < 0]
        if len(lost):
            misfiled = start + lost[wanted[lost]]
            store.index.drop_places(misfiled + (shard_id << ROW_BITS))
            report.problems.append(f"{name}: the index had lost {len(lost)} rows; put back")
            store.index.add(shard_id, keys[lost], lost + start, start + len(wanted))
    return damaged
