"""What crosses from one stage to the next: the reason words and small value records; `schemas` has the tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from petmood.geometry import Box

#: How the frames of a clip become its answer: the mean of their probabilities, or weighted by attention.
Pool = Literal["mean", "attention"]

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
    "no_animal": "no dog or cat was found in the picture",
    "unreadable_video": "the video file cannot be decoded",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageSummary:
    """What a stage tells: whether it did anything, numbers for scripts, and lines for people."""

    stage: str
    skipped: bool
    counts: Mapping[str, object]
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The answer for one animal of a picture or video, or why there is none.

    Each input has at least one, in the order of the inputs.
    """

    source: str
    """Where the picture came from, as it was given."""
    emotion: str | None
    """English name of the likeliest emotion; None if the picture could not be used."""
    probabilities: Mapping[str, float]
    """Emotion → 0 to 1, in the order of class numbers, as they are to be believed: after the temperature of frames, or
    of clips for a clip's answer, if it was fitted. Empty if the picture could not be used."""
    reason: str = ""
    """A key of ``REASONS`` if the picture could not be used."""
    detail: str = ""
    """What was wrong, for people."""
    box: Box | None = None
    """Where the animal is, in pixels of the upright picture; None if the whole picture was taken. Of a clip's answer:
    in the first frame that shows it."""
    species: str = ""
    """dog or cat, by the detector; empty if not known."""
    detected: float | None = None
    """How sure the detector is of the animal, 0 to 1 (of a clip's answer: the mean); None if it was not asked."""
    answers: tuple[str, ...] = ()
    """The set of emotions that holds the truth as often as the model's level promises, the likeliest first; empty if
    that was never fitted."""
    time_ms: int | None = None
    """Milliseconds from the start of a video; of a clip's answer: of the first frame that shows the animal."""
    track: int | None = None
    """Number of an animal in a video, from 1 in order of appearance; None for pictures."""
    frames: int = 0
    """Frames that a clip's answer pools; 0 for a picture or a single frame."""


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
