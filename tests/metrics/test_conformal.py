"""Sets of answers hold the truth for new groups as often as promised, however alike the clips of a group are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.answers import NAMES, made_up
from petmood.metrics import answer_sets, fit_threshold, judge_sets


def sides(own):
    """Probabilities (n, 2) with the true class, 0, in front."""
    own = np.asarray(own, float)
    return np.zeros(len(own), int), np.stack([own, 1 - own], axis=1)


@st.composite
def grouped(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    count = draw(st.integers(1, 60))
    labels, probabilities = made_up(rng, count)
    groups = [str(number) for number in rng.integers(draw(st.integers(1, 30)), size=count)]
    return labels, np.round(probabilities, draw(st.sampled_from([1, 9]))), groups


@given(grouped(), st.floats(0.05, 0.95))
def test_the_threshold_is_the_highest_that_holds_enough_mass(case, level):
    labels, probabilities, groups = case
    own = probabilities[np.arange(len(labels)), labels]
    sizes = {group: groups.count(group) for group in groups}

    def held(threshold):
        rows = (1 / sizes[group] for group, p in zip(groups, own, strict=True) if p >= threshold)
        return sum(rows) / (len(sizes) + 1)

    enough = [p for p in own if held(p) >= level - 1e-9]
    assert fit_threshold(labels, probabilities, groups, level=level) == max(enough, default=0)


def test_groups_of_one_are_ordinary_split_conformal_prediction():
    """The score to hold is the ⌈(n + 1) · level⌉-th smallest (Vovk et al. 2005)."""
    own = np.random.default_rng(0).random(57)
    labels, probabilities = sides(own)
    for level in (0.5, 0.8, 0.9, 0.95):
        rank = int(np.ceil(58 * level))
        found = fit_threshold(labels, probabilities, [str(i) for i in range(57)], level=level)
        assert 1 - found == pytest.approx(np.sort(1 - own)[rank - 1])


@pytest.mark.parametrize(("groups", "promises"), [(8, False), (9, True)])
def test_too_few_groups_promise_nothing_and_give_every_class(groups, promises):
    labels, probabilities = sides(np.linspace(0.5, 0.9, groups * 4))
    names = [str(i % groups) for i in range(groups * 4)]
    threshold = fit_threshold(labels, probabilities, names, level=0.9)
    assert threshold == (0.5 if promises else 0.0)
    if not promises:
        assert answer_sets(np.array([[1.0, 0.0]]), threshold).all()


def _coverage(rng, draws, *, groups, ignoring):
    """Share of new groups' clips whose set holds the truth; half of the animals are easy and were filmed 20 times."""
    held = []
    for _ in range(draws):
        easy = rng.random(groups) < 0.5
        rows = np.repeat(np.arange(groups), np.where(easy, 20, 1))
        # The true class has one of three probabilities: most of the groups' difference, some of the clips'.
        mean = np.where(easy, 0.8, 0.3)
        labels, probabilities = sides(np.clip(mean[rows] + 0.1 * rng.normal(size=len(rows)), 0, 1))
        names = [str(i) for i in (range(len(rows)) if ignoring else rows)]
        threshold = fit_threshold(labels, probabilities, names, level=0.9)
        new = np.where(rng.random(200) < 0.5, 0.8, 0.3) + 0.1 * rng.normal(size=200)
        held.append(np.mean(new >= threshold))
    return np.mean(held)


def test_sets_of_new_groups_hold_the_truth_as_promised_but_not_if_groups_are_ignored():
    rng = np.random.default_rng(0)
    assert 0.89 < _coverage(rng, 300, groups=30, ignoring=False) < 0.95
    assert 0.89 < _coverage(rng, 300, groups=12, ignoring=False) < 0.98
    assert _coverage(rng, 300, groups=30, ignoring=True) < 0.6


def test_a_group_is_one_observation_however_its_clips_weigh():
    """In each group one clip is easy and one is hard; if only the easy ones weigh, the threshold is theirs."""
    labels, probabilities = sides(np.tile([0.9, 0.2], 20))
    groups = [str(i // 2) for i in range(40)]
    weights = np.tile([1.0, 0.0], 20)
    assert fit_threshold(labels, probabilities, groups, level=0.9) == 0.2
    assert fit_threshold(labels, probabilities, groups, level=0.9, weights=weights) == 0.9
    scaled = weights * np.repeat(np.arange(1, 21), 2)
    assert fit_threshold(labels, probabilities, groups, level=0.9, weights=scaled) == 0.9


@given(grouped(), st.floats(0, 1))
def test_sets_hold_the_likeliest_and_grow_as_the_threshold_falls(case, threshold):
    _, probabilities, _ = case
    found = answer_sets(probabilities, threshold)
    assert found[np.arange(len(found)), probabilities.argmax(axis=1)].all()
    assert (found >= (probabilities >= threshold)).all()
    assert (answer_sets(probabilities, threshold / 2) >= found).all()
    assert answer_sets(probabilities, 0).all()
    assert (answer_sets(probabilities, 1.1).sum(axis=1) == 1).all()


@given(grouped(), st.floats(0, 1))
def test_what_is_told_of_sets_are_shares(case, threshold):
    labels, probabilities, groups = case
    told = judge_sets(labels, answer_sets(probabilities, threshold), groups, NAMES, level=0.9)
    shares = [told.covered, told.single, told.double, told.unsure, *filter(None, told.classes.values())]
    if told.covered_range:
        shares += [told.covered_range.low, told.covered_range.high]
    assert all(0 <= share <= 1 for share in shares)
    assert told.single + told.double + told.unsure == pytest.approx(1)


def test_sets_are_judged_by_group():
    """Animal x: four clips, one held. Animal y: one clip, held. By group (1/4 + 1) / 2."""
    labels = np.array([0, 0, 0, 1, 1])
    sets = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 1, 1]], bool)
    found = judge_sets(labels, sets, ["x", "x", "x", "x", "y"], ("a", "b", "c"), level=0.9)
    assert found.covered == pytest.approx(0.625)
    assert (found.single, found.double, found.unsure) == (0.6, 0.2, 0.2)
    assert found.mean_size == pytest.approx(8 / 5)
    assert found.classes == {"a": pytest.approx(1 / 3), "b": 0.5, "c": None}
    assert found.covered_range is not None
    assert (found.covered_range.low, found.covered_range.high) == (0.25, 1.0)
    assert judge_sets(labels, sets, ["x"] * 5, ("a", "b", "c"), level=0.9).covered_range is None
    weights = np.array([3.0, 1.0, 1.0, 1.0, 9.0])
    weighed = judge_sets(labels, sets, ["x", "x", "x", "x", "y"], ("a", "b", "c"), level=0.9, weights=weights)
    assert weighed.covered == pytest.approx(0.75)


def test_what_does_not_fit_is_refused():
    labels, probabilities = sides([0.5, 0.6])
    with pytest.raises(ValueError, match=r"level 1.5 is no share between 0 and 1"):
        fit_threshold(labels, probabilities, ["a", "b"], level=1.5)
    with pytest.raises(ValueError, match="2 labels and 1 groups do not match"):
        fit_threshold(labels, probabilities, ["a"], level=0.9)
    with pytest.raises(ValueError, match=r"2 labels and sets of shape \(1, 2\) for 2 classes do not match"):
        judge_sets(labels, probabilities[:1] > 0, ["a", "b"], ("a", "b"), level=0.9)
