"""The step `compare`: the same searches in old and new vectors, and what it says about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.commandline import build
from alignkit.commandline.sides import complete_sides
from alignkit.commands.migrate_actions.own_student import OwnStudent
from alignkit.embedders.base import Embedder
from alignkit.evaluation.same_models import check_models
from alignkit.head_models import check_teacher_width
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.replacement import Replacement
from alignkit.migration.engine_compare import Compared, compare_by_queries, compare_by_rows
from alignkit.sentences.beir import read_qrels
from alignkit.sentences.sentence_files import read_sentences


def compare_lines(
    config: DictConfig,
    settings: dict[str, Any],
    artifact: Artifact | None,
    index: VectorIndex,
    into: Replacement[VectorIndex],
) -> Iterator[str]:
    """Search old and new, by real queries if there are any, and say what was found.

    Args:
        config: of the command.
        settings: the rest of it, as plain values.
        artifact: the head; only needed with queries.
        index: that is migrated.
        into: where its new vectors lie.

    Raises:
        AlignkitError: whatever forbids it.
    """
    real = artifact is not None and settings["queries"] is not None
    found = (
        _by_queries(config, settings, artifact, index, into) if real and artifact else compare_by_rows(index, into=into)
    )
    yield (
        f"{index.describe().place}: {found.queries:,} {'queries' if real else 'rows as queries'}, through the engine's "
        f"own search: of the ten nearest rows by the old vectors {found.overlap.value:.1%} are among the ten nearest "
        f"by the new ones (95% interval {found.overlap.low:.1%} to {found.overlap.high:.1%})"
    )
    if found.teacher is not None:
        yield (
            f"of the ten rows that the teacher's own query finds in the new vectors, student and head find "
            f"{found.teacher.value:.1%} (95% interval {found.teacher.low:.1%} to {found.teacher.high:.1%})"
        )
    if found.half is not None:
        at_half = "" if found.ndcg is None or found.ndcg.half is None else f", nDCG@10 {found.ndcg.half.value:.3f}"
        yield (
            f"while half of the rows are moved, a search of both halves (serve index=…) finds {found.half.value:.1%} "
            f"of the ten nearest by the new vectors (95% interval {found.half.low:.1%} to {found.half.high:.1%})"
            f"{at_half}"
        )
    if found.ndcg is None:
        yield "this says how much changes, not what is better: judged queries do, queries=FILE qrels=FILE"
        return
    old, new, gain, teacher = found.ndcg.old, found.ndcg.new, found.ndcg.gain, found.ndcg.teacher
    by_teacher = "" if teacher is None else f", {teacher.value:.3f} by the teacher in the new"
    yield (
        f"nDCG@10 of {found.ndcg.queries:,} judged queries: {old.value:.3f} by the student in the old vectors, "
        f"{new.value:.3f} by student and head in the new{by_teacher}; head against student {gain.value:+.3f} (95% "
        f"interval {gain.low:+.3f} to {gain.high:+.3f})"
    )


def _by_queries(
    config: DictConfig, settings: dict[str, Any], artifact: Artifact, index: VectorIndex, into: Replacement[VectorIndex]
) -> Compared:
    queries = {one.id: one.text for one in read_sentences(settings["queries"]) if one.text.strip()}
    judgements: dict[str, dict[str, int]] | None = None
    if settings["qrels"] is not None:
        judgements = {}
        for query, row, grade in read_qrels(Path(settings["qrels"]).expanduser()):
            judgements.setdefault(query, {})[row] = grade
    teacher = _teacher(config, settings, artifact)
    try:
        aligned = AlignedEmbedder(artifact, OwnStudent(config, settings, artifact).open())
        try:
            return compare_by_queries(index, aligned, queries, judgements, teacher, into=into)
        finally:
            aligned.close()
    finally:
        if teacher is not None:
            teacher.close()


def _teacher(config: DictConfig, settings: dict[str, Any], artifact: Artifact) -> Embedder | None:
    """The teacher, if the command names it: being asked may cost money."""
    if config.get("teacher") is None:
        return None
    complete_sides(config, artifact, settings["head"], {"teacher": "minilm"})
    teacher = build(config.teacher, "teacher")
    try:
        check_models(artifact, {"teacher": teacher})
        check_teacher_width(artifact, teacher.dim)
    except BaseException:
        teacher.close()
        raise
    return teacher
