"""How good answers are: pure functions over arrays, and the records that hold their results.

Everything is judged twice, on frames and on clips: the frames of a clip are nearly alike and carry one label, so that a
clip is what counts as one observation. Class numbers are positions in the data set's class list (``labels.py``). Each
result stands beside the majority baseline, because 0 is not the score to beat.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support, recall_score

from petmood.records import Pool

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

VerdictKind = Literal["beats", "f1_only", "accuracy_only", "neither"]
CautionKind = Literal["leak", "official_split", "chosen_on", "data_changed", "started_elsewhere", "adjusted"]


@dataclasses.dataclass(frozen=True)
class ClipScores:
    """One row a clip, in order of first appearance."""

    clips: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    """(clips, classes): what the frames say together, by mean or attention."""
    labels: npt.NDArray[np.int64]
    """(clips,): class numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScores:
    """How one class fares. Shares are 0 to 1, higher is better; None where there is nothing to divide by."""

    name: str
    support: int
    """Frames or clips of this class."""
    predicted: int
    """Answers that name this class, right or wrong."""
    precision: float | None
    """Share of those answers that are right; None if it was never answered."""
    recall: float | None
    """Share of the class that was found; None if the class does not occur."""
    f1: float | None
    """Harmonic mean of both, 0 if nothing was found; None if the class does not occur."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """What always giving the same answer would score on the same frames or clips."""

    answer: str
    """The most frequent class among the clips of the training split."""
    accuracy: float
    macro_f1: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """All scores of one set of frames or clips; shares are 0 to 1, higher is better."""

    count: int
    """Frames or clips judged."""
    right: int
    accuracy: float
    balanced_accuracy: float
    """Mean recall of the classes that occur."""
    macro_f1: float
    """Mean F1 of the classes that occur."""
    baseline: Baseline
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows are the true classes, columns the answers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeciesJudgement:
    """The same scores for one species alone; the baseline's answer is that of the whole training split."""

    species: str
    """dog, cat, or unknown where the source does not say."""
    frames: Judgement
    clips: Judgement


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caution:
    """Something that a reader must know before believing the numbers."""

    kind: CautionKind
    clips: int = 0
    """leak: clips that stand on two sides."""
    groups: int = 0
    """leak: groups of clips that stand on two sides."""
    frames: int = 0
    """leak: pairs of frames on two sides that are near-copies."""
    detail: str = ""
    """chosen_on: the split; data_changed: the stages that have run again since; started_elsewhere: the run that
    training started from; adjusted: the shares that the answers were told to expect."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What ``evaluate`` found about one run (``metrics.json``)."""

    format: int = 1
    split: str
    """The split that was judged."""
    split_by: str
    """How the split was made: group or official."""
    classes: tuple[str, ...]
    verdict: VerdictKind
    """Against the majority answer, on clips; see `verdict`."""
    cautions: tuple[Caution, ...]
    frames: Judgement
    clips: Judgement
    species: tuple[SpeciesJudgement, ...]
    training_clips: Mapping[str, int]
    """Clips of each class in the training split: the baseline answers the largest."""
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    pool: Pool = "mean"
    """How the answers of clips were made; see `clip_means`."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` wrote.

        Raises:
            ValueError: ``content`` is not one, or one of another version.
        """
        found: Evaluation = pydantic.TypeAdapter(cls).validate_python(dict(content))
        return found


def clip_means(
    clips: Sequence[str], probabilities: Floats, labels: Ints, attention: Floats | None = None
) -> ClipScores:
    """Frames gathered into clips: what they say together, in order of first appearance.

    Without attention a clip's answer is the mean of its frames' probabilities. With attention it is the softmax of
    their logits' mean, weighted by the softmax of the clip's attention scores (Ilse et al. 2018, arXiv 1802.04712; why
    logits serve: ``docs/decisions/0008``). Logarithms of probabilities are logits up to a constant, which the softmax
    does not see.

    Args:
        clips: name of each frame's clip, (n,).
        probabilities: (n, classes).
        labels: class number of each frame, (n,).
        attention: score of each frame, (n,), any finite numbers; None if all frames of a clip count the same.

    Raises:
        ValueError: the lengths differ, or a clip has two labels.
    """
    labels = np.asarray(labels, np.int64)
    if not len(clips) == len(probabilities) == len(labels):
        raise ValueError(
            f"{len(clips)} clips, {len(probabilities)} probabilities and {len(labels)} labels do not match"
        )
    if attention is not None and np.shape(attention) != (len(clips),):
        raise ValueError(f"{len(clips)} frames and attention of shape {np.shape(attention)} do not match")
    numbers: dict[str, int] = {}
    rows = np.fromiter((numbers.setdefault(clip, len(numbers)) for clip in clips), np.int64, len(clips))
    names = tuple(numbers)
    if attention is None:
        means = _sums(probabilities, rows, len(names)) / np.bincount(rows, minlength=len(names))[:, None]
    else:
        means = _attended(probabilities, attention, rows, len(names))
    clip_labels = np.zeros(len(names), np.int64)
    clip_labels[rows] = labels
    differing = np.flatnonzero(clip_labels[rows] != labels)
    if differing.size:
        row = int(differing[0])
        raise ValueError(f"clip {names[rows[row]]!r} has two labels, {labels[row]} and {clip_labels[rows[row]]}")
    return ClipScores(names, means, clip_labels)


