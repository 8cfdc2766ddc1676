"""Each mistake of the notes that petmood starts from, planted by itself: the doctor catches it and names it.

1 pixels scaled twice, or otherwise in training than in prediction · 2 batches of one class · 3 class numbers that
differ between two sides · 4 a score below the majority · 5 prediction without the crop · 6 up-down flips, inverse-
frequency weights, single precision, whole pictures decoded in every epoch.
"""

import dataclasses
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from torchvision.transforms import v2

from fixtures.workspaces import make_workspace
from petmood.bundle import load_bundle, save_bundle
from petmood.cli import run as petmood
from petmood.doctor.diagnose import diagnose
from petmood.doctor.inputs import check_augmentation, check_input_range, judge_decoding
from petmood.doctor.learning import check_loss_weights
from petmood.doctor.machine import judge_precision
from petmood.doctor.mixing import check_batch_mixing
from petmood.doctor.work import opened
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.recipes.doctor import DoctorSettings
from petmood.sampling import ClipSampler
from petmood.settings import to_plain
from petmood.train import train
from petmood.workspace import Workspace, read_json, write_json, write_table

SMALL = TrainSettings(
    model="test_efficientnet",
    image_size=48,
    pretrained="none",
    epochs=8,
    patience=8,
    batch_size=16,
    frames_per_clip=0,
    learning_rate=4e-3,
    device="cpu",
    threads=1,
)

WORDS = [
    "--model=test_efficientnet",
    "--image-size=48",
    "--pretrained=none",
    "--frames-per-clip=0",
    "--batch-size=4",
    "-q",
]

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """A work folder with a run that has learnt something; no test changes it."""
    workspace = make_workspace(tmp_path_factory.mktemp("six") / "work", clips_per_class=30, sources=True)
    train(workspace, "run", SMALL, quiet=True)
    return workspace


@pytest.fixture
def run(healthy, tmp_path):
    """A copy of that run in a copy of its work folder, to plant a mistake in."""
    root = tmp_path / "work"
    shutil.copytree(healthy.root, root)
    return root / "runs" / "run"


@pytest.fixture
def work(healthy):
    with opened(healthy, SMALL, brief=True) as found:
        yield found


def planted(work, **changes):
    """The same training with something else in its loop."""
    return dataclasses.replace(work, loop=dataclasses.replace(work.loop, **changes))


def asked(folder, *names):
    """Checks of a folder by name."""
    found = diagnose(folder, DoctorSettings(only=",".join(names)), SMALL, quiet=True)
    return {check.name: check for check in found.checks}


def saved_again(run, **changes):
    """The model of a run, saved anew with something else."""
    bundle = load_bundle(run)
    info = bundle.info
    usual = {
        "model": info.model,
        "classes": info.classes,
        "preprocessing": info.preprocessing,
        "settings": info.settings,
        "epoch": info.epoch,
        "scores": info.scores,
        "shares": info.shares,
    }
    save_bundle(run, bundle.net, Workspace.open(run.parent.parent), **{**usual, **changes})


def test_a_healthy_run_passes_every_check(run):
    found = diagnose(run, quiet=True)
    assert not [check for check in found.checks if check.verdict == "fail"]
    assert {check.name for check in found.checks if check.verdict == "ok"} >= {
        *("bundle", "input-range", "same-input", "same-scores", "beats-majority", "permuted-classes", "one-class"),
        *("never-learnt", "diverged", "data-unchanged"),
    }


def test_a_healthy_training_passes_the_checks_of_its_input(work):
    checks = [check(work) for check in (check_input_range, check_augmentation, check_batch_mixing)]
    assert [check.verdict for check in checks] == ["ok", "ok", "ok"]


# 1 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class DividedTwice(Preprocessing):
    def normalise(self, batch):
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (batch.float() / 255 / 255 - mean) / std


class NeverDivided(Preprocessing):
    def normalise(self, batch):
        return batch.float()


class BlueFirst(Preprocessing):
    def normalise(self, batch):
        return super().normalise(batch.flip(1))


