"""Rows of predictions that show how a model fares: one frame a clip, the surest first."""

import numpy as np
import polars as pl
import pytest

from fixtures.answers import NAMES, made_up
from petmood import metrics
from petmood.metrics.galleries import cells, confident_mistakes, examples

CLASSES = ("happy", "calm")


def table(rows, classes=CLASSES, attention=None):
    """Frames of (clip, emotion, probabilities)."""
    found = pl.DataFrame(
        {
            "frame_id": [f"frame {number}" for number in range(len(rows))],
            "clip": [row[0] for row in rows],
            "emotion": [row[1] for row in rows],
            **{f"p_{name}": [row[2][i] for row in rows] for i, name in enumerate(classes)},
        },
        schema_overrides={"clip": pl.String, "emotion": pl.String, **{f"p_{name}": pl.Float32 for name in classes}},
    )
    return found if attention is None else found.with_columns(attention=pl.Series(attention, dtype=pl.Float32))


#: Clip a: happy, found calm by its second frame. b: happy, right. c: calm, surely mistaken. d: calm, right.
ROWS = [
    ("a", "happy", (0.6, 0.4)),
    ("a", "happy", (0.1, 0.9)),
    ("b", "happy", (0.8, 0.2)),
    ("b", "happy", (0.7, 0.3)),
    ("c", "calm", (0.9, 0.1)),
    ("c", "calm", (0.95, 0.05)),
    ("d", "calm", (0.2, 0.8)),
]


def test_confident_mistakes_are_wrong_clips_by_their_loudest_frame():
    found = confident_mistakes(table(ROWS), 10)
    assert found["clip"].to_list() == ["c", "a"]
    assert found["frame_id"].to_list() == ["frame 5", "frame 1"]
    assert found["answer"].to_list() == ["happy", "calm"]
    assert found["confidence"].to_list() == pytest.approx([0.925, 0.65])
    assert found["frame_confidence"].to_list() == pytest.approx([0.95, 0.9])
    assert confident_mistakes(table(ROWS), 1)["clip"].to_list() == ["c"]


def test_attention_decides_what_a_clip_says():
    found = confident_mistakes(table(ROWS, attention=[9.0, 0, 0, 0, 0, 0, 0]), 10)
    assert found["clip"].to_list() == ["c"]  # clip a listens to its first frame, which is right


def test_examples_are_the_surest_right_and_wrong_of_each_class():
    found = examples(table([*ROWS, ("e", "calm", (0.1, 0.9))]), CLASSES, 1)
    assert found.select("emotion", "right", "clip").rows() == [
        ("happy", True, "b"),
        ("happy", False, "a"),
        ("calm", True, "e"),
        ("calm", False, "c"),
    ]


def made_up_table(count=300, frames=3):
    labels, probabilities = made_up(np.random.default_rng(0), count * frames)
    clip, labels = np.repeat(np.arange(count), frames), np.repeat(labels[:count], frames)
    rows = [(str(c), NAMES[n], p) for c, n, p in zip(clip, labels, probabilities.astype(np.float32), strict=True)]
    return table(rows, NAMES)


def test_cells_are_those_of_the_confusion_matrix_of_clips():
    frames = made_up_table()
    probabilities = frames.select(f"p_{name}" for name in NAMES).to_numpy()
    labels = np.array([NAMES.index(name) for name in frames["emotion"]])
    pooled = metrics.clip_means(frames["clip"].to_list(), probabilities, labels)
    judged = metrics.judge(pooled.labels, pooled.probabilities, NAMES, 0)
    found = cells(frames, NAMES, 1_000)
    counted = {(row[0], row[1]): row[2] for row in found.group_by("emotion", "answer").len().rows()}
    for i, truth in enumerate(NAMES):
        for j, answer in enumerate(NAMES):
            assert counted.get((truth, answer), 0) == judged.confusion[i][j]
    confidence = dict(zip(pooled.clips, pooled.probabilities.max(axis=1), strict=True))
    assert found["confidence"].to_list() == pytest.approx([confidence[clip] for clip in found["clip"]])


def test_cells_are_bounded_sorted_and_hold_the_surest():
    found, every = (cells(made_up_table(), NAMES, count) for count in (2, 1_000))
    assert found.columns == every.columns
    order = [(NAMES.index(one), NAMES.index(two)) for one, two in found.select("emotion", "answer").iter_rows()]
    assert order == sorted(order)
    of_every = every.partition_by("emotion", "answer", as_dict=True)
    for cell, rows in found.partition_by("emotion", "answer", as_dict=True).items():
        assert len(rows) == min(2, len(of_every[cell]))
        assert rows["confidence"].to_list() == sorted(of_every[cell]["confidence"], reverse=True)[:2]


def test_the_order_of_rows_does_not_matter():
    frames = made_up_table(60)
    mixed = frames.sample(fraction=1, shuffle=True, seed=1)
    assert cells(mixed, NAMES, 5)["frame_id"].to_list() == cells(frames, NAMES, 5)["frame_id"].to_list()
    assert confident_mistakes(mixed, 9)["frame_id"].to_list() == confident_mistakes(frames, 9)["frame_id"].to_list()


def test_no_mistakes_and_no_frames_are_empty_tables():
    assert confident_mistakes(table(ROWS[2:4]), 5).is_empty()
    for found in (cells(table([]), CLASSES, 5), examples(table([]), CLASSES, 5), confident_mistakes(table([]), 5)):
        assert found.is_empty()
        assert {"frame_id", "answer", "confidence", "frame_confidence"} <= set(found.columns)


def test_predictions_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="predictions of emotion angry have no such class; happy, calm are known"):
        confident_mistakes(table([("a", "angry", (0.5, 0.5))]), 5)
    with pytest.raises(ValueError, match="predictions have no column p_fear"):
        cells(table(ROWS), ("happy", "calm", "fear"), 5)
