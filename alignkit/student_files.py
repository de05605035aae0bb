"""The student that lies beside a head: `student/` of a run folder or of a bundle."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

from alignkit.errors import ArtifactError
from alignkit.files import refused
from alignkit.head_files import bundle_at, escapes, find_head
from alignkit.hub.fetching import MODEL_SUFFIXES

# of a run folder: the trained student, and the head alone with its student where that was made there
STUDENT, START = "student", "start"
MOST_FILES = 200


def find_student(head: str | Path) -> Path | None:
    """The folder of the student that lies beside a head.

    Args:
        head: a run folder, its `head/`, an address on the Hub, or a bundle, whose student is unpacked into a temporary
            folder.

    Returns:
        `None` where no student lies there.

    Raises:
        ArtifactError: if there is no head, or the bundle cannot be read.
    """
    if (bundle := bundle_at(head)) is not None:
        status = bundle.stat()
        unpacked = _unpacked(bundle.resolve(), status.st_size, status.st_mtime_ns)
        return None if unpacked is None else unpacked / STUDENT
    folder = find_head(head).resolve()
    student = (folder.parent if folder.name == "head" else folder) / STUDENT
    return student if student.is_dir() else None


@functools.cache
def _unpacked(bundle: Path, size_bytes: int, modified_ns: int) -> Path | None:
    """A bundle's student in a folder that is gone with this process."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = [one for one in archive.infolist() if one.filename.startswith(f"{STUDENT}/")]
            if not entries:
                return None
            _check(bundle, entries, size_bytes)
            folder = Path(tempfile.mkdtemp(prefix="alignkit-"))
            # a model that is still mapped cannot be deleted on Windows
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            for entry in entries:
                target = Path(folder, *entry.filename.split("/"))
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
            return folder
    except (ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ArtifactError(f"{bundle}: its student cannot be read ({error}); copy the bundle again") from None
    except OSError as error:
        raise refused(Path(tempfile.gettempdir()), error) from None


def _check(bundle: Path, entries: list[zipfile.ZipInfo], size_bytes: int) -> None:
    """A bundle may be somebody else's: its student must be what this package writes, and no larger than the file."""
    if len(entries) > MOST_FILES or sum(entry.file_size for entry in entries) > size_bytes:
        raise ArtifactError(f"{bundle}: its student has more files, or larger ones, than a bundle holds; refused")
    for entry in entries:
        if escapes(entry.filename):
            raise ArtifactError(f"{bundle}: holds the path {entry.filename!r}, which leads out of it; refused")
        if not entry.filename.lower().endswith(MODEL_SUFFIXES) or entry.compress_type != zipfile.ZIP_STORED:
            raise ArtifactError(f"{bundle}: holds {entry.filename!r}, which is no file of a student; refused")
