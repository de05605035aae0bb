"""A head as a model of MTEB: the student embeds queries, the teacher documents."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.adapted import as_embedder
from alignkit.embedders.base import Embedder, Role, RowsInOrder, context_of
from alignkit.errors import ConfigError, EmbedderError
from alignkit.extras import needing
from alignkit.head_models import check_teacher
from alignkit.progress import progress

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

MAKER = "alignkit"
NAME = re.compile(r"[\w.-]+/[\w.-]+")
_ODD = re.compile(r"[^\w.-]+")
_REVISION_DIGITS = 12
# no cosine is lower: what has no vector is found last
LOWEST = -1.0


@dataclass(frozen=True)
class Route:
    """Who embeds texts, and in which role."""

    embedder: Embedder
    role: Role

    def identity(self) -> dict[str, Any]:
        """What decides its vectors."""
        return self.embedder.identity(self.role)


class MtebModel:
    """What MTEB calls an encoder. It says itself which texts are queries and which are documents.

    Args:
        name: `organisation/model`, as MTEB's files have it.
        queries: who embeds them.
        documents: likewise.
        alike: likewise, of texts that are compared with each other or classified.

    Attributes:
        failures: text → why it has no vector; such a text is found last.
    """

    def __init__(self, name: str, queries: Route, documents: Route, alike: Route) -> None:
        if not NAME.fullmatch(name):
            raise ConfigError(f"name={name}: expected organisation/model, of letters, digits, dots, _ and -")
        self.name, self.queries, self.documents, self.alike = name, queries, documents, alike
        self.failures: dict[str, str] = {}

    @property
    def revision(self) -> str:
        """Another one where any vector would be another."""
        identities = [route.identity() for route in (self.queries, self.documents, self.alike)]
        return hashlib.sha256(json.dumps(identities, sort_keys=True).encode()).hexdigest()[:_REVISION_DIGITS]

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """As `model_meta.json` has it."""
        told = {
            "name": self.name,
            "revision": self.revision,
            "embed_dim": self.queries.embedder.dim,
            "max_tokens": context_of(self.queries.embedder),
            "similarity_fn_name": import_mteb().models.model_meta.ScoringFunction.COSINE,
        }
        return import_mteb().models.ModelMeta.create_empty(overwrites=told)

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: Any,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        **_: Any,
    ) -> np.ndarray:
        """Vectors of the texts of all batches, `(N, D)` float32 of length 1; zeros where a text has none.

        Args:
            inputs: batches with a `text` each, as MTEB's loaders give them.
            task_metadata: of the task.
            hf_split: of its data.
            hf_subset: likewise.
            prompt_type: `query`, `document`, or `None` where the task has no sides.

        Raises:
            EmbedderError: if a model fails, or no text has a vector.
        """
        texts = [str(text) for batch in inputs for text in batch["text"]]
        side = None if prompt_type is None else str(getattr(prompt_type, "value", prompt_type))
        routes: dict[str | None, Route] = {"query": self.queries, "document": self.documents}
        return self._vectors(texts, routes.get(side, self.alike))

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Cosines of all with all, `(N, M)`; -1 with what has no vector."""
        first, second = _matrix(embeddings1), _matrix(embeddings2)
        scores = first @ second.T
        scores[:, ~second.any(axis=1)] = LOWEST
        return scores

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """Cosines of each with its own, `(N,)`."""
        first, second = _matrix(embeddings1), _matrix(embeddings2)
        scores = np.einsum("nd,nd->n", first, second)
        scores[~(first.any(axis=1) & second.any(axis=1))] = LOWEST
        return scores

    def _vectors(self, texts: list[str], route: Route) -> np.ndarray:
        rows = RowsInOrder(len(texts), route.embedder.dim)
        with progress(self.name, "texts") as counted:
            counted.begin(len(texts))
            for batch in route.embedder.embed(texts, route.role):
                rows.put(batch)
                counted.advance(len(batch.indices) + len(batch.failures))
        vectors, failures = rows.all()
        if texts and len(failures) == len(texts):
            raise EmbedderError(f"no text has a vector by {self.name}; the first: {failures[min(failures)]}")
        self.failures |= {texts[place]: reason for place, reason in failures.items()}
        vectors[list(failures)] = 0
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def mteb_model(
    head: str | Path | AlignedEmbedder, student: Any = None, teacher: Any = None, *, name: str | None = None
) -> MtebModel:
    """A head for those who drive MTEB themselves: `mteb.evaluate(alignkit.mteb_model(run, teacher="minilm"), tasks)`.

    Queries are embedded by the student and the head, documents by the teacher. Texts that are compared with each other
    or classified go through student and head, without the whitening of queries.

    Args:
        head: a run folder, a head, a bundle, or an `AlignedEmbedder`.
        student: see `AlignedEmbedder.load`.
        teacher: anything that embeds texts, see `as_embedder`; `None` leaves documents to student and head too.
        name: `organisation/model` in MTEB's files; `None` makes one of the two models' names.

    Raises:
        ArtifactError: if the head cannot be used, or the teacher is another than its own.
        ConfigError: if the name is none.
        MissingExtraError: without mteb.
    """
    import_mteb()
    aligned = head if isinstance(head, AlignedEmbedder) else AlignedEmbedder.load(head, student)
    return model_of_head(aligned, None if teacher is None else as_embedder(teacher), name)


