"""Settings and summary of `synth`: what a made-up data set holds, declared once for the command line and for Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Layout = Literal["korean", "numbered", "bracket", "species", "user", "action"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SynthSettings:
    """Settings of `synth`."""

    clips: Annotated[int, Field(ge=1)] = 120
    """Number of clips."""

    frames: Annotated[int, Field(ge=1)] = 24
    """Frames a clip's label file lists, on average; a clip has up to a sixth more or less."""

    clips_per_animal: Annotated[float, Field(ge=1)] = 3.0
    """Clips of one animal on average: same coat, breed, age, sex, place and day, so one group."""

    dogs: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of dogs among the animals; emotion does not depend on it."""

    shares: Literal["real", "balanced"] = "real"
    """How often each emotion occurs: as in AI Hub's clips, or equally often."""

    share: tuple[str, ...] = ()
    """Shares of your own, such as `fear=0.1`; emotions that are not named divide the rest as `shares` says."""

    min_clips: Annotated[int, Field(ge=0)] = 6
    """Fewest clips of any emotion with a share; a twelfth of the clips where that is less."""

    layout: Layout = "korean"
    """Which of the folder layouts in circulation is written."""

    size: str = ""
    """Size of every picture as `WIDTHxHEIGHT`; empty draws one of five sizes for each animal."""

    pictures: Literal["drawn", "few"] = "drawn"
    """`drawn`: every frame its own picture; `few`: a handful of pictures linked to all frames, for tests of scale."""

    quality: Annotated[int, Field(ge=1, le=100)] = 88
    """JPEG quality."""

    cut_short: bool = True
    """Keep only the first 13 or 14 pictures, in string order, of a dog's training clips, as AI Hub's release does."""

    faults: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of frames, and of clips, that are damaged; every kind of damage occurs if the set is big enough."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Same seed and settings, same bytes."""


@plain_dataclass(frozen=True, kw_only=True)
class SynthSummary:
    """What `synth` wrote."""

    out: Path
    truth: Path
    """The truth file, beside the folder."""
    animals: int
    clips: int
    frames_listed: int
    """Annotations in all label files as planned, before damage."""
    frames_ok: int
    """Frames that a correct reader keeps with its default settings."""
    clips_by_emotion: Mapping[str, int]
    faults: Mapping[str, int]
    """How often each kind of damage was planted."""
