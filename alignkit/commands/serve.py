"""The command `serve`: what is done once its words have been read."""

from __future__ import annotations

import logging
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact, load_artifact
from alignkit.commandline import build, plain
from alignkit.commandline.sides import complete_sides
from alignkit.extras import needing
from alignkit.indexes.base import VectorIndex
from alignkit.reporting.written_report import read_report
from alignkit.runs.folder import run_of
from alignkit.runs.training_sample import TrainingSample
from alignkit.searching.spaces import SpacesOf
from alignkit.sentences.query_logs import LoggedBy
from alignkit.setting_names import SIDES

if TYPE_CHECKING:
    from alignkit.serving.index_pool import IndexPool
    from alignkit.serving.query_log import QueryLog

logger = logging.getLogger("alignkit.serve")

# while it is served, a remote model has one more attempt: whoever waits can send a request again
SERVED_RETRIES = 1


def main(config: DictConfig) -> None:
    """Compose, check, serve until stopped."""
    settings = plain(config, without=SIDES)
    with needing("serve"):
        from alignkit.serving.answers import Answerer
        from alignkit.serving.limits import Batching, Limits
        from alignkit.serving.server import check_exposure, run, token_from_environment, use_one_thread
        from alignkit.serving.service import Service

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
    sample = TrainingSample.load(run_of(settings["head"]))
    service = Service(
        Answerer(aligned, teacher, below, keep_student=index is not None or sample is not None),
        settings["model_name"],
        limits,
        batching,
        token,
        settings["fallback_timeout_s"],
        settings["allow_student_mismatch"],
        _report_of(settings["head"]) if settings["page"] else None,
        settings["served_names"] or (),
    )
    service.compare_with(sample)
    if index is not None:
        service.serve_index(_pool(index, artifact, limits.answer_timeout_s), settings["cascade"])
    if settings["query_log"] is not None:
        service.keep_queries(_query_log(aligned, settings))
    if settings["threads"] is None and service.answerer.is_look_up and index is None:
        use_one_thread()
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


def _query_log(aligned: AlignedEmbedder, settings: dict[str, Any]) -> QueryLog:
    """The log, which can be written; what it holds is said."""
    from alignkit.serving.log_folder import MB, LogFolder
    from alignkit.serving.query_log import QueryLog

    artifact, share = aligned.artifact, float(settings["query_log_share"])
    mismatch = artifact.student_identity is None or settings["allow_student_mismatch"]
    by = LoggedBy(
        writer=secrets.token_hex(4),
        # a student behind a server may not be up yet, so it is not asked
        student=aligned.student.settings("query") if mismatch else artifact.student_identity,
        head=artifact.digest(),
        teacher=artifact.teacher_identity,
        share=share,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    most_mb, days = settings["query_log_mb"], settings["query_log_days"]
    folder = LogFolder(Path(settings["query_log"]).expanduser(), by, most_mb * MB, days)
    folder.check()
    logger.info(
        "query_log: %g%% of the texts are kept in %s with time, path, route and confidence, at most %d MB and %g days, "
        "%snothing is sent anywhere. They may hold personal data: make sure that you may keep it",
        100 * share, folder.folder, most_mb, days, "readable by this user alone; " if os.name == "posix" else "",
    )  # fmt: skip
    return QueryLog(folder)


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
