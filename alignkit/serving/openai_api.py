"""OpenAI's API for embeddings (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from alignkit.serving.intake import dimensions_of, model_name_of, read_object, texts_of
from alignkit.serving.names import unknown_to_openai
from alignkit.serving.request_faults import RequestFault
from alignkit.serving.service import Service, estimated_tokens, json_answer, json_response
from alignkit.serving.shortening import shorten
from alignkit.serving.token_texts import token_arrays
from alignkit.serving.vector_json import rows_of

FORMATS = ("float", "base64")
_STARTED = int(time.time())


async def embeddings(service: Service, request: Request) -> Response:
    """`POST /v1/embeddings`."""
    asked = await read_object(request, service.limits, service.bodies)
    model = _known(service, model_name_of(asked.get("model", service.model)))
    if "input" not in asked:
        raise RequestFault(400, "input is missing; expected a text or a list of texts", param="input")
    given, tokens = asked["input"], None
    if (arrays := token_arrays(given)) is not None:
        given, tokens = await service.token_texts.of(arrays, model), sum(map(len, arrays))
    texts = texts_of(given, "input", service.limits)
    if not texts:
        raise RequestFault(400, "input is an empty list; expected at least one text", param="input")
    encoding = asked.get("encoding_format") or "float"
    if encoding not in FORMATS:
        got = encoding if isinstance(encoding, str) and encoding.isalnum() and len(encoding) < 20 else "something else"
        raise RequestFault(400, f"encoding_format must be float or base64, got {got}", param="encoding_format")
    dimensions = dimensions_of(asked.get("dimensions"), service.dim)
    answer = await service.embed(texts, request.scope["path"])
    rows = await rows_of(shorten(answer.vectors, dimensions), encoding == "base64")
    tokens = estimated_tokens(texts) if tokens is None else tokens
    content = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_answer(content, answer)


async def models(service: Service, request: Request) -> Response:
    """`GET /v1/models`."""
    return json_response({"object": "list", "data": [_model_card(name) for name in service.names.all]})


async def model(service: Service, request: Request) -> Response:
    """`GET /v1/models/{name}`."""
    name = _known(service, request.scope["path"].removeprefix("/v1/models/"))
    return json_response(_model_card(service.names.of(name) or name))


def envelope(fault: RequestFault) -> Response:
    """An error in OpenAI's format."""
    kind = "invalid_request_error" if fault.status < 500 else "server_error"
    error = {"message": fault.message, "type": kind, "param": fault.param, "code": fault.code}
    return json_response({"error": error}, fault.status, fault.headers)


def _known(service: Service, name: str) -> str:
    if service.names.of(name) is None:
        raise unknown_to_openai(name, service.names.all)
    return name


def _model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "alignkit"}
