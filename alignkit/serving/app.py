"""The HTTP application: which path leads where, who may ask, how a fault is worded, what is counted."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from alignkit.serving import ollama, openai
from alignkit.serving.faults import RequestFault
from alignkit.serving.service import Service, json_response

logger = logging.getLogger(__name__)

Handler = Callable[[Service, Request], Awaitable[Response]]
Envelope = Callable[[RequestFault], Response]


@dataclass(frozen=True)
class Entry:
    """One path of the server.

    Attributes:
        open: answered without a token.
    """

    method: str
    path: str
    handler: Handler
    envelope: Envelope
    open: bool = False


async def health(service: Service, request: Request) -> Response:
    """`GET /health`: the process runs."""
    return json_response({"status": "ok"})


async def ready(service: Service, request: Request) -> Response:
    """`GET /ready`: the student has answered and the server is not about to stop."""
    if service.draining or not service.readiness.ready:
        return json_response({"status": "stopping" if service.draining else "the student has not answered yet"}, 503)
    return json_response({"status": "ready"})


async def metrics(service: Service, request: Request) -> Response:
    """`GET /metrics`, for Prometheus."""
    body, media_type = service.metrics.exposition()
    return Response(body, headers={"content-type": media_type})


ENTRIES = (
    Entry("POST", "/v1/embeddings", openai.embeddings, openai.envelope),
    Entry("GET", "/v1/models", openai.models, openai.envelope),
    Entry("GET", "/v1/models/{name:path}", openai.model, openai.envelope),
    Entry("POST", "/api/embed", ollama.embed, ollama.envelope),
    Entry("POST", "/api/embeddings", ollama.embeddings, ollama.envelope),
    Entry("GET", "/api/tags", ollama.tags, ollama.envelope),
    Entry("GET", "/api/version", ollama.version, ollama.envelope),
    Entry("GET", "/health", health, openai.envelope, open=True),
    Entry("GET", "/ready", ready, openai.envelope, open=True),
    Entry("GET", "/metrics", metrics, openai.envelope),
)


def create_app(service: Service) -> Starlette:
    """The application of one service; it watches the service's models and closes it on shutdown."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        # beside the requests: /health answers and the server can be stopped while the models load
        watching = asyncio.create_task(service.readiness.watch())
        yield
        watching.cancel()
        await service.close()

    app = Starlette(
        routes=[Route(entry.path, _guarded(service, entry), methods=[entry.method]) for entry in ENTRIES],
        exception_handlers={HTTPException: _no_such_path},
        lifespan=lifespan,
    )
    # a redirect would leave out the envelope, and clients would not repeat the body
    app.router.redirect_slashes = False
    return app


def _guarded(service: Service, entry: Entry) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        try:
            if service.token is not None and not entry.open:
                _check_token(request, service.token)
            response = await entry.handler(service, request)
        except RequestFault as fault:
            response = entry.envelope(fault)
        except asyncio.CancelledError:
            if not service.draining:
                raise
            response = entry.envelope(RequestFault(503, "the server stops and could not wait any longer"))
        except Exception as error:
            # neither the message nor the frames' values: both may hold a request's texts
            place = traceback.extract_tb(error.__traceback__)[-1]
            logger.error("%s in %s, line %s, on %s", type(error).__name__, place.filename, place.lineno, entry.path)
            response = entry.envelope(RequestFault(500, "internal error; the server's log names the place"))
        if service.draining:
            response.headers["connection"] = "close"
        service.metrics.request(entry.path, response.status_code, time.perf_counter() - started)
        return response

    return endpoint


def _check_token(request: Request, token: bytes) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), token):
        raise RequestFault(
            401,
            "no valid token; send it as Authorization: Bearer TOKEN",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )


async def _no_such_path(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == 404:
        message = f"no such path; there are {', '.join(entry.path for entry in ENTRIES)}"
    else:
        message = f"{request.method} is not possible here" if status == 405 else "the request was refused"
    envelope = ollama.envelope if request.url.path.startswith("/api/") else openai.envelope
    headers = dict(getattr(error, "headers", None) or {})
    return envelope(RequestFault(status, message, headers=headers))
