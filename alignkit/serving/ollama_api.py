"""Ollama's API for embeddings (https://github.com/ollama/ollama/blob/main/docs/api.md)."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alignkit.serving.intake import dimensions_of, json_type, model_name_of, read_object, texts_of
from alignkit.serving.names import unknown_to_ollama
from alignkit.serving.request_faults import RequestFault
from alignkit.serving.service import Service, estimated_tokens, json_answer, json_response
from alignkit.serving.shortening import shorten
from alignkit.serving.vector_json import rows_of


async def embed(service: Service, request: Request) -> Response:
    """`POST /api/embed`; without texts the list of vectors is empty, as in Ollama."""
    started = time.perf_counter_ns()
    asked = await read_object(request, service.limits, service.bodies)
    model = _model_of(service, asked)
    given = asked.get("input")
    texts = [] if given in (None, "") else texts_of(given, "input", service.limits)
    dimensions = dimensions_of(asked.get("dimensions") or None, service.dim)
    answer = await service.embed(texts, request.scope["path"])

    content = {
        "model": model,
        "embeddings": await rows_of(shorten(answer.vectors, dimensions)),
        "total_duration": time.perf_counter_ns() - started,
        "load_duration": 0,
        "prompt_eval_count": estimated_tokens(texts),
    }
    return json_answer(content, answer)


async def embeddings(service: Service, request: Request) -> Response:
    """`POST /api/embeddings`, the older form: one text."""
    asked = await read_object(request, service.limits, service.bodies)
    _model_of(service, asked)
    prompt = asked.get("prompt", "")
    if not isinstance(prompt, str):
        raise RequestFault(400, f"prompt must be a text, got {json_type(prompt)}", param="prompt")
    texts = texts_of(prompt, "prompt", service.limits) if prompt else []
    answer = await service.embed(texts, request.scope["path"], "prompt")
    return json_answer({"embedding": answer.vectors[0] if texts else []}, answer)


def envelope(fault: RequestFault) -> Response:
    """An error in Ollama's format."""
    return json_response({"error": fault.message}, fault.status, fault.headers)


def _model_of(service: Service, asked: dict[str, Any]) -> str:
    name = model_name_of(asked.get("model", service.model))
    if service.names.of(name) is None:
        raise unknown_to_ollama(name)
    return name
