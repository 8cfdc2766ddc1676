"""Batches: all rows, mixed classes, the same whatever threads and processes do, and taken up again where they stood."""

import concurrent.futures
import contextlib
import multiprocessing
import threading
import time

import numpy as np
import polars as pl
import pytest
import torch

from fixtures.workspaces import make_workspace
from petmood.errors import UserError
from petmood.loading import CropBatches, load_samples
from petmood.preprocess import Augmentation, Preprocessing
from petmood.sampling import ClipSampler
from petmood.workspace import write_table

SQUARE = Preprocessing(image_size=24, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic", fit="pad")
CHANGES = Augmentation(horizontal_flip=True, min_scale=0.7)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("loading") / "work", clips_per_class=12)


@pytest.fixture(scope="module")
def samples(workspace):
    return load_samples(workspace, "train")


def sampler_of(samples, **options):
    return ClipSampler(samples.clips, samples.labels, **{"frames_per_clip": 0, "seed": 7, **options})


def batches(samples, *, sampler=None, augmentation=None, epoch=0, batch_size=16, threads=2, **options):
    return CropBatches(
        samples.store,
        SQUARE,
        batch_size=batch_size,
        labels=samples.labels,
        weights=samples.weights,
        augmentation=CHANGES if sampler else augmentation,
        sampler=sampler,
        seed=7,
        epoch=lambda: epoch,
        threads=threads,
        **options,
    )


def rows_of(found):
    return [row for batch in found for row in batch.rows.tolist()]


def change_frames(workspace, tmp_path, **columns):
    """The same workspace with other values in columns of its frames."""
    copy = make_workspace(tmp_path / "changed", clips_per_class=4)
    write_table(copy.read_frames().with_columns(**columns), copy.frames)
    return copy


def test_a_split_holds_its_chosen_frames_in_order(workspace, samples):
    frames = workspace.read_frames().filter(pl.col("split") == "train")
    assert samples.frames["frame_id"].to_list() == frames["frame_id"].to_list()
    assert len(samples.store) == len(samples) == 72
    assert samples.store.table["frame_id"].to_list() == frames["frame_id"].to_list()
    assert samples.labels.dtype == np.int64
    assert samples.weights.dtype == np.float32


def test_class_numbers_are_positions_in_the_one_list(tmp_path):
    # The notes' third mistake: numbers by order of appearance. Here angry comes first in the rows of one split only.
    workspace = make_workspace(tmp_path / "work", classes=("angry", "happy", "fear"))
    frames = workspace.read_frames()
    shuffled = pl.concat([frames.filter(pl.col("emotion") == name) for name in ("fear", "angry", "happy")])
    write_table(shuffled, workspace.frames)
    for split in ("train", "val", "test"):
        samples = load_samples(workspace, split)
        assert [("happy", "angry", "fear")[number] for number in samples.labels] == samples.frames["emotion"].to_list()


def test_frames_that_were_not_chosen_are_left_out(workspace, tmp_path):
    changed = change_frames(workspace, tmp_path, keep=pl.col("timestamp_ms") == 0)
    assert set(load_samples(changed, "train").frames["timestamp_ms"]) == {0}


def test_an_empty_split_is_an_error(workspace, tmp_path):
    changed = change_frames(workspace, tmp_path, split=pl.lit("train"))
    with pytest.raises(UserError, match=r"has no chosen frames in the split 'val'"):
        load_samples(changed, "val")


def test_missing_crops_are_an_error(workspace, tmp_path):
    changed = change_frames(workspace, tmp_path, frame_id=pl.col("frame_id") + "x")
    with pytest.raises(UserError, match=r"lacks the crops of \d+ chosen frames"):
        load_samples(changed, "train")


def test_an_unfinished_workspace_is_an_error(tmp_path):
    workspace = make_workspace(tmp_path / "work")
    workspace.begin("split")
    with pytest.raises(UserError, match="no completed stage `split`"):
        load_samples(workspace, "train")


def test_a_limit_is_spread_over_the_clips(workspace):
    some = load_samples(workspace, "train", limit=30, seed=1)
    per_clip = some.frames.group_by("clip").len()["len"]
    assert (len(some), len(per_clip), per_clip.max()) == (30, 24, 2)
    again = load_samples(workspace, "train", limit=30, seed=1)
    assert again.frames.equals(some.frames)
    assert not load_samples(workspace, "train", limit=30, seed=2).frames.equals(some.frames)


