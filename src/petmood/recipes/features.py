"""The settings of the feature cache, apart from ``features``: it imports torch, --help must not."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.settings import SETTINGS


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class FeatureSettings:
    """Which network describes the crops, and how they are shown to it."""

    model: str = "efficientnet_b0"
    """Backbone: any timm model name."""
    pretrained: str = "hub"
    """Weights of the backbone: hub (timm's), offline (a package), none, or the path of a .safetensors or .pth."""
    image_size: Annotated[int, Field(ge=0)] = 0
    """Pixels of the square that the network sees; 0 takes the backbone's own size."""
    fit: Literal["pad", "squash", "crop"] = "pad"
    """How a crop fills that square: pad keeps the whole body and its proportions, squash only the whole body, crop only
    the proportions."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Pictures that go through the network at once."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads that decode pictures; 0 means as many as there are cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA GPU if there is one."""
    compile: bool = False
    """Compile the network first (torch.compile): a minute or two at the start, faster on a GPU."""
