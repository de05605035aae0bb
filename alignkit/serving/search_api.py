"""Searches of the user's own index."""

from __future__ import annotations

import time
from typing import Any, get_args

import numpy as np
import orjson
from starlette.requests import Request
from starlette.responses import Response

from alignkit.indexes.filters import FilterError
from alignkit.searching.search_routes import ROUTES, Route
from alignkit.serving.intake import full_texts, json_type, read_object, texts_of
from alignkit.serving.request_faults import RequestFault
from alignkit.serving.service import Service, json_response

MOST_HITS = 1000
_FIELDS = ("query", "k", "filter", "route")
NO_INDEX = "no index is served; start with index=ENGINE and its settings, such as index=pgvector index.table=docs"


async def search(service: Service, request: Request) -> Response:
    """`POST /search`."""
    started = time.perf_counter()
    asked = await read_object(request, service.limits, service.bodies)
    if service.search is None:
        raise RequestFault(404, NO_INDEX, code="no_index")
    query, k, where, route = _checked(asked, service)
    try:
        answer = await service.search.find(query, k, where, route)
    except FilterError as error:
        raise RequestFault(400, str(error), param="filter", code="invalid_filter") from None
    total = time.perf_counter() - started
    service.metrics.search(answer.route, answer.embed_s, answer.search_s, total)
    if service.query_log is not None:
        sure = None if answer.confidence is None else np.array([answer.confidence])
        service.query_log.take([query], request.scope["path"], answer.route, sure)
    return _json(
        {
            "hits": [
                {"id": hit.id, "score": hit.score, "text": hit.text, "payload": hit.payload} for hit in answer.hits
            ],
            "route": answer.route,
            "ms": {"embed": _ms(answer.embed_s), "search": _ms(answer.search_s), "total": _ms(total)},
            "confidence": None if answer.confidence is None else round(answer.confidence, 4),
            "reason": answer.reason,
            "kept": answer.kept,
        }
    )


async def about(service: Service, request: Request) -> Response:
    """`GET /search`: which routes there are, or why there are none."""
    if service.search is None:
        return json_response({"routes": dict.fromkeys(ROUTES, NO_INDEX), "index": None, "fields": []})
    return _json(await service.search.about())


def _checked(asked: dict[str, Any], service: Service) -> tuple[str, int, dict[str, Any] | None, Route]:
    # a misspelt `filter` would find what must not be found
    if strange := [name for name in asked if name not in _FIELDS]:
        raise RequestFault(400, f"unknown field; expected {', '.join(_FIELDS)}", param=_shown(strange[0]))
    query = asked.get("query")
    if not isinstance(query, str):
        raise RequestFault(400, f"query must be a text, got {json_type(query)}", param="query")
    full_texts(texts_of([query], "query", service.limits), "query")
    k = asked.get("k", 10)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MOST_HITS:
        raise RequestFault(400, f"k must be a whole number from 1 to {MOST_HITS}", param="k")
    where = asked.get("filter")
    if where is not None and not isinstance(where, dict):
        raise RequestFault(400, f"filter must be an object, got {json_type(where)}", param="filter")
    route = asked.get("route", ROUTES[0])
    if route not in get_args(Route):
        raise RequestFault(400, f"route must be one of {', '.join(ROUTES)}", param="route")
    return query, k, where, route


def _shown(name: str) -> str | None:
    return name if name.isidentifier() and len(name) < 40 else None


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _json(content: Any) -> Response:
    """JSON of values as engines have them: UUIDs, dates, decimals, numbers of NumPy."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return Response(orjson.dumps(content, default=str, option=options), media_type="application/json")
