"""The YAML at the top of a card, which the Hub searches: base model, licence, data, figures and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from alignkit.embedders.distilled import is_distilled
from alignkit.exporters.base import Job
from alignkit.exporters.known_models import known_model, name_of
from alignkit.exporters.run_record import RunRecord
from alignkit.extras import needing
from alignkit.resources.demo_pack import is_packed_table

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TASK, TASK_NAME = "information-retrieval", "Search of the teacher's index"
# of an own test set, which has no name that others know
OWN_DATA = "own-texts"
_PUBLIC_DATA = {"CLINC150": "clinc/clinc_oos"}


def front_matter(job: Job, record: RunRecord, rows: Mapping[str, Mapping[str, Any]], library: str, title: str) -> str:
    """The block with its two lines of dashes.

    Args:
        job: what was exported.
        record: of its run.
        rows: row → figures, those that the card shows.
        library: that loads it.
        title: of the card.

    Raises:
        MissingExtraError: without huggingface_hub.
    """
    with needing("hub"):
        from huggingface_hub import ModelCardData
    results = list(_results(record, rows))
    data = ModelCardData(
        license=job.licence or "other",
        license_name=None if job.licence else "see-card",
        library_name=library,
        pipeline_tag="sentence-similarity",
        tags=[*([library] if library != "alignkit" else []), "feature-extraction", "alignkit"],
        **_base(job, record),
        datasets=[one for name, one in _PUBLIC_DATA.items() if name in record.said("source")] or None,
        model_name=(job.repo or title).rpartition("/")[2],
        eval_results=results or None,
        alignkit=_about(job, record),
    )
    return f"---\n{data.to_yaml()}\n---"


def _base(job: Job, record: RunRecord) -> dict[str, Any]:
    """The model that the weights come from: the student as it was, or the teacher whose vectors a table is made of."""
    student = job.artifact.student_identity
    is_made_of_teacher = is_packed_table(student) or "student_table" in record.meta
    is_trained = is_distilled(student)
    start = record.start_identity if is_trained else student
    base = known_model(job.artifact.teacher_identity if is_made_of_teacher else start)
    if base is None:
        return {}
    relation = "finetune" if is_trained or is_made_of_teacher else "adapter"
    return {"base_model": base.hub_name, "base_model_relation": relation}


def _about(job: Job, record: RunRecord) -> dict[str, Any]:
    known = {
        "student": name_of(job.artifact.student_identity),
        "teacher": name_of(job.artifact.teacher_identity),
        "head": job.head.kind(),
        "dimensions": job.head.teacher_dim,
        "verdict": None if record.verdict is None else record.verdict.name,
    }
    return {name: value for name, value in known.items() if value is not None}


def _results(record: RunRecord, rows: Mapping[str, Mapping[str, Any]]) -> Iterator[EvalResult]:
    """The table and the verdict as `model-index` holds them: one figure of one row each."""
    from huggingface_hub import EvalResult

    source = record.said("source") or "own texts"
    public = next((one for name, one in _PUBLIC_DATA.items() if name in source), OWN_DATA)
    test_set: dict[str, Any] = {
        "task_type": TASK, "task_name": TASK_NAME, "dataset_type": public, "dataset_name": source,
        "dataset_split": "test",
    }  # fmt: skip
    if (said := record.verdict) is not None:
        yield EvalResult(**test_set, metric_type="verdict", metric_value=said.name, metric_name=said.headline)
    measure = record.measure
    for row, figures in reversed(list(rows.items())):  # the product first
        if measure is not None and row != "teacher" and (share := record.share(row)) is not None:
            yield EvalResult(
                **test_set,
                metric_type=f"{measure}_share",
                metric_value=_rounded(share.value),
                metric_name=f"{row}: {measure} as a share of the teacher's",
                metric_args={"row": row, "interval_95": [_rounded(share.low), _rounded(share.high)]},
            )
        for name, value in figures.items():
            yield EvalResult(
                **test_set, metric_type=name, metric_value=_rounded(value), metric_name=f"{row}: {name}",
                metric_args={"row": row},
            )  # fmt: skip


def _rounded(value: float) -> float:
    return round(float(value), 4)
