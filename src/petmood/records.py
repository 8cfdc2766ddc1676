"""What crosses from one stage to the next: the columns of the tables, the reason words, and small value records."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import polars as pl

#: How the frames of a clip become its answer: the mean of their probabilities, or weighted by attention.
Pool = Literal["mean", "attention"]

#: One row a good frame (``frames.parquet``). Boxes are pixels with the origin at the top left.
FRAME_SCHEMA: Mapping[str, pl.DataType] = {
    "frame_id": pl.String(),  # clip/file stem; unique
    "path": pl.String(),  # the picture, absolute
    "clip": pl.String(),  # full stem of the label file (NFC), or the photo itself
    "group": pl.String(),  # clips that may show the same animal; a split never separates them; `screen` joins some
    "source_group": pl.String(),  # the group by what the source says alone
    "species": pl.String(),  # dog, cat, or null where the source does not say
    "emotion": pl.String(),  # English name, by the label source chosen and after merges
    "owner_emotion": pl.String(),  # by the owner; null where the source has one label only
    "action": pl.String(),  # slug such as walkrun
    "situation": pl.String(),
    "timestamp_ms": pl.Int64(),  # time in the clip: the time axis (frame numbers depend on the camera)
    "x": pl.Int32(),
    "y": pl.Int32(),
    "width": pl.Int32(),
    "height": pl.Int32(),
    "image_width": pl.Int32(),  # as the label says; null where only the picture can tell
    "image_height": pl.Int32(),
    "official_split": pl.String(),  # train or val as the source's folders say; null where they do not
    "split": pl.String(),  # train, val or test; written by `split`, null before
    "keep": pl.Boolean(),  # chosen by `curate`; after `pack` also readable; after `screen` also worth showing
    "weight": pl.Float32(),  # of the frame in training; written by `curate` and `screen`
}

#: One row a refused frame, label file or picture (``rejects.parquet``).
REJECT_SCHEMA: Mapping[str, pl.DataType] = {
    "frame_id": pl.String(),  # null for label files and for pictures that no label speaks of
    "path": pl.String(),
    "clip": pl.String(),
    "reason": pl.String(),  # a key of REASONS
    "detail": pl.String(),
    "stage": pl.String(),  # index, curate, pack or screen
}

#: Every reason for which something is left out, in the order in which the rules are tried.
REASONS: Mapping[str, str] = {
    "unreadable_label": "the label file is empty, not JSON, or lacks the fields that say what it shows",
    "duplicate_label": "another label file of the same name was already read",
    "no_label": "a picture that no label speaks of",
    "no_image": "a label whose picture is not there",
    "no_box": "the label has no box",
    "negative_box": "an element of the box is negative (the notes' first rule)",
    "empty_box": "the box has no width or no height",
    "box_outside_image": "the box reaches beyond the picture (the notes' second rule)",
    "unknown_emotion": "the emotion is none of the six",
    "labels_disagree": "owner and inspector name different emotions (only with --label agree)",
    "other_species": "not the species asked for (only with --species)",
    "user_verdict": "the user's verdict says to drop the clip (only with --verdicts)",
    "small_box": "the box is too small to show what the animal does",
    "empty_image": "the picture file has no bytes",
    "unreadable_image": "the picture file cannot be decoded",
    "truncated_image": "the picture file ends too early",
    "size_differs": "the picture's size differs from the label's",
    "blank": "the crop shows nothing: one flat colour",
    "blurred": "the crop is too blurred to show what the animal does",
    "near_copy": "nearly the same picture as another chosen one of its clip",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CropGeometry:
    """How an animal is cut out of a picture: the same in packing, prediction, export and serving."""

    margin: float = 0.1
    """Widening of the box on each side, as a share of its width and height; cut at the picture's edge."""
    shorter_side: int = 256
    """Pixels of the crop's shorter side; smaller crops are not enlarged."""
    quality: int = 90
    """JPEG quality of stored crops, 1 to 100."""


@dataclasses.dataclass(frozen=True)
class Box:
    """Rectangle in pixels: left, top, width, height; the origin is the picture's top left corner."""

    x: int
    y: int
    width: int
    height: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSummary:
    """What a stage tells: whether it did anything, numbers for scripts, and lines for people."""

    stage: str
    skipped: bool
    counts: Mapping[str, object]
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer for one picture, or why there is none; exactly one for each input, in the order of the inputs."""

    source: str
    """Where the picture came from, as it was given."""
    emotion: str | None
    """English name of the likeliest emotion; None if the picture could not be used."""
    probabilities: Mapping[str, float]
    """Emotion → 0 to 1, in the order of class numbers; empty if the picture could not be used."""
    reason: str = ""
    """A key of ``REASONS`` if the picture could not be used."""
    detail: str = ""
    """What was wrong, for people."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibrated:
    """How the probabilities of frames, or of clips, are to be read; fitted on the validation clips."""

    temperature: float
    """Logits are divided by it; above 1 the network was too sure of itself."""
    threshold: float
    """Least probability, after the temperature, with which a class stands in the set of answers; 0 if there were too
    few groups to promise anything, so that every class does."""
    clips: int
    """Clips that it was fitted on."""
    groups: int
    """Groups that they are of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certainty:
    """What a model's folder knows about how sure it is."""

    level: float
    """Share of the sets of answers that hold the truth, 0 to 1."""
    frames: Calibrated
    """For single pictures."""
    clips: Calibrated
    """For the answers of clips."""
    fitted_on: str = ""
    """Fingerprint of the validation frames and their labels."""
