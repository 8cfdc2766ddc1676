"""What a video says over time, and in the end."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from petmood.geometry import Box
from petmood.look.finding import Finder, Found
from petmood.look.reading import Reader, Shares, failure, prediction
from petmood.metrics import clip_means
from petmood.pictures import BadPictureError, Pixels
from petmood.records import Prediction
from petmood.tracking import Tracker

#: Time constant of the smoothing.
SMOOTHING_MS = 1000.0
#: An animal that shows in fewer frames is taken for a wrong find, as long as another one shows in more.
LEAST_FRAMES = 3


@dataclasses.dataclass(frozen=True)
class VideoAnswer:
    """What a model says of a video."""

    frames: tuple[Prediction, ...]
    """Each animal of each frame, in order of time, probabilities smoothed; one with a reason for a frame without."""
    tracks: tuple[Prediction, ...]
    """The clip's answer for each animal, the one that shows in most frames first; one with a reason if there is none.
    Where the video broke off, ``detail`` says why."""


@dataclasses.dataclass
class _Track:
    """What is known of one animal."""

    first: Found
    first_ms: int
    last_ms: int
    smoothed: Shares
    raw: list[Shares] = dataclasses.field(default_factory=list)
    attention: list[float] = dataclasses.field(default_factory=list)
    scores: list[float] = dataclasses.field(default_factory=list)
    species: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


class Watch:
    """A video that is looked at frame by frame.

    Over time each animal's probabilities are smoothed exponentially: after ``smoothing_ms`` of another mood, 63 % of
    the way to it is gone. Nothing from later frames is used, so that a camera gives what a file does.
    """

    def __init__(self, finder: Finder, source: str, *, box: Box | None, smoothing_ms: float) -> None:
        self._finder = finder
        self._engine = finder.engine
        self._source = source
        self._box = box
        self._smoothing = smoothing_ms
        self._frames = Reader.of_frames(finder.engine)
        self._clips = Reader.of_clips(finder.engine)
        self._tracker = Tracker()
        self._tracks: dict[int, _Track] = {}
        self._problem: BadPictureError | None = None

    def see(self, time_ms: int, pixels: Pixels) -> list[Prediction]:
        """The answers for the next frame, one an animal, or one with a reason.

        Args:
            time_ms: milliseconds from the start, not before the last frame's.
            pixels: RGB, uint8, height × width × 3, upright.
        """
        return self.look([time_ms], [self.find(pixels)])[0]

    def find(self, pixels: Pixels) -> list[Found] | BadPictureError:
        """The animals of a frame, or why there are none; it may be called from several threads."""
        try:
            return self._finder.in_pixels(pixels, self._box)
        except BadPictureError as error:
            return error

    def look(self, times: Sequence[int], found: Sequence[list[Found] | BadPictureError]) -> list[list[Prediction]]:
        """The answers for the next frames, in order; the model is asked once about all of them.

        Args:
            times: milliseconds from the start.
            found: what `find` gave for each.
        """
        squares = [one.square for animals in found if not isinstance(animals, BadPictureError) for one in animals]
        answers = self._engine.ask(np.stack(squares)) if squares else None
        raw: Iterator[Shares] = iter(answers.probabilities if answers else ())
        scores = iter(answers.attention.tolist() if answers and answers.attention is not None else ())
        seen: list[list[Prediction]] = []
        for time_ms, animals in zip(times, found, strict=True):
            if isinstance(animals, BadPictureError):
                self._problem = animals
                seen.append([failure(self._source, animals, time_ms=time_ms)])
                continue
            numbers = self._tracker.follow(time_ms, [one.box or _EVERYWHERE for one in animals])
            pairs = zip(numbers, animals, strict=True)
            seen.append([self._seen(time_ms, number, one, next(raw), next(scores, None)) for number, one in pairs])
        return seen

    def tracks(self, problem: BadPictureError | None = None) -> tuple[Prediction, ...]:
        """The clip's answer for each animal so far, the one that shows in most frames first.

        Args:
            problem: why the video broke off; it is told if no animal was seen before, and beside the answers else.
        """
        if not self._tracks:
            reason = problem or self._problem or BadPictureError("unreadable_video", "the video has no frames")
            return (failure(self._source, reason),)
        most = max(len(track.raw) for track in self._tracks.values())
        kept = {n: one for n, one in self._tracks.items() if len(one.raw) >= min(LEAST_FRAMES, most)}
        ordered = sorted(kept, key=lambda number: (-len(kept[number].raw), number))
        detail = f"the video broke off: {problem.detail}" if problem else ""
        return tuple(self._clip_answer(number, kept[number], detail) for number in ordered)

    def _seen(self, time_ms: int, number: int, found: Found, raw: Shares, attention: float | None) -> Prediction:
        """The record of an animal in a frame; what it says is kept for the clip's answer."""
        (believed,) = self._frames.believed(raw[None])
        track = self._tracks.get(number)
        if track is None:
            track = self._tracks[number] = _Track(found, time_ms, time_ms, believed)
        share = self._share_of_new(time_ms - track.last_ms)
        track.smoothed = believed * share + track.smoothed * (1 - share)
        track.last_ms = time_ms
        track.raw.append(raw)
        if attention is not None:
            track.attention.append(attention)
        if found.detected is not None:
            track.scores.append(found.detected)
            track.species[found.species] += 1
        record = prediction(self._frames, self._source, found, track.smoothed)
        return dataclasses.replace(record, time_ms=time_ms, track=number)

    def _share_of_new(self, passed_ms: int) -> float:
        return 1.0 if self._smoothing <= 0 else 1 - math.exp(-passed_ms / self._smoothing)

    def _clip_answer(self, number: int, track: _Track, detail: str) -> Prediction:
        raw = np.stack(track.raw)
        attention: npt.NDArray[Any] | None = np.array(track.attention) if track.attention else None
        labels = np.zeros(len(raw), np.int64)
        (believed,) = self._clips.believed(clip_means(["clip"] * len(raw), raw, labels, attention).probabilities)
        record = prediction(self._clips, self._source, track.first, believed)
        return dataclasses.replace(
            record,
            species=track.species.most_common(1)[0][0] if track.species else "",
            detected=float(np.mean(track.scores)) if track.scores else None,
            time_ms=track.first_ms,
            track=number,
            frames=len(raw),
            detail=detail,
        )


#: Stands for the whole picture where boxes are compared.
_EVERYWHERE = Box(0, 0, 1, 1)
