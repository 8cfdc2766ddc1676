"""The work behind the addresses: photos in shared batches, heat maps and videos one at a time, all within limits."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from petmood.engine import Engine
from petmood.geometry import Box, crop_window
from petmood.labels import Language
from petmood.look import Found, Looker
from petmood.media import cut
from petmood.pictures import BadPictureError, Pixels
from petmood.recipes.serve import ServeSettings
from petmood.records import Prediction
from petmood.serve import answers
from petmood.serve.batching import Batcher
from petmood.serve.counters import Counters
from petmood.serve.films import Film
from petmood.serve.gate import Gate, Held
from petmood.serve.photos import check
from petmood.serve.refusals import RefusalError, refusal_of
from petmood.wording import said_fully

_Found = list[Found] | BadPictureError

#: A heat map of a crop (RGB) for the class of that name: rows of 0 to 255.
HeatMaps = Callable[[Pixels, str], Sequence[Sequence[int]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Served:
    """A model as it is served."""

    network: str
    """Name of its network."""
    engine: Engine
    looker: Looker
    finds: bool
    """Whether the looker has a detector."""
    workers: int = 1
    """Threads that may ask the engine at the same time."""
    heat_maps: HeatMaps | None = None
    examples: tuple[bytes, ...] = ()
    """JPEG files to try."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a request wants of its pictures."""

    box: Box | None = None
    whole: bool = False
    language: Language = "en"


class Service:
    """Answers from one model for all requests."""

    def __init__(self, served: Served, settings: ServeSettings) -> None:
        """Take a model into service; it answers while `run` runs."""
        self.served, self.settings = served, settings
        self.gate = Gate(requests=settings.requests, memory=settings.memory * 1_000_000)
        self.counters = Counters(self.gate)
        self._videos = Gate(requests=settings.video_at_once, memory=settings.memory * 1_000_000)
        self._coming = 0
        self._decoders = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="decode")
        self._heat = ThreadPoolExecutor(1, thread_name_prefix="heat")
        self._films = ThreadPoolExecutor(1, thread_name_prefix="film")
        self._batcher: Batcher[_Found, list[Prediction]] = Batcher(
            served.looker.answer,
            largest=settings.batch,
            wait=settings.wait / 1000,
            coming=lambda: self._coming,
            workers=served.workers,
            told=self.counters.batches.observe,
        )

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            await self._batcher.run()
        finally:
            self._decoders.shutdown(wait=False, cancel_futures=True)
            self._heat.shutdown(wait=False, cancel_futures=True)
            self._films.shutdown(wait=False, cancel_futures=True)

    async def picture(self, data: bytes, asked: Asked, held: Held) -> dict[str, object]:
        """``answers.Picture`` of a photo's bytes.

        Raises:
            RefusalError: the photo cannot be used, or its pixels are too much at the moment.
        """
        (width, height), found = await self._found(data, asked, held)
        for one in found:
            self.counters.answers.labels(one.emotion, answers.sureness(one.answers)).inc()
        text = ", ".join(said_fully(one, asked.language) for one in found)
        return {
            "width": width,
            "height": height,
            "animals": [answers.animal(one, asked.language) for one in found],
            "reason": "" if found else "no_animal",
            "text": text or RefusalError("no_animal").sentence(asked.language),
        }

    async def heat(self, data: bytes, asked: Asked, emotion: str, held: Held) -> dict[str, object]:
        """``answers.Heat`` of a photo's surest animal, for its answer or for another emotion.

        Raises:
            RefusalError: the model cannot, the photo cannot be used, or no animal was found.
        """
        make, engine = self.served.heat_maps, self.served.engine
        if make is None:
            raise RefusalError("no_heat_maps")
        if emotion and emotion not in engine.classes:
            raise RefusalError("unknown_emotion")
        size, found = await self._found(data, asked, held)
        if not found:
            raise RefusalError("no_animal")
        box, wanted = found[0].box, emotion or found[0].emotion or ""

        def made() -> Sequence[Sequence[int]]:
            return make(cut(data, box, engine.geometry).pixels, wanted)

        rows = await asyncio.get_running_loop().run_in_executor(self._heat, made)
        window = Box(0, 0, *size) if box is None else crop_window(box, engine.geometry.margin, *size)
        return {"emotion": wanted, "box": answers.rectangle(window), "heat": rows}

    async def video(self, data: bytes, language: Language, every: int) -> dict[str, object]:
        """``answers.Video`` of a video's bytes.

        Raises:
            RefusalError: it cannot be read, or takes too long.
        """
        until = time.monotonic() + self.settings.video_time_limit
        film = Film(data, every_ms=every, seconds=self.settings.video_seconds, until=until)
        loop = asyncio.get_running_loop()
        with self._videos.enter(len(data)):
            watched = await loop.run_in_executor(self._films, self._watched, film, language)
        return {**watched, "every_ms": every}

    def _watched(self, film: Film, language: Language) -> dict[str, object]:
        answer = self.served.looker.video(film.frames(), source="video")
        tracks = sorted((one for one in answer.tracks if one.emotion), key=lambda one: -one.frames)
        text = ", ".join(said_fully(one, language) for one in tracks)
        return {
            "frames": answers.frames(answer.frames, language),
            "tracks": [answers.track(one, language) for one in tracks],
            "cut_short": film.cut_short,
            "text": text or RefusalError("no_animal").sentence(language),
        }

    async def _found(self, data: bytes, asked: Asked, held: Held) -> tuple[tuple[int, int], list[Prediction]]:
        """Width and height of a photo, and its animals, the surest first."""
        loop = asyncio.get_running_loop()
        with self._expected():
            size, prepared = await loop.run_in_executor(self._decoders, self._prepared, data, asked, held)
            found = await self._batcher.ask(prepared)
        for one in found:
            if one.emotion is None and one.reason != "no_animal":
                raise refusal_of(one.reason)
        # What was taken as a whole has no place of its own in the answer.
        whole = asked.box is None and self._is_whole(asked)
        named = [dataclasses.replace(one, box=None) if whole else one for one in found]
        return size, [one for one in named if one.emotion is not None]

    def _prepared(self, data: bytes, asked: Asked, held: Held) -> tuple[tuple[int, int], _Found]:
        size = check(data, most_pixels=self.settings.most_megapixels * 1_000_000, take=held.more)
        box = asked.box or (Box(0, 0, *size) if self._is_whole(asked) else None)
        return size, self.served.looker.find(data, box=box)

    def _is_whole(self, asked: Asked) -> bool:
        return asked.whole or not self.served.finds

    @contextmanager
    def _expected(self) -> Iterator[None]:
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1