def _attended(probabilities: Floats, attention: Floats, rows: Ints, count: int) -> npt.NDArray[np.float64]:
    """Answers (count, classes) of clips by attention; ``rows`` is the number of each frame's clip."""
    scores = np.asarray(attention, np.float64)
    # Softmax over the frames of a clip, from the highest score down, so that no exponential overflows.
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, rows, scores)
    weights = np.exp(scores - highest[rows])
    weights /= _sums(weights[:, None], rows, count)[rows, 0]
    logits = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny, dtype=np.float64))
    pooled = _sums(weights[:, None] * logits, rows, count)
    answers = np.exp(pooled - pooled.max(axis=1, keepdims=True))
    return np.asarray(answers / answers.sum(axis=1, keepdims=True), np.float64)


def _sums(values: Floats, rows: Ints, count: int) -> npt.NDArray[np.float64]:
    """Sums (count, columns) of the values (n, columns) with the same number in ``rows``."""
    sums = np.zeros((count, values.shape[1]), np.float64)
    np.add.at(sums, rows, values)
    return sums


def macro_f1(labels: Ints, predicted: Ints, classes: int) -> float:
    """Mean F1 of the classes that occur in ``labels``, 0 to 1, higher is better.

    Classes that never occur are left out: they have no F1, and counting them as 0 would punish a small validation set.

    Raises:
        ValueError: nothing to judge, lengths differ, or a number is outside 0 … classes - 1.
    """
    present = _present(labels, predicted, classes)
    return float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0))


def accuracy(labels: Ints, predicted: Ints) -> float:
    """Share of right answers, 0 to 1, higher is better.

    Raises:
        ValueError: nothing to judge, or lengths differ.
    """
    if len(labels) != len(predicted) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(predicted)} answers cannot be compared")
    return float(np.mean(np.asarray(labels) == np.asarray(predicted)))


def balanced_accuracy(labels: Ints, predicted: Ints, classes: int) -> float:
    """Mean recall of the classes that occur in ``labels``, 0 to 1, higher is better.

    Raises:
        ValueError: as `macro_f1`.
    """
    # scikit-learn's own balanced_accuracy_score is the same number, but warns of answers that never occur.
    present = _present(labels, predicted, classes)
    return float(recall_score(labels, predicted, labels=present, average="macro", zero_division=0))


def confusion(labels: Ints, predicted: Ints, classes: int) -> npt.NDArray[np.int64]:
    """Counts (classes, classes): rows are the true classes, columns the answers.

    Raises:
        ValueError: as `macro_f1`.
    """
    _present(labels, predicted, classes)
    return np.asarray(confusion_matrix(labels, predicted, labels=range(classes)), np.int64)


def class_scores(labels: Ints, predicted: Ints, names: Sequence[str]) -> tuple[ClassScores, ...]:
    """Precision, recall, F1 and counts of each class, in the order of ``names``.

    Raises:
        ValueError: as `macro_f1`.
    """
    _present(labels, predicted, len(names))
    every = range(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    answered = np.bincount(predicted, minlength=len(names))
    return tuple(
        ClassScores(
            name=name,
            support=int(support[i]),
            predicted=int(answered[i]),
            precision=float(precision[i]) if answered[i] else None,
            recall=float(recall[i]) if support[i] else None,
            f1=float(f1[i]) if support[i] else None,
        )
        for i, name in enumerate(names)
    )


def majority(training_clip_labels: Ints, classes: int) -> int:
    """The class number that most clips of the training split have; the first of several equals.

    Raises:
        ValueError: there are no training clips.
    """
    if not len(training_clip_labels):
        raise ValueError("no training clips: the majority answer is unknown")
    return int(np.bincount(training_clip_labels, minlength=classes).argmax())


def judge(labels: Ints, predicted: Ints, names: Sequence[str], majority_class: int) -> Judgement:
    """All scores of these answers, and of always answering ``majority_class`` instead.

    Args:
        labels: true class numbers, (n,), n > 0.
        predicted: answers, (n,).
        names: the data set's classes, in order.
        majority_class: of the training clips (`majority`), never of what is judged.

    Raises:
        ValueError: as `macro_f1`.
    """
    classes = len(names)
    constant = np.full(len(labels), majority_class)
    baseline = Baseline(
        answer=names[majority_class],
        accuracy=accuracy(labels, constant),
        macro_f1=macro_f1(labels, constant, classes),
    )
    counts = confusion(labels, predicted, classes)
    return Judgement(
        count=len(labels),
        right=int(np.trace(counts)),
        accuracy=accuracy(labels, predicted),
        balanced_accuracy=balanced_accuracy(labels, predicted, classes),
        macro_f1=macro_f1(labels, predicted, classes),
        baseline=baseline,
        classes=class_scores(labels, predicted, names),
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


def verdict(clips: Judgement) -> VerdictKind:
    """Whether the answers beat the majority answer on clips: strictly more of them right *and* a higher macro-F1.

    Equal is not beaten. Balanced losses commonly give up accuracy for rare classes, hence ``f1_only`` has its own word.
    """
    better_accuracy = clips.accuracy > clips.baseline.accuracy
    better_f1 = clips.macro_f1 > clips.baseline.macro_f1
    if better_accuracy:
        return "beats" if better_f1 else "accuracy_only"
    return "f1_only" if better_f1 else "neither"


def _present(labels: Ints, predicted: Ints, classes: int) -> list[int]:
    """The classes that occur in ``labels``, after checking that both arrays can be compared."""
    if len(labels) != len(predicted) or not len(labels):
        raise ValueError(f"{len(labels)} labels and {len(predicted)} answers cannot be compared")
    for what, numbers in (("label", labels), ("answer", predicted)):
        low, high = int(np.min(numbers)), int(np.max(numbers))
        if low < 0 or high >= classes:
            raise ValueError(f"{what} {low if low < 0 else high} is no class number; there are {classes} classes")
    return [int(number) for number in np.unique(labels)]
