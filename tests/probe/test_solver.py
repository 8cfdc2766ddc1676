"""The solver finds the optimum, whatever it is asked to leave out, and balanced softmax follows from the plain fit."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from petmood.losses import EmotionLoss
from petmood.probe import solver
from petmood.probe.solver import Head, Problem, fit, loss_and_slope

torch.set_num_threads(1)
ROWS, FEATURES, CLASSES = 300, 8, 3


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(0)
    features = generator.normal(size=(ROWS, FEATURES)).astype(np.float32)
    logits = features @ generator.normal(size=(FEATURES, CLASSES)) + np.array([1.5, 0.0, -1.0])
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(axis=1)
    return features, labels, generator.uniform(0.2, 2.0, ROWS)


@pytest.fixture(scope="module")
def problem(data):
    features, labels, weights = data
    return Problem.of(torch.from_numpy(features), labels, weights, CLASSES)


def probabilities(fitted, problem):
    return fitted.logits(problem, slice(None)).softmax(dim=1).numpy()


@pytest.mark.parametrize("strength", [0.5, 30.0])
def test_it_is_multinomial_logistic_regression(data, problem, strength):
    features, labels, weights = data
    peer = LogisticRegression(C=1 / strength, tol=1e-8, max_iter=2000).fit(features, labels, sample_weight=weights)
    found = fit(problem, strength, tolerance=1e-12)
    assert np.allclose(probabilities(found, problem), peer.predict_proba(features), atol=2e-3)


def test_the_gradient_is_that_of_the_loss(problem):
    generator = np.random.default_rng(1)
    matrix = generator.normal(size=(CLASSES, FEATURES + 1))
    direction = generator.normal(size=matrix.shape)
    step = 1e-3 * direction
    above, _ = loss_and_slope(problem, matrix + step, [(0, ROWS)])
    below, _ = loss_and_slope(problem, matrix - step, [(0, ROWS)])
    _, slope = loss_and_slope(problem, matrix, [(0, ROWS)])
    assert (above - below) / 2e-3 == pytest.approx(float((slope * direction).sum()), rel=1e-3)


def test_blocks_and_tasks_do_not_change_the_sums(problem, monkeypatch):
    matrix = np.random.default_rng(2).normal(size=(CLASSES, FEATURES + 1))
    ranges = [(3, 120), (121, 299)]
    expected = loss_and_slope(problem, matrix, ranges)
    monkeypatch.setattr(solver, "_BLOCK", {"cpu": 7})
    monkeypatch.setattr(solver, "_TASK", {"cpu": 20})
    found = loss_and_slope(problem, matrix, ranges)
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert np.allclose(found[1], expected[1], rtol=1e-4, atol=1e-4)


def test_many_tasks_on_several_cores_find_the_same_and_give_the_threads_back(problem, monkeypatch):
    expected = fit(problem, 3.0)
    monkeypatch.setattr(solver, "_TASK", {"cpu": 50})
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = fit(problem, 3.0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert np.allclose(found.weights, expected.weights, atol=1e-3)


def test_rows_that_are_left_out_do_not_count(data, problem):
    features, labels, weights = data
    kept = np.r_[0:100, 180:ROWS]
    alone = Problem.of(torch.from_numpy(features[kept]), labels[kept], weights[kept], CLASSES)
    found = fit(problem, 2.0, parts=(slice(0, 100), slice(180, ROWS)), tolerance=1e-12)
    expected = fit(alone, 2.0, tolerance=1e-12)
    assert np.allclose(found.weights, expected.weights, atol=1e-3)
    assert np.allclose(found.bias, expected.bias, atol=1e-3)


def test_a_warm_start_comes_to_the_same_in_fewer_passes(problem):
    cold = fit(problem, 1.0, tolerance=1e-10)
    warm = fit(problem, 1.0, start=fit(problem, 2.0), tolerance=1e-10)
    assert warm.passes < cold.passes
    assert np.allclose(warm.weights, cold.weights, atol=2e-3)


def test_balanced_softmax_is_the_plain_fit_with_its_intercepts_moved(data, problem):
    # Minimised directly, by the loss that training uses; there the penalty is that of a sum over the rows, too.
    features, labels, weights = data
    mass = np.bincount(labels, weights, minlength=CLASSES)
    shares, strength = mass / mass.sum(), 2.0
    loss = EmotionLoss(shares=shares)
    layer = torch.nn.Linear(FEATURES, CLASSES).double()
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=500, line_search_fn="strong_wolfe", tolerance_change=1e-10
    )
    inputs, targets = torch.from_numpy(features).double(), torch.from_numpy(labels)
    counted = torch.from_numpy(weights).float()

    def closure():
        optimizer.zero_grad()
        value = loss(layer(inputs), targets, counted) * ROWS + strength / 2 * layer.weight.square().sum()
        value.backward()
        return value

    optimizer.step(closure)
    direct = layer(inputs).softmax(dim=1).detach().numpy()
    found = fit(problem, strength, tolerance=1e-12)
    moved = found.logits(problem, slice(None)).numpy() - np.log(shares)
    moved = np.exp(moved) / np.exp(moved).sum(axis=1, keepdims=True)
    assert np.allclose(moved, direct, atol=2e-3)
    assert not np.allclose(probabilities(found, problem), direct, atol=2e-2)


def test_a_head_standardises_by_itself():
    head = Head(*(np.array(v, np.float32) for v in ([1.0, 2.0], [2.0, 0.5], [[1.0, 0.0], [0.0, 2.0]], [0.0, 1.0])))
    assert np.allclose(head.logits(np.array([[3.0, 2.5]], np.float32)), [[1.0, 3.0]])
