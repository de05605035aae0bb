"""What every framework's class is made of: queries by student and head, documents by whose the index is."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact
from alignkit.credentials import is_there, redacted
from alignkit.embedders.adapted import as_embedder
from alignkit.embedders.base import Embedder, embed_all
from alignkit.embedders.by_name import checked_settings, recorded_embedder
from alignkit.embedders.rows import unit_rows
from alignkit.errors import ConfigError
from alignkit.head_models import check_teacher
from alignkit.setting_names import settings_under
from alignkit.setting_rules import SWITCH, check, one_of

BY_TEACHER, BY_HEAD = "teacher", "head"
Model = TypeVar("Model")
RULES = {"documents": one_of((BY_TEACHER, BY_HEAD)), "allow_student_mismatch": SWITCH}


class IndexEmbedder:
    """Vectors for an index in the teacher's space, as frameworks ask for them: queries and documents apart.

    Models are loaded when they are first needed; whoever only searches never loads a teacher.

    Args:
        head: a run folder, its `head/`, or a bundle.
        student: the model that the head was trained with: a name, `"static"`; a name with settings,
            `{"embedder": "ollama", "model": "bge-m3"}`; an object, which cannot be stored; `None` for the head's own.
        teacher: likewise, for documents.
        documents: `teacher`, which belongs into an index that the teacher built; `head` embeds documents by student and
            head too, for an index that needs no teacher at all. The two do not mix well in one index.
        allow_student_mismatch: go on, with a warning, where the student is another one than the head's.

    Raises:
        ConfigError: if a setting is unknown, or holds a password, a key or leave to run a model's own code: what
            frameworks store of it is for everybody's eyes, and anybody may have written it.
    """

    def __init__(
        self,
        head: str | Path,
        student: Any | None = None,
        teacher: Any | None = None,
        documents: str = BY_TEACHER,
        allow_student_mismatch: bool = False,
    ) -> None:
        check({"documents": documents, "allow_student_mismatch": allow_student_mismatch}, RULES)
        self._given = {
            "head": str(head),
            "student": _checked("student", student),
            "teacher": _checked("teacher", teacher),
            "documents": documents,
            "allow_student_mismatch": allow_student_mismatch,
        }
        self._loading = threading.RLock()
        self._aligned: _InTurn[AlignedEmbedder] | None = None
        self._teacher: _InTurn[Embedder] | None = None

    @property
    def head(self) -> str:
        """Where the head is."""
        return str(self._given["head"])

    def queries(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of queries, `(len(texts), dim)` float32, rows of length 1.

        Raises:
            ConfigError: for one text in the place of several.
            AlignkitError: if the head or its student is not there, or a text has no vector.
        """
        _check_several(texts)
        return self._student().call(lambda aligned: aligned.encode(texts, "query"))

    def documents(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of documents, `(len(texts), dim)` float32, rows of length 1.

        Raises:
            ConfigError: if the teacher is to embed them, none was given, and the head does not say enough of it.
            AlignkitError: as `queries`.
        """
        _check_several(texts)
        if self._given["documents"] == BY_HEAD:
            return self._student().call(lambda aligned: aligned.encode(texts, "document"))
        vectors = self._document_teacher().call(lambda teacher: embed_all(teacher, texts, "document"))
        return unit_rows(vectors)

    def warm_up(self) -> None:
        """Load what queries need, so that the first one does not wait."""
        self._student()

    def warm_up_documents(self) -> None:
        """Load what documents need."""
        if self._given["documents"] == BY_HEAD:
            self._student()
        else:
            self._document_teacher()

    def config(self) -> dict[str, Any]:
        """The arguments as plain JSON values, without a secret.

        Raises:
            ConfigError: if student or teacher is an object.
        """
        for side in ("student", "teacher"):
            if not isinstance(self._given[side], str | dict | None):
                raise ConfigError(
                    f"{side}: a {type(self._given[side]).__name__} cannot be stored; give it by name, "
                    f'{side}="minilm" or {side}={{"embedder": "ollama", "model": "bge-m3"}}'
                )
        return dict(self._given)

    def close(self) -> None:
        """Free the models; they are loaded again when they are needed."""
        with self._loading:
            for part in (self._aligned, self._teacher):
                if part is not None:
                    part.call(lambda model: model.close())
            self._aligned = self._teacher = None

    def __reduce__(self) -> tuple[Any, ...]:
        # a loaded model, with its locks and its server's key, stays in this process
        config = self.config()
        return type(self), tuple(config.values())

    def _student(self) -> _InTurn[AlignedEmbedder]:
        with self._loading:
            if self._aligned is None:
                given = self._given
                with settings_under("student"):
                    aligned = AlignedEmbedder.load(given["head"], given["student"], given["allow_student_mismatch"])
                self._aligned = _InTurn(aligned, aligned.student)
            return self._aligned

    def _document_teacher(self) -> _InTurn[Embedder]:
        with self._loading:
            if self._teacher is None:
                artifact, given = load_artifact(self._given["head"]), self._given["teacher"]
                given = recorded_embedder(artifact.teacher_identity) if given is None else given
                if given is None:
                    raise ConfigError(
                        "documents are the teacher's to embed, and the head does not say which that is; give teacher=, "
                        'or for an index that student and head build, documents="head"'
                    )
                with settings_under("teacher"):
                    teacher = as_embedder(given)
                check_teacher(artifact, teacher, "document")
                self._teacher = _InTurn(teacher, teacher)
            return self._teacher


class _InTurn(Generic[Model]):
    """A model that threads call one after the other, unless it says that they need not."""

    def __init__(self, model: Model, embedder: Embedder) -> None:
        self.model = model
        free = getattr(embedder, "thread_safe", False)
        self._turn: Any = contextlib.nullcontext() if free else threading.Lock()

    def call(self, ask: Callable[[Model], Any]) -> Any:
        with self._turn:
            return ask(self.model)


def _check_several(texts: Sequence[str]) -> None:
    if isinstance(texts, str):  # else each of its letters gets a vector
        raise ConfigError("expected a list of texts, got one text; put it into a list")


def _checked(side: str, given: Any) -> Any:
    """What was given for a side; settings by name are looked at, and copied."""
    if isinstance(given, Path):
        given = str(given)
    if isinstance(given, Mapping):
        with settings_under(side):
            checked_settings(given)
        try:
            given = json.loads(json.dumps(dict(given), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{side}: expected settings of plain values ({error})") from None
        if given.get("trust_remote_code"):
            raise ConfigError(f"{side}.trust_remote_code: cannot be stored; give the embedder itself, as an object")
    words = given.items() if isinstance(given, dict) else [(None, given)]
    for name, value in words:
        if isinstance(value, str) and redacted(value) != value and not is_there(value):
            where = side if name is None else f"{side}.{name}"
            raise ConfigError(
                f"{where}: holds a password or a key, which would be stored with it; put it into an environment "
                f"variable, and name that in {side}.api_key_env"
            )
    return given
