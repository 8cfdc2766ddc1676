"""Pictures to answers, a few at a time and in batches."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from petmood.detect import Detector
from petmood.engine import Engine
from petmood.geometry import Box
from petmood.look.finding import Finder, Found
from petmood.look.reading import Reader, failure, prediction
from petmood.look.watching import SMOOTHING_MS, VideoAnswer, Watch
from petmood.parallel import cores
from petmood.pictures import BadPictureError, Pixels
from petmood.records import Prediction

#: A picture: its name, its upright RGB pixels or why there are none, and where the animal is, if that is known.
Item = tuple[str, Pixels | BadPictureError, Box | None]
#: A picture file by its name: path or content, and where the animal is, if that is known.
FileItem = tuple[str, Path | bytes | BadPictureError, Box | None]

#: Frames of a video that the model is asked about at once; as many are held in memory.
_FRAMES = 16

_Given = TypeVar("_Given")
_Item = TypeVar("_Item", Item, FileItem)
_Prepared = list[Found] | BadPictureError


class Looker:
    """Finds the animals in pictures and says their emotions; answers are the same one by one and in batches."""

    def __init__(
        self,
        engine: Engine,
        detector: Detector | None,
        *,
        whole: bool = False,
        least: float = 0.3,
        batch_size: int = 32,
        threads: int = 0,
    ) -> None:
        """Put a model and a detector together.

        Args:
            engine: the model.
            detector: finds the animals; None if every picture comes with a box, or is taken as a whole.
            whole: take the whole picture where no box is given.
            least: score of the detector that an animal needs, 0 to 1.
            batch_size: pictures that the model is asked about at once.
            threads: that decode, find and cut; 0 means all cores.
        """
        self.engine = engine
        self._finder = Finder(engine, detector, whole=whole, least=least)
        self._reader = Reader.of_frames(engine)
        self._batch_size = batch_size
        self._threads = cores(threads)

    def picture(self, pixels: Pixels, *, source: str, box: Box | None = None) -> list[Prediction]:
        """One answer an animal, the surest find first; one with a reason if there is none.

        Args:
            pixels: RGB, uint8, height × width × 3, upright.
            source: name that the answers carry.
            box: where the animal is; the detector is not asked then.

        Raises:
            UserError: there is no detector, and neither a box nor ``whole``.
        """
        return next(self._predictions([source], [self._in_pixels((source, pixels, box))]))

    def pictures(self, items: Iterable[Item]) -> Iterator[list[Prediction]]:
        """The answers for each picture, in order, as `picture` gives them; pictures are asked for in batches."""
        return self._batched(items, self._in_pixels)

    def files(self, items: Iterable[FileItem]) -> Iterator[list[Prediction]]:
        """The answers for each picture file, in order; threads decode the next while the model looks at the last."""
        return self._batched(items, self._in_file)

    def video(
        self,
        frames: Iterable[tuple[int, Pixels]],
        *,
        source: str,
        box: Box | None = None,
        smoothing_ms: float = SMOOTHING_MS,
    ) -> VideoAnswer:
        """What a video says: of each animal in each frame, smoothed over time, and of each animal as a whole.

        Args:
            frames: milliseconds from the start and RGB pixels, in order of time; they are not kept.
            source: name that the answers carry.
            box: where the animal is in all of them; the detector is not asked then.
            smoothing_ms: time constant of the smoothing; 0 smooths nothing.

        Raises:
            UserError: as `picture`.
        """
        watch = self.watch(source, box=box, smoothing_ms=smoothing_ms)
        seen: list[Prediction] = []
        problems: list[BadPictureError] = []
        with ThreadPoolExecutor(self._threads) as pool:
            found = _ahead(pool, _until_broken(frames, problems), lambda frame: watch.find(frame[1]), _FRAMES)
            while chunk := [(frame[0], animals) for frame, animals in itertools.islice(found, _FRAMES)]:
                for predictions in watch.look([time for time, _ in chunk], [animals for _, animals in chunk]):
                    seen.extend(predictions)
        return VideoAnswer(tuple(seen), watch.tracks(problems[0] if problems else None))

    def find(self, file: Path | bytes, *, box: Box | None = None) -> list[Found] | BadPictureError:
        """The animals of a picture file, for `answer`, or why there are none; several threads may call it.

        Raises:
            UserError: as `picture`.
        """
        return self._in_file(("", file, box))

    def answer(self, found: Sequence[list[Found] | BadPictureError]) -> list[list[Prediction]]:
        """The answers for what `find` gave, in order, as `files` gives them; the model is asked once about all."""
        return list(self._predictions([""] * len(found), found))

    def watch(self, source: str, *, box: Box | None = None, smoothing_ms: float = SMOOTHING_MS) -> Watch:
        """A video whose frames come one after the other, such as a camera's."""
        return Watch(self._finder, source, box=box, smoothing_ms=smoothing_ms)

    def _in_pixels(self, item: Item) -> _Prepared:
        _, pixels, box = item
        try:
            return pixels if isinstance(pixels, BadPictureError) else self._finder.in_pixels(pixels, box)
        except BadPictureError as error:
            return error

    def _in_file(self, item: FileItem) -> _Prepared:
        _, file, box = item
        try:
            return file if isinstance(file, BadPictureError) else self._finder.in_file(file, box)
        except BadPictureError as error:
            return error

    def _batched(self, items: Iterable[_Item], prepare: Callable[[_Item], _Prepared]) -> Iterator[list[Prediction]]:
        with ThreadPoolExecutor(self._threads) as pool:
            pairs = _ahead(pool, items, prepare, self._batch_size)
            while chunk := list(itertools.islice(pairs, self._batch_size)):
                yield from self._predictions([item[0] for item, _ in chunk], [prepared for _, prepared in chunk])

    def _predictions(self, sources: Sequence[str], prepared: Sequence[_Prepared]) -> Iterator[list[Prediction]]:
        squares = [found.square for one in prepared if not isinstance(one, BadPictureError) for found in one]
        believed = iter(())
        if squares:
            believed = iter(self._reader.believed(self.engine.ask(np.stack(squares)).probabilities))
        for source, one in zip(sources, prepared, strict=True):
            if isinstance(one, BadPictureError):
                yield [failure(source, one)]
            else:
                yield [prediction(self._reader, source, found, next(believed)) for found in one]


def _ahead(
    pool: ThreadPoolExecutor,
    items: Iterable[_Given],
    function: Callable[[_Given], _Prepared],
    count: int,
) -> Iterator[tuple[_Given, _Prepared]]:
    """Each item with what ``function`` makes of it, in order; the pool works on the next ``count`` meanwhile."""
    waiting: collections.deque[tuple[_Given, Future[_Prepared]]] = collections.deque()
    for item in items:
        waiting.append((item, pool.submit(function, item)))
        if len(waiting) > count:
            first, future = waiting.popleft()
            yield first, future.result()
    while waiting:
        first, future = waiting.popleft()
        yield first, future.result()


def _until_broken(
    frames: Iterable[tuple[int, Pixels]], problems: list[BadPictureError]
) -> Iterator[tuple[int, Pixels]]:
    """The frames up to where they cannot be read; why is put into ``problems``."""
    try:
        yield from frames
    except BadPictureError as error:
        problems.append(error)
