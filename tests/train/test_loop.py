"""The loop around the sampler: what an epoch shows, and a training that goes on in the middle of one."""

import collections
import itertools
from dataclasses import replace

import lightning
import numpy as np
import pytest
import timm
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from fixtures.stopping import SwitchedOffError
from fixtures.workspaces import make_workspace
from petmood.errors import UserError
from petmood.loading import load_samples
from petmood.losses import EmotionLoss
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.sampling import ClipSampler
from petmood.train.epochs import read_metrics
from petmood.train.loop import Loop
from petmood.train.module import EmotionModule
from petmood.weights import create_backbone

QUICK = TrainSettings(
    model="test_efficientnet",
    image_size=32,
    pretrained="none",
    epochs=3,
    batch_size=5,
    frames_per_clip=2,
    learning_rate=4e-3,
    device="cpu",
)

# OpenMP threads wait by spinning: beside other processes on few cores these small steps would take 20 times as long.
torch.set_num_threads(1)

#: Goes on in another folder than the checkpoint's, so that tests can share one first training.
elsewhere = pytest.mark.filterwarnings("ignore:The dirpath has changed")


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    workspace = make_workspace(tmp_path_factory.mktemp("loop") / "work", clips_per_class=6)
    return load_samples(workspace, "train"), load_samples(workspace, "val")


class Watched(Callback):
    """Notes what each training step was given; stops after a number of steps, as a machine that is switched off."""

    def __init__(self, stop_after=None):
        self.rows = collections.defaultdict(list)
        self.weights = set()
        self.steps = 0
        self.stop_after = stop_after

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.steps == self.stop_after:
            raise SwitchedOffError
        self.steps += 1
        self.rows[trainer.current_epoch].append(batch.rows.tolist())
        self.weights |= set(batch.weights.tolist())


class WatchedLoop(Loop):
    """The loop with more callbacks."""

    def watch(self, *callbacks):
        object.__setattr__(self, "more", callbacks)
        return self

    def _callbacks(self, *, quiet):
        return [*self.more, *super()._callbacks(quiet=quiet)]


def make_loop(run, splits, settings, *callbacks):
    """A loop that also leaves a checkpoint after each step, in the folder ``steps``."""
    lightning.seed_everything(settings.seed, verbose=False)
    train, val = splits
    backbone = create_backbone(settings.model)
    net = EmotionNet(backbone, classes=3, freeze="none")
    square = Preprocessing.of_backbone(timm.data.resolve_model_data_config(backbone), image_size=32, fit="pad")
    sampler = ClipSampler(
        train.clips,
        train.labels,
        frames_per_clip=settings.frames_per_clip,
        sampling=settings.sampling,
        seed=settings.seed,
    )
    each_step = ModelCheckpoint(
        run / "steps", "{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False
    )
    module = EmotionModule(net, EmotionLoss(), square, settings, val)
    return WatchedLoop(
        run=run,
        settings=settings,
        device="cpu",
        train=train,
        sampler=sampler,
        val=val,
        preprocessing=square,
        module=module,
    ).watch(*callbacks, each_step)


@pytest.fixture(scope="module")
def whole(splits, tmp_path_factory):
    """An unbroken training of three epochs, five steps each, with a checkpoint after each step."""
    run = tmp_path_factory.mktemp("whole")
    watched = Watched()
    loop = make_loop(run, splits, QUICK, watched)
    loop.fit(None, quiet=True)
    return loop, watched


def test_an_epoch_shows_the_samplers_rows(whole):
    loop, watched = whole
    assert len(loop.sampler) == 24
    for epoch in range(3):
        assert [len(batch) for batch in watched.rows[epoch]] == [5, 5, 5, 5, 4]
        assert list(itertools.chain(*watched.rows[epoch])) == loop.sampler.rows(epoch).tolist()


def test_weights_count_only_where_every_frame_is_shown(splits, tmp_path):
    train, val = splits
    uneven = np.linspace(0.5, 1.5, len(train)).astype(np.float32)
    for k, expected in ((0, set(uneven.tolist())), (2, {1.0})):
        watched = Watched()
        settings = replace(QUICK, frames_per_clip=k, epochs=1)
        make_loop(tmp_path / str(k), (replace(train, weights=uneven), val), settings, watched).fit(None, quiet=True)
        assert watched.weights == expected


@elsewhere
@pytest.mark.parametrize("steps", [1, 4, 5, 7, 10, 12])
def test_a_training_goes_on_with_the_next_batch(whole, splits, tmp_path, steps):
    # The checkpoint may be of the middle of an epoch or of its last step, of the first epoch or of a later one.
    loop, unbroken = whole
    again = Watched()
    make_loop(tmp_path, splits, QUICK, again).fit(loop.run / "steps" / f"step={steps}.ckpt", quiet=True)
    before, after = (
        [(epoch, batch) for epoch, found in watched.rows.items() for batch in found] for watched in (unbroken, again)
    )
    assert after == before[steps:]


def test_a_training_that_was_switched_off_shows_each_row_of_an_epoch_once(whole, splits, tmp_path):
    loop, _ = whole
    first, second = Watched(stop_after=8), Watched()
    with pytest.raises(SwitchedOffError):
        make_loop(tmp_path, splits, QUICK, first).fit(None, quiet=True)
    make_loop(tmp_path, splits, QUICK, second).fit(tmp_path / "steps" / "step=8.ckpt", quiet=True)
    for epoch in range(3):
        shown = list(itertools.chain(*first.rows[epoch], *second.rows[epoch]))
        assert shown == loop.sampler.rows(epoch).tolist()
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert all(row["pictures_per_second"] > 0 for row in rows)


def test_a_training_goes_on_with_the_next_epoch_after_a_complete_one(splits, tmp_path):
    first, second = Watched(stop_after=10), Watched()
    with pytest.raises(SwitchedOffError):
        make_loop(tmp_path, splits, QUICK, first).fit(None, quiet=True)
    loop = make_loop(tmp_path, splits, QUICK, second)
    loop.fit(tmp_path / "checkpoints" / "last.ckpt", quiet=True)
    assert list(second.rows) == [2]
    assert list(itertools.chain(*second.rows[2])) == loop.sampler.rows(2).tolist()


@elsewhere
@pytest.mark.parametrize(
    ("changed", "message"),
    [({"batch_size": 6}, "the batch size was 5 and is 6"), ({"sampling": "sqrt"}, "the order of pictures was")],
)
def test_other_settings_do_not_continue_an_epoch(whole, splits, tmp_path, changed, message):
    loop, _ = whole
    with pytest.raises(UserError, match=message):
        make_loop(tmp_path, splits, replace(QUICK, **changed)).fit(loop.run / "steps" / "step=7.ckpt", quiet=True)


def test_a_checkpoint_holds_the_place_in_plain_values(whole):
    loop, _ = whole
    checkpoint = torch.load(loop.run / "steps" / "step=7.ckpt", weights_only=True)
    assert checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] == [
        {"epoch": 1, "batches": 2, "order": loop.sampler.fingerprint, "batch_size": 5, "processes": 1}
    ]
