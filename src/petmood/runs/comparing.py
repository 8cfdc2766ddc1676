"""Whether one run is really better than another: the paired bootstrap over groups of clips, from their predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.bootstrap import SCORES, Interval, Score, drawn_counts, group_counts, interval, recall_of, score_of
from petmood.errors import UserError
from petmood.metrics import Caution, Evaluation, clip_means
from petmood.workspace import read_json, read_table

Counts = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two runs."""

    run: str
    """Its folder."""
    name: str
    scores: Mapping[Score, Interval]
    """On clips, 0 to 1, higher is better."""
    cautions: tuple[Caution, ...]
    """What its evaluation warned of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmotionDifference:
    """How much of one emotion each run finds."""

    name: str
    clips: int
    groups: int
    """Groups that these clips are of."""
    recall: tuple[float, float]
    """Of the first and the second run."""
    difference: Interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What separates two runs that were judged on the same clips; differences are the second minus the first."""

    first: Side
    second: Side
    split: str
    clips: int
    groups: int
    """Groups of clips that were drawn."""
    draws: int
    same_answers: int
    """Clips that both answer alike."""
    same_frames: bool
    """Whether both looked at the same frames of these clips."""
    differences: Mapping[Score, Interval]
    emotions: tuple[EmotionDifference, ...]
    """Of the emotions that occur."""


@dataclasses.dataclass(frozen=True)
class _Judged:
    run: Path
    evaluation: Evaluation
    clips: pl.DataFrame
    """clip, group, label (class number), answer (class number), sorted by clip."""
    frames: frozenset[str]


def compare_runs(first: Path, second: Path, *, draws: int = 10_000, seed: int = 0) -> Comparison:
    """How sure it is that ``second`` is better than ``first``: 95 % intervals of the differences of their scores.

    Both must have been judged (`petmood evaluate`) on the same clips. Their groups are drawn with replacement, the same
    ones for both (``bootstrap``). The intervals hold the luck of the clips; that of the seed of training is not in
    them.

    Args:
        first: run folder.
        second: run folder.
        draws: data sets that are drawn.
        seed: of the draws.

    Raises:
        UserError: a run was not judged, the runs were judged on other clips, or all clips are of one group.
    """
    if first.resolve() == second.resolve():
        raise UserError(f"run {first} was given twice; two runs are compared.")
    one, other = _judged(first), _judged(second)
    _check_same(one, other)
    names = one.evaluation.classes
    groups = one.clips["group"].to_list()
    if len(set(groups)) < 2:
        raise UserError(
            f"the {len(groups)} clips on {one.evaluation.split} are all of one group; at least 2 groups are needed.",
            hint="judge both runs on a side with more animals: `petmood evaluate RUN --split …`",
        )
    counts = np.stack([_counts(each.clips, groups, len(names)) for each in (one, other)])
    drawn = drawn_counts(counts, draws=draws, seed=seed)
    whole = counts.sum(axis=1)
    return Comparison(
        first=_side(one, whole[0], drawn[0]),
        second=_side(other, whole[1], drawn[1]),
        split=one.evaluation.split,
        clips=len(groups),
        groups=counts.shape[1],
        draws=draws,
        same_answers=int((one.clips["answer"] == other.clips["answer"]).sum()),
        same_frames=one.frames == other.frames,
        differences={score: _difference(score_of(whole, score), score_of(drawn, score)) for score in SCORES},
        emotions=tuple(_emotions(names, counts[0], whole, drawn)),
    )


def _counts(clips: pl.DataFrame, groups: list[str], classes: int) -> Counts:
    return group_counts(clips["label"].to_numpy(), clips["answer"].to_numpy(), groups, classes)


def _difference(whole: npt.NDArray[np.float64], drawn: npt.NDArray[np.float64]) -> Interval:
    return interval(float(whole[1] - whole[0]), drawn[1] - drawn[0])


def _side(judged: _Judged, whole: Counts, drawn: Counts) -> Side:
    return Side(
        run=str(judged.run),
        name=judged.run.resolve().name,
        scores={score: interval(float(score_of(whole, score)), score_of(drawn, score)) for score in SCORES},
        cautions=judged.evaluation.cautions,
    )


