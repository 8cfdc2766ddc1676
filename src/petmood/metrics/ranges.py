"""How sure the scores of a judgement are: groups counted, and drawn again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from petmood.bootstrap import SCORES, drawn_counts, drawn_means, f1_of, group_counts, interval, recall_of, score_of
from petmood.metrics.records import ClassScores, Floats, Ints, Judgement, Range

#: Data sets drawn. The ends of a range of 95 % then move by about a fiftieth of its width with the seed.
DRAWS = 2_000


def with_groups(
    judged: Judgement, labels: Ints, predicted: Ints, groups: Sequence[str], *, draw: bool = True
) -> Judgement:
    """The judgement with its groups counted and, from two groups on, the ranges of its scores.

    Args:
        judged: of the same labels and answers.
        labels: true class numbers, (n,).
        predicted: answers, (n,).
        groups: group of each row, (n,).
        draw: whether to tell ranges.

    Raises:
        ValueError: lengths differ, or a number is no class.
    """
    counts = group_counts(labels, predicted, groups, len(judged.classes))
    of_class = (counts.sum(axis=2) > 0).sum(axis=0)
    classes = tuple(
        dataclasses.replace(one, groups=int(count)) for one, count in zip(judged.classes, of_class, strict=True)
    )
    counted = dataclasses.replace(judged, groups=len(counts), classes=classes)
    return _with_ranges(counted, counts) if draw and len(counts) > 1 else counted


def _with_ranges(judged: Judgement, counts: Floats) -> Judgement:
    drawn = drawn_counts(counts[None], draws=DRAWS)[0]
    recalls, f1s = recall_of(drawn), f1_of(drawn)
    return dataclasses.replace(
        judged,
        ranges={score: _range(score_of(drawn, score)) for score in SCORES},
        classes=tuple(
            _class_with_ranges(one, recalls[:, number], f1s[:, number]) for number, one in enumerate(judged.classes)
        ),
    )


def _class_with_ranges(one: ClassScores, recalls: Floats, f1s: Floats) -> ClassScores:
    # Draws of a class of one group are all alike: a range of no width would look like certainty.
    if one.groups < 2:
        return one
    return dataclasses.replace(one, recall_range=_range(recalls), f1_range=_range(f1s))


def range_of_mean(values: Floats) -> Range | None:
    """Range of the mean of one value a group, (groups,); None with fewer than two groups."""
    return _range(drawn_means(values, draws=DRAWS)) if len(values) > 1 else None


def _range(drawn: Floats) -> Range:
    found = interval(0.0, drawn)
    return Range(low=found.low, high=found.high)
