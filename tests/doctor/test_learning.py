"""Whether the network learns: wrong wiring, weights that are no numbers and unlearnable batches are seen."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from fixtures.workspaces import make_workspace
from petmood.crops import CROP_SCHEMA
from petmood.doctor.learning import (
    check_gradients,
    check_learning_rate,
    check_one_batch,
    check_start_loss,
    judge_rate,
    judge_weights,
)
from petmood.doctor.trial import frozen_tensors
from petmood.doctor.work import opened, some_rows
from petmood.recipes import TrainSettings
from petmood.workspace import read_table, write_table

SMALL = TrainSettings(
    model="test_efficientnet",
    image_size=32,
    pretrained="none",
    batch_size=8,
    frames_per_clip=0,
    learning_rate=4e-3,
    device="cpu",
    threads=1,
)

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return make_workspace(tmp_path_factory.mktemp("learning") / "work", clips_per_class=12)


@pytest.fixture
def work(workspace):
    with opened(workspace, SMALL, brief=True) as found:
        yield found


def frozen(workspace, freeze):
    return opened(workspace, dataclasses.replace(SMALL, freeze=freeze), brief=True)


def test_a_new_head_prefers_no_class(work):
    check = check_start_loss(work)
    assert check.verdict == "ok"
    assert check.numbers["ignorant"] == pytest.approx(math.log(3), abs=0.1)


@pytest.mark.parametrize(("loss", "weights"), [("cross_entropy", "balanced"), ("focal", "none")])
def test_the_expected_first_loss_follows_loss_and_weights(workspace, loss, weights):
    with opened(workspace, dataclasses.replace(SMALL, loss=loss, class_weights=weights), brief=True) as work:
        check = check_start_loss(work)
    assert check.verdict == "ok"
    if loss == "focal":
        assert check.numbers["ignorant"] == pytest.approx(math.log(3) * (2 / 3) ** 2, rel=0.2)


def test_a_head_with_a_wrong_scale_starts_with_a_loss_that_is_too_high(work):
    with torch.no_grad():
        work.loop.module.net.classifier.weight.mul_(100)
    check = check_start_loss(work)
    assert check.verdict == "fail"
    assert "should prefer no class" in check.remedy


def test_looking_changes_nothing(work):
    before = {name: value.clone() for name, value in work.loop.module.net.state_dict().items()}
    check_gradients(work)
    check_one_batch(work)
    after = work.loop.module.net.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert work.loop.settings.batch_size == SMALL.batch_size


@pytest.mark.parametrize("freeze", ["none", "stem", "all-but-last-block", "backbone"])
def test_each_way_of_freezing_is_wired_as_it_says(workspace, freeze):
    with frozen(workspace, freeze) as work:
        check = check_gradients(work)
    assert check.verdict == "ok", check.evidence


@pytest.mark.parametrize("freeze", ["stem", "all-but-last-block", "backbone"])
def test_a_part_that_was_thawed_by_hand_is_named(workspace, freeze):
    with frozen(workspace, freeze) as work:
        work.loop.module.net.backbone.conv_stem.weight.requires_grad_(True)
        check = check_gradients(work)
    assert check.verdict == "fail"
    assert "backbone.conv_stem.weight" in check.evidence
    assert f"--freeze {freeze}" in check.evidence


def test_norms_that_forget_that_they_are_frozen_are_named(workspace):
    with frozen(workspace, "backbone") as work:
        work.loop.module.net.freeze = "stem"  # so that train() wakes the later ones up
        names = frozen_tensors(work.loop.module.net)
        assert "backbone.bn1.running_mean" in names
        work.loop.module.net.freeze = "none"
        work.loop.module.net.train()
        work.loop.module.net.freeze = "backbone"
        check = check_gradients(work)
    assert check.verdict == "fail"
    assert "running_mean" in check.evidence


class Detached(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images).detach()


def test_features_that_are_detached_are_seen(work):
    net = work.loop.module.net
    net.backbone.blocks = nn.Sequential(Detached(net.backbone.blocks))
    check = check_gradients(work)
    assert check.verdict == "fail"
    assert "get no gradient though they should be trained" in check.evidence


class Endless(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * math.inf


def test_gradients_that_are_no_numbers_are_named(work):
    net = work.loop.module.net
    net.norm.register_forward_hook(lambda module, inputs, output: Endless.apply(output))
    check = check_gradients(work)
    assert check.verdict == "fail"
    assert "no finite numbers" in check.evidence
    assert "--learning-rate" in check.remedy


def test_a_batch_is_learnt_by_heart(work):
    check = check_one_batch(work)
    assert check.verdict == "ok"
    assert check.numbers["right"] == 1


def test_pictures_that_are_all_the_same_cannot_be_learnt(tmp_path):
    workspace = make_workspace(tmp_path / "work", clips_per_class=12)
    path = workspace.crops / "crops.parquet"
    crops = read_table(path)
    same = {name: crops[name][0] for name in ("offset", "size", "width", "height")}
    types = {name: CROP_SCHEMA[name] for name in same}
    write_table(crops.with_columns(**{name: pl.lit(value, types[name]) for name, value in same.items()}), path)
    with opened(workspace, SMALL, brief=True) as work:
        check = check_one_batch(work)
    assert check.verdict == "fail"
    assert check.numbers["right"] < 0.6
    assert "contradicting labels" in check.remedy


def test_a_batch_to_learn_has_all_classes_in_turn(work):
    samples = work.loop.train
    rows = some_rows(samples, 7)
    assert np.bincount(samples.labels[rows]).tolist() in ([3, 2, 2], [2, 3, 2], [2, 2, 3])
    assert len({samples.clips[row] for row in rows}) == 7


def test_the_learning_rate_of_the_notes_is_far_from_what_is_found(workspace):
    with opened(workspace, dataclasses.replace(SMALL, learning_rate=5e-6), brief=True) as work:
        check = check_learning_rate(work)
    assert check.verdict in {"warn", "skipped"}  # a slow machine has no time for it
    if check.verdict == "warn":
        assert "times less" in check.evidence
        assert "learns nothing for hours" in check.remedy


@pytest.mark.parametrize(("rate", "verdict"), [(1e-3, "ok"), (5e-3, "ok"), (5e-6, "warn"), (0.5, "warn")])
def test_a_rate_far_from_the_proposal_is_doubtful(rate, verdict):
    check = judge_rate(dataclasses.replace(SMALL, learning_rate=rate), 1e-3, steps=40)
    assert check.verdict == verdict


def test_weights_are_doubtful_only_where_they_are_large():
    heavy = dataclasses.replace(SMALL, class_weights="balanced")
    assert judge_weights(heavy, [285, 100, 1]).verdict == "warn"
    assert judge_weights(heavy, [30, 20, 10]).verdict == "ok"
    assert judge_weights(heavy, [30, 0, 10]).verdict == "ok"
    assert judge_weights(dataclasses.replace(heavy, sampling="balanced"), [285, 100, 1]).verdict == "ok"
    assert judge_weights(dataclasses.replace(SMALL, class_weights="sqrt"), [285, 100, 1]).verdict == "ok"
