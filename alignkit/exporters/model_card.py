"""The README card of an exported model: what it is, how good, from what, how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from alignkit import __version__
from alignkit.exporters.base import Job
from alignkit.exporters.card_metadata import front_matter
from alignkit.exporters.known_models import known_model, name_of
from alignkit.exporters.run_record import RunRecord, is_figure

CARD = "README.md"
SHOWN_METRICS = (
    "cosine_mean",
    "cosine_p05",
    "cosine_centered_mean",
    "r2",
    "spearman",
    "recall@10",
    "ndcg@10",
    "overlap@10",
)
ROWS = ("raw", "mean", "student", "student_tuned", "ridge", "aligned", "tuned", "teacher")
SAID = (("Split", "split"), ("Leak check", "leaks"))


def card_text(job: Job, usage: str, library: str, holds_student: bool = False, holds_teacher: bool = False) -> str:
    """Markdown with a YAML head, as model hubs read it.

    Args:
        job: what was exported.
        usage: how to use it, Markdown.
        library: that loads it.
        holds_student: whether the student's weights are inside.
        holds_teacher: whether the teacher's are.

    Raises:
        MissingExtraError: without huggingface_hub.
    """
    student, teacher = name_of(job.artifact.student_identity), name_of(job.artifact.teacher_identity)
    record, title = RunRecord.beside(job.origin), f"{student} aligned to {teacher}"
    rows = _shown(job.artifact.metrics or record.rows)
    sections = [
        front_matter(job, record, rows, library, title),
        f"# {title}",
        f"Maps text to {job.head.teacher_dim}-d vectors in the space of **{teacher}**, at the cost of **{student}**: "
        f"a head of kind `{job.head.kind()}` stands between them. Search an index that the teacher built with queries "
        "that this model embeds.",
        f"## Use\n\n{usage}",
        f"## How good\n\n{_verdict(record)}{_table(rows)}",
        f"## Data\n\n{_data(record)}",
        f"## Provenance\n\n{_provenance(job)}",
        f"## Licence\n\n{_licence(job, holds_student, holds_teacher)}",
    ]
    return "\n\n".join(sections) + "\n"


def _shown(metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Row → the figures that a card shows; those that nobody measured are left out."""
    # an artifact holds the rows of `metrics.json`; a head saved by hand perhaps the whole file, or something else
    found = metrics.get("rows", metrics)
    rows = {name: found[name] for name in ROWS if isinstance(found.get(name), Mapping)}
    known = {
        name: {figure: row[figure] for figure in SHOWN_METRICS if is_figure(row.get(figure))}
        for name, row in rows.items()
    }
    return known if any(known.values()) else {}


def _verdict(record: RunRecord) -> str:
    if (said := record.verdict) is None:
        return ""
    reasons = "".join(f"- {reason}\n" for reason in said.reasons)
    return f"**{said.headline}** (`{said.name}`)\n\n{reasons}\n"


def _table(rows: Mapping[str, Mapping[str, float]]) -> str:
    shown = [name for name in SHOWN_METRICS if any(name in row for row in rows.values())]
    if not shown:
        return "The head was saved without metrics."
    lines = [f"| | {' | '.join(shown)} |", f"|---{'|---' * len(shown)}|"]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(_figure(row.get(figure)) for figure in shown)} |")
    rivals = [f"`{name}`" for name in ("student_tuned", "student") if name in rows]
    rival = f", {' and '.join(rivals)}, searching an index of their own, the rivals" if len(rivals) > 1 else ""
    if len(rivals) == 1:
        rival = f", {rivals[0]}, which searches an index of its own, the rival"
    return "\n".join(lines) + f"\n\nOn sentences that training did not see; `raw` and `mean` are the floor{rival}."


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _data(record: RunRecord) -> str:
    if not record.said("source"):
        return "The head was saved without a record of what it was trained on: say here what that was."
    counted = ", ".join(f"{count:,} {split}" for split, count in record.pairs.items())
    lines = [f"{record.said('source')}." + (f" Pairs: {counted}." if counted else "")]
    lines += [f"{name}: {text}." for name, key in SAID if (text := record.said(key))]
    return "\n\n".join(lines)


def _licence(job: Job, holds_student: bool, holds_teacher: bool) -> str:
    own = (
        f"The head: `{job.licence}`."
        if job.licence
        else "The head was trained by whoever made this folder: say here under which licence it may be used."
    )
    inside = [name for name, held in (("student", holds_student), ("teacher", holds_teacher)) if held]
    weights = {1: "The {}'s weights are inside and keep their own licence.",
               2: "The {}'s weights and the {}'s are inside and keep their own licences."}  # fmt: skip
    known = {
        model.hub_name: f"{model.hub_name} is under `{model.licence}`."
        for identity in (job.artifact.student_identity, job.artifact.teacher_identity)
        if (model := known_model(identity)) is not None and model.licence
    }
    terms = "The teacher's terms of use may also bind what was learnt from it, and the texts' what was trained on them."
    return " ".join([own, *([weights[len(inside)].format(*inside)] if inside else []), *known.values(), terms])


def _provenance(job: Job) -> str:
    known = {
        "head": {"kind": job.head.kind(), **job.head.arguments(), "weights_sha256": job.artifact.digest()},
        "student": job.artifact.student_identity,
        "teacher": job.artifact.teacher_identity,
        "training": job.artifact.meta,
        "exported_by": f"alignkit {__version__}",
    }
    return f"```json\n{json.dumps(known, indent=2, ensure_ascii=False)}\n```"
