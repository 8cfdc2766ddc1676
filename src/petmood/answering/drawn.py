"""Answers drawn into copies of what was asked about, in a folder of their own."""

from __future__ import annotations

import collections
import contextlib
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from petmood import places, video
from petmood.answering.answers import Answer, frames_of
from petmood.drawing import drawn
from petmood.inputs import Film, Photo
from petmood.labels import Language
from petmood.pictures import BadPictureError, Pixels, check_size, decode_any, opened
from petmood.records import Prediction
from petmood.timeline import timeline
from petmood.workspace import replacing

_QUALITY = 92


class Artist:
    """Draws answers into files of a folder: NAME.jpg for a photo, NAME.mp4 and NAME-timeline.png for a video."""

    def __init__(self, folder: Path, language: Language, *, every_ms: int) -> None:
        """Draw into a folder, which is made if it is not there.

        Args:
            folder: for the files; files of the same names are replaced.
            language: of the words.
            every_ms: as the videos were looked at.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._language: Language = language
        self._every = every_ms
        self._names: collections.Counter[str] = collections.Counter()

    def draw(self, answer: Answer) -> list[Path]:
        """The files that were written; none for an input that cannot be decoded."""
        name = self._name(answer.given.source)
        if isinstance(answer.given, Film):
            return self._film(name, answer.given, answer)
        return self._photo(name, answer.given, answer.predictions)

    @contextlib.contextmanager
    def recording(self, name: str) -> Iterator[Recording]:
        """Takes the frames of a camera one by one, into NAME.mp4."""
        with video.recording(self.folder / f"{name}.mp4", every_ms=self._every) as recorder:
            yield Recording(recorder, self._language)

    def _photo(self, name: str, photo: Photo, predictions: Sequence[Prediction]) -> list[Path]:
        if isinstance(photo.file, BadPictureError):
            return []
        try:
            pixels = _decoded(photo.file if isinstance(photo.file, bytes) else places.read(str(photo.file)))
        except (BadPictureError, OSError):
            return []
        path = self.folder / f"{name}.jpg"
        written = io.BytesIO()
        Image.fromarray(drawn(pixels, predictions, self._language)).save(written, "JPEG", quality=_QUALITY)
        with replacing(path) as temporary:
            temporary.write_bytes(written.getvalue())
        return [path]

    def _film(self, name: str, film: Film, answer: Answer) -> list[Path]:
        if not answer.frames:
            return []
        moving, still = self.folder / f"{name}.mp4", self.folder / f"{name}-timeline.png"
        of_frame = {time: list(group) for time, group in itertools.groupby(answer.frames, key=lambda one: one.time_ms)}
        # A video that breaks off has its frames up to there.
        with video.recording(moving, every_ms=self._every) as recorder, contextlib.suppress(BadPictureError):
            for time_ms, pixels in frames_of(film, self._every):
                recorder.add(time_ms, drawn(pixels, of_frame.get(time_ms, []), self._language))
        with replacing(still) as temporary:
            temporary.write_bytes(timeline(answer.frames, answer.predictions, self._language))
        return [moving, still]

    def _name(self, source: str) -> str:
        """A file's name of its own, also where photos of several folders are called the same."""
        stem = Path(source.partition("?")[0]).stem or "input"
        self._names[stem] += 1
        return stem if self._names[stem] == 1 else f"{stem}-{self._names[stem]}"


class Recording:
    """A video of drawn frames that is being written."""

    def __init__(self, recorder: video.Recorder, language: Language) -> None:
        self._recorder = recorder
        self._language: Language = language

    def add(self, time_ms: int, pixels: Pixels, predictions: Sequence[Prediction]) -> None:
        """Append a frame with its answers."""
        self._recorder.add(time_ms, drawn(pixels, predictions, self._language))


def _decoded(data: bytes) -> Pixels:
    with opened(data) as image:
        check_size(*image.size)
    return np.ascontiguousarray(decode_any(data))
