"""The settings of evaluation, apart from ``evaluate`` as those of training are: it imports torch, --help must not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class EvaluateSettings:
    """Settings of ``petmood evaluate``."""

    split: Literal["auto", "train", "val", "test"] = "auto"
    """Clips to judge on; auto takes test if the work folder has one, else val."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Pictures that go through the network at once."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads that decode pictures; 0 means as many as there are cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA GPU if there is one."""