def test_evaluation_drops_nothing_and_keeps_the_order(samples):
    found = list(batches(samples, batch_size=71))
    assert [len(batch.rows) for batch in found] == [71, 1]
    assert torch.cat([batch.rows for batch in found]).tolist() == list(range(72))
    assert torch.cat([batch.labels for batch in found]).tolist() == samples.labels.tolist()


def test_pictures_are_the_prepared_crops(samples):
    batch = next(iter(batches(samples)))
    assert batch.pixels.shape == (16, 3, 24, 24)
    assert batch.pixels.dtype == torch.uint8
    assert batch.pixels.is_contiguous(memory_format=torch.channels_last)
    expected = SQUARE.prepare(samples.store.pixels(5))
    assert np.array_equal(batch.pixels[5].permute(1, 2, 0).numpy(), expected)


def test_training_shows_every_picture_once_in_another_order_each_epoch(samples):
    orders = [rows_of(batches(samples, sampler=sampler_of(samples), epoch=epoch)) for epoch in range(2)]
    assert [sorted(order) for order in orders] == [list(range(72))] * 2
    assert orders[0] != orders[1]


def test_training_shows_the_samplers_rows(samples):
    sampler = sampler_of(samples, frames_per_clip=2, sampling="balanced")
    for epoch in range(3):
        loader = batches(samples, sampler=sampler, epoch=epoch)
        found = list(loader)
        assert rows_of(found) == loader.order(epoch).tolist() == sampler.rows(epoch).tolist()
        assert torch.cat([batch.labels for batch in found]).tolist() == samples.labels[rows_of(found)].tolist()
        assert torch.cat([batch.weights for batch in found]).tolist() == samples.weights[rows_of(found)].tolist()
        assert len(loader) == len(found) == 3


def test_a_last_training_batch_of_one_joins_the_one_before_it(samples):
    loader = batches(samples, sampler=sampler_of(samples), batch_size=71)
    assert [len(batch.rows) for batch in loader] == [72]
    assert len(loader) == 1
    assert [len(batch.rows) for batch in batches(samples, sampler=sampler_of(samples), batch_size=70)] == [70, 2]


def test_an_epoch_that_is_too_small_to_train_on_is_an_error(samples):
    one = ClipSampler(["a"], np.array([0]), frames_per_clip=1)
    with pytest.raises(UserError, match=r"an epoch shows 1 picture; at least 2 are needed") as caught:
        batches(samples, sampler=one)
    assert "--frames-per-clip" in caught.value.hint
    with pytest.raises(UserError, match=r"an epoch shows 72 pictures; at least 74 are needed"):
        batches(samples, sampler=sampler_of(samples), world=37)


def test_batches_hold_mixed_classes_although_the_rows_are_in_class_order(samples):
    # The notes' second mistake: shuffled only within ten batches, so that a batch held nearly one class.
    assert (np.diff(samples.labels) >= 0).all()
    for batch in batches(samples, sampler=sampler_of(samples), batch_size=24):
        assert len(set(batch.labels.tolist())) == 3
        assert np.bincount(batch.labels.numpy()).max() < 20
    first = batches(samples, sampler=sampler_of(samples), batch_size=24).order(0)[:24]
    assert first.max() - first.min() > 60  # from the whole split, not from its beginning


def same(found, expected):
    """Whether two lists of batches are the same in every number."""
    pairs = zip(found, expected, strict=True)
    return all(x.total == y.total and all(map(torch.equal, x[:4], y[:4])) for x, y in pairs)


@pytest.mark.parametrize("threads", [2, 4])
def test_threads_do_not_change_the_result(samples, threads):
    sampler = sampler_of(samples, frames_per_clip=5, sampling="sqrt")
    one = list(batches(samples, sampler=sampler, threads=1))
    assert same(list(batches(samples, sampler=sampler, threads=threads)), one)


