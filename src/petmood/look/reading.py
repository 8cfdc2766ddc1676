"""From what a model says to what may be believed: temperature, set of answers, record."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from petmood.engine import Engine
from petmood.look.finding import Found
from petmood.pictures import BadPictureError
from petmood.probabilities import answer_sets, tempered
from petmood.records import Calibrated, Prediction

Shares = npt.NDArray[np.floating[Any]]


class Reader:
    """Reads answers of frames, or of clips, as `petmood evaluate` has fitted it for the model."""

    def __init__(self, classes: tuple[str, ...], calibrated: Calibrated | None) -> None:
        self.classes = classes
        self._calibrated = calibrated

    @classmethod
    def of_frames(cls, engine: Engine) -> Reader:
        """For single pictures."""
        return cls(engine.classes, engine.certainty.frames if engine.certainty else None)

    @classmethod
    def of_clips(cls, engine: Engine) -> Reader:
        """For what the frames of a clip say together."""
        return cls(engine.classes, engine.certainty.clips if engine.certainty else None)

    def believed(self, raw: Shares) -> Shares:
        """Probabilities (n, classes) after the temperature, if one was fitted."""
        return tempered(raw, self._calibrated.temperature) if self._calibrated and len(raw) else raw

    def named(self, believed: Shares) -> dict[str, float]:
        """Emotion → probability, of one row."""
        return {name: float(share) for name, share in zip(self.classes, believed, strict=True)}

    def likeliest(self, believed: Shares) -> str:
        """The likeliest class of one row, whatever its probability: rounding alone may keep all of them below 1."""
        return self.classes[int(np.argmax(believed))]

    def answers(self, believed: Shares) -> tuple[str, ...]:
        """The set of answers of one row, the likeliest first; empty if nothing was fitted."""
        if self._calibrated is None:
            return ()
        (held,) = answer_sets(believed[None], self._calibrated.threshold)
        order = np.argsort(-believed, kind="stable")
        return tuple(self.classes[number] for number in order if held[number])


def prediction(reader: Reader, source: str, found: Found, believed: Shares) -> Prediction:
    """The record of one animal of a picture."""
    return Prediction(
        source=source,
        emotion=reader.likeliest(believed),
        probabilities=reader.named(believed),
        box=found.box,
        species=found.species,
        detected=found.detected,
        answers=reader.answers(believed),
    )


def failure(source: str, error: BadPictureError, *, time_ms: int | None = None) -> Prediction:
    """The record of a picture that has no answer."""
    return Prediction(
        source=source, emotion=None, probabilities={}, reason=error.reason, detail=error.detail, time_ms=time_ms
    )
