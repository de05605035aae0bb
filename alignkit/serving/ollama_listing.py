"""What Ollama's clients ask a server besides vectors: whether it runs, and which models it has."""

from __future__ import annotations

import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from alignkit import __version__
from alignkit.serving.intake import json_type, read_object
from alignkit.serving.names import shown_name, tagged_name, unknown_to_ollama
from alignkit.serving.request_faults import RequestFault
from alignkit.serving.service import Service, json_response

_STARTED = datetime.datetime.now(datetime.UTC)
# the model stays loaded as long as the server runs; Ollama's command line shows a date this far off as "Forever"
_EXPIRES = _STARTED.replace(year=_STARTED.year + 100, day=1)
ARCHITECTURE = "alignkit"


async def running(service: Service, request: Request) -> Response:
    """What Ollama's command line looks at first."""
    return PlainTextResponse("alignkit is running")


async def version(service: Service, request: Request) -> Response:
    """`GET /api/version`."""
    return json_response({"version": __version__})


async def tags(service: Service, request: Request) -> Response:
    """`GET /api/tags`."""
    return json_response({"models": [{**card, "modified_at": _STARTED.isoformat()} for card in _cards(service)]})


async def processes(service: Service, request: Request) -> Response:
    """`GET /api/ps`."""
    loaded = {"expires_at": _EXPIRES.isoformat(), "size_vram": 0, "context_length": 0}
    return json_response({"models": [{**card, **loaded} for card in _cards(service)]})


async def show(service: Service, request: Request) -> Response:
    """`POST /api/show`."""
    asked = await read_object(request, service.limits, service.bodies)
    name = asked.get("model") or asked.get("name")
    if not name:
        raise RequestFault(400, "model is required")
    if not isinstance(name, str):
        raise RequestFault(400, f"model must be a name, got {json_type(name)}")
    if service.names.of(name) is None:
        raise RequestFault(404, f"model '{shown_name(tagged_name(name))}' not found", code="model_not_found")
    artifact = service.answerer.aligned.artifact
    info = {
        "general.architecture": ARCHITECTURE,
        "general.parameter_count": _parameters(service),
        f"{ARCHITECTURE}.embedding_length": service.dim,
        f"{ARCHITECTURE}.head": artifact.head.kind(),
        f"{ARCHITECTURE}.student": name_in(artifact.student_identity),
        f"{ARCHITECTURE}.teacher": name_in(artifact.teacher_identity),
    }
    return json_response(
        {
            "modelfile": f"# a head of alignkit\nFROM {tagged_name(service.model)}\n",
            "parameters": "",
            "template": "",
            "details": _details(service),
            "model_info": {key: value for key, value in info.items() if value is not None},
            "capabilities": ["embedding"],
            "modified_at": _STARTED.isoformat(),
        }
    )


async def chat(service: Service, request: Request) -> Response:
    """`POST /api/chat` and `/api/generate`: what Ollama says about a model that only embeds."""
    name = (await read_object(request, service.limits, service.bodies)).get("model", service.model)
    if not isinstance(name, str) or service.names.of(name) is None:
        raise unknown_to_ollama(name)
    what = request.scope["path"].rpartition("/")[2]
    raise RequestFault(400, f'"{shown_name(name)}" does not support {what}')


def _cards(service: Service) -> list[dict[str, Any]]:
    """One for each name, as Ollama lists a model that was copied."""
    about = {"size": service.head_bytes, "digest": service.head_digest, "details": _details(service)}
    return [{"name": name, "model": name, **about} for name in map(tagged_name, service.names.all)]


def _details(service: Service) -> dict[str, Any]:
    kind = service.answerer.aligned.artifact.head.kind()
    return {
        "parent_model": "",
        "format": "safetensors",
        "family": kind,
        "families": [kind],
        "parameter_size": _short_count(_parameters(service)),
        "quantization_level": "F32",
    }


def _parameters(service: Service) -> int:
    return sum(part.numel() for part in service.answerer.aligned.artifact.head.parameters())


def name_in(identity: dict[str, Any] | None) -> str | None:
    """The name of a model by its identity; `None` for bare vectors."""
    return None if identity is None else str(identity.get("model") or identity.get("backend") or "") or None


def _short_count(count: int) -> str:
    """A number of parameters as Ollama shows it.

    >>> [_short_count(count) for count in (7, 98_688, 22_700_000, 1_500_000_000)]
    ['7', '98.7K', '22.7M', '1.5B']
    """
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)
