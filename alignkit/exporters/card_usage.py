"""The lines of a card that say how to use what was exported."""

from __future__ import annotations

from alignkit.artifact import WHITENING
from alignkit.embedders.by_name import recorded_embedder
from alignkit.embedders.distilled import is_distilled
from alignkit.exporters.base import Job
from alignkit.exporters.known_models import name_of
from alignkit.resources.demo_pack import is_packed_table

# before it, the modules that `modules.json` names lay elsewhere
OLDEST = "5.4"


def head_usage(job: Job) -> str:
    """With alignkit, which reads `head/` and `student/`."""
    place = f"hf://{job.repo}" if job.repo else "path/to/this/folder"
    identity = job.artifact.student_identity
    is_found = is_distilled(identity) or is_packed_table(identity) or recorded_embedder(identity) is not None
    student = "" if is_found else ", student=student"
    lines = ["```python", "from alignkit import AlignedEmbedder", ""]
    if not is_found:
        lines.append(f"student = ...  # {name_of(identity)}: an object with encode(texts)")
    lines.append(f'embedder = AlignedEmbedder.load("{place}"{student})')
    lines.append('queries = embedder.encode(["how do I reset my password"])')
    lines += ["```", "", "```", f"pip install alignkit[hub,serve]\npython -m alignkit.serve head={place}", "```"]
    pin = "" if job.repo is None else f"\n\n`{place}@COMMIT` always gives this very head."
    return "\n".join(lines) + f"{pin}\n\nNothing here is code, and the weights are safetensors.{_whitened(job)}"


def model_usage(job: Job, router: bool, stock: bool, trained_in: str = "float32") -> str:
    """With sentence-transformers.

    Args:
        job: what was exported.
        router: whether documents go to the teacher inside the model.
        stock: whether all modules are sentence-transformers' own.
        trained_in: type of the student's weights when the head was trained.
    """
    trust = "" if stock else ", trust_remote_code=True"
    lines = ["```python", "from sentence_transformers import SentenceTransformer", ""]
    lines.append(f'model = SentenceTransformer("{job.repo or "path/to/this/folder"}"{trust})')
    if router:
        lines.append('queries = model.encode_query(["how do I reset my password"])  # student and head')
        lines.append('documents = model.encode_document(["…"])  # the teacher')
    else:
        lines.append('queries = model.encode(["how do I reset my password"])')
    text = "\n".join([*lines, "```", "", f"Needs sentence-transformers {OLDEST} or newer."]) + _whitened(job)
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


def _whitened(job: Job) -> str:
    if job.role != "query" or WHITENING not in job.artifact.parts:
        return ""
    return (
        "\n\nThe queries are whitened: they find the right text in the teacher's index, and do not look like the "
        "teacher's vectors. Compare them with vectors of that index only, and fill no index with them; for that, "
        "export the head with `role=document`."
    )