def model_of_head(aligned: AlignedEmbedder, teacher: Embedder | None, name: str | None = None) -> MtebModel:
    """The same of embedders; see `mteb_model`."""
    if teacher is not None:
        check_teacher(aligned.artifact, teacher, "document")
    name = name or name_of_head(aligned, both=teacher is None)
    alike = Route(aligned, "document")
    return MtebModel(name, Route(aligned, "query"), alike if teacher is None else Route(teacher, "document"), alike)


def model_alone(embedder: Embedder) -> MtebModel:
    """A model as it is, in an index of its own."""
    query = Route(embedder, "query")
    return MtebModel(name_of_model(embedder.identity("query")), query, Route(embedder, "document"), query)


def name_of_head(aligned: AlignedEmbedder, *, both: bool = False) -> str:
    """What is made of the two models' names; `both`: the head embeds documents too."""
    teacher = aligned.artifact.teacher_identity
    student = _word(aligned.student.identity("query"))
    name = f"{student}-to-{_word(teacher)}" if teacher else f"{student}-aligned"
    return f"{MAKER}/{name}{'-both' if both else ''}"


def name_of_model(identity: Mapping[str, Any]) -> str:
    """A model's own name, else one of its backend.

    >>> name_of_model({"backend": "openai", "model": "BAAI/bge-m3"})
    'BAAI/bge-m3'
    >>> name_of_model({"backend": "ollama", "model": "qwen2.5:7b"})
    'ollama/qwen2.5-7b'
    """
    model = str(identity.get("model", ""))
    if NAME.fullmatch(model) and not identity.get("layers"):
        return model
    return f"{_ODD.sub('-', str(identity.get('backend') or 'model'))}/{_word(identity)}"


def _word(identity: Mapping[str, Any]) -> str:
    """A model's name for a file: the last part, where it is a path."""
    name = PurePath(str(identity.get("model") or identity.get("backend") or "model").replace("\\", "/")).name
    layers = f"-{identity['layers']}-layers" if identity.get("layers") else ""
    return f"{_ODD.sub('-', name).strip('-') or 'model'}{layers}"


def _matrix(vectors: Any) -> np.ndarray:
    return np.atleast_2d(np.asarray(vectors, dtype=np.float32))


def import_mteb() -> Any:
    """The package, which takes seconds.

    Raises:
        MissingExtraError: if it is not installed.
    """
    with needing("mteb", "mteb"):
        import mteb
    return mteb
