"""What a work folder's stages say of its data: found, refused, chosen, divided; from their marks and one table."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import polars as pl

from petmood.records import REASONS
from petmood.workspace import Workspace, read_table

#: The sides of a split, in the order in which they are shown.
SIDES = ("train", "val", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How often an emotion occurs in the whole data set, before frames were chosen."""

    name: str
    clips: int
    frames: int
    species: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Species → clips."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What the index found and the later stages made of it."""

    source: str
    """Name of the folder or file that the data came from; empty if unknown."""
    label: Literal["inspect", "owner", "agree", ""]
    """Whose word the labels are; empty where the source has but one."""
    steps: Mapping[str, int]
    """found, good, chosen, crops, used → rows that were left after each step."""
    refused: Mapping[str, int]
    """Reason word → rows, whichever stage refused them."""
    classes: tuple[ClassCount, ...]
    split_clips: Mapping[str, int]
    """train, val, test → clips."""
    split_groups: Mapping[str, int]
    split_emotions: Mapping[str, Mapping[str, int]]
    """Emotion → side → clips that are used."""
    leak: Mapping[str, int]
    """clips, groups, frames → how many stand on two sides."""

    @property
    def imbalance(self) -> float:
        """Frames of the most frequent emotion for each of the rarest; 0 if unknown."""
        frames = [one.frames for one in self.classes if one.frames]
        return max(frames) / min(frames) if frames else 0.0

    @property
    def species(self) -> tuple[str, ...]:
        """The species that occur, by name."""
        return tuple(sorted({name for one in self.classes for name, clips in one.species.items() if clips}))


def read_data(workspace: Workspace) -> Data:
    """What the marks of all stages and the frames table say.

    Raises:
        UserError: index, pack or split was not completed, or a file is damaged.
    """
    index, split = workspace.require("index"), workspace.require("split")["counts"]
    counts = index["counts"]
    later = {stage: workspace.mark(stage).get("counts", {}) for stage in ("curate", "screen")}
    packed = workspace.require("pack")["counts"]
    kept = counts.get("kept", 0)
    steps = {
        "found": counts.get("found", kept),
        "good": kept,
        "chosen": later["curate"].get("chosen"),
        "crops": packed["crops"],
        "used": later["screen"].get("kept"),
    }
    refused = sum((Counter(one.get("refused", {})) for one in (counts, packed, later["screen"])), Counter())
    leak = split.get("leak", {})
    return Data(
        source=Path(str(index["settings"].get("source", ""))).name,
        label=index["settings"].get("label", "") if index["settings"].get("kind") == "aihub" else "",
        steps={name: number for name, number in steps.items() if number is not None},
        refused={reason: refused[reason] for reason in REASONS if refused[reason]},
        classes=tuple(_classes(counts)),
        split_clips=split.get("clips", {}),
        split_groups=split.get("groups", {}),
        split_emotions=_split_emotions(workspace, counts["classes"]),
        leak={name: leak.get(name, 0) for name in ("clips", "groups", "frames")},
    )


def _classes(counts: Mapping[str, Any]) -> list[ClassCount]:
    emotions, species = counts.get("emotions", {}), counts.get("species", {})
    return [
        ClassCount(
            name=name,
            **emotions[name],
            species={kind: by_emotion.get(name, {}).get("clips", 0) for kind, by_emotion in species.items()},
        )
        for name in counts["classes"]
        if name in emotions
    ]


def _split_emotions(workspace: Workspace, classes: list[str]) -> dict[str, dict[str, int]]:
    """Clips with at least one frame in use."""
    frames = read_table(workspace.frames, columns=("clip", "emotion", "split", "keep"))
    used = frames.filter(pl.col("keep") & pl.col("split").is_not_null())
    found = used.group_by("emotion", "split").agg(pl.col("clip").n_unique())
    clips = {(emotion, side): number for emotion, side, number in found.iter_rows()}
    return {name: {side: clips.get((name, side), 0) for side in SIDES} for name in classes}
