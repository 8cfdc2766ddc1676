"""The settings of ``petmood serve``, apart from it because its libraries are an extra, and --help must do without."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS

Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ServeSettings:
    """Settings of ``petmood serve``."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in (then give an api-key-file)."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one."""
    lang: Literal["auto", "ko", "en"] = "auto"
    """Language of the page at first; auto takes the browser's."""
    api_key_file: str = ""
    """File with the keys that requests must show, one a line, 16 characters or more; empty asks for none."""
    cors: tuple[str, ...] = ()
    """Other web sites whose pages may ask, such as https://example.org; none if left out."""
    examples: Literal["auto", "on", "off"] = "auto"
    """Three of the run's own test pictures to click on the page; auto shows them only on this machine's own address,
    because data sets may mostly not be passed on."""
    most_megabytes: Positive = 20
    """Largest photo, in millions of bytes; larger ones are refused before they are read."""
    most_megapixels: Annotated[int, Field(ge=1, le=120)] = 40
    """Largest photo, in millions of pixels; larger ones are refused before they are decoded."""
    video_megabytes: Positive = 100
    """Largest video, in millions of bytes."""
    video_seconds: Positive = 60
    """Length of a video that is looked at; what comes later is left out, and the answer says so."""
    video_at_once: Positive = 2
    """Videos that are worked on or wait; more are asked to come again."""
    every: Annotated[int, Field(ge=40, le=10_000)] = 200
    """Milliseconds between the frames of a video that are looked at."""
    time_limit: Seconds = 30.0
    """Seconds for a photo's answer, and for sending it."""
    video_time_limit: Seconds = 120.0
    """Seconds for a video's answer, and for sending it."""
    requests: Positive = 64
    """Requests that are worked on or wait; more are asked to come again."""
    memory: Annotated[int, Field(ge=64)] = 1024
    """Millions of bytes that uploads and their decoded pixels may fill at once; more are asked to come again."""
    batch: Annotated[int, Field(ge=1, le=256)] = 32
    """Pictures that go through the network at once, at most."""
    wait: Annotated[float, Field(ge=0, le=100)] = 5.0
    """Milliseconds that a batch waits for pictures that are on their way; a picture alone never waits."""