def _emotions(names: tuple[str, ...], counts: Counts, whole: Counts, drawn: Counts) -> Iterator[EmotionDifference]:
    recall, recalls = recall_of(whole), recall_of(drawn)
    clips = counts.sum(axis=2)  # the same for both runs
    for number, name in enumerate(names):
        if clips[:, number].any():
            yield EmotionDifference(
                name=name,
                clips=int(clips[:, number].sum()),
                groups=int((clips[:, number] > 0).sum()),
                recall=(float(recall[0, number]), float(recall[1, number])),
                difference=_difference(recall[:, number], recalls[:, :, number]),
            )


def _judged(run: Path) -> _Judged:
    """What an evaluation left in a run folder, gathered into clips."""
    path = run / "metrics.json"
    again = f"judge it again: `petmood evaluate {run}`"
    if not path.is_file():
        raise UserError(f"run {run} has not been judged ({path.name} is missing).", hint=f"`petmood evaluate {run}`")
    try:
        evaluation = Evaluation.from_dict(read_json(path))
    except ValueError:
        raise UserError(f"{path} is damaged, or of another version of petmood.", hint=again) from None
    table = read_table(run / "predictions.parquet")
    needed = {"frame_id", "clip", "group", "emotion", *(f"p_{name}" for name in evaluation.classes)}
    missing = sorted(needed - set(table.columns))
    if missing or not set(table["emotion"]) <= set(evaluation.classes):
        what = f"it has no column {', '.join(missing)}" if missing else "it has an emotion that the model does not know"
        raise UserError(f"{run / 'predictions.parquet'} is damaged: {what}.", hint=again)
    return _Judged(run, evaluation, _clips(table, evaluation.classes), frozenset(table["frame_id"]))


def _clips(table: pl.DataFrame, classes: tuple[str, ...]) -> pl.DataFrame:
    """One row a clip with its answer, by the rule that `petmood evaluate` uses."""
    gathered = clip_means(
        table["clip"].to_list(),
        table.select(f"p_{name}" for name in classes).to_numpy(),
        table["emotion"].replace_strict(list(classes), range(len(classes)), return_dtype=pl.Int64).to_numpy(),
        table["attention"].to_numpy() if "attention" in table.columns else None,
    )
    answers = gathered.probabilities.argmax(axis=1)
    found = pl.DataFrame({"clip": gathered.clips, "label": gathered.labels, "answer": answers})
    return found.join(table.select("clip", "group").unique("clip"), on="clip").sort("clip")


def _check_same(one: _Judged, other: _Judged) -> None:
    """Refuse runs that were judged on other clips, with what differs."""
    split, another = one.evaluation.split, other.evaluation.split
    if split != another:
        raise UserError(
            f"run {one.run} was judged on {split}, run {other.run} on {another}; the same side is needed.",
            hint=f"judge one of them again: `petmood evaluate {other.run} --split {split}`",
        )
    classes, others = one.evaluation.classes, other.evaluation.classes
    if classes != others:
        raise UserError(
            f"run {one.run} knows {', '.join(classes)}; run {other.run} {', '.join(others)}: they cannot be compared.",
            hint="train both on data with the same emotions",
        )
    differences = list(_clip_differences(one.clips, other.clips))
    if differences:
        raise UserError(
            f"runs {one.run} and {other.run} were judged on other clips: {', '.join(differences)}.",
            hint=f"the data has changed since: judge both again, `petmood evaluate {one.run}` and "
            f"`petmood evaluate {other.run}`",
        )


def _clip_differences(one: pl.DataFrame, other: pl.DataFrame) -> Iterator[str]:
    both = one.join(other, on="clip", suffix="_other")
    counts = {
        "only in the first": len(one) - len(both),
        "only in the second": len(other) - len(both),
        "with another emotion": both.filter(pl.col("label") != pl.col("label_other")).height,
        "in another group": both.filter(pl.col("group") != pl.col("group_other")).height,
    }
    return (f"{count:,} {what}" for what, count in counts.items() if count)
