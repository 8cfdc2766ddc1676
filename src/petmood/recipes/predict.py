"""The settings of prediction, apart from what predicts: that imports torch, --help must not."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


def milliseconds(text: str) -> int:
    """A time such as 200ms, 1.5s or 2 (seconds) in milliseconds.

    Raises:
        ValueError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|)", text.strip())
    if not match:
        raise ValueError(f"time {text!r} is not usable; allowed are 200ms, 1.5s and 0")
    return round(float(match[1]) * (1 if match[2] == "ms" else 1000))


def _a_time(text: str) -> str:
    milliseconds(text)
    return text


Time = Annotated[str, AfterValidator(_a_time)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PredictSettings:
    """Settings of ``petmood predict``."""

    detector: str = ""
    """What finds the animals: a file of weights or a name of `petmood detector list`; the one that was fetched if left
    out."""
    whole: bool = False
    """Take the whole picture, without looking for animals."""
    box: str = ""
    """Where the animal is in the photos, in pixels: x,y,width,height."""
    least: Annotated[float, Field(ge=0, le=1)] = 0.3
    """Score of the detector that an animal needs."""
    every: Time = "200ms"
    """Of a video, a frame is looked at each time so much has passed; 0 looks at all."""
    smooth: Time = "1s"
    """Time constant of the smoothing over a video's frames; 0 smooths nothing."""
    frames: bool = False
    """Also print and write the answer for each frame of a video."""
    urls: bool = False
    """Fetch inputs that are addresses (http, https)."""
    webcam: Annotated[int, Field(ge=0)] | None = None
    """Look at this camera (the first is 0) until stopped with Ctrl-C."""
    seconds: Annotated[float, Field(ge=0)] = 0
    """Stop the camera after so long; 0 goes on."""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """Pictures that go through the network at once."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads that decode and find; 0 means as many as there are cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA GPU if there is one."""
