"""The records of ``metrics.json`` survive JSON, and other versions are refused."""

import dataclasses
import json

import numpy as np
import pytest

from fixtures.answers import made_up
from petmood import metrics
from petmood.metrics.shortcuts import Known, shortcuts

NAMES = ("happy", "calm", "fear")


def evaluation():
    labels, probabilities = made_up(np.random.default_rng(0), 40, classes=3)
    names = [str(number) for number in range(40)]
    groups = [str(number % 12) for number in range(40)]
    answers = metrics.Answers(labels=labels, probabilities=probabilities, clips=names, groups=groups)
    one = metrics.judge(labels, probabilities, NAMES, 1, groups=groups)
    certainty = metrics.fit_certainty(answers, answers)
    known = Known(species=["cat", "dog"] * 20, actions=[None] * 40, labels=labels)
    return metrics.Evaluation(
        split="val",
        split_by="group",
        classes=NAMES,
        verdict=metrics.verdict(one),
        cautions=(metrics.Caution(kind="leak", clips=3, groups=1),),
        frames=one,
        clips=one,
        species=(metrics.SpeciesJudgement(species="cat", frames=one, clips=one),),
        training_clips={"happy": 1, "calm": 4},
        settings={"split": "auto"},
        versions={"petmood": "0"},
        poolings={"mean": metrics.short_scores(labels, probabilities, 3)},
        shortcuts=shortcuts(known, known, NAMES),
        certainty=certainty,
        sureness={"clips": metrics.sureness(answers, certainty.clips, NAMES, level=0.9)},
        speed=metrics.Speed(images=40, seconds=0.5, device="cpu"),
    )


def test_an_evaluation_survives_json():
    original = evaluation()
    text = json.dumps(original.to_dict(), allow_nan=False)
    assert metrics.Evaluation.from_dict(json.loads(text)) == original


@pytest.mark.parametrize("content", [{}, {"format": 1}, {"format": 3}])
def test_another_version_is_refused(content):
    with pytest.raises(ValueError, match=f"metrics of format {content.get('format')} cannot be read; only format 2"):
        metrics.Evaluation.from_dict({**evaluation().to_dict(), "format": None, **content})


def test_what_is_no_evaluation_is_refused():
    with pytest.raises(ValueError, match="split"):
        metrics.Evaluation.from_dict({"format": metrics.FORMAT})


def test_a_class_of_few_groups_is_too_few_to_tell():
    one = evaluation().clips.classes[0]
    few = metrics.FEW_GROUPS_OF_A_CLASS
    assert dataclasses.replace(one, groups=few - 1).too_few
    assert not dataclasses.replace(one, groups=few).too_few


def test_answers_are_picked_row_by_row():
    answers = metrics.Answers(labels=np.arange(3), probabilities=np.eye(3), clips=list("abc"), groups=list("xyz"))
    picked = answers.where(np.array([True, False, True]))
    assert (picked.labels.tolist(), list(picked.clips), list(picked.groups)) == ([0, 2], ["a", "c"], ["x", "z"])
    np.testing.assert_array_equal(picked.probabilities, np.eye(3)[[0, 2]])
