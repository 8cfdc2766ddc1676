"""Who waits for whom: the sentence from numbers, and real trainings with a slow loader and with a slow network."""

import dataclasses
import time
from dataclasses import replace

import lightning
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.crops import CropStore
from petmood.loading import load_samples
from petmood.losses import EmotionLoss
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.sampling import ClipSampler
from petmood.train.bottleneck import bottleneck, bottleneck_of
from petmood.train.epochs import read_metrics
from petmood.train.loop import Loop
from petmood.train.module import EmotionModule
from petmood.weights import create_backbone

PLAIN = TrainSettings()
QUICK = replace(PLAIN, model="test_efficientnet", image_size=32, epochs=2, batch_size=6, frames_per_clip=2, threads=1)
SQUARE = Preprocessing(image_size=32, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic", fit="pad")

torch.set_num_threads(1)


# The sentence


def test_a_loop_that_waits_is_held_up_by_the_loader():
    said = bottleneck(0.42, 1234.4, PLAIN, "cuda")
    assert said.startswith("bottleneck: the loader; 42 % of the time was spent waiting for pictures, 1,234 were seen")
    assert "`petmood pack --shorter-side`" in said
    assert "--small-size 160" in said
    assert "--compile" not in said


def test_a_loop_that_hardly_waits_is_held_up_by_the_network():
    said = bottleneck(0.02, 800, PLAIN, "cuda")
    assert said.startswith("bottleneck: the network; 2 % of the time")
    assert said.endswith(
        "Faster: --compile; --freeze stem; --small-size 160; a larger --batch-size (`petmood find-batch-size`)"
    )
    assert "--precision auto" in bottleneck(0.02, 800, replace(PLAIN, precision="32"), "cuda")


def test_what_is_chosen_already_is_not_proposed():
    chosen = replace(PLAIN, compile=True, freeze="stem", small_size=160, batch_size=256)
    assert bottleneck(0.0, 800, chosen, "cuda").endswith("800 were seen a second")
    assert "small-size" not in bottleneck(0.5, 800, chosen, "cuda")


def test_threads_are_proposed_only_where_some_are_idle(monkeypatch):
    monkeypatch.setattr("petmood.parallel.joblib.cpu_count", lambda: 8)
    assert "--threads 0 for all 8 cores (now 2)" in bottleneck(0.5, 800, replace(PLAIN, threads=2), "cuda")
    for threads in (0, 8):
        assert "more cores than these 8" in bottleneck(0.5, 800, replace(PLAIN, threads=threads), "cuda")


def test_on_a_processor_both_share_the_cores():
    for waiting in (0.0, 0.5):
        said = bottleneck(waiting, 30, PLAIN, "cpu")
        assert "share the processor's cores" in said
        assert "--compile" not in said
    assert "a GPU; --freeze stem; --small-size 160" in bottleneck(0.0, 30, PLAIN, "cpu")


@given(st.floats(0, 1), st.floats(0, 1e6), st.sampled_from(["cpu", "cuda"]))
def test_there_is_always_one_sentence(waiting, rate, device):
    said = bottleneck(waiting, rate, PLAIN, device)
    assert ("the loader" in said) == (waiting >= 0.1)
    assert "\n" not in said


def test_slow_epochs_count_for_more():
    rows = [{"waiting": 0.0, "pictures_per_second": 900.0}, {"waiting": 0.8, "pictures_per_second": 100.0}]
    # As many pictures in 1 and in 9 parts of the time.
    assert "72 % of the time was spent waiting for pictures, 180 were seen" in bottleneck_of(rows, PLAIN, "cuda")


def test_what_was_not_measured_is_not_told():
    assert bottleneck_of([], PLAIN, "cpu") == ""
    assert bottleneck_of([{"epoch": 1.0, "pictures_per_second": 10.0}], PLAIN, "cpu") == ""


# Real trainings


class SlowStore(CropStore):
    """Crops that come from far away."""

    def jpeg(self, row):
        time.sleep(0.02)
        return super().jpeg(row)


class SlowNet(EmotionNet):
    """A network that takes its time."""

    def forward(self, images):
        time.sleep(0.1)
        return super().forward(images)


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("bottleneck") / "work", clips_per_class=12)
    return load_samples(workspace, "train"), load_samples(workspace, "val", limit=3)


def trained(run, splits, *, store=CropStore, network=EmotionNet, settings=QUICK):
    """Rows of metrics.csv of a real training."""
    lightning.seed_everything(0, verbose=False)
    train, val = splits
    train = dataclasses.replace(train, store=store(train.store.folder, train.store.table))
    net = network(create_backbone(settings.model), classes=3)
    Loop(
        run=run,
        settings=settings,
        device="cpu",
        train=train,
        sampler=ClipSampler(train.clips, train.labels, frames_per_clip=2, seed=0),
        val=val,
        preprocessing=SQUARE,
        module=EmotionModule(net, EmotionLoss(), SQUARE, settings, val),
    ).fit(None, quiet=True)
    return read_metrics(run / "metrics.csv")


def test_a_training_with_a_slow_loader_is_told_so(splits, tmp_path):
    rows = trained(tmp_path, splits, store=SlowStore)
    assert all(0.2 < row["waiting"] <= 1 for row in rows)
    assert bottleneck_of(rows, QUICK, "cpu").startswith("bottleneck: the loader")


def test_a_training_with_a_slow_network_is_told_so(splits, tmp_path):
    rows = trained(tmp_path, splits, network=SlowNet)
    assert all(0 <= row["waiting"] < 0.1 for row in rows)
    assert bottleneck_of(rows, QUICK, "cpu").startswith("bottleneck: the network")


def test_epochs_of_a_step_or_two_are_measured_too(splits, tmp_path):
    for batch_size in (48, 24):
        settings = replace(QUICK, batch_size=batch_size, epochs=1)
        (row,) = trained(tmp_path / str(batch_size), splits, store=SlowStore, settings=settings)
        assert 0.2 < row["waiting"] <= 1


def test_small_squares_come_first_and_the_full_ones_last(splits, tmp_path):
    seen = []

    class Watching(EmotionNet):
        def forward(self, images):
            if self.training:
                seen.append(images.shape[-1])
            return super().forward(images)

    trained(tmp_path, splits, network=Watching, settings=replace(QUICK, small_size=16, small_epochs=0.5, batch_size=24))
    assert seen == [16, 16, 32, 32]
