"""What stands on each side of the split: which classes, in which shares, and what always giving one answer scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.data.leaks import SIDES
from petmood.doctor.clips import CHANCE, Ints, chance_of, clip_rows, codes, is_split, not_split, shuffled
from petmood.doctor.records import Check
from petmood.labels import EMOTIONS
from petmood.metrics.records import FEW_GROUPS_OF_A_CLASS
from petmood.workspace import Workspace

#: Rare to common: from here on a plain loss may never give the rare answer.
_MANY_TIMES = 20
#: A shift below this (total variation, 0 to 1) changes no score that anybody would notice.
_SHIFT = 0.05
#: Groups × draws of a permutation test, which bounds its time.
_WORK = 20_000_000


# --- what always giving one answer scores -----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlwaysOne:
    """What the answer most frequent in training scores on one side; shares are 0 to 1."""

    answer: str
    clips: float
    """Share of the clips that it gets right."""
    frames: float
    """Share of the kept frames that it gets right."""
    macro_f1: float
    """Over the classes that occur on the side, by clips."""


def always_one(clips: pl.DataFrame) -> dict[str, AlwaysOne]:
    """Side → what always answering the emotion most frequent among the training clips scores there.

    Args:
        clips: columns emotion, split, frames.

    Raises:
        ValueError: no clip is for training.
    """
    training = clips.filter(pl.col("split") == "train")["emotion"]
    if training.is_empty():
        raise ValueError("no training clips: the most frequent emotion is unknown")
    counts = training.value_counts()
    most = max(counts.iter_rows(), key=lambda row: (row[1], -_place(row[0])))[0]
    found = {}
    for side in SIDES:
        here = clips.filter(pl.col("split") == side)
        if not here.is_empty():
            found[side] = _always(most, here)
    return found


def _always(answer: str, clips: pl.DataFrame) -> AlwaysOne:
    right = (clips["emotion"] == answer).to_numpy()
    share = float(right.mean())
    f1 = 2 * share / (1 + share) / clips["emotion"].n_unique()  # recall 1, precision = its share; the others have 0
    frames = clips["frames"].to_numpy()
    return AlwaysOne(answer=answer, clips=share, frames=float(frames[right].sum() / frames.sum()), macro_f1=f1)


def _place(emotion: str) -> int:
    return EMOTIONS.index(emotion) if emotion in EMOTIONS else len(EMOTIONS)


def check_baseline(workspace: Workspace) -> Check:
    """What always giving the answer most frequent in training scores: the score to beat, not 0."""
    clips = clip_rows(workspace)
    if not is_split(clips):
        return not_split("baseline", workspace)
    try:
        scores = always_one(clips)
    except ValueError as error:
        return Check(name="baseline", verdict="fail", evidence=f"{error}.", remedy=f"`petmood split {workspace.root}`")
    judged = {side: score for side, score in scores.items() if side != "train"} or scores
    told = "; ".join(
        f"{score.clips:.3f} of the {side} clips ({score.frames:.3f} of the frames, macro-F1 {score.macro_f1:.3f})"
        for side, score in judged.items()
    )
    answer = scores["train"].answer
    return Check(
        name="baseline",
        verdict="ok",
        evidence=f"always answering {answer!r} is right for {told}: the score to beat.",
        numbers={side: dataclasses.asdict(score) for side, score in scores.items()},
    )


# --- classes that a side lacks ----------------------------------------------------------------------------------------


def side_counts(clips: pl.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, tuple[int, int]]]:
    """Side → class → clips and groups, for every class and the sides that have clips (train and val always).

    Args:
        clips: columns group, emotion, split.
        classes: names in order.
    """
    table = clips.group_by("split", "emotion").agg(clips=pl.len(), groups=pl.col("group").n_unique())
    found = {(side, emotion): (number, groups) for side, emotion, number, groups in table.iter_rows()}
    present = set(clips["split"])
    sides = [side for side in SIDES if side in present or side != "test"]
    return {side: {name: found.get((side, name), (0, 0)) for name in classes} for side in sides}


def check_sides(workspace: Workspace) -> Check:
    """Whether every class has clips on every side, and of enough groups to be judged."""
    clips = clip_rows(workspace)
    if not is_split(clips):
        return not_split("sides", workspace)
    counts = side_counts(clips, classes_here(clips))
    lost = [side for side, of in counts.items() if not any(number for number, _ in of.values())]
    lacking = {side: [name for name, (number, _) in of.items() if not number] for side, of in counts.items()}
    few = {
        side: [f"{groups} of {name}" for name, (_, groups) in of.items() if 0 < groups < FEW_GROUPS_OF_A_CLASS]
        for side, of in counts.items()
    }
    untaught = [name for name, (number, _) in counts["train"].items() if not number]
    numbers = {
        side: {name: {"clips": number, "groups": groups} for name, (number, groups) in of.items()}
        for side, of in counts.items()
    }
    remedy = f"prepare more clips, merge rare emotions (`petmood index --merge`), or `petmood split {workspace.root}`"
    if lost or untaught:
        what = f"{' and '.join(lost)} has no clips" if lost else f"train has no clip of {', '.join(untaught)}"
        return Check(name="sides", verdict="fail", evidence=f"{what}.", remedy=remedy, numbers=numbers)
    said = [f"{side} has no {' and no '.join(names)}" for side, names in lacking.items() if names]
    if any(few.values()):
        rows = "; ".join(f"{side} {', '.join(names)}" for side, names in few.items() if names)
        said.append(f"too few groups to tell (under {FEW_GROUPS_OF_A_CLASS}): {rows}")
    if said:
        evidence = f"{'; '.join(said)}."
        return Check(name="sides", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)
    evidence = f"every class has clips of at least {FEW_GROUPS_OF_A_CLASS} groups in {', '.join(counts)}."
    return Check(name="sides", verdict="ok", evidence=evidence, numbers=numbers)


def classes_here(clips: pl.DataFrame) -> list[str]:
    """The emotions that occur, in the one order; words that are none of the six stand last."""
    return sorted(clips["emotion"].drop_nulls().unique().to_list(), key=lambda name: (_place(name), name))


def check_imbalance(workspace: Workspace) -> Check:
    """How many times more training clips the most frequent class has than the rarest, and which loss that asks for."""
    clips = clip_rows(workspace)
    training = clips.filter(pl.col("split") == "train") if is_split(clips) else clips
    if training.is_empty():
        return not_split("imbalance", workspace)
    counts = {name: training.filter(pl.col("emotion") == name).height for name in classes_here(training)}
    most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    ratio = counts[most] / counts[least]
    evidence = f"{ratio:,.1f} training clips of {most} ({counts[most]:,}) for one of {least} ({counts[least]:,})"
    if ratio < _MANY_TIMES:
        return Check(name="imbalance", verdict="ok", evidence=f"{evidence}.", numbers={"ratio": ratio, "clips": counts})
    return Check(
        name="imbalance",
        verdict="warn",
        evidence=f"{evidence}: inverse-frequency weights tend to do worse than none.",
        remedy="train with `--loss balanced_softmax` (recipe default) and leave `--class-weights none`; "
        "judge by macro-F1, not by accuracy",
        numbers={"ratio": ratio, "clips": counts},
    )


# --- shares that differ between the sides -----------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shift:
    """How far the shares of one side lie from those of training, and which value differs most."""

    side: str
    value: str
    train: float
    """Share of the value among the training clips, 0 to 1."""
    there: float
    """Share of the value among the clips of the other side."""
    distance: float
    """Total variation: half the sum of all differences, 0 to 1."""
    chance: float
    """How often groups that are dealt to the sides at random differ as much on any side, 0 to 1."""

    @property
    def alarming(self) -> bool:
        """Whether it is too large for chance and large enough to matter."""
        return self.chance <= CHANCE and self.distance >= _SHIFT


def largest_shift(
    values: pl.Series, sides: pl.Series, groups: pl.Series, *, draws: int = 999, seed: int = 0
) -> Shift | None:
    """The side whose shares of ``values`` lie farthest from those of training; None if there is nothing to compare.

    Whole groups are dealt to the sides anew to see how far chance alone goes, so that few groups do not alarm.

    Args:
        values: of each clip, (n,).
        sides: train, val or test of each clip, (n,).
        groups: of each clip, (n,).
        draws: at most so many; of very many groups fewer.
        seed: the same seed, the same draws.
    """
    others = [side for side in SIDES[1:] if side in set(sides)]
    if not others or "train" not in set(sides) or values.n_unique() < 2:
        return None
    order = ("train", *others)
    counts, standing = _unit_counts(codes(values), np.array([order.index(side) for side in sides]), codes(groups))
    observed = _distances(counts, standing, len(order))
    draws = int(max(99, min(draws, _WORK // len(counts))))
    drawn = shuffled(standing, lambda dealt: _distances(counts, dealt, len(order)), draws=draws, seed=seed)
    worst = int(observed.argmax())
    shares = _shares(counts, standing, len(order))
    value = int(np.abs(shares[worst + 1] - shares[0]).argmax())
    return Shift(
        side=others[worst],
        value=sorted(set(values.cast(pl.String)))[value],
        train=float(shares[0, value]),
        there=float(shares[worst + 1, value]),
        distance=float(observed[worst]),
        chance=chance_of(float(observed[worst]), drawn.max(axis=1)),
    )


def _unit_counts(values: Ints, sides: Ints, groups: Ints) -> tuple[npt.NDArray[np.float32], Ints]:
    """Clips of each value in each unit (a group on one side), (units, values), and the side of each unit."""
    units, rows = np.unique(np.stack([groups, sides]), axis=1, return_inverse=True)
    counts = np.zeros((units.shape[1], int(values.max()) + 1), np.float32)
    np.add.at(counts, (rows.ravel(), values), 1)
    return counts, units[1]


def _shares(counts: npt.NDArray[np.float32], standing: Ints, sides: int) -> npt.NDArray[np.float64]:
    """Shares of the values on each side, (sides, values)."""
    sums = np.stack([counts[standing == side].sum(axis=0, dtype=np.float64) for side in range(sides)])
    return np.asarray(sums / np.maximum(sums.sum(axis=1, keepdims=True), 1))


def _distances(counts: npt.NDArray[np.float32], standing: Ints, sides: int) -> npt.NDArray[np.float64]:
    """Total variation between training and each other side, (sides - 1,)."""
    shares = _shares(counts, standing, sides)
    return np.asarray(np.abs(shares[1:] - shares[0]).sum(axis=1) / 2)


def check_shares(workspace: Workspace) -> Check:
    """Whether species, emotions, or both together stand in other shares on one side than in training, by clips."""
    clips = clip_rows(workspace).filter(pl.col("split").is_not_null(), pl.col("emotion").is_not_null())
    if clips.is_empty():
        return not_split("shares", workspace)
    both = clips.select(pl.concat_str("species", "emotion", separator=" "))["species"]
    asked = {"species": clips["species"], "emotion": clips["emotion"], "species and emotion": both}
    shifts = {what: largest_shift(values, clips["split"], clips["group"]) for what, values in asked.items()}
    found = {what: shift for what, shift in shifts.items() if shift}
    numbers: dict[str, Any] = {what: dataclasses.asdict(shift) for what, shift in found.items()}
    alarming = [_told(what, shift) for what, shift in found.items() if shift.alarming]
    if alarming:
        remedy = f"`petmood split {workspace.root}` deals by group and keeps shares; or read the scores of each species"
        evidence = "; ".join(alarming) + "."
        return Check(name="shares", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)
    if not found:
        return Check(name="shares", verdict="ok", evidence="there is one species and one emotion, or one side.")
    what, shift = max(found.items(), key=lambda item: item[1].distance)
    evidence = f"no side differs beyond chance; most {_told(what, shift)}."
    return Check(name="shares", verdict="ok", evidence=evidence, numbers=numbers)


def _told(what: str, shift: Shift) -> str:
    return (
        f"by {what}: {shift.value} makes {shift.train:.1%} of the train clips and {shift.there:.1%} of {shift.side}'s "
        f"(chance differs as much in {shift.chance:.1%})"
    )
