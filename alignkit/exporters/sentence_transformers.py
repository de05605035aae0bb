"""A folder that `SentenceTransformer(path)` loads without alignkit: student, head, Normalize; with a card."""

from __future__ import annotations

import copy
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from alignkit.agreement import Tolerance, compare
from alignkit.embedders.base import Embedder, Role, embed_all
from alignkit.embedders.model_loading import quiet_loading
from alignkit.embedders.sameness import same_vectors
from alignkit.errors import ConfigError
from alignkit.exporters.base import Job
from alignkit.exporters.card_usage import model_usage
from alignkit.exporters.dense import Layer, dense_layers, normalises_first
from alignkit.exporters.graph import trace
from alignkit.exporters.hub import put_for_alignkit
from alignkit.exporters.model_card import CARD, card_text
from alignkit.exporters.module_code import CLASS_NAME, MODULE_NAME, module_source
from alignkit.extras import check_installed
from alignkit.files import let_others_read

OPTIONS = frozenset({"router"})
CARRIES_MODELS = True
# a teacher's batches are padded otherwise by the other program, and nothing more
ROUTE_TOLERANCE = Tolerance(1e-4, 0.9999)


def tolerance(job: Job) -> Tolerance:
    """The student is run by another program, whose batches are padded otherwise."""
    return ROUTE_TOLERANCE if job.student is None else _tolerance_of(_modules(job.student, _role(job, job.student)))


