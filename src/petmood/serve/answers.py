"""What the service answers: one declaration for the answers themselves and for their description at /docs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from petmood.geometry import Box
from petmood.labels import Language
from petmood.records import Prediction
from petmood.wording import said_fully

#: How sure an answer is: one emotion in the set of answers, two, more, or no set was ever fitted.
Sure = Literal["sure", "either", "unsure", "unknown"]


class _Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")


class Rectangle(_Answer):
    """Pixels of the upright picture; the origin is its top left corner."""

    x: int
    y: int
    width: int
    height: int


class Mood(_Answer):
    """The answer for one animal."""

    emotion: str
    """The likeliest emotion."""
    text: str
    """The answer for people, in the language asked for: one emotion, two, or that it is not sure."""
    certainty: Sure
    """One emotion in the set of answers (sure), two (either), more (unsure), or no set was fitted (unknown)."""
    answers: list[str]
    """The emotions that are possible; they hold the truth as often as /v1/model says. Empty if none were fitted."""
    probabilities: dict[str, float]
    """Emotion → 0 to 1, in sum 1."""


class Animal(Mood):
    """One dog or cat in a picture."""

    box: Rectangle | None
    """Where it is; null if the whole picture was taken."""
    species: str
    """dog or cat; empty if nothing looked for it."""
    detected: float | None
    """How sure the detector is that there is one, 0 to 1."""


class Picture(_Answer):
    """The answer for one picture."""

    width: int
    """Pixels, upright."""
    height: int
    animals: list[Animal]
    """The surest first; empty if none was found."""
    reason: str
    """no_animal if none was found, else empty."""
    text: str
    """The answer for people, in the language asked for."""


class Failure(_Answer):
    """Why there is no answer."""

    reason: str
    """One word for programs."""
    message: str
    """One sentence for people, in the language asked for."""


class Refused(_Answer):
    """The body of every answer with a status of 400 or more."""

    error: Failure


class Result(_Answer):
    """One file of a batch: its answer, or why there is none."""

    picture: Picture | None
    error: Failure | None


class Batch(_Answer):
    """One result a file, in the order of the files."""

    results: list[Result]


class Tracked(Animal):
    """One animal in a frame of a video."""

    track: int
    """The same number in all frames that show the same animal."""


class Frame(_Answer):
    """One frame of a video."""

    time_ms: int
    animals: list[Tracked]


class Track(Mood):
    """What all frames of one animal say together."""

    track: int
    frames: int
    """Frames that it was seen in."""
    species: str


class Video(_Answer):
    """The answer for a video."""

    frames: list[Frame]
    """Frames that were looked at, in order of time; their answers are smoothed."""
    tracks: list[Track]
    """One answer an animal, that in most frames first."""
    every_ms: int
    """Time between them."""
    cut_short: bool
    """The video goes on after what was looked at."""
    text: str


class Promise(_Answer):
    """What is known of how sure the model is."""

    level: float = Field(ge=0, le=1)
    """How often the set of answers holds the truth."""
    frames_temperature: float
    frames_threshold: float
    clips_temperature: float
    clips_threshold: float


class ModelCard(_Answer):
    """The model that answers."""

    petmood: str
    """Version of the service."""
    network: str
    classes: list[str]
    korean: list[str]
    """The same emotions in Korean."""
    pool: str
    """How the frames of a video become one answer."""
    certainty: Promise | None
    """null: `petmood evaluate` has not looked at how sure the model is."""
    detector: bool
    """Animals are found by the service; if not, the whole picture counts, or the box that is sent."""
    heat_maps: bool
    videos: bool
    examples: int
    """Pictures to try at /v1/examples/0 and so on."""
    most_bytes: int
    """Largest photo."""
    video_bytes: int
    """Largest video."""
    language: Literal["auto", "ko", "en"]
    """Of the page at first."""


class Heat(_Answer):
    """What speaks for an emotion in a picture."""

    emotion: str
    box: Rectangle
    """The part of the picture that the rows cover."""
    heat: list[list[int]]
    """Rows of 0 (says nothing for it) to 255 (says most)."""


def sureness(answers: Sequence[str]) -> Sure:
    """How sure a set of answers is."""
    if not answers:
        return "unknown"
    return "sure" if len(answers) == 1 else "either" if len(answers) == 2 else "unsure"


def _mood(prediction: Prediction, language: Language) -> dict[str, object]:
    return {
        "emotion": prediction.emotion,
        "text": said_fully(prediction, language),
        "certainty": sureness(prediction.answers),
        "answers": list(prediction.answers),
        "probabilities": {name: round(share, 6) for name, share in prediction.probabilities.items()},
    }


def rectangle(box: Box | None) -> dict[str, int] | None:
    """A box as it is sent."""
    return None if box is None else {"x": box.x, "y": box.y, "width": box.width, "height": box.height}


def animal(prediction: Prediction, language: Language) -> dict[str, object]:
    """``Animal`` as plain values; validating each answer again would cost more than making it."""
    return {
        **_mood(prediction, language),
        "box": rectangle(prediction.box),
        "species": prediction.species,
        "detected": None if prediction.detected is None else round(prediction.detected, 4),
    }


def frames(predictions: Iterable[Prediction], language: Language) -> list[dict[str, object]]:
    """``Frame`` by ``Frame`` as plain values; predictions come in order of time."""
    rows: list[dict[str, object]] = []
    for time, group in itertools.groupby(predictions, key=lambda one: one.time_ms):
        found = [{**animal(one, language), "track": one.track or 0} for one in group if one.emotion is not None]
        rows.append({"time_ms": time or 0, "animals": found})
    return rows


def track(prediction: Prediction, language: Language) -> dict[str, object]:
    """``Track`` as plain values."""
    return {
        **_mood(prediction, language),
        "track": prediction.track or 0,
        "frames": prediction.frames,
        "species": prediction.species,
    }
