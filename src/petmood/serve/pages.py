"""The page, its files, the description of the addresses, and the signs of life; nothing comes from another host."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources

from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import HTMLResponse, Response

from petmood.serve.counters import Counters
from petmood.serve.reference import reference_page
from petmood.serve.replies import reply

_KINDS: Mapping[str, str] = {
    "page.js": "text/javascript",
    "words.js": "text/javascript",
    "timeline.js": "text/javascript",
    "page.css": "text/css",
    "icon.svg": "image/svg+xml",
}


def pages(app: FastAPI, counters: Counters) -> APIRouter:
    """Everything that is not below /v1."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", _file("index.html", "text/html"))
    for name, kind in _KINDS.items():
        router.add_api_route(f"/static/{name}", _file(name, kind))

    async def docs() -> Response:
        return HTMLResponse(reference_page(app.openapi()))

    async def health() -> Response:
        return reply({"status": "ok"})

    async def metrics() -> Response:
        return Response(counters.text(), headers={"content-type": CONTENT_TYPE_LATEST})

    router.add_api_route("/docs", docs)
    router.add_api_route("/healthz", health)
    router.add_api_route("/metrics", metrics)
    return router


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    """A handler that sends one of the package's files; a browser that has it already is told so."""
    data = resources.files("petmood.serve").joinpath("static", name).read_bytes()
    headers = {"etag": f'"{hashlib.sha256(data).hexdigest()[:16]}"', "cache-control": "no-cache"}

    async def send(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["etag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, headers=headers, media_type=f"{kind}; charset=utf-8")

    return send
