"""What is moved where, decided and checked before the first row."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignkit import __version__
from alignkit.aligned import head_for
from alignkit.artifact import Artifact
from alignkit.codes.kinds import Code, FloatCode, check_dims, make_code, parse_codes
from alignkit.embedders.base import Role
from alignkit.errors import ConfigError, DataError
from alignkit.heads.base import Head
from alignkit.migration.sources import PARQUET, ParquetSource, Source
from alignkit.object_storage.located import state_of
from alignkit.setting_rules import check, one_of

DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class Move:
    """A planned move.

    Attributes:
        source: the old index.
        head: applied to each row.
        out: `.npy`, or `.parquet` for a table.
        code: how the new vectors are stored. Its ranges are found when the move begins, see `moving`.
        ticket: what must be unchanged for an unfinished move to be resumed.
    """

    source: Source
    head: Head
    out: Path
    code: Code
    ticket: dict[str, Any]

    @property
    def part(self) -> Path:
        """File of the raw new vectors, until the move is complete."""
        return self.out.with_name(self.out.name + ".part")

    @property
    def state(self) -> Path:
        """File beside the part that records its progress."""
        return self.out.with_name(self.out.name + ".part.json")

    @property
    def lock(self) -> Path:
        """Lock file of the process that writes the part; removed once the finished file exists."""
        return self.out.with_name(self.out.name + ".lock")

    @property
    def manifest(self) -> Path:
        """File beside the finished one that records what was done."""
        return self.out.with_name(self.out.name + ".json")

    @property
    def width_bytes(self) -> int:
        """Width of one new row, in bytes."""
        return self.code.width * self.code.dtype.itemsize

    @property
    def ranges(self) -> Path:
        """File of the int8 ranges, beside the finished one, as `quantize_embeddings` takes them."""
        return self.out.with_name(self.out.stem + ".ranges.npy")


def plan(
    source: Source, artifact: Artifact, out: Path, dtype: str | None, role: Role, codes: str | None = None
) -> Move:
    """Plan a move, with the ticket that must match for it to be resumed.

    Raises:
        ConfigError: if the name or the type of the new vectors is wrong.
        DataError: if the width of the old vectors differs from the head's input.
    """
    head = head_for(artifact, role)
    student = (artifact.student_identity or {}).get("model", "the head's student")
    if source.dim != head.student_dim:
        raise DataError(
            f"{source.path}: holds {source.dim}-d vectors, this head takes {head.student_dim}-d ones of {student}; "
            "the old index must come from the head's own student model"
        )
    suffix = PARQUET if isinstance(source, ParquetSource) else ".npy"
    if out.suffix.lower() != suffix:
        raise ConfigError(
            f"out={out.name}: expected a name that ends in {suffix}, as {source.path.name} is written to it"
        )
    code = _code(source, head, dtype, codes)
    ticket = {
        "alignkit_version": __version__,
        "vectors": {"name": source.path.name, **state_of(source.path)},
        "key": source.key,
        "head_sha256": artifact.digest(),
        "student_identity": artifact.student_identity,
        "teacher_identity": artifact.teacher_identity,
        "role": role,
        "dtype": code.dtype.name,
        "dim": head.teacher_dim,
    }
    if codes is not None:  # a move begun by an older version has no such entry
        ticket |= {"codes": code.name, "code_dims": code.dims, "code_bytes": code.width * code.dtype.itemsize}
    return Move(source, head, out, code, ticket)


def _code(source: Source, head: Head, dtype: str | None, codes: str | None) -> Code:
    """How the new vectors are stored, from either setting."""
    if codes is None:
        dtype = dtype or ("float16" if source.dtype == np.float16 else "float32")
        check({"dtype": dtype}, {"dtype": one_of(DTYPES)})
        return FloatCode(head.teacher_dim, dtype)
    asked = parse_codes(codes)
    if len(asked.kinds) > 1 or len(asked.dims) > 1:
        raise ConfigError(f"codes={codes}: an index holds one kind of code; expected for example int8,dims=256")
    if dtype is not None:
        raise ConfigError(f"dtype={dtype} and codes={codes}: both say how vectors are stored; leave dtype out")
    check_dims(asked.dims, head.teacher_dim)
    dims = asked.dims[0] if asked.dims else head.teacher_dim
    kind = asked.kinds[0] if asked.kinds else "float32"
    return make_code(kind, dims, [np.zeros((1, head.teacher_dim), np.float32)])


def check_room(move: Move, done: int, copies: int = 1) -> None:
    """Refuse a move that does not fit on the disk.

    Args:
        move: that is planned.
        done: rows that are written already.
        copies: of the new vectors that lie there at the same time, a finished table not counted.

    Raises:
        ConfigError: if there is too little free space.
    """
    folder = move.out.parent
    while not folder.exists():
        folder = folder.parent
    copies += isinstance(move.source, ParquetSource)
    needed = (copies * move.source.rows - done) * move.width_bytes
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigError(f"{move.out}: needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free there")


def array_header(move: Move) -> bytes:
    """The header of a `.npy` with all the new vectors."""
    buffer = io.BytesIO()
    shape = (move.source.rows, move.code.width)
    described = {"descr": np.lib.format.dtype_to_descr(move.code.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()
