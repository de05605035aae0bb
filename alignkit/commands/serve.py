"""The command `serve`: what is done once its words have been read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact, load_artifact
from alignkit.commandline import build, plain
from alignkit.commandline.sides import complete_sides
from alignkit.errors import MissingExtraError
from alignkit.indexes.base import VectorIndex
from alignkit.reporting.written_report import read_report
from alignkit.runs.folder import run_of
from alignkit.searching.spaces import SpacesOf
from alignkit.setting_names import SIDES

if TYPE_CHECKING:
    from alignkit.serving.index_pool import IndexPool

logger = logging.getLogger("alignkit.serve")

# while it is served, a remote model has one more attempt: whoever waits can send a request again
SERVED_RETRIES = 1


def main(config: DictConfig) -> None:
    """Compose, check, serve until stopped."""
    settings = plain(config, without=SIDES)
    try:
        from alignkit.serving.answers import Answerer
        from alignkit.serving.limits import Batching, Limits
        from alignkit.serving.server import check_exposure, run, token_from_environment
        from alignkit.serving.service import Service
    except ModuleNotFoundError as error:
        raise MissingExtraError(str(error.name), "serve") from None

    token = token_from_environment(settings["token_env"])
    check_exposure(settings["host"], token, settings["insecure"])
    limits = Limits(**{name: settings[name] for name in Limits.__dataclass_fields__})
    batching = Batching(settings["max_batch_texts"], settings["max_queue_texts"], settings["batch_wait_ms"])
    artifact = load_artifact(settings["head"])
    teacher_named = config.get("teacher") is not None
    complete_sides(config, artifact, settings["head"])
    student = build(impatient(plain(config.student), limits.answer_timeout_s), "student")
    aligned = AlignedEmbedder(artifact, student, settings["allow_student_mismatch"])
    teacher, below = None, settings["fallback_below"] if settings["fallback"] else None
    index = settings.get("index")
    if settings["fallback"] or (teacher_named and index is not None):
        teacher = build(impatient(plain(config.teacher), settings["fallback_timeout_s"]), "teacher")
    service = Service(
        Answerer(aligned, teacher, below, keep_student=index is not None),
        settings["model_name"],
        limits,
        batching,
        token,
        settings["fallback_timeout_s"],
        settings["allow_student_mismatch"],
        _report_of(settings["head"]) if settings["page"] else None,
    )
    if index is not None:
        service.serve_index(_pool(index, artifact, limits.answer_timeout_s), settings["cascade"])
    run(
        service,
        settings["host"],
        settings["port"],
        settings["grace_s"],
        settings["max_connections"],
    )
    aligned.close()


def _pool(settings: dict[str, Any], artifact: Artifact, timeout_s: float) -> IndexPool:
    """The index, which is there and fits the head; a thread each for several searches at once, if it allows that."""
    from alignkit.serving.index_pool import THREADS, IndexPool

    def opened() -> VectorIndex:
        index: VectorIndex = build(settings, "index")
        index.hurry()
        return index

    def spaces() -> SpacesOf:
        return SpacesOf(opened, artifact.digest(), artifact.student_dim, artifact.teacher_dim)

    first = spaces()
    found = first.now()
    threads = THREADS if found.index.parallel else 1
    rest = iter([first])
    logger.info("searching %s, %d rows", found.described.place, found.described.rows)
    if found.length.note is not None:
        logger.warning("%s", found.length.note)
    return IndexPool(lambda: next(rest, None) or spaces(), threads, timeout_s)


def _report_of(head: str) -> dict[str, Any]:
    run = run_of(head)
    return (read_report(run) if run else None) or {}


def impatient(embedder: dict[str, Any], longest_s: float) -> dict[str, Any]:
    """The settings of a model for serving: where it is remote, it fails before its clients have given up.

    >>> impatient({"retries": 5, "timeout_s": 120.0, "batch_size": 32}, 30.0)
    {'retries': 1, 'timeout_s': 30.0, 'batch_size': 32}
    """
    longest = {"retries": SERVED_RETRIES, "timeout_s": longest_s}
    return {name: min(value, longest[name]) if name in longest else value for name, value in embedder.items()}
