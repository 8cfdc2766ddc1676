"""Whether a model is whole and sees what it was trained on: what each comparison makes of its numbers."""

import dataclasses

import pytest

from petmood.doctor.bundles import Compared, judge_same_input, judge_same_scores


def compared(boxed, whole):
    return Compared(photos=8, boxed=boxed, whole=whole, changed=5)


def test_photos_that_answer_as_their_crops():
    check = judge_same_input(compared(0.02, 0.03))
    assert check.verdict == "ok"
    assert not check.remedy


def test_that_prediction_without_the_box_answers_otherwise_is_told():
    check = judge_same_input(compared(0.02, 0.81))
    assert check.verdict == "ok"
    assert "without the box 5 of them get another answer" in check.evidence
    assert "--box" in check.remedy


def test_photos_that_do_not_answer_as_their_crops():
    check = judge_same_input(compared(0.4, 0.5))
    assert check.verdict == "fail"
    assert "petmood pack WORK --force" in check.remedy


@pytest.mark.parametrize(
    ("told", "found", "clips", "verdict"),
    [
        (0.70, 0.70, 0, "ok"),
        (0.70, 0.69, 0, "ok"),
        (0.70, 0.60, 0, "fail"),
        (0.70, 0.60, 100, "ok"),
        (0.9, 0.2, 100, "fail"),
    ],
)
def test_fewer_pictures_allow_for_more_chance(told, found, clips, verdict):
    assert judge_same_scores(told, found, clips=clips, source="some pictures").verdict == verdict


def test_numbers_are_for_scripts():
    assert dataclasses.asdict(judge_same_input(compared(0.02, 0.81)))["numbers"]["changed"] == 5
