"""A made-up data set and its truth, read in a way that knows nothing of petmood."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from petmood.synth import SynthSettings, SynthSummary, synth


@dataclass(frozen=True)
class DataSet:
    """A written data set and its truth."""

    root: Path
    summary: SynthSummary

    @cached_property
    def truth(self) -> dict[str, Any]:
        return json.loads(self.summary.truth.read_text(encoding="utf-8"))

    @cached_property
    def labels(self) -> dict[str, Path]:
        return {path.name.removesuffix(".json"): path for path in self.root.rglob("*.json")}

    @cached_property
    def folders(self) -> dict[str, Path]:
        return {path.name: path for path in self.root.rglob("*") if path.is_dir() and path.name in self.truth["clips"]}

    def document(self, clip: str) -> dict[str, Any]:
        return json.loads(self.labels[clip].read_text(encoding="utf-8-sig"))

    def annotation(self, clip: str, picture: str) -> dict[str, Any]:
        number = int(picture.split("_")[1])
        return next(entry for entry in self.document(clip)["annotations"] if entry["frame_number"] == number)

    def sound_clips(self) -> list[str]:
        """Clips without damage and with more than one picture."""
        clips = self.truth["clips"]
        return [name for name, clip in clips.items() if not clip["faults"] and clip["frames"] > 1]


def made(root: Path, settings: SynthSettings, jobs: int = 2) -> DataSet:
    return DataSet(root, synth(root, settings, jobs=jobs))


def composed(path: Path) -> str:
    return unicodedata.normalize("NFC", str(path))
