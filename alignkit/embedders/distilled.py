"""A student that was trained with its head, as `python -m alignkit.distill` leaves it in `student/` of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.embedders.base import EmbeddedBatch, Embedder, Role, context_of, weights_mb
from alignkit.embedders.digests import folder_digest
from alignkit.embedders.model_folders import is_fitted, own_prompt
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import ArtifactError, EmbedderError
from alignkit.hub.fetching import model_path
from alignkit.servers.untrusted_words import one_line
from alignkit.setting_names import SettingNames
from alignkit.student_files import STUDENT

if TYPE_CHECKING:
    from alignkit.embedders.token_table import TokenTable

BACKEND = "distilled"
_MODULES, _LIBRARY = "modules.json", "sentence_transformers."


class DistilledEmbedder:
    """The table or the transformer in a `student/` folder; what its files hold is its identity, not where they lie.

    Args:
        path: a run folder that has `student/`, that folder, or `hf://user/repo@revision`.
        batch_size: texts per batch; null takes what suits the kind of student.
        device: `cpu`, `cuda`, …, for a transformer; null lets torch choose.

    Raises:
        EmbedderError: if no student lies there, or it comes with code of its own.
    """

    def __init__(self, path: str | Path, batch_size: int | None = None, device: str | None = None) -> None:
        self.folder = _folder(model_path(path), SettingNames()("path"))
        modules = _modules(self.folder)
        given: dict[str, Any] = {} if batch_size is None else {"batch_size": batch_size}
        prompts: dict[str, Any] = {f"{role}_prompt": own_prompt(self.folder, role) for role in ("query", "document")}
        if modules[0].endswith(".StaticEmbedding"):
            normalize = modules[-1].endswith(".Normalize")
            self._inner: Embedder = TableEmbedder(self.folder, normalize=normalize, **prompts, **given)
        else:
            self._inner = SentenceTransformerEmbedder(str(self.folder), **prompts, device=device, **given)
        self._digest = folder_digest(self.folder)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._inner.dim

    @property
    def context(self) -> int | None:
        """Maximum tokens of a text that the student reads; `None` for a table, which reads all."""
        return context_of(self._inner)

    @property
    def weights_mb(self) -> float | None:
        """What the student weighs in memory, in millions of bytes."""
        return weights_mb(self._inner)

    @property
    def table(self) -> TokenTable | None:
        """Its rows and tokenizer, where it is a table."""
        return getattr(self._inner, "table", None)

    @property
    def is_fitted(self) -> bool:
        """Whether it is a table whose rows were fitted to texts, or trained on them."""
        return is_fitted(self.folder)

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity; all of it is known here."""
        return self._named(self._inner.settings(role), self._digest)

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """What determines a vector; the digest covers weights, tokenizer and configuration."""
        return self._named(self._inner.identity(role), self._digest)

    def current_identity(self, role: Role = "document") -> dict[str, Any]:
        """The identity of the files as they are now."""
        return self._named(self._inner.settings(role), folder_digest(self.folder))

    def provenance(self) -> dict[str, Any]:
        """Versions of what it runs on."""
        return self._inner.provenance()

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches as they finish; see `Embedder`."""
        return self._inner.embed(texts, role)

    def modules(self, role: Role = "document") -> list[Any]:
        """The student as sentence-transformers modules."""
        return self._inner.modules(role)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Release the model; may be called twice."""
        self._inner.close()

    def _named(self, inner: Mapping[str, Any], digest: str) -> dict[str, Any]:
        return {**inner, "backend": BACKEND, "model": f"student-{digest[:8]}", "digest": digest}


def is_distilled(identity: Mapping[str, Any] | None) -> bool:
    """Whether a head was trained with a student that lies beside it."""
    return identity is not None and identity.get("backend") == BACKEND


def check_unchanged(folder: Path, identity: Mapping[str, Any], head: str | Path) -> None:
    """Refuse a `student/` that is not the one that the head beside it was trained with.

    Args:
        folder: of the student.
        identity: that the head names.
        head: for the message.

    Raises:
        ArtifactError: if a file was damaged, lost or exchanged.
    """
    try:
        digest = folder_digest(folder)
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be read ({error.strerror}); copy the whole run folder again") from None
    if digest != identity.get("digest"):
        raise ArtifactError(
            f"{folder}: not the student that {head} was trained with, a file in it was changed, lost or exchanged "
            f"(sha256 {digest[:8]}, expected {str(identity.get('digest'))[:8]}); copy the whole run folder again"
        )


def _folder(path: Path, name: str) -> Path:
    for folder in (path, path / STUDENT, path.parent / STUDENT):
        if (folder / _MODULES).is_file():
            return folder
    raise EmbedderError(
        f"{name}={path}: no {_MODULES} there nor in {path / STUDENT}; expected a run folder of python -m "
        f"alignkit.distill, or its {STUDENT}/"
    )


def _modules(folder: Path) -> list[str]:
    """The classes of a student's modules: the library's own only, and weights that are no pickle."""
    try:
        found = json.loads((folder / _MODULES).read_text(encoding="utf-8"))
        kinds = [str(module["type"]) for module in found]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EmbedderError(f"{folder / _MODULES}: not readable ({one_line(error, 80)}); copy it again") from None
    if strange := [kind for kind in kinds if not kind.startswith(_LIBRARY)]:
        raise EmbedderError(
            f"{folder}: its module {one_line(strange[0], 80)} is code that is no part of sentence-transformers; "
            "it is not run"
        )
    if not kinds or not any(folder.rglob("*.safetensors")):
        raise EmbedderError(f"{folder}: no student with weights in *.safetensors; copy the whole run folder again")
    return kinds
