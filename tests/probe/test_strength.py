"""The strength is chosen on groups that were not fitted; what cannot be judged is left out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from petmood.probe.solver import Problem
from petmood.probe.strength import Clips, choose_strength, clip_weights, fold_order

torch.set_num_threads(1)


def clips_of(labels, groups, frames=1):
    count = len(labels)
    sizes = np.full(count, frames)
    return Clips(np.repeat(np.arange(count), sizes), np.asarray(labels), np.asarray(groups), sizes)


@given(st.integers(2, 5), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=6, max_size=40))
def test_a_group_is_never_divided_and_every_clip_is_in_one_part(folds, drawn):
    labels, groups = np.array([label for label, _ in drawn]), np.array([group for _, group in drawn])
    dealt = fold_order(clips_of(labels, groups), folds=folds, seed=0)
    several = [len(set(groups[labels == label])) > 1 for label in set(labels.tolist())]
    assert (dealt is None) == (sum(several) < 2)
    if dealt is None:
        return
    order, starts = dealt
    assert sorted(order.tolist()) == list(range(len(drawn)))
    parts = [set(groups[part].tolist()) for part in np.split(order, starts)]
    assert 2 <= len(parts) <= folds
    assert sum(map(len, parts)) == len(set(groups.tolist()))


def test_fewer_parts_where_a_class_has_fewer_groups():
    labels = [0] * 10 + [1] * 3 + [2]  # one group of class 2: it can never be judged and decides nothing
    _, starts = fold_order(clips_of(labels, range(14)), folds=5, seed=0)
    assert len(starts) == 2


def chosen(noise, *, frames=1):
    """The choice for two classes that two of 42 features tell apart, the less clearly the more noise they have."""
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=90)
    telling = 2 * np.eye(2)[labels] + noise * generator.normal(size=(90, 2))
    features = np.concatenate([telling, generator.normal(size=(90, 40))], axis=1)
    clips = clips_of(labels, np.arange(90), frames)
    order, starts = fold_order(clips, folds=5, seed=0)
    ordered = clips_of(labels[order], clips.groups[order], frames)
    rows = torch.from_numpy(features[order].astype(np.float32)).repeat_interleave(frames, dim=0)
    problem = Problem.of(rows, ordered.labels[ordered.rows], np.full(len(rows), 1 / frames), 2)
    return choose_strength(problem, ordered, starts, np.full(2, 0.5))


def test_noise_asks_for_a_stronger_pull_than_clear_features():
    clear, noisy = chosen(0.1), chosen(4.0)
    assert noisy.strength > 3 * clear.strength
    for choice in (clear, noisy):
        losses = dict(choice.tried)
        assert losses[choice.strength] == min(losses.values())


def test_the_best_never_lies_at_the_edge_of_what_was_tried():
    choice = chosen(30.0)  # nothing to learn: the strongest of the first round is still too weak
    pulls = [pull for pull, _ in choice.tried]
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[0] > 3.0 * 90
    assert choice.strength != pulls[-1]


def test_frames_of_a_clip_count_once():
    one, many = chosen(1.0), chosen(1.0, frames=3)
    assert many.strength == pytest.approx(one.strength)
    assert [loss for _, loss in many.tried] == pytest.approx([loss for _, loss in one.tried], abs=1e-3)


def test_with_equal_shares_expected_a_rare_emotion_counts_as_much_as_a_frequent_one():
    labels = np.array([0] * 9 + [1])
    assert clip_weights(labels, np.full(2, 0.5)) == pytest.approx([5 / 9] * 9 + [5])
    assert clip_weights(labels, np.array([0.9, 0.1])) == pytest.approx([1] * 10)
