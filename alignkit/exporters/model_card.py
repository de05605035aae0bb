"""The README card of an exported model: what it is, how good, from what, how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from alignkit import __version__
from alignkit.artifact import WHITENING
from alignkit.exporters.base import Job

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
# before it, the modules that `modules.json` names lay elsewhere
OLDEST = "5.4"
ROWS = ("raw", "mean", "student", "student_tuned", "ridge", "aligned", "tuned", "teacher")


def card_text(job: Job, router: bool, stock: bool, trained_in: str = "float32") -> str:
    """Markdown with a YAML head, as model hubs read it.

    Args:
        job: what was exported.
        router: whether documents go to the teacher inside the model.
        stock: whether all modules are sentence-transformers' own.
        trained_in: type of the student's weights when the head was trained.
    """
    whitened = job.role == "query" and WHITENING in job.artifact.parts
    student, teacher = _name(job.artifact.student_identity), _name(job.artifact.teacher_identity)
    sections = [
        _front_matter(job),
        f"# {student} aligned to {teacher}",
        f"Maps text to {job.head.teacher_dim}-d vectors in the space of **{teacher}**, at the cost of **{student}**: "
        f"a head of kind `{job.head.kind()}` stands between them. Search an index that the teacher built with queries "
        "that this model embeds.",
        "## Use\n\n" + _usage(router, stock, trained_in, whitened),
        "## How good\n\n" + _metrics(job.artifact.metrics),
        "## Provenance\n\n" + _provenance(job),
        "## Licence\n\nThe head was trained by whoever made this folder: say here under which licence it may be used. "
        "The student's weights"
        + (" and the teacher's" if router else "")
        + " are inside and keep their own licences; the teacher's terms of use may also bind what was learnt from it.",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(job: Job) -> str:
    return (
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\nlicense: other\n"
        "license_name: see-card\ntags:\n- sentence-transformers\n- feature-extraction\n- alignkit\n---"
    )


def _usage(router: bool, stock: bool, trained_in: str, whitened: bool) -> str:
    trust = "" if stock else ", trust_remote_code=True"
    lines = ["```python", "from sentence_transformers import SentenceTransformer", ""]
    lines.append(f'model = SentenceTransformer("path/to/this/folder"{trust})')
    if router:
        lines.append('queries = model.encode_query(["how do I reset my password"])  # student and head')
        lines.append('documents = model.encode_document(["…"])  # the teacher')
    else:
        lines.append('queries = model.encode(["how do I reset my password"])')
    text = "\n".join([*lines, "```", "", f"Needs sentence-transformers {OLDEST} or newer."])
    if whitened:
        text += (
            "\n\nThe queries are whitened: they find the right text in the teacher's index, and do not look like the "
            "teacher's vectors. Compare them with vectors of that index only, and fill no index with them; for that, "
            "export the head with `role=document`."
        )
    if router:
        text += (
            "\n\nPlain `encode` takes the document route, which is the teacher. For half precision call `.half()` or "
            "`.bfloat16()` once it is loaded: `model_kwargs` do not reach every module of a router."
        )
    if not stock:
        text += (
            "\n\nThis head is not a chain of dense layers, so its code lies in `aligned_head.py` in this folder (torch "
            "alone, no download) and loading it needs `trust_remote_code=True`. Read the file first if you did not "
            "make it."
        )
    if trained_in != "float32":
        text += (
            f"\n\nThe head was trained on vectors that the student computed in {trained_in}. Here student and head are "
            "in float32, so that the head is not rounded too: vectors differ from those by what the student itself "
            "differs by between two batches."
        )
    return text


def _metrics(metrics: Mapping[str, Any]) -> str:
    # an artifact holds the rows of `metrics.json`; a head saved by hand perhaps the whole file, or something else
    found = metrics.get("rows", metrics)
    rows = {name: found[name] for name in ROWS if isinstance(found.get(name), Mapping)}
    shown = [name for name in SHOWN_METRICS if any(row.get(name) is not None for row in rows.values())]
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


def _figure(value: Any) -> str:
    return "–" if value is None else f"{value:.3f}"


def _provenance(job: Job) -> str:
    known = {
        "head": {"kind": job.head.kind(), **job.head.arguments(), "weights_sha256": job.artifact.digest()},
        "student": job.artifact.student_identity,
        "teacher": job.artifact.teacher_identity,
        "training": job.artifact.meta,
        "exported_by": f"alignkit {__version__}",
    }
    return f"```json\n{json.dumps(known, indent=2, ensure_ascii=False)}\n```"


def _name(identity: Mapping[str, Any] | None) -> str:
    known = identity or {}
    name = str(known.get("model") or known.get("backend") or "an unnamed model")
    # a student cut out of its teacher goes by the teacher's name
    return f"{name} ({known['layers']} layers)" if known.get("layers") else name
