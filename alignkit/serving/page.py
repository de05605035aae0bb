"""A page to try searches in: `GET /` for browsers, the files it is made of, and what it says about the run."""

from __future__ import annotations

import functools
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from alignkit import resources
from alignkit.parts import group_choices
from alignkit.serving import ollama_listing
from alignkit.serving.service import Service, json_response

FILES = Path(resources.__file__).parent / "page"
PARTS = ("style.css", "script.js", "columns.js", "keys.js", "server.js")
# nothing comes from elsewhere, nothing runs that is not in the script, and no other page can frame this one
SAFE = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def root(service: Service, request: Request) -> Response:
    """`GET /`: the page for who asks for HTML, which browsers do and clients of Ollama do not."""
    if service.page is None or "text/html" not in request.headers.get("accept", "").lower():
        response = await ollama_listing.running(service, request)
    else:
        response = _file("page.html", "text/html")
    response.headers["vary"] = "accept"
    return response


async def part(service: Service, request: Request) -> Response:
    """`GET /page/…`: one of the files that the page is made of."""
    name = request.scope["path"].rpartition("/")[2]
    return _file(name, "text/css" if name.endswith(".css") else "text/javascript")


async def run(service: Service, request: Request) -> Response:
    """`GET /page/run`: what is served, and how good it was found to be."""
    artifact = service.answerer.aligned.artifact
    about = {
        "model": service.model,
        "student": ollama_listing.name_in(artifact.student_identity),
        "teacher": ollama_listing.name_in(artifact.teacher_identity),
        "engines": group_choices("index"),
        "verdict": None,
        "alarms": [],
        "pictures": [],
    }
    return json_response({**about, **(service.page or {})}, headers={"cache-control": "no-store"})


def _file(name: str, media_type: str) -> Response:
    return Response(_content(name), media_type=media_type, headers=SAFE)


@functools.cache
def _content(name: str) -> bytes:
    return (FILES / name).read_bytes()
