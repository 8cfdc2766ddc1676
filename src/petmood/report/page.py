"""From the files of a run and its workspace to the data of one page; runs no model, writes nothing."""

from __future__ import annotations

import csv
import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import polars as pl

from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.media import encode
from petmood.metrics import Evaluation
from petmood.records import REASONS
from petmood.workspace import Workspace, read_json, read_table

#: Pixels of a thumbnail's longer side.
THUMBNAIL = 128
#: Right and wrong examples of each emotion; six emotions make at most 36 pictures.
EXAMPLES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curves:
    """The training, one value an epoch; None where an epoch has none."""

    epochs: tuple[float, ...]
    columns: Mapping[str, tuple[float | None, ...]]
    """Column of metrics.csv → values."""
    kept: int
    """The epoch whose weights are the model, from 1; 0 if unknown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassCount:
    """How often an emotion occurs in the whole data set."""

    name: str
    clips: int
    frames: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What the index found and the split made of it."""

    found: int
    """Rows of the source."""
    kept: int
    """Frames that were good."""
    crops: int
    """Chosen frames whose picture could be used."""
    refused: Mapping[str, int]
    """Reason word → rows, by labels or, when the chosen frames were packed, by pictures."""
    classes: tuple[ClassCount, ...]
    split_clips: Mapping[str, int]
    """train, val, test → clips."""
    split_groups: Mapping[str, int]

    @property
    def imbalance(self) -> float:
        """Frames of the most frequent emotion for each of the rarest; 0 if unknown."""
        frames = [one.frames for one in self.classes if one.frames]
        return max(frames) / min(frames) if frames else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """One picture with what the model said."""

    jpeg: bytes
    width: int
    height: int
    clip: str
    species: str
    answer: str
    confidence: float
    """Probability of the answer, 0 to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """The most confident right and wrong answers for one true emotion."""

    emotion: str
    right: tuple[Example, ...]
    wrong: tuple[Example, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """Everything that the report shows, before words and looks."""

    run: str
    model: str
    """timm name of the backbone."""
    evaluation: Evaluation
    data: Data
    curves: Curves | None
    examples: tuple[Examples, ...]
    training_settings: Mapping[str, Any]


def read_page(run: Path) -> Page:
    """The page data of an evaluated run.

    Raises:
        UserError: the run was not evaluated, not in a workspace, or a file is damaged.
    """
    run = run.absolute()
    evaluation = _evaluation(run / "metrics.json")
    workspace = Workspace.open(run.parent.parent)
    bundle = read_json(run / "bundle.json") if (run / "bundle.json").is_file() else {}
    return Page(
        run=run.name,
        model=str(bundle.get("model", "")),
        evaluation=evaluation,
        data=_data(workspace),
        curves=_curves(run / "metrics.csv", kept=int(bundle.get("epoch", 0))),
        examples=tuple(_examples(workspace, _predictions(run), evaluation.classes)),
        training_settings=bundle.get("settings", {}),
    )


def _evaluation(path: Path) -> Evaluation:
    if not path.is_file():
        raise UserError(f"run folder {path.parent} was not evaluated.", hint=f"run `petmood evaluate {path.parent}`")
    try:
        return Evaluation.from_dict(read_json(path))
    except ValueError:
        raise UserError(
            f"{path} is not what this petmood writes.", hint=f"run `petmood evaluate {path.parent}` again"
        ) from None


def _predictions(run: Path) -> pl.DataFrame:
    path = run / "predictions.parquet"
    if not path.is_file():
        raise UserError(f"run folder {run} has no predictions.parquet.", hint=f"run `petmood evaluate {run}` again")
    return read_table(path)


def _data(workspace: Workspace) -> Data:
    counts = workspace.require("index")["counts"]
    packed = workspace.require("pack")["counts"]
    split = workspace.require("split")["counts"]
    refused = Counter(counts.get("refused", {})) + Counter(packed.get("refused", {}))
    emotions = counts.get("emotions", {})
    kept = counts.get("kept", 0)
    return Data(
        found=counts.get("found", kept),
        kept=kept,
        crops=packed["crops"],
        refused={reason: refused[reason] for reason in REASONS if refused[reason]},
        classes=tuple(ClassCount(name=name, **emotions[name]) for name in counts["classes"] if name in emotions),
        split_clips=split.get("clips", {}),
        split_groups=split.get("groups", {}),
    )


def _curves(path: Path, *, kept: int) -> Curves | None:
    """The columns of a metrics.csv; None if there is no such file or nothing in it."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row.get("epoch")]
    if not rows:
        return None
    columns = {
        name: tuple(float(row[name]) if row.get(name) else None for row in rows) for name in rows[0] if name != "epoch"
    }
    return Curves(epochs=tuple(float(row["epoch"]) for row in rows), columns=columns, kept=kept)


def _examples(workspace: Workspace, predictions: pl.DataFrame, classes: tuple[str, ...]) -> Iterator[Examples]:
    """Per true emotion: the most confident frame of each clip, the surest clips first."""
    crops = read_table(workspace.crops / "crops.parquet")
    sure = predictions.with_columns(
        confidence=pl.max_horizontal(f"p_{name}" for name in classes), right=pl.col("predicted") == pl.col("emotion")
    ).sort("confidence", "frame_id", descending=[True, False])
    surest = sure.unique("clip", keep="first", maintain_order=True)
    for emotion in classes:
        own = surest.filter(pl.col("emotion") == emotion)
        right, wrong = (own.filter(pl.col("right") == side).head(EXAMPLES) for side in (True, False))
        if len(own):
            yield Examples(
                emotion=emotion,
                right=tuple(_pictures(workspace, crops, right)),
                wrong=tuple(_pictures(workspace, crops, wrong)),
            )


def _pictures(workspace: Workspace, crops: pl.DataFrame, chosen: pl.DataFrame) -> Iterator[Example]:
    """Thumbnails of the frames in ``chosen``; frames whose crop is gone are left out."""
    found = chosen.join(crops, on="frame_id", how="inner", maintain_order="left")
    store = CropStore(workspace.crops, found)
    for row, frame in enumerate(found.iter_rows(named=True)):
        pixels = store.pixels(row)
        scale = min(1.0, THUMBNAIL / max(pixels.shape[:2]))
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        yield Example(
            jpeg=encode(small, 80),
            width=size[0],
            height=size[1],
            clip=frame["clip"],
            species=frame["species"] or "unknown",
            answer=frame["predicted"],
            confidence=frame["confidence"],
        )
