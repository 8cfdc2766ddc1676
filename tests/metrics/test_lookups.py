"""Answers without a look at the picture: tables by hand, random answers against really drawn ones."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petmood.bootstrap import SCORES, group_counts, score_of
from petmood.metrics import short_scores
from petmood.metrics.shortcuts import Known, shortcuts

NAMES = ("happy", "calm", "angry")
HAPPY, CALM, ANGRY = range(3)


def clips(*rows):
    """Clips of (species, action, label)."""
    species, actions, labels = zip(*rows, strict=True)
    return Known(species=species, actions=actions, labels=np.array(labels))


TRAINING = clips(
    ("dog", "run", HAPPY),
    ("dog", "run", HAPPY),
    ("dog", "lie", CALM),
    ("dog", "lie", CALM),
    ("dog", "lie", CALM),
    ("cat", "run", ANGRY),
    ("cat", "run", ANGRY),
    ("cat", None, ANGRY),
    ("cat", "lie", CALM),
    (None, "lie", CALM),
)


def found(training=TRAINING, judged=TRAINING):
    return {one.kind: one for one in shortcuts(training, judged, NAMES)}


def test_tables_give_the_most_frequent_emotion_of_the_training_clips():
    tables = found()
    assert tables["species"].answers == {"cat": "angry", "dog": "calm"}
    assert tables["action"].answers == {"lie": "calm", "run": "happy"}  # two and two: the first of equals
    assert tables["species_action"].answers == {
        "cat/lie": "calm",
        "cat/run": "angry",
        "dog/lie": "calm",
        "dog/run": "happy",
    }
    assert tables["majority"].answers == tables["prior"].answers == {}
    assert list(tables) == ["majority", "prior", "species", "action", "species_action"]


def test_tables_answer_the_judged_clips_and_the_majority_the_unknown():
    judged = clips(
        ("dog", "run", HAPPY), ("cat", "lie", ANGRY), ("fox", "run", CALM), (None, "jump", CALM), ("cat", "run", ANGRY)
    )
    tables = found(judged=judged)
    assert tables["majority"].scores.accuracy == 2 / 5
    assert tables["species"].scores.accuracy == 4 / 5  # the dog is thought calm
    assert tables["action"].scores.accuracy == 2 / 5
    assert tables["species_action"].scores.accuracy == 4 / 5  # the lying cat is thought calm
    alone = np.eye(3)[[CALM, ANGRY, CALM, CALM, ANGRY]]
    assert tables["species"].scores == short_scores(judged.labels, alone, 3)


def test_a_table_of_nothing_is_left_out():
    nameless = dataclasses.replace(TRAINING, species=[None] * 10)
    assert list(found(nameless)) == ["majority", "prior", "action"]
    assert list(found(TRAINING, nameless)) == ["majority", "prior", "action"]
    assert list(found(nameless, dataclasses.replace(nameless, actions=[None] * 10))) == ["majority", "prior"]


def test_a_table_that_knows_everything_scores_all():
    training = clips(*[("dog", name, number) for number, name in enumerate("abc") for _ in range(3)])
    assert dataclasses.astuple(found(training, training)["action"].scores) == (1, 1, 1)


@given(st.lists(st.integers(0, 2), min_size=1, max_size=30), st.lists(st.integers(0, 2), min_size=1, max_size=30))
@settings(max_examples=30)
def test_random_answers_score_what_drawn_ones_score_on_average(training, labels):
    training, labels = np.array(training), np.array(labels)
    shares = np.bincount(training, minlength=3) / len(training)
    drawn = np.random.default_rng(0).choice(3, (1_000, len(labels)), p=shares)
    draws = np.repeat(np.arange(1_000), len(labels))
    counts = group_counts(np.tile(labels, 1_000), drawn.ravel(), draws.tolist(), 3)
    nothing, nobody = [None] * len(training), [None] * len(labels)
    known = Known(species=nothing, actions=nothing, labels=training)
    told = shortcuts(known, Known(species=nobody, actions=nobody, labels=labels), NAMES)[1]
    assert told.kind == "prior"
    for score in SCORES:
        scores = score_of(counts, score)
        assert abs(scores.mean() - getattr(told.scores, score)) < 5 * (scores.std() / np.sqrt(1_000) + 2e-4)


def test_random_answers_are_the_same_each_time():
    assert found()["prior"] == found()["prior"]
    assert found()["prior"].scores.accuracy == pytest.approx(0.2**2 + 0.5**2 + 0.3**2)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1 species, 0 actions and 2 labels do not match"):
        Known(species=["dog"], actions=[], labels=np.array([0, 1]))
    nobody = Known(species=[], actions=[], labels=np.array([], int))
    with pytest.raises(ValueError, match="no training clips"):
        shortcuts(nobody, TRAINING, NAMES)
    with pytest.raises(ValueError, match="0 labels and 0 answers"):
        shortcuts(TRAINING, nobody, NAMES)
