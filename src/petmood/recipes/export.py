"""The settings of ``petmood export``, apart from it because it imports torch, which --help must not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ExportSettings:
    """Settings of ``petmood export``."""

    format: Literal["onnx"] = "onnx"
    """Of the file; onnx runs wherever onnxruntime does, in browsers too."""
    int8: bool = False
    """Calculate in 8 bits: a smaller, faster file, refused if it costs more than a point of macro-F1."""
    check: Annotated[int, Field(ge=1)] = 256
    """Crops of the work folder on which the file must answer as the model."""
    calibrate: Annotated[int, Field(ge=8)] = 256
    """Training crops by which the ranges of 8 bits are chosen (only with --int8)."""