@pytest.mark.parametrize(
    ("kind", "named"),
    [(DividedTwice, "scaled twice"), (NeverDivided, "not scaled"), (BlueFirst, "red and blue are exchanged")],
)
def test_1_pixels_that_enter_otherwise_than_the_backbone_expects(work, kind, named):
    wrong = kind(**to_plain(work.loop.preprocessing))
    check = check_input_range(planted(work, preprocessing=wrong))
    assert check.verdict == "fail"
    assert named in check.evidence
    assert "once" in check.remedy


def test_1_a_model_that_was_saved_with_another_scaling_than_it_was_trained_with(run):
    before = asked(run, "input-range", "same-scores")
    assert {check.verdict for check in before.values()} == {"ok"}
    was = load_bundle(run).info.preprocessing
    twice = dataclasses.replace(
        was, mean=tuple(value / 255 for value in was.mean), std=tuple(value / 255 for value in was.std)
    )
    saved_again(run, preprocessing=twice)
    found = asked(run, "bundle", "input-range", "same-scores")
    assert found["input-range"].verdict == "fail"
    assert "not scaled" in found["input-range"].evidence
    assert found["same-scores"].verdict == "fail"


def test_1_a_model_whose_preprocessing_was_changed_afterwards(run):
    content = read_json(run / "bundle.json")
    content["preprocessing"]["mean"] = [0.0, 0.0, 0.0]
    write_json(run / "bundle.json", content)
    found = asked(run, "bundle", "same-input")
    assert found["bundle"].verdict == "fail"
    assert "answers its test picture differently" in found["bundle"].evidence
    assert found["same-input"].verdict == "skipped"


# 2 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


class SourceOrder(ClipSampler):
    """Rows as the source has them: class by class, clip by clip."""

    def rows(self, epoch):
        return np.sort(super().rows(epoch))


class ShuffledWithinTenBatches(SourceOrder):
    """As the notes did it (tf.data's shuffle with a small buffer)."""

    def rows(self, epoch):
        rows = super().rows(epoch)
        generator = np.random.default_rng(epoch)
        parts = [generator.permutation(rows[start : start + 40]) for start in range(0, len(rows), 40)]
        return np.concatenate(parts)


@pytest.mark.parametrize("kind", [SourceOrder, ShuffledWithinTenBatches])
def test_2_batches_of_nearly_one_class(work, kind):
    samples = work.loop.train
    sampler = kind(samples.clips, samples.labels, frames_per_clip=0)
    settings = dataclasses.replace(work.loop.settings, batch_size=4)
    check = check_batch_mixing(planted(work, sampler=sampler, settings=settings))
    assert check.verdict == "fail"
    assert "shuffle the whole epoch" in check.remedy
    assert check_batch_mixing(planted(work, settings=settings)).verdict == "ok"


# 3 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_3_answers_whose_class_numbers_are_others_than_those_of_the_labels(run):
    net = load_bundle(run).net
    with torch.no_grad():  # trained with numbers by the order of appearance: angry 0, happy 1, calm 2
        for parameter in (net.classifier.weight, net.classifier.bias):
            parameter.copy_(parameter[[1, 2, 0]].clone())
    info = load_bundle(run).info
    save_bundle(
        run,
        net,
        Workspace.open(run.parent.parent),
        model=info.model,
        classes=info.classes,
        preprocessing=info.preprocessing,
        settings=info.settings,
        epoch=info.epoch,
        scores=info.scores,
    )
    found = asked(run, "permuted-classes", "same-scores")
    assert found["permuted-classes"].verdict == "fail"
    assert "happy →" in found["permuted-classes"].evidence
    assert "number" in found["permuted-classes"].remedy
    assert found["same-scores"].verdict == "fail"


def test_3_a_work_folder_whose_classes_are_in_another_order_than_the_models(run):
    mark = run.parent.parent / "index.json"
    content = read_json(mark)
    content["counts"]["classes"] = ["calm", "happy", "angry"]
    write_json(mark, content)
    check = asked(run, "bundle")["bundle"]
    assert check.verdict == "fail"
    assert "the work folder has the classes calm, happy, angry; the model happy, calm, angry" in check.evidence


