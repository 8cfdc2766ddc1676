"""Which pictures show how a model fares: rows of ``predictions.parquet`` for galleries and heat maps.

Clips are judged, so each clip stands for itself once, shown by the frame that says the clip's answer loudest. All
functions are given the table as `petmood evaluate` writes it: frame_id, clip, emotion and ``p_<class>`` of each frame,
and attention where the model weighs frames. They return its rows with three more columns:

- ``answer``: what the clip's frames say together;
- ``confidence``: the clip's probability of that answer, 0 to 1, as the network gives it;
- ``frame_confidence``: the same of the shown frame alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from petmood.metrics.clips import clip_means

_PREFIX = "p_"


def confident_mistakes(table: pl.DataFrame, count: int) -> pl.DataFrame:
    """The wrong clips that the model was surest of, at most ``count``, the surest first.

    Raises:
        ValueError: an emotion of ``table`` has no ``p_<class>`` column, or a clip has two.
    """
    classes = [name.removeprefix(_PREFIX) for name in table.columns if name.startswith(_PREFIX)]
    return _shown(table, classes).filter(pl.col("emotion") != pl.col("answer")).head(count)


def cells(table: pl.DataFrame, classes: Sequence[str], per_cell: int) -> pl.DataFrame:
    """Clips of each cell of the confusion matrix of clips, the surest ``per_cell`` of each.

    Args:
        table: the frames.
        classes: the data set's classes, in order.
        per_cell: most clips that are given for one cell.

    Returns:
        Sorted by emotion and answer, in the order of ``classes``, then the surest first.

    Raises:
        ValueError: as `confident_mistakes`.
    """
    return _surest(_shown(table, classes), ["emotion", "answer"], classes, per_cell)


def examples(table: pl.DataFrame, classes: Sequence[str], each: int) -> pl.DataFrame:
    """The surest right and the surest wrong clips of each class, at most ``each`` of either.

    Args:
        table: the frames.
        classes: the data set's classes, in order.
        each: most right, and most wrong, clips of one class.

    Returns:
        With column ``right`` (true or false) beside the others; sorted by emotion in the order of ``classes``, right
        before wrong, then the surest first.

    Raises:
        ValueError: as `confident_mistakes`.
    """
    shown = _shown(table, classes).with_columns(right=pl.col("emotion") == pl.col("answer"))
    return _surest(shown, ["emotion", "right"], classes, each)


def _shown(table: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """One row a clip, the surest first: its loudest frame, with what the clip's frames say together."""
    _check(table, classes)
    labels = table["emotion"].replace_strict(list(classes), list(range(len(classes))), return_dtype=pl.Int64).to_numpy()
    probabilities = table.select(_PREFIX + name for name in classes).to_numpy()
    attention = table["attention"].to_numpy() if "attention" in table.columns else None
    clips = clip_means(table["clip"].to_list(), probabilities, labels, attention)
    answers = clips.probabilities.argmax(axis=1)
    of_clips = pl.DataFrame(
        {"clip": clips.clips, "number": answers, "confidence": clips.probabilities.max(axis=1)},
        schema={"clip": pl.String, "number": pl.Int64, "confidence": pl.Float64},
    )
    joined = table.join(of_clips, on="clip", how="left", maintain_order="left")
    loud = np.take_along_axis(probabilities, joined["number"].to_numpy()[:, None], axis=1)[:, 0]
    names = pl.col("number").replace_strict(list(range(len(classes))), list(classes), return_dtype=pl.String)
    told = joined.with_columns(answer=names, frame_confidence=pl.Series(loud, dtype=pl.Float64)).drop("number")
    loudest = told.sort("frame_confidence", "frame_id", descending=[True, False])
    once = loudest.unique("clip", keep="first", maintain_order=True)
    return once.sort("confidence", "clip", descending=[True, False])


def _check(table: pl.DataFrame, classes: Sequence[str]) -> None:
    for name in classes:
        if _PREFIX + name not in table.columns:
            raise ValueError(f"predictions have no column {_PREFIX}{name}; classes {', '.join(classes)} are needed")
    for emotion in table["emotion"].unique():
        if emotion not in classes:
            raise ValueError(f"predictions of emotion {emotion} have no such class; {', '.join(classes)} are known")


def _surest(shown: pl.DataFrame, by: Sequence[str], classes: Sequence[str], count: int) -> pl.DataFrame:
    """The first ``count`` rows of each group of ``by``, groups in the order of ``classes``, right before wrong."""
    first = shown.filter(pl.int_range(pl.len()).over(by) < count)
    keys = [
        ~pl.col(name) if name == "right" else pl.col(name).cast(pl.Enum(list(classes))).to_physical() for name in by
    ]
    return first.sort(keys, maintain_order=True)
