"""Which rows an epoch shows: every clip its turn, other frames each time, the same again from the same seed."""

import collections
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from petmood.sampling import ClipSampler, deal

SAMPLINGS = ("natural", "sqrt", "balanced")

#: Frames of each clip of each class; some classes may have none.
layouts = st.lists(st.lists(st.integers(1, 9), max_size=8), min_size=1, max_size=4).filter(any)
choices = st.sampled_from(SAMPLINGS)
seeds = st.integers(0, 2**40)


class Rows:
    """Rows of made-up clips, in an order that keeps neither clips nor classes together."""

    def __init__(self, layout, seed=0):
        self.clips, self.labels = [], []
        for label, sizes in enumerate(layout):
            for number, size in enumerate(sizes):
                self.clips += [f"clip-{label}-{number}"] * size
                self.labels += [label] * size
        order = np.random.default_rng(seed).permutation(len(self.clips))
        self.clips = [self.clips[row] for row in order]
        self.labels = np.array(self.labels, np.int64)[order]
        self.sizes = collections.Counter(self.clips)

    def sampler(self, **options):
        return ClipSampler(self.clips, self.labels, **options)

    def of_clip(self, rows):
        """Rows shown, by clip."""
        found = collections.defaultdict(list)
        for row in rows.tolist():
            found[self.clips[row]].append(row)
        return found


def visits_by_class(rows, sampler, epoch, k):
    """Visits of each class in an epoch, where every visit shows k rows."""
    counts = np.bincount(rows.labels[sampler.rows(epoch)], minlength=rows.labels.max() + 1)
    assert not (counts % k).any()
    return counts // k


@given(layouts, st.integers(1, 5), seeds)
def test_natural_shows_every_clip_once_an_epoch_and_no_frame_twice(layout, k, seed):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=k, seed=seed)
    for epoch in (0, 1, 7):
        shown = rows.of_clip(sampler.rows(epoch))
        assert {clip: len(found) for clip, found in shown.items()} == {
            clip: min(k, size) for clip, size in rows.sizes.items()
        }
        assert all(len(set(found)) == len(found) for found in shown.values())


@given(layouts, st.integers(1, 4), seeds)
def test_natural_shows_other_frames_until_a_clip_has_no_more(layout, k, seed):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=k, seed=seed)
    epochs = [rows.of_clip(sampler.rows(epoch)) for epoch in range(18)]
    for clip, size in rows.sizes.items():
        running = max(1, size // k)
        for first in range(0, len(epochs) - running + 1, running):
            shown = [row for epoch in epochs[first : first + running] for row in epoch[clip]]
            assert len(set(shown)) == len(shown) == running * min(k, size)


def test_frames_that_do_not_fit_into_the_last_epoch_of_a_shuffle_get_their_turn_in_others():
    rows = Rows([[5] * 40])
    sampler = rows.sampler(frames_per_clip=2, seed=1)
    counts = np.bincount(np.concatenate([sampler.rows(epoch) for epoch in range(200)]), minlength=200)
    # 100 shuffles, each of which shows a frame with probability 4/5: five standard deviations are 20.
    assert counts.sum() == 40 * 400
    assert counts.min() >= 60
    assert counts.max() <= 100


@given(layouts, seeds, st.integers(0, 5))
def test_all_frames_are_shown_once_an_epoch_where_no_number_is_given(layout, seed, epoch):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=0, seed=seed)
    assert sorted(sampler.rows(epoch).tolist()) == list(range(len(rows.labels)))
    assert sampler.uses_weights


def test_weights_count_only_where_every_frame_is_shown_once():
    rows = Rows([[3, 4], [2]])
    found = {(s, k): rows.sampler(frames_per_clip=k, sampling=s).uses_weights for s in SAMPLINGS for k in (0, 2)}
    assert [key for key, uses in found.items() if uses] == [("natural", 0)]


@given(layouts, st.integers(0, 4), choices, seeds)
def test_every_epoch_has_the_same_length(layout, k, sampling, seed):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=k, sampling=sampling, seed=seed)
    for epoch in (0, 1, 2, 50):
        shown = sampler.rows(epoch)
        assert shown.dtype == np.int64
        assert len(shown) == len(sampler)
        assert shown.min() >= 0
        assert shown.max() < len(rows.labels)


