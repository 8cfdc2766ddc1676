"""Inputs of all kinds to answers, in order."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from petmood import video
from petmood.engine import Engine
from petmood.inputs import Film, Input, Photo, Remote
from petmood.look import Looker
from petmood.pictures import Pixels
from petmood.predict import Predictor
from petmood.records import Prediction
from petmood.runtime import OnnxModel


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one input."""

    given: Photo | Film
    predictions: tuple[Prediction, ...]
    """One an animal, or one with a reason; of a video, what each animal's frames say together."""
    frames: tuple[Prediction, ...] = ()
    """Of a video: each animal of each frame, smoothed over time."""

    @property
    def failed(self) -> bool:
        """Whether there is no answer, only a reason."""
        return all(one.emotion is None for one in self.predictions)


@dataclasses.dataclass(frozen=True, eq=False)
class CameraFrame:
    """A frame of a camera and its answers."""

    time_ms: int
    pixels: Pixels
    predictions: list[Prediction]
    """One an animal, smoothed over time, or one with a reason."""
    together: tuple[Prediction, ...]
    """What all frames so far say of each animal."""


def open_engine(model: Path, *, device: Literal["auto", "cpu", "cuda"] = "auto") -> Engine:
    """The model of a run folder, or of a file of `petmood export` (.onnx, always on the processor).

    Raises:
        UserError: there is no usable model.
    """
    return OnnxModel(model) if model.suffix.lower() == ".onnx" else Predictor.load(model, device=device)


def answer_all(
    looker: Looker, inputs: Iterable[Input], *, every_ms: int = 200, smoothing_ms: float = 1000
) -> Iterator[Answer]:
    """One answer an input, in order; photos are asked about in batches.

    Args:
        looker: model and detector.
        inputs: of `inputs.find_inputs`.
        every_ms: time between the frames of a video that are looked at; 0 looks at all.
        smoothing_ms: time constant of the smoothing over a video's frames.
    """
    fetched = (one.fetched() if isinstance(one, Remote) else one for one in inputs)
    for is_photo, group in itertools.groupby(fetched, key=lambda one: isinstance(one, Photo)):
        if is_photo:
            yield from _of_photos(looker, (one for one in group if isinstance(one, Photo)))
        else:
            films = (one for one in group if isinstance(one, Film))
            yield from (_of_film(looker, film, every_ms, smoothing_ms) for film in films)


def frames_of(film: Film, every_ms: int) -> Iterator[tuple[int, Pixels]]:
    """The frames of a video that are looked at: milliseconds and RGB pixels."""
    source = io.BytesIO(film.file) if isinstance(film.file, bytes) else film.file
    return video.frames(source, every_ms=every_ms)


def watch_camera(
    looker: Looker, number: int, *, every_ms: int, smoothing_ms: float, seconds: float = 0
) -> Iterator[CameraFrame]:
    """Each frame of a camera with its answers.

    Args:
        looker: model and detector.
        number: of the camera.
        every_ms: least time between two frames.
        smoothing_ms: time constant of the smoothing.
        seconds: after which it ends; 0 goes on.

    Raises:
        UserError: there is no such camera.
    """
    watch = looker.watch(f"webcam {number}", smoothing_ms=smoothing_ms)
    for time_ms, pixels in video.camera(number, every_ms=every_ms):
        if seconds and time_ms > 1000 * seconds:
            return
        seen = watch.see(time_ms, pixels)
        yield CameraFrame(time_ms, pixels, seen, watch.tracks())


def _of_photos(looker: Looker, photos: Iterable[Photo]) -> Iterator[Answer]:
    photos, again = itertools.tee(photos)
    answers = looker.files((one.source, one.file, one.box) for one in photos)
    for photo, predictions in zip(again, answers, strict=True):
        yield Answer(photo, tuple(predictions))


def _of_film(looker: Looker, film: Film, every_ms: int, smoothing_ms: float) -> Answer:
    found = looker.video(frames_of(film, every_ms), source=film.source, smoothing_ms=smoothing_ms)
    return Answer(film, found.tracks, found.frames)
