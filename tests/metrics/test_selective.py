"""The risk-coverage curve, against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.answers import made_up
from petmood.metrics import risk_coverage


@st.composite
def probable(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    labels, probabilities = made_up(rng, draw(st.integers(1, 300)))
    return labels, np.round(probabilities, draw(st.sampled_from([1, 12])))


@given(probable())
def test_each_point_is_what_a_least_probability_gives(pair):
    labels, probabilities = pair
    found = risk_coverage(labels, probabilities)
    confidence, wrong = probabilities.max(axis=1), probabilities.argmax(axis=1) != labels
    possible = {float(np.mean(confidence >= level)): wrong[confidence >= level].mean() for level in set(confidence)}
    assert len(found.coverage) == len(found.risk) <= 101
    for coverage, risk in zip(found.coverage, found.risk, strict=True):
        assert risk == pytest.approx(possible[min(possible, key=lambda one: abs(one - coverage))])
        assert min(abs(one - coverage) for one in possible) < 1e-12
    if len(possible) <= 20 or len(labels) <= 100:
        assert len(found.coverage) == len(possible)  # nothing need be left out
    assert list(found.coverage) == sorted(set(found.coverage))
    assert (found.coverage[-1], found.risk[-1]) == (1, pytest.approx(wrong.mean()))


def test_the_area_is_the_mean_risk_over_all_coverages():
    labels, probabilities = made_up(np.random.default_rng(0), 1_000)
    wrong = (probabilities.argmax(axis=1) != labels)[np.argsort(-probabilities.max(axis=1))]
    expected = np.mean(np.cumsum(wrong) / np.arange(1, 1_001))
    assert risk_coverage(labels, probabilities).aurc == pytest.approx(expected)
    assert len(risk_coverage(labels, probabilities).coverage) == 101


@given(probable(), st.integers(0, 100))
def test_equal_probabilities_are_answered_together_in_any_order(pair, seed):
    labels, probabilities = pair
    order = np.random.default_rng(seed).permutation(len(labels))
    assert risk_coverage(labels[order], probabilities[order]) == risk_coverage(labels, probabilities)


def test_a_model_that_knows_when_it_is_wrong_has_less_area():
    labels = np.zeros(10, int)
    sure, unsure = [0.9, 0.1], [0.4, 0.6]
    knows = risk_coverage(labels, np.array([sure] * 5 + [unsure] * 5))
    assert knows.coverage == (0.5, 1.0)
    assert knows.risk == (0.0, 0.5)
    assert knows.aurc == 0.25
    mostly = risk_coverage(labels, np.array([sure] * 8 + [unsure] * 2))
    assert (mostly.coverage, mostly.risk, mostly.aurc) == ((0.8, 1.0), (0.0, 0.2), pytest.approx(0.04))
    blind = risk_coverage(labels, np.array([[0.6, 0.4]] * 5 + [[0.4, 0.6]] * 5))
    assert (blind.coverage, blind.risk, blind.aurc) == ((1.0,), (0.5,), 0.5)