def test_a_picture_is_the_view_that_its_place_in_the_epoch_draws(samples):
    sampler = sampler_of(samples, frames_per_clip=2)
    found = list(batches(samples, sampler=sampler, batch_size=10, epoch=3))
    pixels = torch.cat([batch.pixels for batch in found]).permute(0, 2, 3, 1).numpy()
    one = CropBatches(samples.store, SQUARE, batch_size=48, augmentation=CHANGES, sampler=sampler, seed=7, threads=1)
    one.epoch = lambda: 3
    (batch,) = one
    assert np.array_equal(pixels, batch.pixels.permute(0, 2, 3, 1).numpy())
    shown = [SQUARE.prepare(samples.store.pixels(row)) for row in rows_of(found)]
    # Windows and mirroring move things, but the pictures stay themselves: their mean brightness hardly changes.
    assert np.corrcoef(pixels.mean(axis=(1, 2, 3)), np.mean(shown, axis=(1, 2, 3)))[0, 1] > 0.9


def test_augmentation_differs_between_epochs(samples):
    # Without a sampler the rows keep their places, so that only the epoch can make the difference.
    def pictures(epoch):
        return next(iter(batches(samples, augmentation=CHANGES, epoch=epoch))).pixels

    assert torch.equal(pictures(0), pictures(0))
    assert not any(torch.equal(a, b) for a, b in zip(pictures(0), pictures(1), strict=True))


def test_a_row_that_is_shown_twice_in_an_epoch_is_changed_in_two_ways(samples):
    # Clips have three frames: each visit shows three of them twice, or nearly so.
    (batch,) = batches(samples, sampler=sampler_of(samples, frames_per_clip=6, sampling="balanced"), batch_size=144)
    for row in range(72):
        first, second = batch.pixels[batch.rows == row]
        assert not torch.equal(first, second)


def test_a_damaged_crop_stops_the_loader(samples, monkeypatch):
    monkeypatch.setattr(samples.store, "jpeg", lambda row: b"\xff\xd8 no picture")
    for sampler in (None, sampler_of(samples)):
        with pytest.raises(ValueError, match="JPEG"):
            list(batches(samples, sampler=sampler))


def test_stopping_early_leaves_no_threads(samples):
    iterator = iter(batches(samples, sampler=sampler_of(samples), batch_size=2))
    next(iterator)
    iterator.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("petmood-decode")]


def test_an_epoch_may_have_a_size_of_its_own(samples):
    def pictures(epoch, **options):
        return next(iter(batches(samples, augmentation=CHANGES, epoch=epoch, **options))).pixels

    sizes = {0: 12, 1: 24}.__getitem__
    assert pictures(0, sizes=sizes).shape == (16, 3, 12, 12)
    assert torch.equal(pictures(1, sizes=sizes), pictures(1))
    assert SQUARE.image_size == 24


def test_the_time_that_is_waited_for_pictures_is_told(samples, monkeypatch):
    jpeg = samples.store.jpeg
    monkeypatch.setattr(samples.store, "jpeg", lambda row: (time.sleep(0.005), jpeg(row))[1])
    slow = batches(samples, threads=1)
    list(slow)
    assert slow.waited > 0.2  # 72 pictures, one after the other
    monkeypatch.undo()
    quick = batches(samples, threads=1)
    for _ in quick:
        time.sleep(0.05)
    assert quick.waited < slow.waited


def test_a_batch_that_is_kept_stays_as_it_is_and_memory_of_dropped_ones_is_used_again(samples):
    loader = batches(samples, sampler=sampler_of(samples), batch_size=4, threads=1)
    kept, copies, places = [], [], set()
    for number, batch in enumerate(loader):
        places.add(batch.pixels.data_ptr())
        if number % 3 == 0:
            kept.append(batch.pixels[1:])  # a part is enough to keep it
            copies.append(kept[-1].clone())
        del batch
    assert all(map(torch.equal, kept, copies))
    assert len(places) < len(loader)


