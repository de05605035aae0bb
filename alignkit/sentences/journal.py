"""A chat model's answers, written to disk as they come, so that an interrupted build can go on."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from alignkit.errors import ConfigError
from alignkit.files import write_whole

logger = logging.getLogger(__name__)


class Journal:
    """Rows by sample id. The file is made with the first row; its first line holds the settings.

    Args:
        path: of the file; one with answers to other settings is refused, one without answers is overwritten.
        settings: everything that shapes an answer.

    Raises:
        ConfigError: if answers to other settings would be lost.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: dict[str, dict[str, Any]] = {}
        self._header = json.dumps(dict(settings), sort_keys=True, ensure_ascii=False)
        self._file: IO[str] | None = None
        if not path.is_file():
            return
        first, *lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        rows = _rows_of(lines[:-1])  # a crash left an incomplete last line
        if first == self._header:
            self.rows = rows
        elif any(is_answer(row) for row in rows.values()):
            raise ConfigError(
                f"{path} holds the answers of another build ({_differences(first, settings)}); finish it with its "
                "settings, or remove the file"
            )
        if self.rows:
            logger.info("%d answers are already in %s; going on from there", len(self.rows), path)

    def note(self, sample_id: str, row: Mapping[str, Any]) -> None:
        """Append one row."""
        if self._file is None:
            kept = [json.dumps(known, ensure_ascii=False) for known in self.rows.values()]
            write_whole(self.path, "\n".join([self._header, *kept, ""]))
            self._file = self.path.open("a", encoding="utf-8", newline="\n")
        self.rows[sample_id] = {"id": sample_id, **row}
        self._file.write(json.dumps({"id": sample_id, **row}, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; harmless twice."""
        if self._file is not None:
            self._file.close()

    def remove(self) -> None:
        """Remove the file; the set is written, so the answers are no longer needed."""
        self.close()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s could not be removed (%s); remove it by hand", self.path, error.strerror or error)


def is_answer(row: Mapping[str, Any]) -> bool:
    """Whether a row holds sentences of the model; other rows say why there are none."""
    return bool(row.get("paraphrases") or row.get("hard_negatives"))


def _rows_of(lines: list[str]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            row = json.loads(line)
            rows[row["id"]] = row
        except (ValueError, KeyError, TypeError):
            continue
    return rows


def _differences(header: str, settings: Mapping[str, Any]) -> str:
    try:
        before = dict(json.loads(header))
    except (ValueError, TypeError):
        return "its first line is damaged"
    names = [name for name in (before | dict(settings)) if before.get(name) != settings.get(name)]
    return ", ".join(f"{name}={before.get(name)}, now {settings.get(name)}" for name in names)
