"""The service as one ASGI application: the page, the addresses below /v1, and what lies around them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

import petmood
from petmood.recipes.serve import ServeSettings
from petmood.serve.api import Api, refusal_reply
from petmood.serve.guard import Guard
from petmood.serve.pages import pages
from petmood.serve.refusals import Reason, RefusalError
from petmood.serve.service import Served, Service

_DESCRIPTION = (
    "Emotions of dogs and cats in photos and videos. Uploads are held in memory while they are answered and kept "
    "nowhere. Every refusal has one word for programs (`reason`) and one sentence for people (`message`)."
)


def create_app(served: Served, settings: ServeSettings, *, keys: Sequence[bytes] = ()) -> FastAPI:
    """An application that answers by a model.

    Args:
        served: the model.
        settings: limits and manners.
        keys: requests must show one of them; empty asks for none.
    """
    service = Service(served, settings)

    @contextlib.asynccontextmanager
    async def alive(_: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(service.run())
        yield
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work

    app = FastAPI(
        title="petmood",
        version=petmood.__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=alive,
    )
    app.include_router(Api(service).router())
    app.include_router(pages(app, service.counters))
    _refuse_politely(app, service)
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors),
            allow_methods=["GET", "POST"],
            allow_headers=["content-type", "x-api-key", "authorization"],
        )
    app.add_middleware(Guard, keys=keys, counters=service.counters)
    return app


def _refuse_politely(app: FastAPI, service: Service) -> None:
    """Give everything that goes wrong one form, without paths or tracebacks."""

    async def refusal(request: Request, error: Exception) -> Response:
        assert isinstance(error, RefusalError)
        return refusal_reply(service, request, error)

    async def bad_parameter(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        names = {str(item["loc"][-1]) for item in error.errors()}
        return refusal_reply(service, request, RefusalError("bad_box" if names == {"box"} else "bad_request"))

    async def by_status(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        reasons: dict[int, Reason] = {404: "not_found", 405: "wrong_method"}
        reply = refusal_reply(service, request, RefusalError(reasons.get(error.status_code, "bad_form")))
        reply.headers.update(error.headers or {})
        return reply

    app.add_exception_handler(RefusalError, refusal)
    app.add_exception_handler(RequestValidationError, bad_parameter)
    app.add_exception_handler(HTTPException, by_status)
