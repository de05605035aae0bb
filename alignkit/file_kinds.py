"""What a file really is, whatever its name says: told from its first bytes, and of an archive from its list."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from alignkit.object_storage.located import read_range

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

_HEAD_BYTES = 512
# the first bytes of what people have under another ending
_SIGNATURES = (
    (b"\x93NUMPY", "a NumPy array (.npy)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"CDF", "a NetCDF file"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"GGUF", "a model in GGUF"),
    (b"MATLAB 5.0", "a MATLAB file"),
    (b"\x1f\x8b", "a gzip archive; unpack it"),
    (b"BZh", "a bzip2 archive; unpack it"),
    (b"\xfd7zXZ\x00", "an xz archive; unpack it"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    (b"Rar!", "a RAR archive; unpack it"),
    (b"%PDF", "a PDF"),
    (b"\xd0\xcf\x11\xe0", "an old Office file (.xls, .doc)"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"IxF", "a FAISS index"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with: git lfs pull"),
)
_TORCH_BEFORE_ZIP = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_NEVER_READ = "which is never read, since it could run code"


def real_format(path: Place) -> str | None:
    """What a file is in words that go on a sentence ("is …"); None for plain text and for what has no mark.

    Raises:
        OSError: if it cannot be read.
    """
    head = read_range(path, 0, _HEAD_BYTES)
    for signature, words in _SIGNATURES:
        if head.startswith(signature):
            return words
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head.startswith(_TORCH_BEFORE_ZIP):
        return f"a PyTorch file (torch.save), {_NEVER_READ}"
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return f"a Python pickle, {_NEVER_READ}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML): a download that failed, or wants a login"
    # 8 bytes of length, then a JSON object
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "a safetensors file (.safetensors)"
    return None


def is_text(path: Place) -> bool:
    """Whether the beginning of a file could be UTF-8 text.

    Raises:
        OSError: if it cannot be read.
    """
    head = read_range(path, 0, _HEAD_BYTES)
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        # a character may be cut by the end of what was read
        if error.start < len(head) - 3:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character.isspace() for character in text.lstrip("\ufeff"))


def _kind_of_zip(path: Place) -> str:
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a ZIP archive that is damaged or cut short"
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz)"
    if any(name.endswith("data.pkl") for name in names):
        return f"a PyTorch file (torch.save), {_NEVER_READ}"
    for folder, words in (("xl/", "an Excel file (.xlsx)"), ("word/", "a Word file (.docx)")):
        if any(name.startswith(folder) for name in names):
            return words
    return "a ZIP archive"
