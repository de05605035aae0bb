"""Ollama's API for embeddings (https://github.com/ollama/ollama/blob/main/docs/api.md)."""

from __future__ import annotations

import datetime
import time

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from alignkit import __version__
from alignkit.serving.answers import Answer
from alignkit.serving.faults import RequestFault
from alignkit.serving.intake import dimensions_of, json_type, model_of, read_object, texts_of
from alignkit.serving.service import Service, estimated_tokens, json_answer, json_response, numbers_of
from alignkit.serving.writing import as_numbers

_STARTED = datetime.datetime.now(datetime.UTC).isoformat()


async def embed(service: Service, request: Request) -> Response:
    """`POST /api/embed`; without a text the list of vectors is empty, as Ollama has it."""
    started = time.perf_counter_ns()
    asked = await read_object(request, service.limits)
    model = model_of(asked.get("model", service.model), _names(service))
    given = asked.get("input")
    texts = [] if given in (None, "") else texts_of(given, "input", service.limits)
    dimensions = dimensions_of(asked.get("dimensions") or None, service.dim)
    answer = await service.embed(texts) if texts else _nothing(service)

    rows = await numbers_of(answer, dimensions)
    about = {
        "model": model,
        "total_duration": time.perf_counter_ns() - started,
        "load_duration": 0,
        "prompt_eval_count": estimated_tokens(texts),
    }
    return json_answer(b'{"embeddings":[%b],%b' % (b",".join(rows), orjson.dumps(about)[1:]), answer)


async def embeddings(service: Service, request: Request) -> Response:
    """`POST /api/embeddings`, the older form: one text."""
    asked = await read_object(request, service.limits)
    model_of(asked.get("model", service.model), _names(service))
    prompt = asked.get("prompt", "")
    if not isinstance(prompt, str):
        raise RequestFault(400, f"prompt must be a text, got {json_type(prompt)}", param="prompt")
    answer = await service.embed(texts_of(prompt, "prompt", service.limits)) if prompt else _nothing(service)
    (row,) = as_numbers(answer.vectors) or [b"[]"]
    return json_answer(b'{"embedding":%b}' % row, answer)


async def tags(service: Service, request: Request) -> Response:
    """`GET /api/tags`."""
    name = _names(service)[0]
    artifact = service.answerer.aligned.artifact
    card = {
        "name": name,
        "model": name,
        "modified_at": _STARTED,
        "size": service.head_bytes,
        "digest": service.head_digest,
        "details": {
            "parent_model": "",
            "format": "safetensors",
            "family": artifact.head.kind(),
            "families": [artifact.head.kind()],
            "parameter_size": str(sum(part.numel() for part in artifact.head.parameters())),
            "quantization_level": "F32",
        },
    }
    return json_response({"models": [card]})


async def version(service: Service, request: Request) -> Response:
    """`GET /api/version`."""
    return json_response({"version": __version__})


def envelope(fault: RequestFault) -> Response:
    """Ollama's form of an error."""
    return json_response({"error": fault.message}, fault.status, fault.headers)


def _names(service: Service) -> list[str]:
    # Ollama's clients add the tag where there is none
    tagged = ":" in service.model.rpartition("/")[2]
    return [service.model] if tagged else [f"{service.model}:latest", service.model]


def _nothing(service: Service) -> Answer:
    return Answer(np.empty((0, service.dim), dtype=np.float32), {}, None)