# 4 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_4_a_score_below_the_majority(run):
    workspace = Workspace.open(run.parent.parent)
    frames = workspace.read_frames()
    number = pl.col("clip").str.extract(r"(\d+)$").cast(pl.Int32)
    write_table(frames.with_columns(keep=(pl.col("emotion") == "calm") | (number < 4)), workspace.frames)
    (run / "metrics.csv").unlink()
    saved_again(run, scores={"val_loss": 1.2, "val_accuracy": 0.498, "val_clip_macro_f1": 0.11})
    check = asked(run, "beats-majority")["beats-majority"]
    assert check.verdict == "fail"
    assert "0.498 of validation are right; always answering 'calm' gives 0.714" in check.evidence
    assert "0 is not the score to beat" in check.remedy


# 5 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_5_a_model_whose_pictures_were_cut_otherwise_than_those_of_its_work_folder(run):
    content = read_json(run / "bundle.json")
    content["geometry"]["margin"] = 0.9
    write_json(run / "bundle.json", content)
    check = asked(run, "same-input")["same-input"]
    assert check.verdict == "fail"
    assert "margin 0.9" in check.evidence
    assert "margin 0.1" in check.evidence


def test_5_boxes_that_point_elsewhere_than_where_the_crops_were_cut(run):
    workspace = Workspace.open(run.parent.parent)
    corner = {"x": 0, "y": 0, "width": 12, "height": 12}
    write_table(
        workspace.read_frames().with_columns(**{k: pl.lit(v, pl.Int32) for k, v in corner.items()}), workspace.frames
    )
    check = asked(run, "same-input")["same-input"]
    assert check.verdict == "fail"
    assert "probabilities differ" in check.evidence


# 6 ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_6_up_down_flips(work):
    work.loop.module.augmentation.changes = _Each(v2.RandomVerticalFlip())
    check = check_augmentation(work)
    assert check.verdict == "fail"
    assert "up-down flips" in check.evidence


class _Each:
    """A change that is drawn anew for each picture."""

    def __init__(self, change):
        self.change = change

    def __call__(self, pixels):
        return torch.stack([self.change(picture) for picture in pixels])


def test_6_inverse_frequency_weights_at_a_large_imbalance(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=40, frames_per_clip=1, size=32)
    frames = workspace.read_frames()
    number = pl.col("clip").str.extract(r"(\d+)$").cast(pl.Int32)
    rare = (pl.col("emotion") == "calm") | ((pl.col("split") == "train") & (number == 0)) | (pl.col("split") != "train")
    write_table(frames.with_columns(keep=rare), workspace.frames)
    heavy = dataclasses.replace(SMALL, class_weights="balanced", loss="cross_entropy")
    with opened(workspace, heavy, brief=True) as work:
        check = check_loss_weights(work)
    assert check.verdict == "warn"
    assert "balanced softmax" in check.remedy
    with opened(workspace, SMALL, brief=True) as work:
        assert check_loss_weights(work).verdict == "ok"


def test_6_single_precision_on_a_gpu():
    assert judge_precision(dataclasses.replace(SMALL, precision="32"), "cuda").verdict == "warn"
    assert judge_precision(SMALL, "cuda").verdict == "ok"
    assert judge_precision(SMALL, "cpu").verdict == "ok"


def test_6_whole_pictures_decoded_in_every_epoch():
    whole = judge_decoding(1080, 1920 * 1080, 1920 * 1080, 224)
    assert whole.verdict == "warn"
    assert "petmood pack WORK --shorter-side 258" in whole.remedy
    small = judge_decoding(256, 256 * 320, 1920 * 1080, 224)
    assert small.verdict == "ok"
    assert "25.3 times fewer pixels" in small.evidence


def test_a_training_with_a_planted_mistake_is_not_begun(healthy, capsys, monkeypatch):
    monkeypatch.setattr(ClipSampler, "rows", lambda self, epoch: np.sort(self._rows))
    code = petmood(["train", str(healthy.root), "--name", "planted", *WORDS])
    told = capsys.readouterr().err
    assert code == 2
    assert "it would fail or lie: batch-mixing" in told
    assert "--no-doctor" in told
    assert not (healthy.runs / "planted").exists()
