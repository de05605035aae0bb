"""The move itself: applies the head block by block; the new file appears complete, or the move can be resumed."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from filelock import FileLock, Timeout

from alignkit.artifact import Artifact
from alignkit.codes.kinds import Int8Code
from alignkit.embedders.base import Role
from alignkit.errors import AlignkitError, ArtifactError, ConfigError, DataError
from alignkit.files import move as rename
from alignkit.files import write_whole
from alignkit.migration.array_parts import fill_by_parts, forget_parts, parts_folder
from alignkit.migration.new_rows import BLOCK_BYTES, align_rows, find_ranges, verify
from alignkit.migration.planned_move import Move, array_header, check_room, plan
from alignkit.migration.sending import made_at, send, sent_before
from alignkit.migration.sources import ParquetSource, open_source
from alignkit.object_storage.located import located
from alignkit.workers.base import Engine
from alignkit.workers.local import LocalEngine
from alignkit.workers.running import Progress as WorkersProgress

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

logger = logging.getLogger(__name__)

# at most this much is lost in a crash; each commit waits for the disk once
COMMIT_BYTES = 512 * 1024 * 1024


Progress = Callable[[int, int], None]


def migrate(
    vectors: str | Place,
    artifact: Artifact,
    out: str | Place,
    key: str | None = None,
    dtype: str | None = None,
    role: Role = "document",
    progress: Progress = lambda done, rows: None,
    codes: str | None = None,
    engine: Engine | None = None,
    note: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """Move an index that the head's student built into the teacher's space; row order, ids and other columns are kept.

    Called again after an interruption, it resumes. A new index in object storage is made on this disk first. Zero rows
    stay zero, since they have no direction.

    Args:
        vectors: the index, `.npy`, `.npz`, `.safetensors` or `.parquet`, on a disk or in object storage.
        artifact: the head.
        out: `.npy`, or `.parquet` for a table.
        key: which array of an archive, or which column of a table.
        dtype: `float16` or `float32`; None keeps the index's own (float32 for float64).
        role: of the rows: an index holds documents, for which some heads have a separate part.
        progress: called with the rows done and the total.
        codes: `int8` or `binary`, with fewer dimensions as in `int8,dims=256`; replaces `dtype`. The ranges of int8
            are written beside `out`, as `<name>.ranges.npy`.
        engine: whose workers do it in parts; None moves row after row in this process.
        note: told how fast the workers are.

    Returns:
        The manifest that is written beside `out`.

    Raises:
        ConfigError: if `out` exists and was made from something else, or an argument is wrong.
        DataError: if the index is damaged, or its width differs from the head's student.
        ArtifactError: if the written vectors do not match the head's output.
        AlignkitError: if a file cannot be read or written, on a full disk for instance; finished work is kept.
    """
    place = located(out)
    move = plan(open_source(vectors, key), artifact, made_at(place), dtype, role, codes)
    if (sent := sent_before(place)) is not None:
        return _made_from_this(move, sent, place)
    try:
        with _alone(move):
            if move.out.exists():
                manifest = _made_from_this(move, _read(move.manifest), move.out)
                # left over if the last move was killed after all was done
                _remove(move.part, move.state)
                forget_parts(move, place)
            else:
                manifest = _move(move, place, progress, engine, note)
        send(move.out, place)
        return manifest
    except OSError as error:
        raise AlignkitError(
            f"{move.source.path} could not be moved to {move.out} ({error.strerror or error}); fix that and run the "
            "same command again; it continues from what is done"
        ) from None


@contextmanager
def _alone(move: Move) -> Iterator[None]:
    """Keep a second process off the same part; the lock is released if its holder dies."""
    move.out.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(move.lock, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"another process is moving an index to {move.out}; wait for it, or choose another out="
        ) from None
    try:
        yield
    finally:
        # without a part there is nothing to lock
        if not move.part.exists() and not parts_folder(move).exists():
            _remove(move.lock)
        lock.release()


def _move(
    move: Move, place: Place, progress: Progress, engine: Engine | None, note: Callable[[str], None]
) -> dict[str, Any]:
    move = _calibrated(move)
    if engine is None and parts_folder(move).exists():
        engine = LocalEngine()  # it goes on with what workers have done
    if engine is None:
        zero_rows = _fill_part(move, progress)
    else:

        def on_parts(now: WorkersProgress) -> None:
            note(now.note())
            progress(now.done, now.size)

        zero_rows = fill_by_parts(move, place, engine, on_parts)
    try:
        verification = verify(move)
    except ArtifactError:
        # otherwise every further attempt would find the same part
        _remove(move.part, move.state, move.ranges)
        forget_parts(move, place)
        raise
    manifest = {**move.ticket, "rows": move.source.rows, "zero_rows": zero_rows, "verification": verification}
    # written before the file appears: without a manifest, not even a retry could tell what the file was made from
    write_whole(move.manifest, json.dumps(manifest, indent=2, ensure_ascii=False))
    _finish(move)
    _remove(move.state)
    forget_parts(move, place)
    return manifest


def _calibrated(move: Move) -> Move:
    """The move with its int8 ranges: those it began with, or ones found on an evenly spaced sample of new vectors."""
    if not isinstance(move.code, Int8Code):
        return move
    begun = move.ranges.exists() and (_read(move.state) or {}).get("ticket") == move.ticket
    if begun:
        ranges = np.load(move.ranges, allow_pickle=False)
    else:
        ranges = find_ranges(move)
        buffer = io.BytesIO()
        np.save(buffer, ranges)
        write_whole(move.ranges, buffer.getvalue())
    return replace(move, code=Int8Code(ranges))


def _made_from_this(move: Move, manifest: dict[str, Any] | None, out: Place) -> dict[str, Any]:
    """The manifest of what is there already, if it is what this move would make."""
    different = [name for name, value in move.ticket.items() if manifest is None or manifest.get(name) != value]
    if manifest is None or different:
        told = f" ({', '.join(different)} differ)" if manifest else ""
        raise ConfigError(
            f"{out} exists and was not made from this index with this head{told}; choose another out= or move it away"
        )
    logger.info("%s is there already, made from this index with this head", out)
    return manifest


def _fill_part(move: Move, progress: Progress) -> int:
    """Write the remaining rows of the part; returns how many rows are zero."""
    done, zero_rows = _progress_so_far(move)
    check_room(move, done)
    header = array_header(move)
    rows = max(1, BLOCK_BYTES // (4 * max(move.source.dim, move.head.teacher_dim)))
    uncommitted = 0
    with move.part.open("r+b" if done else "wb") as file:
        if not done:
            file.write(header)
        file.seek(len(header) + done * move.width_bytes)
        # there may be an incomplete block after the last commit
        file.truncate()
        progress(done, move.source.rows)
        for block in move.source.blocks(done, rows):
            aligned, zeros = align_rows(move, block, done)
            stored = np.ascontiguousarray(move.code.encode(aligned))
            file.write(stored.data)
            done += len(block)
            zero_rows += zeros
            uncommitted += stored.nbytes
            if uncommitted >= COMMIT_BYTES:
                _commit(move, file, done, zero_rows)
                uncommitted = 0
            progress(done, move.source.rows)
        _commit(move, file, done, zero_rows)
    if done != move.source.rows:
        raise DataError(
            f"{move.source.path}: announced {move.source.rows} rows but holds {done}; is something still writing to it?"
        )
    return zero_rows


def _progress_so_far(move: Move) -> tuple[int, int]:
    state = _read(move.state)
    if state is None or not move.part.exists() or state.get("ticket") != move.ticket:
        return 0, 0
    if move.part.stat().st_size < len(array_header(move)) + state["rows"] * move.width_bytes:
        return 0, 0
    logger.info("going on at row %d of %d", state["rows"], move.source.rows)
    return state["rows"], state["zero_rows"]


def _commit(move: Move, file: BinaryIO, rows: int, zero_rows: int) -> None:
    file.flush()
    os.fsync(file.fileno())
    write_whole(move.state, json.dumps({"ticket": move.ticket, "rows": rows, "zero_rows": zero_rows}))


def _finish(move: Move) -> None:
    if isinstance(move.source, ParquetSource):
        from alignkit.migration.parquet_table import write_table

        write_table(move.source, move.part, move.out)
        move.source.close()
        _remove(move.part)
    else:
        rename(move.part, move.out)


def _remove(*paths: Path) -> None:
    """Delete files no longer needed; a file in use (Windows) stays, which does no harm."""
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
