"""By how much a run's answers beat always giving the majority answer, with intervals, from its predictions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from petmood.bootstrap import SCORES, Interval, Score, drawn_counts, group_counts, interval, score_of
from petmood.metrics import Evaluation, clip_means

#: Draws of the groups; 2,000 settle the ends of a 95 % interval to about half a point.
DRAWS = 2000


def advantage(predictions: pl.DataFrame, evaluation: Evaluation) -> Mapping[Score, Interval]:
    """The model's scores on clips less those of the majority answer, each with a 95 % interval.

    The same groups are drawn for both (paired bootstrap, ``bootstrap``), so that what the clips' luck does to both
    cancels out.

    Args:
        predictions: ``predictions.parquet`` of the run.
        evaluation: of the same run.

    Returns:
        Empty if all clips are of one group, from which nothing can be drawn.
    """
    classes = list(evaluation.classes)
    labels = predictions["emotion"].replace_strict(classes, range(len(classes)), return_dtype=pl.Int64).to_numpy()
    clips = clip_means(
        predictions["clip"].to_list(),
        predictions.select(f"p_{name}" for name in classes).to_numpy(),
        labels,
        predictions["attention"].to_numpy() if "attention" in predictions.columns else None,
    )
    group_of = dict(predictions.select("clip", "group").iter_rows())
    groups = [group_of[clip] for clip in clips.clips]
    if len(set(groups)) < 2:
        return {}
    constant = np.full(len(clips.labels), classes.index(evaluation.clips.baseline.answer))
    answers = (constant, clips.probabilities.argmax(axis=1))
    counts = np.stack([group_counts(clips.labels, one, groups, len(classes)) for one in answers])
    drawn, whole = drawn_counts(counts, draws=DRAWS), counts.sum(axis=1)
    found: dict[Score, Interval] = {}
    for score in SCORES:
        both, each = score_of(whole, score), score_of(drawn, score)
        found[score] = interval(float(both[1] - both[0]), each[1] - each[0])
    return found
