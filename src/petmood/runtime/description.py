"""What an exported file says of itself: the names of its ends, and the JSON in its metadata."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from petmood.geometry import CropGeometry, Fit
from petmood.records import Calibrated, Certainty, Pool

#: Names of the graph's ends.
INPUT, PROBABILITIES, ATTENTION = "images", "probabilities", "attention"
#: Key of the JSON that says everything.
KEY = "petmood"
#: Raised whenever an older reader could misread a newer file.
FORMAT = 1

_Choice = TypeVar("_Choice", bound=str)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """All that an exported file says."""

    version: str
    """Of the petmood that wrote it."""
    model: str
    """timm name of the backbone."""
    classes: tuple[str, ...]
    """English names of the emotions; the position is the class number."""
    image_size: int
    """Pixels of the square that the network sees."""
    mean: tuple[float, float, float]
    """Red, green, blue from 0 to 1: the colour of borders."""
    interpolation: Literal["bilinear", "bicubic"]
    """Used where a crop is enlarged; shrinking averages areas."""
    fit: Fit
    """How a crop fills the square."""
    geometry: CropGeometry
    """How animals are cut out of a picture."""
    pool: Pool
    """How the frames of a clip become its answer."""
    certainty: Certainty | None
    """How probabilities are to be read; None if that was never fitted."""

    @property
    def temperature(self) -> float:
        """By which the file has divided the logits; 1 if none was fitted."""
        return self.certainty.frames.temperature if self.certainty else 1.0


def format_of(text: str) -> int:
    """The format of a file's JSON.

    Raises:
        ValueError: the text is no JSON of petmood's.
    """
    found = json.loads(text)
    return _number(found["format"], int) if isinstance(found, dict) and "format" in found else _nothing(found)


def describe(text: str) -> Description:
    """A file's JSON, checked.

    Raises:
        ValueError: something is missing, or of no use.
    """
    try:
        return _described(json.loads(text))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _described(found: Mapping[str, Any]) -> Description:
    seen, cut = found["preprocessing"], found["geometry"]
    mean = [_number(value, float) for value in seen["mean"]]
    classes = [str(name) for name in found["classes"]]
    if len(mean) != 3 or not all(0 <= value <= 1 for value in mean) or len(set(classes)) != len(classes) or not classes:
        raise ValueError("mean or classes")
    return Description(
        version=str(found["petmood"]),
        model=str(found["model"]),
        classes=tuple(classes),
        image_size=_positive(_number(seen["image_size"], int)),
        mean=(mean[0], mean[1], mean[2]),
        interpolation=_one_of(seen["interpolation"], ("bilinear", "bicubic")),
        fit=_one_of(seen["fit"], ("pad", "squash", "crop")),
        geometry=CropGeometry(
            margin=_number(cut["margin"], float),
            shorter_side=_positive(_number(cut["shorter_side"], int)),
            quality=_number(cut["quality"], int),
        ),
        pool=_one_of(found["pool"], ("mean", "attention")),
        certainty=_certainty(found["certainty"]),
    )


def _certainty(found: Mapping[str, Any] | None) -> Certainty | None:
    if found is None:
        return None
    return Certainty(
        level=_number(found["level"], float),
        frames=_calibrated(found["frames"]),
        clips=_calibrated(found["clips"]),
        fitted_on=str(found.get("fitted_on", "")),
    )


def _calibrated(found: Mapping[str, Any]) -> Calibrated:
    return Calibrated(
        temperature=_positive(_number(found["temperature"], float)),
        threshold=_number(found["threshold"], float),
        clips=_number(found["clips"], int),
        groups=_number(found["groups"], int),
    )


_Number = TypeVar("_Number", int, float)


def _number(value: object, kind: type[_Number]) -> _Number:
    """A finite number that is at least 0; no text, no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"{value!r} is no number of use")
    if kind(value) != value:
        raise ValueError(f"{value!r} is no whole number")
    return kind(value)


def _positive(value: _Number) -> _Number:
    if not value > 0:
        raise ValueError(f"{value!r} is not above 0")
    return value


def _one_of(value: object, allowed: tuple[_Choice, ...]) -> _Choice:
    for choice in allowed:
        if value == choice:
            return choice
    raise ValueError(f"{value!r} is none of {', '.join(allowed)}")


def _nothing(found: object) -> int:
    raise ValueError(f"{str(found)[:40]!r} says no format")