@given(layouts, st.integers(1, 4), st.sampled_from(["sqrt", "balanced"]), seeds)
def test_classes_get_their_share_of_as_many_visits_as_there_are_clips(layout, k, sampling, seed):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=k, sampling=sampling, seed=seed)
    clips = np.array([len(sizes) for sizes in layout])[: rows.labels.max() + 1]
    visits = visits_by_class(rows, sampler, 0, k)
    assert visits.sum() == clips.sum()
    assert ((visits > 0) == (clips > 0)).all()
    shares = np.sqrt(clips) if sampling == "sqrt" else (clips > 0).astype(float)
    wanted = shares / shares.sum() * clips.sum()
    assert (np.abs(visits - wanted) < 1).all()
    assert all((visits_by_class(rows, sampler, epoch, k) == visits).all() for epoch in (1, 2, 9))


@pytest.mark.parametrize(
    ("sampling", "clips", "visits"),
    [
        ("balanced", [285, 14, 1], [100, 100, 100]),
        ("balanced", [285, 14, 0, 2], [101, 100, 0, 100]),
        ("sqrt", [100, 25, 4], [76, 38, 15]),  # 129 × 10/17, 5/17, 2/17 = 75.9, 37.9, 15.2
        ("sqrt", [400, 1, 1, 1], [350, 18, 18, 17]),
        ("sqrt", [30, 1], [26, 5]),
        ("balanced", [1, 1, 1], [1, 1, 1]),
    ],
)
def test_shares_become_whole_visits_by_the_largest_remainder(sampling, clips, visits):
    rows = Rows([[1] * count for count in clips])
    sampler = rows.sampler(frames_per_clip=1, sampling=sampling)
    assert visits_by_class(rows, sampler, 0, 1).tolist() == visits


