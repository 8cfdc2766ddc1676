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
    heat_maps: bool = True
    """Show on some right and wrong examples where the network looks (Grad-CAM)."""
    batch_size: Annotated[int, Field(ge=1)] = 64
    """Pictures that go through the network at once."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads that decode pictures; 0 means as many as there are cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA GPU if there is one."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ElsewhereSettings:
    """Settings of ``petmood evaluate --source``: judging a run on data that it was not made from."""

    source: str = ""
    """Judge on this labelled data too and report the drop: an AI Hub folder, class folders (happy/*.jpg) or a CSV."""
    map: str = ""
    """A table that says what the source's words mean (YAML or CSV): word, then one of the six emotions, or - to leave
    it out."""
    drop_seen: bool = False
    """Leave out the source's clips that the model was trained or chosen on; else they are judged and named."""
    name: str = ""
    """Folder of the results, RUN/elsewhere/NAME; the source's own name if left out."""
    label: Literal["same", "inspect", "owner", "agree"] = "same"
    """Whose emotion counts: as in the run's own data, the inspector's, the owner's, or only where both agree."""
    species: Literal["same", "dog", "cat", "both"] = "same"
    """Judge on dogs, cats or both; same keeps the choice of the run's own data."""