def test_small_batches_are_decoded_further_ahead_and_no_more_than_that(samples, monkeypatch):
    read = []
    jpeg = samples.store.jpeg
    monkeypatch.setattr(samples.store, "jpeg", lambda row: (read.append(row), jpeg(row))[1])
    iterator = iter(batches(samples, batch_size=2, threads=1))
    next(iterator)
    iterator.close()
    assert len(read) <= 2 * (32 // 2 + 1)


# Several processes


def part_of(samples, sampler, rank, world):
    """What one process is given: rows and pixels as bytes, by row. Runs in a process of its own."""
    found = list(batches(samples, sampler=sampler, batch_size=8, rank=rank, world=world, epoch=2))
    return len(found), {
        int(row): picture.numpy().tobytes()
        for batch in found
        for row, picture in zip(batch.rows, batch.pixels, strict=True)
    }


def test_two_processes_show_together_what_one_shows_with_the_same_changes(samples):
    sampler = sampler_of(samples, frames_per_clip=2)
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        other = pool.submit(part_of, samples, sampler, 1, 2)
        count, first = part_of(samples, sampler, 0, 2)
        other_count, second = other.result()
    assert count == other_count == 3
    assert not set(first) & set(second)
    assert first | second == part_of(samples, sampler, 0, 1)[1]


# State


def interrupted(loader, given):
    """The state of a loader after that many batches."""
    with contextlib.closing(iter(loader)) as iterator:
        for _ in range(given):
            next(iterator)
        return loader.state_dict()


@pytest.mark.parametrize("given", [0, 1, 3])
def test_iteration_goes_on_with_the_next_batch(samples, given):
    sampler = sampler_of(samples, frames_per_clip=2, sampling="sqrt")
    whole = list(batches(samples, sampler=sampler, batch_size=10, epoch=4))
    state = interrupted(batches(samples, sampler=sampler, batch_size=10, epoch=4), given)
    loader = batches(samples, sampler=sampler_of(samples, frames_per_clip=2, sampling="sqrt"), batch_size=10, epoch=4)
    loader.load_state_dict(state)
    assert loader.state_dict() == state
    assert same(list(loader), whole[given:])
    assert len(loader) == len(whole) == 5
    assert same(list(loader), whole)  # only the first iteration goes on


def test_a_state_counts_for_its_own_epoch_only(samples):
    sampler = sampler_of(samples)
    state = interrupted(batches(samples, sampler=sampler, epoch=4), 2)
    loader = batches(samples, sampler=sampler, epoch=5)
    loader.load_state_dict(state)
    assert rows_of(loader) == sampler.rows(5).tolist()


def test_an_epoch_that_was_complete_is_over(samples):
    sampler = sampler_of(samples)
    loader = batches(samples, sampler=sampler, epoch=4)
    loader.load_state_dict(interrupted(batches(samples, sampler=sampler, epoch=4), 5))
    assert rows_of(loader) == sampler.rows(4).tolist()


def test_an_iteration_that_was_broken_off_begins_anew_without_a_state(samples):
    loader = batches(samples, sampler=sampler_of(samples))
    state = interrupted(loader, 2)
    assert sorted(rows_of(loader)) == list(range(72))
    loader.load_state_dict(state)
    interrupted(loader, 1)
    assert sorted(rows_of(loader)) == list(range(72))


def test_a_state_is_plain_and_tells_what_was_yielded(samples):
    sampler = sampler_of(samples)
    state = interrupted(batches(samples, sampler=sampler, epoch=3), 2)
    assert state == {"epoch": 3, "batches": 2, "order": sampler.fingerprint, "batch_size": 16, "processes": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batch_size": 8}, "the batch size was 16 and is 8"),
        ({"world": 2}, "the number of processes was 1 and is 2"),
        ({"frames_per_clip": 2}, "the order of pictures was [0-9a-f]{16} and is [0-9a-f]{16}"),
        ({"seed": 8}, "the order of pictures was"),
    ],
)
def test_a_state_of_other_rows_or_batches_is_an_error(samples, changed, message):
    state = interrupted(batches(samples, sampler=sampler_of(samples)), 2)
    of_loader = {name: value for name, value in changed.items() if name in {"batch_size", "world"}}
    of_sampler = {name: value for name, value in changed.items() if name not in of_loader}
    loader = batches(samples, sampler=sampler_of(samples, **of_sampler), **of_loader)
    with pytest.raises(UserError, match=f"within an epoch that cannot be continued: {message}") as caught:
        loader.load_state_dict(state)
    assert "same data, settings and devices" in caught.value.hint
