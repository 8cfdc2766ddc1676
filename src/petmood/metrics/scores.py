"""Scores of answers: pure functions over class numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    average_precision_score,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    recall_score,
)

from petmood.metrics.ranges import with_groups
from petmood.metrics.records import Baseline, ClassScores, ClipScores, Floats, Ints, Judgement, ShortScores, VerdictKind


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


def short_scores(labels: Ints, probabilities: Floats, classes: int) -> ShortScores:
    """The scores of the likeliest answers that fit into a row.

    Args:
        labels: true class numbers, (n,), n > 0.
        probabilities: (n, classes).
        classes: how many there are.

    Raises:
        ValueError: as `judge`.
    """
    return scores_of(labels, likeliest(labels, probabilities, classes), classes)


def scores_of(labels: Ints, predicted: Ints, classes: int) -> ShortScores:
    """The scores of answers ``predicted`` (n,) that fit into a row.

    Raises:
        ValueError: as `macro_f1`.
    """
    return ShortScores(
        accuracy=accuracy(labels, predicted),
        balanced_accuracy=balanced_accuracy(labels, predicted, classes),
        macro_f1=macro_f1(labels, predicted, classes),
    )


def by_group(clips: ClipScores, groups: Sequence[str]) -> ShortScores:
    """The same scores if every group counts the same, however many clips it has.

    Args:
        clips: what the frames of each clip say together.
        groups: group of each clip, (clips,).

    Raises:
        ValueError: as `judge`, or the groups are not as many as the clips.
    """
    predicted = likeliest(clips.labels, clips.probabilities, clips.probabilities.shape[1])
    if len(groups) != len(predicted):
        raise ValueError(f"{len(predicted)} clips and {len(groups)} groups do not match")
    _, rows, sizes = np.unique(np.asarray(groups, np.str_), return_inverse=True, return_counts=True)
    weights = 1 / sizes[rows]
    present = np.unique(clips.labels)
    recall, f1 = (
        score(clips.labels, predicted, labels=present, average="macro", zero_division=0, sample_weight=weights)
        for score in (recall_score, f1_score)
    )
    right = np.average(predicted == clips.labels, weights=weights)
    return ShortScores(accuracy=float(right), balanced_accuracy=float(recall), macro_f1=float(f1))


def likeliest(labels: Ints, probabilities: Floats, classes: int) -> npt.NDArray[np.int64]:
    """The class number with the highest probability of each row, (n,); the first of several equals.

    Raises:
        ValueError: nothing to judge, ``probabilities`` is not (n, classes), or one is negative or no number.
    """
    probabilities = np.asarray(probabilities)
    if not len(labels) or probabilities.shape != (len(labels), classes):
        raise ValueError(
            f"{len(labels)} labels and probabilities of shape {probabilities.shape} do not match; "
            f"({len(labels) or 'n'}, {classes}) is needed"
        )
    if not np.isfinite(probabilities).all() or probabilities.min() < 0:
        raise ValueError("a probability is negative or no number; all must be 0 to 1")
    return np.asarray(probabilities.argmax(axis=1), np.int64)


def kappa(labels: Ints, predicted: Ints) -> float | None:
    """Cohen's kappa: agreement beyond chance, at most 1, 0 is chance; None if but one class occurs in ``labels``.

    Cohen, A Coefficient of Agreement for Nominal Scales, 1960.
    """
    if len(np.unique(labels)) < 2:
        return None
    return float(cohen_kappa_score(labels, predicted))


def top2(labels: Ints, probabilities: Floats) -> float | None:
    """Share whose true class is one of the two likeliest; None with fewer than three classes.

    Of equals the first comes first, as in the answers.
    """
    if probabilities.shape[1] < 3:
        return None
    labels = np.asarray(labels)[:, None]
    own = np.take_along_axis(probabilities, labels, axis=1)
    earlier = np.arange(probabilities.shape[1]) < labels
    before = (probabilities > own) | ((probabilities == own) & earlier)
    return float(np.mean(before.sum(axis=1) < 2))


def average_precisions(labels: Ints, probabilities: Floats) -> list[float | None]:
    """Area under each class's precision-recall curve against the rest; None if it, or all else, does not occur."""
    own = np.asarray(labels)[:, None] == np.arange(probabilities.shape[1])
    told = own.any(axis=0) & ~own.all(axis=0)
    return [
        float(average_precision_score(own[:, i], probabilities[:, i])) if told[i] else None for i in range(len(told))
    ]


def judge(
    labels: Ints,
    probabilities: Floats,
    names: Sequence[str],
    majority_class: int,
    *,
    groups: Sequence[str] | None = None,
    draw: bool = True,
) -> Judgement:
    """All scores of these answers, and of always answering ``majority_class`` instead.

    Args:
        labels: true class numbers, (n,), n > 0.
        probabilities: (n, classes); the answer is the likeliest class.
        names: the data set's classes, in order.
        majority_class: of the training clips (`majority`), never of what is judged.
        groups: group of each frame or clip, (n,); without it groups are not counted.
        draw: whether to draw ``groups`` again and tell the ranges of the scores. Frames need none: they are no
            observations of their own.

    Raises:
        ValueError: nothing to judge, lengths differ, a number is no class, or a probability is no number.
    """
    classes = len(names)
    predicted = likeliest(labels, probabilities, classes)
    short, counts = scores_of(labels, predicted, classes), confusion(labels, predicted, classes)
    precisions = average_precisions(labels, probabilities)
    known = [one for one in precisions if one is not None]
    found = Judgement(
        count=len(labels),
        right=int(np.trace(counts)),
        accuracy=short.accuracy,
        balanced_accuracy=short.balanced_accuracy,
        macro_f1=short.macro_f1,
        baseline=_baseline(labels, names, majority_class),
        classes=tuple(
            dataclasses.replace(one, average_precision=precision)
            for one, precision in zip(class_scores(labels, predicted, names), precisions, strict=True)
        ),
        confusion=tuple(tuple(row) for row in counts.tolist()),
        kappa=kappa(labels, predicted),
        top2=top2(labels, probabilities),
        macro_ap=float(np.mean(known)) if known else None,
    )
    return found if groups is None else with_groups(found, labels, predicted, groups, draw=draw)


def _baseline(labels: Ints, names: Sequence[str], majority_class: int) -> Baseline:
    constant = np.full(len(labels), majority_class)
    return Baseline(
        answer=names[majority_class],
        accuracy=accuracy(labels, constant),
        macro_f1=macro_f1(labels, constant, len(names)),
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
