"""The addresses below /v1: what a request may bring, and what comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

import petmood
from petmood.geometry import Box
from petmood.labels import Language, display
from petmood.serve import answers
from petmood.serve.drawing import heat_png
from petmood.serve.gate import Held
from petmood.serve.refusals import RefusalError
from petmood.serve.replies import failure, refused, reply
from petmood.serve.service import Asked, Service
from petmood.serve.uploads import announced, read_files

_T = TypeVar("_T")

#: Whole numbers x,y,width,height; the last two above 0.
_BOX = r"^(-?[0-9]{1,6},-?[0-9]{1,6},[1-9][0-9]{0,5},[1-9][0-9]{0,5})?$"
#: Photos of a batch together may be as large as so many of the largest.
_LARGEST_IN_BATCH = 4

Lang = Annotated[Language, Query(description="Language of the sentences.")]
BoxText = Annotated[
    str, Query(pattern=_BOX, description="Where the animal is: x,y,width,height in pixels of the upright picture.")
]
Whole = Annotated[bool, Query(description="Take the whole picture; do not look for animals.")]
Emotion = Annotated[str, Query(max_length=40, description="Explain this emotion; the answer's own if left out.")]
Every = Annotated[int | None, Query(ge=40, le=10_000, description="Milliseconds between frames.")]
Format = Annotated[Literal["grid", "png"], Query(description="Rows of numbers, or a transparent picture.")]

_BINARY: dict[str, Any] = {"type": "string", "format": "binary"}


def _upload(field: str, *, several: bool = False) -> dict[str, Any]:
    """How the description shows an upload that is read by our own means."""
    schema: dict[str, Any] = {"type": "array", "items": _BINARY, "minItems": 1} if several else _BINARY
    form: dict[str, Any] = {"type": "object", "properties": {field: schema}, "required": [field]}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if not several:
        content["application/octet-stream"] = {"schema": _BINARY}
    return {"requestBody": {"required": True, "content": content}}


_WHEN = {
    400: "The form cannot be read.",
    401: "A key is needed.",
    404: "There is nothing here.",
    408: "The upload took too long.",
    411: "The request does not say how long it is.",
    413: "Too many bytes or pixels.",
    415: "Not a file that can be read.",
    422: "A parameter or a file cannot be used.",
    429: "Too much at once; Retry-After says when to come again.",
    503: "Out of time; Retry-After says when to come again.",
}
_Responses = dict[int | str, dict[str, Any]]


def _responses(*statuses: int) -> _Responses:
    return {status: {"model": answers.Refused, "description": _WHEN[status]} for status in statuses}


_REFUSED = _responses(400, 401, 408, 411, 413, 415, 422, 429, 503)


class Api:
    """Handlers of one service."""

    def __init__(self, service: Service) -> None:
        """Answer from ``service``."""
        self._service = service
        self._settings = service.settings
        self._photo_bytes = service.settings.most_megabytes * 1_000_000
        self._video_bytes = service.settings.video_megabytes * 1_000_000

    def router(self) -> APIRouter:
        """All addresses with their descriptions."""
        router = APIRouter(prefix="/v1")

        def add(
            path: str,
            handler: Callable[..., Awaitable[Response]],
            model: type[BaseModel] | None,
            responses: _Responses,
            method: str = "POST",
            extra: dict[str, Any] | None = None,
        ) -> None:
            documented: _Responses = {
                **responses,
                **({200: {"model": model, "description": "The answer."}} if model else {}),
            }
            router.add_api_route(
                path, handler, methods=[method], responses=documented, openapi_extra=extra, response_model=None
            )

        png: _Responses = {
            200: {"model": answers.Heat, "description": "The heat.", "content": {"image/png": {"schema": _BINARY}}}
        }
        add("/predict", self.predict, answers.Picture, _REFUSED, extra=_upload("file"))
        add("/predict/batch", self.batch, answers.Batch, _REFUSED, extra=_upload("files", several=True))
        add("/explain", self.explain, None, {**_REFUSED, **_responses(404), **png}, extra=_upload("file"))
        add("/video", self.video, answers.Video, {**_REFUSED, **_responses(404)}, extra=_upload("file"))
        add("/model", self.model, answers.ModelCard, _responses(401), method="GET")
        jpeg: _Responses = {200: {"description": "A photo to try.", "content": {"image/jpeg": {"schema": _BINARY}}}}
        add("/examples/{number}", self.example, None, {**_responses(401, 404, 422), **jpeg}, method="GET")
        return router

    async def predict(self, request: Request, box: BoxText = "", whole: Whole = False, lang: Lang = "en") -> Response:
        """The emotion of each dog and cat in one photo (form field `file`, or the request's body)."""
        asked = Asked(_box(box), whole, lang)

        async def answer(held: Held) -> dict[str, object]:
            (data,) = await self._files(request, self._photo_bytes)
            return await self._in_time(self._service.picture(data, asked, held))

        return reply(await self._entered(request, self._photo_bytes, answer))

    async def batch(self, request: Request, whole: Whole = False, lang: Lang = "en") -> Response:
        """The emotions in several photos (form field `files`, repeated): one result a photo, in order."""
        asked, most = Asked(None, whole, lang), _LARGEST_IN_BATCH * self._photo_bytes

        async def answer(held: Held) -> dict[str, object]:
            files = await self._files(request, most, count=self._settings.batch)
            results = self._in_time(asyncio.gather(*(self._result(data, asked, held) for data in files)))
            return {"results": await results}

        return reply(await self._entered(request, most, answer))

    async def explain(
        self,
        request: Request,
        emotion: Emotion = "",
        box: BoxText = "",
        whole: Whole = False,
        form: Annotated[Format, Query(alias="format")] = "grid",
        lang: Lang = "en",
    ) -> Response:
        """What in a photo speaks for the answer, or for another emotion: a heat map of the surest animal."""
        asked = Asked(_box(box), whole, lang)

        async def answer(held: Held) -> dict[str, object]:
            (data,) = await self._files(request, self._photo_bytes)
            return await self._in_time(self._service.heat(data, asked, emotion, held))

        heat = await self._entered(request, self._photo_bytes, answer)
        return Response(heat_png(heat), media_type="image/png") if form == "png" else reply(heat)

    async def video(self, request: Request, every: Every = None, lang: Lang = "en") -> Response:
        """The emotions in a video: frame by frame, smoothed, and one answer for each animal."""
        limit = self._settings.video_time_limit

        async def answer(_: Held) -> dict[str, object]:
            files = await read_files(request, most=self._video_bytes, seconds=limit)
            return await self._service.video(files[0], lang, every or self._settings.every)

        return reply(await self._entered(request, self._video_bytes, answer))

    async def model(self) -> Response:
        """What answers here."""
        served, settings = self._service.served, self._settings
        engine, certainty = served.engine, served.engine.certainty
        promise = certainty and {
            "level": certainty.level,
            "frames_temperature": certainty.frames.temperature,
            "frames_threshold": certainty.frames.threshold,
            "clips_temperature": certainty.clips.temperature,
            "clips_threshold": certainty.clips.threshold,
        }
        return reply(
            {
                "petmood": petmood.__version__,
                "network": served.network,
                "classes": list(engine.classes),
                "korean": [display(name, "ko") for name in engine.classes],
                "pool": engine.pool,
                "certainty": promise,
                "detector": served.finds,
                "heat_maps": served.heat_maps is not None,
                "videos": True,
                "examples": len(served.examples),
                "most_bytes": self._photo_bytes,
                "video_bytes": self._video_bytes,
                "language": settings.lang,
            }
        )

    async def example(self, number: Annotated[int, Path(ge=0, le=99)]) -> Response:
        """A photo to try."""
        examples = self._service.served.examples
        if number >= len(examples):
            raise RefusalError("not_found")
        return Response(examples[number], media_type="image/jpeg")

    async def _result(self, data: bytes, asked: Asked, held: Held) -> dict[str, object]:
        """``answers.Result`` of one file of a batch."""
        try:
            _check_size(data, self._photo_bytes)
            return {"picture": await self._service.picture(data, asked, held), "error": None}
        except RefusalError as error:
            self._service.counters.refused.labels(error.reason).inc()
            return {"picture": None, "error": failure(error, asked.language)}

    async def _files(self, request: Request, most: int, count: int = 1) -> list[bytes]:
        return await read_files(request, most=most, count=count, seconds=self._settings.time_limit)

    async def _entered(
        self, request: Request, most: int, answer: Callable[[Held], Awaitable[dict[str, object]]]
    ) -> dict[str, object]:
        """An answer to a request, once there is room for it."""
        size = announced(request, most)
        with self._service.gate.enter(size) as held:
            return await answer(held)

    async def _in_time(self, work: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(self._settings.time_limit):
                return await work
        except TimeoutError:
            raise RefusalError("out_of_time") from None


def _check_size(data: bytes, most: int) -> None:
    if len(data) > most:
        raise RefusalError("too_large")


def language_of(request: Request) -> Language:
    """The language that a request wants its refusal in."""
    return "ko" if request.query_params.get("lang") == "ko" else "en"


def refusal_reply(service: Service, request: Request, error: RefusalError) -> Response:
    """A refusal as it is sent, and counted."""
    service.counters.refused.labels(error.reason).inc()
    return refused(error, language_of(request))


def _box(text: str) -> Box | None:
    if not text:
        return None
    x, y, width, height = (int(part) for part in text.split(","))
    return Box(x, y, width, height)
