"""The data of a command and, if the vector cache lacks vectors, the command that adds them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.commandline.composed import build, embedder_name
from alignkit.commandline.conf import choice_of
from alignkit.commandline.sides import words_of_side
from alignkit.embedders.base import Embedder
from alignkit.errors import CacheError, ConfigError
from alignkit.object_storage.located import is_address
from alignkit.pairs.base import MissingVectorsError, Pairs, PairSplits
from alignkit.pairs.demo import STUDENTS
from alignkit.pairs.embedded import with_student
from alignkit.pairs.to_forget import cached_forgotten, load_forgotten
from alignkit.pasting import command_line
from alignkit.resources.demo_pack import TABLE
from alignkit.sentences.dataset_folder import SENTENCES
from alignkit.setting_names import SIDES

logger = logging.getLogger(__name__)

RETRY = ("retry_quarantined=true",)


def build_data(settings: Mapping[str, Any], place: str = "data") -> Any:
    """What `data=` names: pairs in splits, or a set of texts.

    Args:
        settings: of the command, plain values.
        place: where the source stands in them: `data` or `extra`.

    Raises:
        CacheError: if the vector cache lacks vectors; with the command that makes them.
        AlignkitError: whatever else is wrong with the data.
    """
    settings = {**settings, "data": settings[place]}
    try:
        data = _demo_of_any_student(settings) or build(settings["data"], place)
    except MissingVectorsError as error:
        if _file_of(settings["data"], error.side) is None:
            raise CacheError(f"{error}; let the student add them: {place}.student_live=true") from None
        advice, more = "get them with", tuple[str, ...]()
        if error.refused:
            advice, more = "once that is mended, try them again with", RETRY
        raise CacheError(f"{error}; {advice}: {_embed_command(settings, error.side, *more)}") from None
    if isinstance(data, PairSplits):
        for side, count in (data.origin.quarantined or {}).items():
            if count and _file_of(settings["data"], side):
                again = _embed_command(settings, side, *RETRY)
                logger.warning("to try those %d sentences again: %s", count, again)
    return data


def _demo_of_any_student(settings: Mapping[str, Any]) -> PairSplits | None:
    """The demo pack holds vectors of three students; any other embeds its texts now."""
    data, student = settings["data"], settings.get("student")
    if choice_of("data", data) != "demo" or not isinstance(student, Mapping):
        return None
    own_table = data["student"] == TABLE.name and student.get("path") not in (None, str(TABLE))
    packed = data["student"] in (None, *STUDENTS) and not own_table
    if packed or data["student"] != embedder_name(student):
        return None
    embedder: Embedder = build(student, "student")
    try:
        return with_student(build({**data, "student": None}, "data"), embedder)
    finally:
        embedder.close()


def build_forgotten(settings: Mapping[str, Any]) -> Pairs | None:
    """The pairs that `forget` names: in files, or with `data=cached|built` sentences whose vectors are in the cache.

    Args:
        settings: of the command, plain values.

    Raises:
        ConfigError: if sentences alone are given with other data.
        AlignkitError: whatever is wrong with the files or the cache.
    """
    forget, data = settings.get("forget") or {}, settings["data"]
    student, teacher, sentences = (forget.get(name) for name in ("student", "teacher", "sentences"))
    if (student, teacher, sentences) == (None, None, None):
        return None
    if sentences is None or (student, teacher) != (None, None):
        return load_forgotten(student, teacher, sentences)
    if not all(isinstance(data.get(side), Mapping) for side in SIDES) or "cache_dir" not in data:
        raise ConfigError(
            f"forget.sentences: with data={choice_of('data', data)} there is no cache to find their vectors in; give "
            "these too, as forget.student=FILE forget.teacher=FILE"
        )
    told = {name: data[name] for name in ("cache_dir", "text_column", "role") if name in data}
    models = {side: build(data[side], side) for side in SIDES}
    try:
        return cached_forgotten(sentences, **models, **told)
    except MissingVectorsError as error:
        raise CacheError(
            f"forget.sentences: {error}; pairs that the head was fitted on have both, so give the cache, the models "
            "and the role that it was trained with"
        ) from None


def build_teachers_side(settings: Mapping[str, Any]) -> PairSplits:
    """The texts that `data=` names in splits, with the teacher's vectors alone: the student embeds them later.

    Args:
        settings: of the command, plain values.

    Raises:
        ConfigError: if the data has no training texts, or a student's vectors were given.
        AlignkitError: as `build_data`.
    """
    source, data = choice_of("data", settings["data"]), settings["data"]
    if source == "vectors" and data["student"] is not None:
        raise ConfigError(
            f"data.student={data['student']}: the student embeds the sentences itself, before and after it is trained; "
            "leave it out, and give the sentences as data.sentences=FILE"
        )
    splits = build_data({**settings, "data": {**data, "student": None}} if "student" in data else settings)
    if not isinstance(splits, PairSplits):
        raise ConfigError(
            f"data={source} is a test set without training texts, for evaluate; distil with data=demo, cached, "
            "built, vectors or index"
        )
    if any(part.texts is None for part in splits.parts):
        raise ConfigError(f"data={source} has vectors without texts, which no student can be trained on")
    return splits


def _embed_command(settings: Mapping[str, Any], side: str, *more: str) -> str:
    """What embeds the sentences with a side's model."""
    data = settings["data"]
    path = _file_of(data, side) or Path()
    sentences = path / SENTENCES if isinstance(path, Path) and path.expanduser().is_dir() else path
    words = [f"which={side}", f"sentences={sentences}", f"cache_dir={data['cache_dir']}"]
    words += words_of_side(side, data[side])
    usual = {"text_column": "text", "role": "document"}
    told = data if "path" in data else {"role": "query"}
    words += [f"{name}={told[name]}" for name, default in usual.items() if told.get(name, default) != default]
    return command_line("embed", [*words, *more])


def _file_of(data: Mapping[str, Any], side: str) -> str | Path | None:
    """The file of the sentences that a side may lack vectors of; those of an index are in none, but for its queries."""
    if "path" in data:
        return _named(data["path"])
    return _named(data["queries"]) if side == "teacher" and data.get("queries") else None


def _named(path: str) -> str | Path:
    return path if is_address(path) else Path(path)