def write(job: Job, folder: Path) -> dict[str, Any]:
    """The model and its README card.

    Raises:
        ConfigError: if the student (or the teacher, with `router`) does not run in this process.
        MissingExtraError: without sentence-transformers.
    """
    check_installed("local", "sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize

    student, router = _student(job), bool(job.options.get("router"))
    layers = dense_layers(job.head)
    stock = layers is not None
    head_modules = _dense(layers) if layers is not None else [_module(job, folder)]
    student_modules = _modules(student, _role(job, student))
    precision = _precision(student_modules)
    if stock and normalises_first(job.head):
        head_modules.insert(0, Normalize())
    query = [*_in_float32(student_modules), *head_modules, Normalize()]
    if router:
        from sentence_transformers.base.modules import Router

        teacher = _teacher(job)
        document = _modules(teacher, "document")
        if not isinstance(document[-1], Normalize):
            document.append(Normalize())
        modules: list[Any] = [Router.for_query_document(query_modules=query, document_modules=document)]
        prompts = {"query": _prompt(student, _role(job, student)), "document": _prompt(teacher, "document")}
        model = SentenceTransformer(modules=modules, prompts=prompts)
    else:
        prompt = _prompt(student, _role(job, student))
        model = SentenceTransformer(modules=query, prompts={"query": prompt, "document": prompt})
        # plain encode() must put the prompt there too
        model.default_prompt_name = "query" if prompt else None
    with quiet_loading():
        model.save(str(folder), create_model_card=False)
    let_others_read(folder)
    usage = model_usage(job, router, stock, _name(precision))
    card = card_text(job, usage, "sentence-transformers", holds_student=True, holds_teacher=router)
    (folder / CARD).write_text(card, encoding="utf-8")
    if job.repo is not None:
        put_for_alignkit(job, folder)
    return {"router": router, "needs_trust_remote_code": not stock, "student_trained_in": _name(precision)}


def read_back(job: Job, folder: Path) -> np.ndarray:
    """Load the folder as a user would and embed the texts; with a router, the document route is checked here."""
    from sentence_transformers import SentenceTransformer

    settings = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    own_code = (folder / f"{MODULE_NAME}.py").exists()
    with quiet_loading():
        model = SentenceTransformer(str(folder), device="cpu", trust_remote_code=own_code, local_files_only=True)
    _drop_cached_code(model)
    texts = job.texts or []
    if any(part["type"].endswith("Router") for part in settings):
        teacher = _teacher(job)
        expected = embed_all(teacher, texts, "document")
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        documents = model.encode_document(texts, show_progress_bar=False)
        compare(expected, np.asarray(documents, dtype=np.float32), _tolerance_of(_modules(teacher, "document")))
        return model.encode_query(texts, show_progress_bar=False)
    return model.encode(texts, show_progress_bar=False)


def _student(job: Job) -> Embedder:
    if job.student is None or job.texts is None:
        raise ConfigError(
            "format=sentence_transformers needs the student itself and texts to check on: name it with student=…"
        )
    return job.student


def _teacher(job: Job) -> Embedder:
    if job.teacher is None:
        raise ConfigError("router=true needs the teacher itself: name it with teacher=…")
    return job.teacher


def _role(job: Job, student: Embedder) -> Role:
    """The role whose prompt made the vectors that the head was trained on."""
    return "document" if same_vectors(student.identity("document"), job.artifact.student_identity) else "query"


def _prompt(embedder: Embedder, role: Role) -> str:
    return str(embedder.identity(role).get("prompt") or "")


def _modules(embedder: Embedder, role: Role) -> list[Any]:
    """What a role's texts go through in an embedder of this process, as modules of sentence-transformers."""
    way_out = "use format=onnx or format=numpy and embed with it yourself"
    if not hasattr(embedder, "modules"):
        raise ConfigError(
            f"{type(embedder).__name__} cannot be carried along in a folder of sentence-transformers (it needs a "
            f"server); {way_out}"
        )
    try:
        modules: list[Any] = embedder.modules(role)
    except ConfigError as error:
        raise ConfigError(f"{type(embedder).__name__} cannot be carried along: {error}; {way_out}") from None
    return modules


def _precision(modules: list[Any]) -> torch.dtype:
    """The coarsest type of any of their weights."""
    types = {weight.dtype for module in modules for weight in module.parameters() if weight.is_floating_point()}
    return max(types, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)


def _tolerance_of(modules: list[Any]) -> Tolerance:
    """A model in half precision differs by about a quarter of this from itself, with its batches padded otherwise."""
    precision = _precision(modules)
    return ROUTE_TOLERANCE if precision == torch.float32 else Tolerance(torch.finfo(precision).eps, 0.999)


def _in_float32(modules: list[Any]) -> list[Any]:
    """The student's weights in float32: sentence-transformers would cast the head to the type of the first module."""
    return modules if _precision(modules) == torch.float32 else [copy.deepcopy(module).float() for module in modules]


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def _dense(layers: list[Layer]) -> list[Any]:
    from sentence_transformers.base.modules import Dense

    return [
        Dense(
            in_features=layer.weight.shape[1],
            out_features=layer.weight.shape[0],
            # without this it would be Tanh
            activation_function=layer.activation() if layer.activation else None,
            init_weight=layer.weight,
            init_bias=layer.bias,
        )
        for layer in layers
    ]


def _module(job: Job, folder: Path) -> Any:
    """The head as a module whose code lies in the folder."""
    graph = trace(job.head)
    path = folder / f"{MODULE_NAME}.py"
    path.write_text(module_source(graph, job.head), encoding="utf-8")
    return getattr(_import(path), CLASS_NAME)(graph.arrays)


def _drop_cached_code(model: torch.nn.Module) -> None:
    """Of code out of a folder transformers keeps a copy in its cache; nobody will load that folder again."""
    for module in model.modules():
        loaded_from = type(module).forward.__module__  # the class itself goes by the name that a folder gives it
        place = loaded_from.split(".")
        if place[0] == "transformers_modules":
            file = Path(str(sys.modules[loaded_from].__file__))
            root = next(folder for folder in file.parents if folder.name == place[0])
            shutil.rmtree(root / file.relative_to(root).parts[0], ignore_errors=True)


def _import(path: Path) -> ModuleType:
    found = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if found is None or found.loader is None:
        raise ConfigError(f"{path} is not a Python module")
    module = importlib.util.module_from_spec(found)
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        found.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module
