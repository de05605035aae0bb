"""Which parts a job has and which of them are done: a folder that a repeated command goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from alignkit.credentials import without_secrets
from alignkit.errors import AlignkitError, ConfigError
from alignkit.files import refused, write_whole
from alignkit.object_storage.located import is_there
from alignkit.workers.base import Part, Result

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

MANIFEST, DONE, LOCK = "manifest.json", "done.jsonl", "manifest.lock"
_LONGEST_VALUE = 60


class Manifest:
    """The parts of one job, cut once, and a line for each that is done.

    Only the process that gives out the parts writes here: workers need not reach this folder. A part whose line was
    lost with that process is done once more, which changes nothing.

    Attributes:
        folder: of `manifest.json` and `done.jsonl`.
        command: what makes two jobs the same: settings, digests of inputs and of the head.
        parts: in the order of their numbers.
        done: number → result of the parts that are done.
    """

    def __init__(self, folder: Path, command: Mapping[str, Any], parts: Iterable[Part]) -> None:
        self.folder, self.command, self.parts = folder, dict(command), list(parts)
        self.done = self._read_done()

    @classmethod
    def open(cls, folder: str | Path, command: Mapping[str, Any], cut: Callable[[], Iterable[Part]]) -> Manifest:
        """Begin a job, or go on with it.

        Args:
            folder: made if missing.
            command: plain JSON values; secrets in them are starred out.
            cut: makes the parts; only called for a job that has not begun, so that its parts stay the same.

        Raises:
            ConfigError: if the folder belongs to another command; the message says what differs.
            AlignkitError: if it cannot be written.
        """
        folder = Path(folder)
        asked = json.loads(json.dumps(without_secrets(dict(command))))
        found = _read(folder / MANIFEST)
        if found is not None:
            _expect_same(folder, found["command"], asked)
            return cls(folder, asked, (Part(**one) for one in found["parts"]))
        parts = list(cut())
        listed = [{"number": part.number, "settings": part.settings, "size": part.size} for part in parts]
        # lines of an earlier job whose manifest was deleted would be taken for this one's
        (folder / DONE).unlink(missing_ok=True)
        write_whole(folder / MANIFEST, json.dumps({"command": asked, "parts": listed}, ensure_ascii=False))
        return cls(folder, asked, parts)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep a second command off the same parts; the lock is released if its holder dies.

        Raises:
            ConfigError: if another process holds it.
        """
        lock = FileLock(self.folder / LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(f"{self.folder}: another process is doing these parts; wait for it") from None
        try:
            self.done = self._read_done()
            yield
        finally:
            lock.release()

    def left(self, output: Callable[[Part], Place | None] = lambda part: None) -> list[Part]:
        """The parts that are not done, or whose file is gone.

        Args:
            output: the file of a part, as `Work.output` gives it.
        """
        for part in self.parts:
            if part.number in self.done and (file := output(part)) is not None and not is_there(file):
                del self.done[part.number]
        return [part for part in self.parts if part.number not in self.done]

    def keep(self, number: int, result: Result) -> None:
        """A part is done: its output is there under its final name.

        Raises:
            AlignkitError: if that cannot be written.
        """
        path = self.folder / DONE
        try:
            with path.open("ab") as file:
                # after a torn line of a process that was killed
                start = b"\n" if file.tell() and not self._ends_well(path) else b""
                file.write(start + json.dumps({"part": number, "result": result}, ensure_ascii=False).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise refused(path, error) from None
        self.done[number] = result

    @staticmethod
    def _ends_well(path: Path) -> bool:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _read_done(self) -> dict[int, Result]:
        known, found = {part.number for part in self.parts}, {}
        try:
            lines = (self.folder / DONE).read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AlignkitError(f"{self.folder / DONE}: cannot be read ({error.strerror or error})") from None
        for line in lines:
            try:
                entry = json.loads(line)
                if entry["part"] in known:
                    found[entry["part"]] = entry["result"]
            except (ValueError, KeyError, TypeError):  # torn: that part is done again
                continue
        return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found["command"], dict) and isinstance(found["parts"], list):
            return dict(found)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ConfigError(f"{path}: is no list of parts; delete {path.parent}, or choose another place")


def _expect_same(folder: Path, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    different = [
        f"{name} is {_short(asked.get(name))} and was {_short(begun.get(name))}"
        for name in dict.fromkeys((*asked, *begun))
        if asked.get(name) != begun.get(name)
    ]
    if different:
        raise ConfigError(
            f"{folder}: holds parts of another command ({'; '.join(different)}); give that command again, or delete "
            "the folder to begin anew"
        )


def _short(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return said if len(said) <= _LONGEST_VALUE else f"{said[: _LONGEST_VALUE - 1]}…"