@given(layouts, st.integers(1, 3), st.sampled_from(["sqrt", "balanced"]), seeds)
@settings(deadline=None)
def test_no_clip_is_forgotten_and_all_of_a_class_take_turns(layout, k, sampling, seed):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=k, sampling=sampling, seed=seed)
    quotas = visits_by_class(rows, sampler, 0, k)
    shown = collections.Counter()
    for epoch in range(12):
        shown.update({clip: len(found) // k for clip, found in rows.of_clip(sampler.rows(epoch)).items()})
        for label, sizes in enumerate(layout):
            visits = [shown[f"clip-{label}-{number}"] for number in range(len(sizes))]
            if visits:
                assert max(visits) - min(visits) <= 1
                assert sum(visits) == (epoch + 1) * quotas[label]
                assert epoch + 1 < math.ceil(len(sizes) / quotas[label]) or min(visits) >= 1


@given(layouts, st.integers(1, 3), st.sampled_from(["sqrt", "balanced"]), seeds)
@settings(deadline=None)
def test_each_visit_shows_other_frames_until_a_clip_has_no_more(layout, k, sampling, seed):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=k, sampling=sampling, seed=seed)
    shown = collections.defaultdict(list)
    for epoch in range(8):
        for clip, found in rows.of_clip(sampler.rows(epoch)).items():
            shown[clip] += found
            if len(shown[clip]) <= rows.sizes[clip] // k * k:
                assert len(set(shown[clip])) == len(shown[clip])


def test_clips_that_take_turns_come_in_another_order_in_each_round():
    rows = Rows([[1] * 40, [1] * 20])
    sampler = rows.sampler(frames_per_clip=1, sampling="balanced")
    # 30 of the 40 clips an epoch: the rounds begin together with epochs 0, 4 and 8.
    left_out = [set(rows.sizes) - set(rows.of_clip(sampler.rows(epoch))) for epoch in (0, 4, 8)]
    assert [len(clips) for clips in left_out] == [10, 10, 10]
    assert left_out[0] != left_out[1] != left_out[2]


def test_a_clip_that_is_too_short_shows_its_frames_again_in_turn():
    rows = Rows([[2, 3], [7, 8]])
    sampler = rows.sampler(frames_per_clip=5, sampling="balanced", seed=3)
    for epoch in range(4):
        counts = {clip: collections.Counter(found) for clip, found in rows.of_clip(sampler.rows(epoch)).items()}
        assert sorted(counts["clip-0-0"].values()) == [2, 3]
        assert sorted(counts["clip-0-1"].values()) == [1, 2, 2]
        assert set(counts["clip-1-0"].values()) == {1}


def test_a_rare_class_of_one_long_clip_shows_other_frames_at_each_visit():
    rows = Rows([[1] * 2001, [5000]])
    sampler = rows.sampler(frames_per_clip=2, sampling="balanced")
    shown = [row for epoch in (0, 1) for row in rows.of_clip(sampler.rows(epoch))["clip-1-0"]]
    assert len(shown) == len(set(shown)) == 4004


def test_as_many_frames_as_a_clip_has_on_average_where_no_number_is_given():
    rows = Rows([[2, 9], [3]])
    sampler = rows.sampler(frames_per_clip=0, sampling="balanced")
    assert len(sampler) == 3 * 5
    assert not sampler.uses_weights


@given(layouts, st.integers(0, 4), choices, seeds, st.integers(0, 1000))
def test_an_epoch_follows_from_seed_and_number_alone(layout, k, sampling, seed, epoch):
    rows = Rows(layout)
    first = rows.sampler(frames_per_clip=k, sampling=sampling, seed=seed)
    second = rows.sampler(frames_per_clip=k, sampling=sampling, seed=seed)
    for other in (3, 0, epoch + 1):
        first.rows(other)
    assert first.rows(epoch).tolist() == second.rows(epoch).tolist()
    assert first.fingerprint == second.fingerprint


def test_the_rows_are_the_same_on_every_machine():
    # A training that is taken up after an update must be shown what it would have been shown: change these numbers only
    # knowingly, and say so in the changes.
    sampler = Rows([[3, 2], [4]]).sampler(frames_per_clip=2, sampling="balanced", seed=5)
    assert [sampler.rows(epoch).tolist() for epoch in (0, 1, 100)] == [
        [8, 7, 5, 0, 3, 4],
        [0, 6, 8, 4, 7, 1],
        [2, 5, 8, 1, 4, 0],
    ]


def test_seeds_and_epochs_differ():
    rows = Rows([[6] * 20, [6] * 5])
    for sampling, k in itertools.product(SAMPLINGS, (0, 2)):
        sampler = rows.sampler(frames_per_clip=k, sampling=sampling)
        shown = [sampler.rows(epoch).tolist() for epoch in range(3)]
        shown.append(rows.sampler(frames_per_clip=k, sampling=sampling, seed=1).rows(0).tolist())
        assert len({tuple(each) for each in shown}) == 4


@pytest.mark.parametrize("k", [0, 2])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_whole_epoch_is_shuffled(sampling, k):
    # The notes' second mistake: rows in class order, shuffled only within ten batches.
    clips = [f"{label}-{clip}" for label in range(3) for clip in range(100) for _ in range(4)]
    labels = np.repeat(np.arange(3), 400)
    sampler = ClipSampler(clips, labels, frames_per_clip=k, sampling=sampling)
    for epoch in range(3):
        shown = sampler.rows(epoch)
        for start in range(0, len(shown), 60):
            part = shown[start : start + 60]
            assert np.bincount(labels[part], minlength=3).min() >= 5
            assert part.max() - part.min() > 800


def test_frames_and_pairs_of_frames_are_equally_likely():
    rows = Rows([[3] * 6000])
    sampler = rows.sampler(frames_per_clip=1, seed=9)
    place = {}
    for row, clip in enumerate(rows.clips):
        place.setdefault(clip, []).append(row)
    first, second = (rows.of_clip(sampler.rows(epoch)) for epoch in (0, 1))
    pairs = collections.Counter(
        (found.index(first[clip][0]), found.index(second[clip][0])) for clip, found in place.items()
    )
    assert len(pairs) == 6
    # Five standard deviations of 6000 draws at 1/6.
    assert all(abs(count - 1000) < 145 for count in pairs.values())


@given(layouts, st.integers(0, 4), choices, seeds)
def test_class_shares_are_those_of_the_rows_shown(layout, k, sampling, seed):
    rows = Rows(layout)
    sampler = rows.sampler(frames_per_clip=k, sampling=sampling, seed=seed)
    shown = rows.labels[sampler.rows(4)]
    expected = np.bincount(shown, minlength=6) / len(shown)
    assert sampler.class_shares(6) == pytest.approx(expected)
    weights = np.random.default_rng(0).uniform(0.1, 3, len(rows.labels)).astype(np.float32)
    if sampler.uses_weights:
        expected = np.bincount(rows.labels, weights, minlength=6) / weights.sum(dtype=np.float64)
    assert sampler.class_shares(6, weights) == pytest.approx(expected)


def test_frames_of_a_clip_with_different_labels_are_clips_of_their_own():
    labels = np.array([0, 0, 1, 1, 1, 1])
    sampler = ClipSampler(["a", "a", "a", "a", "b", "b"], labels, frames_per_clip=1)
    for epoch in range(4):
        found = sorted(sampler.rows(epoch).tolist())
        assert [found[0] in {0, 1}, found[1] in {2, 3}, found[2] in {4, 5}, len(found)] == [True, True, True, 3]


def test_the_fingerprint_tells_settings_and_data_apart():
    clips, labels = ["a", "a", "b"], np.array([0, 0, 1])
    samplers = [
        ClipSampler(clips, labels, frames_per_clip=1),
        ClipSampler(clips, labels, frames_per_clip=2),
        ClipSampler(clips, labels, frames_per_clip=1, sampling="sqrt"),
        ClipSampler(clips, labels, frames_per_clip=1, seed=1),
        ClipSampler(["a", "a", "c"], labels, frames_per_clip=1),
        ClipSampler(["a", "b", "a"], np.array([0, 1, 0]), frames_per_clip=1),
        ClipSampler(clips, np.array([0, 0, 2]), frames_per_clip=1),
        ClipSampler(clips, np.array([0, 1, 1]), frames_per_clip=1),
        ClipSampler([*clips, "b"], np.array([0, 0, 1, 1]), frames_per_clip=1),
    ]
    assert len({sampler.fingerprint for sampler in samplers}) == len(samplers)


# Several processes


@given(
    st.lists(st.integers(1, 6), min_size=6, max_size=30),
    st.integers(2, 9),
    st.sampled_from([1, 2, 3]),
    st.sampled_from(SAMPLINGS),
    st.integers(0, 3),
)
def test_processes_share_an_epoch_without_loss(sizes, batch_size, world, sampling, k):
    rows = Rows([sizes[::2], sizes[1::2]])
    alone = rows.sampler(frames_per_clip=k, sampling=sampling).rows(1).tolist()
    parts = []
    for rank in range(world):
        sampler = rows.sampler(frames_per_clip=k, sampling=sampling)
        batches = deal(len(sampler), batch_size=batch_size, least=2, rank=rank, world=world)
        parts.append([sampler.rows(1)[part].tolist() for part in batches])
    assert len({len(part) for part in parts}) == 1
    for number, together in enumerate(zip(*parts, strict=True)):
        lengths = [len(batch) for batch in together]
        if number < len(parts[0]) - 1:
            assert lengths == [batch_size] * world
        else:
            assert min(lengths) >= 2
            assert max(lengths) <= min(min(lengths) + 1, batch_size + 2)
            assert sum(lengths) == len(alone) - number * batch_size * world
        # Step for step they show what one process shows whose batches are as large as all of theirs.
        start = number * batch_size * world
        assert sorted(itertools.chain(*together)) == sorted(alone[start : start + sum(lengths)])


@pytest.mark.parametrize(
    ("rows", "world", "sizes"),
    [
        (20, 1, [[8, 8, 4]]),
        (18, 1, [[8, 8, 2]]),
        (17, 1, [[8, 9]]),
        (1, 1, [[1]]),
        (0, 1, [[]]),
        (19, 2, [[10], [9]]),
        (20, 2, [[8, 2], [8, 2]]),
        (23, 2, [[8, 4], [8, 3]]),
    ],
)
def test_a_last_batch_that_would_be_too_small_joins_the_one_before_it(rows, world, sizes):
    dealt = [deal(rows, batch_size=8, least=2, rank=rank, world=world) for rank in range(world)]
    assert [[len(batch) for batch in batches] for batches in dealt] == sizes
