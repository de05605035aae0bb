"""Users' files of vectors, `.npy`, `.npz` and `.safetensors`: memory-mapped, checked, never unpickled."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.errors import DataError
from alignkit.file_kinds import is_text, real_format
from alignkit.object_storage.copies_here import on_disk
from alignkit.object_storage.located import located, state_of
from alignkit.object_storage.rows_there import RowsThere

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

# what `real_format` returns for a file whose content matches its suffix
_KINDS = {
    ".npy": "a NumPy array (.npy)",
    ".npz": "a NumPy archive (.npz)",
    ".safetensors": "a safetensors file (.safetensors)",
}
EXTENSIONS = tuple(_KINDS)
DTYPES = ("float16", "float32", "float64")
_CHECK_ELEMENTS = 4 * 1024 * 1024


def open_vectors(path: str | Place, key: str | None = None) -> np.ndarray:
    """Open a file of vectors without reading it (only an `.npz` is read, since it may be compressed).

    Args:
        path: `.npy`, `.npz` or `.safetensors`; `~` is the home folder. One in object storage, such as
            `s3://bucket/old.npy`, is copied to this machine first.
        key: which array of an `.npz` or `.safetensors`; optional if there is only one.

    Returns:
        `(N, D)` float16, float32 or float64, read-only.

    Raises:
        DataError: if the file is missing, empty, of another format, or holds something else; the message names it.
    """
    path = located(path)
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{path}: expected one of {', '.join(EXTENSIONS)}, got '{path.suffix}'")
    if not isinstance(path, Path):
        copy = on_disk(path)
        try:
            return open_vectors(copy, key)
        except DataError as error:
            raise DataError(str(error).replace(str(copy), str(path))) from None
    if not path.is_file():
        raise DataError(f"{path}: {'expected a file, but it is a folder' if path.is_dir() else 'no such file'}")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty")
    _check_kind(path)
    opener = {".npy": _open_npy, ".npz": _open_npz, ".safetensors": _open_safetensors}[path.suffix.lower()]
    vectors = opener(path, key)
    _check_shape(path, vectors)
    return vectors


def open_rows(path: str | Place, key: str | None = None) -> np.ndarray | RowsThere:
    """As `open_vectors`, for who reads each row once: a `.npy` in object storage is read by ranges, without a copy.

    Raises:
        DataError: as `open_vectors`.
    """
    place = located(path)
    if isinstance(place, Path) or place.suffix.lower() != ".npy":
        return open_vectors(place, key)
    if state_of(place)["size_bytes"] == 0:
        raise DataError(f"{place}: the file is empty")
    _check_kind(place)
    try:
        rows = RowsThere(place)
    except ValueError as error:
        raise DataError(f"{place}: not a readable .npy array ({_why(error)}); {_HOW_TO_SAVE}") from None
    _check_shape(place, rows)
    # whose rows lie apart
    return open_vectors(place, key) if rows.by_columns else rows


def _check_shape(path: Place, vectors: np.ndarray | RowsThere) -> None:
    """Refuse an array that holds no vectors."""
    if vectors.dtype.name not in DTYPES or not vectors.dtype.isnative:
        raise DataError(f"{path}: expected {', '.join(DTYPES)}, got {_described(vectors.dtype)}; save it as float32")
    if vectors.ndim != 2:
        raise DataError(f"{path}: expected a 2-D array (rows, dimensions), got shape {vectors.shape}")
    if 0 in vectors.shape:
        raise DataError(f"{path}: holds no vectors, its shape is {vectors.shape}")


def chosen_array(path: str | Place, key: str | None = None) -> str | None:
    """Which array of a file `open_vectors` takes: its name in an archive, None for a `.npy`.

    Raises:
        DataError: as `open_vectors`.
    """
    place = located(path)
    _check_kind(place)
    if place.suffix.lower() == ".npy":
        return None
    path = on_disk(place)
    if path.suffix.lower() == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                return _choose(path, [name.removesuffix(".npy") for name in archive.namelist()], key)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not a readable .npz archive ({_why(error)}); {_HOW_TO_SAVE}") from None
    if path.suffix.lower() == ".safetensors":
        try:
            return _choose(path, list(_safetensors_header(path)[0]), key)
        except (ValueError, TypeError, AttributeError, OSError) as error:
            raise DataError(f"{path}: not a readable .safetensors file ({_why(error)}); {_HOW_TO_SAVE}") from None
    return None


class MappedRows:
    """Some rows of a memory-mapped array, read only on access; behaves like an array of those rows.

    Args:
        array: `(N, D)`.
        rows: `(M,)` int64.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array, self.rows = array, rows
        self.shape = (len(rows), array.shape[1])
        self.dtype = array.dtype
        self.ndim = 2

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: np.ndarray) -> MappedRows:
        """Rows of these rows, which are rows of the same array."""
        return MappedRows(self.array, self.rows[rows])

    def __getitem__(self, at: slice | np.ndarray | int) -> np.ndarray:
        return np.asarray(self.array[self.rows[at]])

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def check_vectors(vectors: np.ndarray, name: str | Path) -> None:
    """Read all vectors once, in blocks, and refuse values that no model produces.

    Args:
        vectors: `(N, D)`.
        name: of the file, for the message.

    Raises:
        DataError: for NaN or Inf (which row first) and zero vectors (how many, which first).
    """
    import torch  # on all cores, and float16 many times as fast as NumPy; who only opens files does not load it

    from alignkit.corpus_blocks import let_go, only_read

    zeros: list[int] = []
    block = max(1, _CHECK_ELEMENTS // vectors.shape[1])
    for start in range(0, len(vectors), block):
        part = np.asarray(vectors[start : start + block])
        rows = only_read(part)
        # a row's largest magnitude tells of all three at once
        peaks = torch.maximum(rows.amax(dim=1), -rows.amin(dim=1)).numpy()
        let_go(vectors)
        broken = np.flatnonzero(~np.isfinite(peaks))
        if len(broken):
            row = int(broken[0])
            value = part[row][~np.isfinite(part[row])][0]
            raise DataError(f"{name}: row {start + row} holds {value}; embed that sentence again or drop the pair")
        zeros.extend((start + np.flatnonzero(peaks == 0)).tolist())
    if zeros:
        raise DataError(
            f"{name}: {len(zeros)} zero vectors, the first in row {zeros[0]}; drop those pairs, a zero has no direction"
        )


def _check_kind(path: Place) -> None:
    """Refuse a file whose content does not match its suffix, naming its real format."""
    expected = _KINDS.get(path.suffix.lower())
    try:
        found = real_format(path) or ("text" if is_text(path) else None)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if found is None and path.suffix.lower() == ".npy":
        found = "something else, such as bare numbers without the header that numpy.save writes"
    if expected is None or found in (None, expected):
        return
    ending = next((ending for ending, kind in _KINDS.items() if kind == found), None)
    fix = f"; rename it to {path.with_suffix(ending).name}" if ending else ""
    raise DataError(f"{path}: expected {expected}, but it is {found}{fix}")


def _described(dtype: np.dtype) -> str:
    if dtype.kind == "V" and dtype.names is None:
        return f"raw bytes of {dtype.itemsize} ({'bfloat16' if dtype.itemsize == 2 else 'float8'}?)"
    return dtype.name if dtype.isnative else f"{dtype.name} of the other byte order"


def _open_npy(path: Path, key: str | None) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npy array ({_why(error)}); {_HOW_TO_SAVE}") from None


def _open_npz(path: Path, key: str | None) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return archive[_choose(path, list(archive.files), key)]
    # the last two: an unsupported compression method, a password
    except (
        ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
    ) as error:  # fmt: skip
        raise DataError(f"{path}: not a readable .npz archive ({_why(error)}); {_HOW_TO_SAVE}") from None


def _open_safetensors(path: Path, key: str | None) -> np.ndarray:
    # raw arrays follow the header, so one can be mapped without a copy
    try:
        header, start = _safetensors_header(path)
        entry = header[_choose(path, list(header), key)]
        dtype = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}.get(entry["dtype"])
        if dtype is None:
            raise DataError(f"{path}: expected {', '.join(DTYPES)}, got {entry['dtype']}; save it as float32")
        offset = start + entry["data_offsets"][0]
        return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=tuple(entry["shape"]))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise DataError(f"{path}: not a readable .safetensors file ({_why(error)}); {_HOW_TO_SAVE}") from None


def _safetensors_header(path: Path) -> tuple[dict[str, Any], int]:
    """The arrays' descriptions by name, and where their bytes begin: after 8 bytes of length and a JSON header.

    Parsed here because the library does not expose an array's offset in the file: its slices are copies, while a
    mapped array of any size costs no memory and gives rows in any order.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    return header, 8 + length


_HOW_TO_SAVE = "write it with numpy.save(path, vectors)"


def _choose(path: Path, keys: list[str], key: str | None) -> str:
    if not keys:
        raise DataError(f"{path}: holds no array")
    if key is None and len(keys) == 1:
        return keys[0]
    if key not in keys:
        got = "no key" if key is None else f"'{key}'"
        raise DataError(f"{path}: holds the arrays {', '.join(sorted(keys))}; expected one of them as key, got {got}")
    return key


def _why(error: Exception) -> str:
    """A library's message in one line; the two least informative ones are reworded."""
    words = (str(error).splitlines() or [type(error).__name__])[0]
    if "bject" in words and ("allow_pickle" in words or "memory-mapped" in words):
        return "it holds Python objects, which are never unpickled, since that could run code"
    return "it is cut short" if "mmap length" in words else words
