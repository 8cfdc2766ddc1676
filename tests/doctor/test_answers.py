"""What a run's answers are worth: below the majority, renamed classes and one answer for all are told apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.doctor.answers import judge_majority, judge_one_class, judge_permuted, renamed
from petmood.metrics import confusion

NAMES = ("happy", "calm", "anxious", "angry")


def clips(count):
    return [f"clip-{number}" for number in range(count)]


def permuted(labels, predicted):
    return judge_permuted(labels, predicted, NAMES, source="clips", units=clips(len(labels)))


def test_the_score_of_the_notes():
    check = judge_majority(accuracy=(0.498, 0.616), f1=None, answer="calm", source="validation")
    assert check.verdict == "fail"
    assert check.evidence == "0.498 of validation are right; always answering 'calm' gives 0.616"


@pytest.mark.parametrize(
    ("accuracy", "f1", "verdict"),
    [(0.7, 0.4, "ok"), (0.7, 0.1, "warn"), (0.5, 0.4, "warn"), (0.616, 0.127, "fail"), (0.5, 0.1, "fail")],
)
def test_equal_is_not_beaten_and_one_score_alone_is_doubtful(accuracy, f1, verdict):
    check = judge_majority(accuracy=(accuracy, 0.616), f1=(f1, 0.127), answer="calm", source="validation")
    assert check.verdict == verdict


@given(st.permutations(range(4)), st.integers(0, 1000))
def test_any_other_numbering_is_found_and_undone(order, seed):
    generator = np.random.default_rng(seed)
    labels = np.arange(80) % 4
    answers = np.where(generator.random(80) < 0.8, labels, generator.integers(0, 4, 80))
    check = permuted(labels, np.array(order)[answers])
    assert check.verdict == ("ok" if list(order) == [0, 1, 2, 3] else "fail")
    assert check.numbers["order"] == list(order)


@given(st.integers(0, 1000))
def test_answers_that_say_nothing_are_not_called_renamed(seed):
    generator = np.random.default_rng(seed)
    labels = generator.choice(4, 60, p=[0.6, 0.2, 0.15, 0.05])
    check = permuted(labels, np.zeros(60, np.int64))
    assert check.verdict == "ok"


def test_chance_alone_hardly_ever_looks_renamed():
    verdicts = []
    for seed in range(100):
        generator = np.random.default_rng(seed)
        verdicts.append(permuted(generator.integers(0, 4, 40), generator.integers(0, 4, 40)).verdict)
    assert verdicts.count("fail") <= 4


def test_frames_of_a_clip_are_one_observation():
    # One clip of 50 frames that is wrong, and a right one of each class.
    labels = np.array([0] * 50 + [0, 1, 2, 3])
    predicted = np.array([1] * 50 + [0, 1, 2, 3])
    units = ["long"] * 50 + clips(4)
    assert judge_permuted(labels, predicted, NAMES, source="frames", units=units).verdict == "ok"


def test_a_class_that_does_not_occur_counts_for_nothing():
    labels = predicted = np.array([0, 1, 3] * 5)
    own, best, order = renamed(confusion(labels, predicted, 4))
    assert own == best == 1
    assert order.tolist() == [0, 1, 2, 3]


def test_one_answer_for_all_is_told_unless_it_is_true():
    labels = np.array([0] * 60 + [1] * 40)
    always = np.zeros(100, np.int64)
    check = judge_one_class(labels, always, NAMES, source="clips")
    assert check.verdict == "fail"
    assert "100% of the answers for clips are 'happy', which 60% are" in check.evidence
    assert judge_one_class(labels, labels, NAMES, source="clips").verdict == "ok"
    assert judge_one_class(always, always, NAMES, source="clips").verdict == "ok"
