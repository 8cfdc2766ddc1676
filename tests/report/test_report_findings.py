"""The verdict in words: each question is answered good, bad or not to be told, by the numbers alone."""

import dataclasses

import pytest

from petmood.bootstrap import Interval
from petmood.metrics.records import (
    AnswerSets,
    Baseline,
    Bin,
    Calibration,
    Caution,
    ClassScores,
    Evaluation,
    Judgement,
    Range,
    Selective,
    Shortcut,
    ShortScores,
    Sureness,
)
from petmood.records import Calibrated, Certainty
from petmood.report.findings import findings, luck_of


def scores(name, recall, groups, support=50):
    return ClassScores(
        name=name,
        support=support,
        predicted=support,
        precision=0.5,
        recall=recall,
        f1=recall,
        groups=groups,
        recall_range=None if recall is None else Range(max(0, recall - 0.1), min(1, recall + 0.1)),
    )


def judged(**changes):
    """An evaluation of a good model on 120 clips in 60 groups."""
    clips = Judgement(
        count=120,
        right=84,
        accuracy=0.7,
        balanced_accuracy=0.6,
        macro_f1=0.6,
        baseline=Baseline(answer="calm", accuracy=0.5, macro_f1=0.2),
        classes=(scores("happy", 0.6, 30), scores("calm", 0.9, 40), scores("fear", 0.1, 3, support=4)),
        confusion=((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        groups=60,
        ranges={"macro_f1": Range(0.5, 0.7)},
    )
    calibration = Calibration(ece=0.03, adaptive_ece=0.03, brier=0.4, nll=0.8, bins=())
    sets = AnswerSets(
        level=0.9,
        covered=0.91,
        covered_range=Range(0.85, 0.96),
        single=0.5,
        double=0.3,
        unsure=0.2,
        mean_size=1.7,
        classes={},
    )
    sure = Sureness(
        before=dataclasses.replace(calibration, ece=0.2),
        after=calibration,
        selective=Selective(coverage=(1.0,), risk=(0.3,), aurc=0.2),
        sets=sets,
    )
    fitted = Calibrated(temperature=1.5, threshold=0.1, clips=100, groups=50)
    found = Evaluation(
        split="test",
        split_by="group",
        classes=("happy", "calm", "fear"),
        verdict="beats",
        cautions=(),
        frames=clips,
        clips=clips,
        species=(),
        training_clips={},
        settings={},
        versions={},
        shortcuts=(shortcut("species", 0.3), shortcut("majority", 0.99)),
        certainty=Certainty(level=0.9, frames=fitted, clips=fitted),
        sureness={"clips": sure},
    )
    return dataclasses.replace(found, **changes)


def shortcut(kind, f1):
    return Shortcut(kind=kind, scores=ShortScores(accuracy=0.5, balanced_accuracy=0.3, macro_f1=f1))


def gained(low, high):
    one = Interval(estimate=(low + high) / 2, low=low, high=high, above=0.9)
    return {"accuracy": one, "balanced_accuracy": one, "macro_f1": one}


def found(evaluation, gain=None, language="en"):
    gain = gained(0.1, 0.3) if gain is None else gain
    return {one.key: one for one in findings(evaluation, gain, language)}


def with_clips(evaluation, **changes):
    return dataclasses.replace(evaluation, clips=dataclasses.replace(evaluation.clips, **changes))


def test_a_good_model_is_called_good():
    marks = {key: one.mark for key, one in found(judged()).items()}
    assert marks == {"majority": "good", "shortcuts": "good", "classes": "unsure", "leaks": "good", "sure": "good"}


def test_the_gain_is_told_with_its_interval():
    assert "+20.0 (+10.0 … +30.0) points more clips right" in found(judged())["majority"].answer
    assert "맞힌 클립 +20.0 (+10.0 … +30.0)점" in found(judged(), language="ko")["majority"].answer


@pytest.mark.parametrize(
    ("gain", "verdict", "mark"),
    [
        (gained(-0.05, 0.3), "beats", "unsure"),
        (gained(-0.3, -0.1), "neither", "bad"),
        (gained(-0.2, 0.1), "neither", "bad"),
        ({}, "beats", "unsure"),
        ({}, "neither", "bad"),
    ],
)
def test_a_gain_that_may_be_luck_is_not_called_good(gain, verdict, mark):
    assert found(judged(verdict=verdict), gain)["majority"].mark == mark


@pytest.mark.parametrize(("f1", "mark"), [(0.49, "good"), (0.55, "unsure"), (0.6, "bad"), (0.8, "bad")])
def test_the_best_table_of_species_and_action_is_the_one_to_beat(f1, mark):
    told = found(judged(shortcuts=(shortcut("species", 0.1), shortcut("species_action", f1))))["shortcuts"]
    assert told.mark == mark
    assert f"against {f1:.2f} by a table from species and action" in told.answer


def test_without_species_and_action_nothing_is_said_of_short_cuts():
    assert found(judged(shortcuts=(shortcut("majority", 0.1),)))["shortcuts"].mark == "unsure"


def test_the_worst_emotion_is_one_with_enough_groups():
    told = found(judged())["classes"]
    assert "worst at “happy”" in told.answer
    assert "Too few to tell: fear (3 groups)." in told.answer


def test_with_few_groups_everywhere_nobody_can_tell():
    few = tuple(dataclasses.replace(one, groups=5) for one in judged().clips.classes)
    told = found(with_clips(judged(), classes=few))["classes"]
    assert told.mark == "unsure"
    assert "No emotion has clips of 20 groups" in told.answer
    assert "“fear” has the lowest number" in told.answer


def test_an_emotion_that_nobody_can_judge_keeps_the_answer_open():
    assert found(judged())["classes"].mark == "unsure"
    known = tuple(dataclasses.replace(one, recall=0.8, groups=30) for one in judged().clips.classes)
    assert found(with_clips(judged(), classes=known))["classes"].mark == "good"


def test_half_of_a_class_lost_is_bad():
    weak = tuple(dataclasses.replace(one, recall=0.4, groups=30) for one in judged().clips.classes)
    assert found(with_clips(judged(), classes=weak))["classes"].mark == "bad"


@pytest.mark.parametrize(
    ("caution", "mark"),
    [
        (Caution(kind="leak", clips=3), "bad"),
        (Caution(kind="chosen_on", detail="train"), "bad"),
        (Caution(kind="chosen_on", detail="val"), "unsure"),
        (Caution(kind="official_split"), "unsure"),
        (Caution(kind="adjusted", detail="calm 50 %"), "good"),
    ],
)
def test_what_the_model_may_have_seen_is_named(caution, mark):
    assert found(judged(cautions=(caution,)))["leaks"].mark == mark


@pytest.mark.parametrize(("ece", "mark"), [(0.05, "good"), (0.08, "unsure"), (0.2, "bad")])
def test_probabilities_far_from_the_truth_are_not_to_be_believed(ece, mark):
    sure = judged().sureness["clips"]
    changed = dataclasses.replace(sure, after=dataclasses.replace(sure.after, ece=ece))
    assert found(judged(sureness={"clips": changed}))["sure"].mark == mark


def test_what_luck_makes_of_few_clips_is_not_held_against_the_model():
    bins = (Bin(0.5, 0.0, 2), Bin(0.9, 1.0, 2))
    # Mean deviations of two draws with 0.5 and 0.9, by hand: 0.282 and 0.169.
    few = dataclasses.replace(judged().sureness["clips"].after, ece=0.3, bins=bins)
    assert luck_of(few) == pytest.approx((0.2821 + 0.1693) / 2, abs=1e-4)
    sure = dataclasses.replace(judged().sureness["clips"], after=few)
    told = found(judged(sureness={"clips": sure}))["sure"]
    assert told.mark == "unsure"
    assert "luck alone makes about 22.6" in told.answer


def test_a_broken_promise_of_the_sets_is_bad():
    sure = judged().sureness["clips"]
    broken = dataclasses.replace(sure.sets, covered=0.7, covered_range=Range(0.6, 0.8))
    told = found(judged(sureness={"clips": dataclasses.replace(sure, sets=broken)}))["sure"]
    assert told.mark == "bad"
    assert "70.0\u00a0%" in told.answer


def test_few_groups_make_no_claim_about_probabilities():
    told = found(with_clips(judged(), groups=6))
    assert told["sure"].mark == "unsure"
    assert "Cannot be told from 6 groups" in told["sure"].answer
    assert "Only 6 groups" in told["majority"].answer
    assert found(judged(sureness={}))["sure"].mark == "unsure"
