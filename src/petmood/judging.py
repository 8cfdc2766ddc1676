"""From a model's answers to everything that is said of them: scores, baselines, and how far the probabilities hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.errors import UserError
from petmood.metrics import (
    Answers,
    ClipScores,
    Floats,
    Ints,
    Judgement,
    Shortcut,
    ShortScores,
    SpeciesJudgement,
    Sureness,
    by_group,
    clip_means,
    clip_medians,
    cross_fitted,
    fit_certainty,
    judge,
    majority,
    short_scores,
    sureness,
    verdict,
)
from petmood.metrics.shortcuts import Known, shortcuts
from petmood.records import Certainty
from petmood.settings import fingerprint

#: Share of the sets of answers that shall hold the truth.
LEVEL = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answered:
    """Frames with what a model says of them, row by row."""

    frames: pl.DataFrame
    """Rows of ``frames.parquet`` (columns of ``FRAME_SCHEMA``)."""
    labels: Ints
    """(n,): class numbers."""
    probabilities: Floats
    """(n, classes): as the network gives them."""
    attention: Floats | None = None
    """(n,): scores of the frames (``metrics.clip_means``); None if all frames of a clip count the same."""

    def of_frames(self) -> Answers:
        """The frames, each for itself."""
        clips, groups = self.frames["clip"].to_list(), self.frames["group"].to_list()
        return Answers(labels=self.labels, probabilities=self.probabilities, clips=clips, groups=groups)

    def of_clips(self) -> Answers:
        """What the frames of each clip say together."""
        return self._as_answers(self._pooled())

    def where(self, rows: npt.NDArray[np.bool_]) -> Answered:
        """The rows that are true in ``rows``, (n,)."""
        return Answered(
            frames=self.frames.filter(rows),
            labels=self.labels[rows],
            probabilities=self.probabilities[rows],
            attention=None if self.attention is None else self.attention[rows],
        )

    def poolings(self) -> dict[str, ShortScores]:
        """Scores of the clips under each way to pool their frames."""
        clips, classes = self.frames["clip"].to_list(), self.probabilities.shape[1]
        pooled = {
            "mean": clip_means(clips, self.probabilities, self.labels),
            "median": clip_medians(clips, self.probabilities, self.labels),
        }
        if self.attention is not None:
            pooled["attention"] = self._pooled()
        return {name: short_scores(one.labels, one.probabilities, classes) for name, one in pooled.items()}

    def by_group(self) -> ShortScores:
        """Scores of the clips if every group counts the same."""
        pooled = self._pooled()
        return by_group(pooled, self._as_answers(pooled).groups)

    def looked_up(self) -> Known:
        """What is known of each clip without a look at its pictures, in the order of `of_clips`."""
        return known(self.frames, self._pooled().labels)

    def _pooled(self) -> ClipScores:
        return clip_means(self.frames["clip"].to_list(), self.probabilities, self.labels, self.attention)

    def _as_answers(self, pooled: ClipScores) -> Answers:
        group_of = dict(self.frames.select("clip", "group").iter_rows())
        groups = [group_of[clip] for clip in pooled.clips]
        return Answers(labels=pooled.labels, probabilities=pooled.probabilities, clips=pooled.clips, groups=groups)


def known(frames: pl.DataFrame, labels: Ints) -> Known:
    """Species, action and label of each clip of ``frames``; ``labels`` (clips,) in order of first appearance."""
    clips = frames.unique("clip", keep="first", maintain_order=True)
    return Known(species=clips["species"].to_list(), actions=clips["action"].to_list(), labels=labels)


def training_clips(frames: pl.DataFrame, classes: Sequence[str]) -> Known:
    """What the chosen clips of the training split show.

    Raises:
        UserError: there are none, so that no baseline is known.
    """
    clips = frames.filter(pl.col("keep") & (pl.col("split") == "train")).unique(
        "clip", keep="first", maintain_order=True
    )
    if clips.is_empty():
        raise UserError(
            "the work folder has no training clips, so the majority answer is unknown.",
            hint="split it again: `petmood split WORK`",
        )
    numbers = {name: number for number, name in enumerate(classes)}
    return known(clips, np.array([numbers[name] for name in clips["emotion"]], np.int64))


def fitted_on(frames: pl.DataFrame, check: Sequence[float]) -> str:
    """Fingerprint of validation frames, their labels, and the model (the answers of its self-check)."""
    return fingerprint("certainty", frames["frame_id"].to_list(), frames["emotion"].to_list(), list(check))


def certainty_of(validation: Answered, check: Sequence[float]) -> Certainty:
    """Temperatures and thresholds by the validation clips, of the model with this self-check."""
    found = fit_certainty(validation.of_frames(), validation.of_clips(), level=LEVEL)
    return dataclasses.replace(found, fitted_on=fitted_on(validation.frames, check))


def judged(
    answered: Answered,
    classes: Sequence[str],
    training: Known,
    *,
    certainty: Certainty | None,
    own_validation: bool = False,
) -> dict[str, Any]:
    """The fields of an `Evaluation` that come from the answers and the training clips.

    Args:
        answered: the frames to judge.
        classes: English names by class number.
        training: the training clips (`training_clips`).
        certainty: fitted on validation clips; None if there are none.
        own_validation: the judged frames are those that ``certainty`` was fitted on. Then how far probabilities hold
            is measured with what is fitted on other groups.

    Raises:
        ValueError: a clip has two labels, or there is nothing to judge.
    """
    counts = np.bincount(training.labels, minlength=len(classes))
    answer = majority(training.labels, len(classes))
    frames, clips = _both(answered, classes, answer)
    return {
        "classes": tuple(classes),
        "verdict": verdict(clips),
        "frames": frames,
        "clips": clips,
        "species": tuple(_species(answered, classes, answer)),
        "training_clips": dict(zip(classes, counts.tolist(), strict=True)),
        "poolings": answered.poolings(),
        "by_group": answered.by_group(),
        "shortcuts": _shortcuts(answered, training, classes),
        "certainty": certainty,
        "sureness": _sureness(answered, classes, certainty, own_validation=own_validation),
        "cross_fitted": own_validation,
    }


def _both(answered: Answered, classes: Sequence[str], answer: int) -> tuple[Judgement, Judgement]:
    """Judgement of the frames and of the clips that they make up."""
    frames, clips = answered.of_frames(), answered.of_clips()
    return (
        judge(frames.labels, frames.probabilities, classes, answer, groups=frames.groups, draw=False),
        judge(clips.labels, clips.probabilities, classes, answer, groups=clips.groups),
    )


def _species(answered: Answered, classes: Sequence[str], answer: int) -> list[SpeciesJudgement]:
    names = answered.frames["species"].fill_null("unknown").to_numpy()
    found = []
    for name in sorted(set(names)):
        frames, clips = _both(answered.where(names == name), classes, answer)
        found.append(SpeciesJudgement(species=str(name), frames=frames, clips=clips))
    return found


def _shortcuts(answered: Answered, training: Known, classes: Sequence[str]) -> tuple[Shortcut, ...]:
    return shortcuts(training, answered.looked_up(), classes)


def _sureness(
    answered: Answered, classes: Sequence[str], certainty: Certainty | None, *, own_validation: bool
) -> dict[str, Sureness]:
    if certainty is None:
        return {}
    both = {"frames": answered.of_frames(), "clips": answered.of_clips()}
    if own_validation:
        return {unit: cross_fitted(answers, classes, level=certainty.level) for unit, answers in both.items()}
    fitted = {"frames": certainty.frames, "clips": certainty.clips}
    return {unit: sureness(answers, fitted[unit], classes, level=certainty.level) for unit, answers in both.items()}
