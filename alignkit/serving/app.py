"""The HTTP application: which path leads where, who may ask, how an error is worded, what is counted."""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from alignkit.serving import ollama_api, ollama_listing, openai_api, page, search_api
from alignkit.serving.request_faults import RequestFault
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
    """`GET /health`: the process runs, and new clients can reach it."""
    if not service.draining and any(listener.fileno() < 0 for listener in service.listeners):
        return json_response({"status": "the server no longer accepts new clients; restart it"}, 503)
    return json_response({"status": "ok"})


async def ready(service: Service, request: Request) -> Response:
    """`GET /ready`: the student answers, it is the one the head was trained for, and the server is not stopping."""
    if service.draining:
        reason = "stopping"
    elif service.student_watch.replaced:
        reason = "the student was replaced; see the server's log"
    elif not service.readiness.ready:
        reason = "the student does not answer"
    else:
        return json_response({"status": "ready"})
    return json_response({"status": reason}, 503)


async def metrics(service: Service, request: Request) -> Response:
    """`GET /metrics`, for Prometheus."""
    body, media_type = service.metrics.exposition()
    return Response(body, headers={"content-type": media_type})


MODELS = "/v1/models"
ONE_MODEL = f"{MODELS}/{{name}}"

ENTRIES = (
    Entry("POST", "/v1/embeddings", openai_api.embeddings, openai_api.envelope),
    Entry("GET", MODELS, openai_api.models, openai_api.envelope),
    Entry("GET", ONE_MODEL, openai_api.model, openai_api.envelope),
    Entry("POST", "/search", search_api.search, openai_api.envelope),
    Entry("GET", "/search", search_api.about, openai_api.envelope),
    Entry("POST", "/api/embed", ollama_api.embed, ollama_api.envelope),
    Entry("POST", "/api/embeddings", ollama_api.embeddings, ollama_api.envelope),
    Entry("GET", "/api/tags", ollama_listing.tags, ollama_api.envelope),
    Entry("GET", "/api/ps", ollama_listing.processes, ollama_api.envelope),
    Entry("POST", "/api/show", ollama_listing.show, ollama_api.envelope),
    Entry("GET", "/api/version", ollama_listing.version, ollama_api.envelope),
    Entry("POST", "/api/chat", ollama_listing.chat, ollama_api.envelope),
    Entry("POST", "/api/generate", ollama_listing.chat, ollama_api.envelope),
    Entry("GET", "/", page.root, ollama_api.envelope, open=True),
    Entry("GET", "/health", health, openai_api.envelope, open=True),
    Entry("GET", "/ready", ready, openai_api.envelope, open=True),
    Entry("GET", "/metrics", metrics, openai_api.envelope),
)
PAGE_ENTRIES = (
    *(Entry("GET", f"/page/{name}", page.part, openai_api.envelope, open=True) for name in page.PARTS),
    Entry("GET", "/page/run", page.run, openai_api.envelope),
)


def create_app(service: Service) -> ASGIApp:
    """The application of one service. It watches the service's models until shutdown, then closes the service.

    Routing is one dictionary lookup; Starlette's router would take a third of a request's time.
    """
    served = ENTRIES + (PAGE_ENTRIES if service.page is not None else ())
    entries = {(entry.method, entry.path): entry for entry in served}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(service, receive, send)
        elif scope["type"] == "http":
            request = Request(scope, receive)
            method, path = "GET" if request.method == "HEAD" else request.method, scope["path"]
            entry = entries.get((method, path)) or entries.get((method, _with_name(path)))
            response = await _answer(service, entry, request) if entry else _no_such_path(served, method, path)
            if service.draining:
                response.headers["connection"] = "close"
            await response(scope, receive, send)

    return app


async def _live(service: Service, receive: Receive, send: Send) -> None:
    await receive()
    # in a task of its own, so that /health answers and the server can be stopped while the models load
    watching = asyncio.create_task(service.watch())
    await send({"type": "lifespan.startup.complete"})
    await receive()
    watching.cancel()
    await service.close()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(service: Service, entry: Entry, request: Request) -> Response:
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
        response = entry.envelope(RequestFault(503, "the server is stopping and could not wait any longer"))
    except Exception as error:
        # log neither the message nor the frames' values, which may hold a request's texts
        place = traceback.extract_tb(error.__traceback__)[-1]
        logger.error("%s in %s, line %s, on %s", type(error).__name__, place.filename, place.lineno, entry.path)
        response = entry.envelope(RequestFault(500, "internal error; see the server's log"))
    finally:
        service.bodies.release(request)
    service.metrics.request(entry.path, response.status_code, time.perf_counter() - started)
    return response


def _with_name(path: str) -> str:
    """The entry that serves everything below a path: a model's name may contain slashes."""
    return ONE_MODEL if path.startswith(f"{MODELS}/") else path


def _check_token(request: Request, token: bytes) -> None:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode("latin-1"), token):
        raise RequestFault(
            401,
            "no valid token; send it as Authorization: Bearer TOKEN",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )


def _no_such_path(served: Sequence[Entry], method: str, path: str) -> Response:
    envelope = ollama_api.envelope if path.startswith("/api/") else openai_api.envelope
    methods = [entry.method for entry in served if entry.path == _with_name(path)]
    if methods:
        message = f"{method} is not allowed here; use {' or '.join(methods)}"
        return envelope(RequestFault(405, message, headers={"allow": ", ".join(methods)}))
    paths = dict.fromkeys(entry.path for entry in served)
    return envelope(RequestFault(404, f"no such path; the paths are {', '.join(paths)}"))
