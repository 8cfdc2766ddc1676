"""What enters the network: the fault is named, sizes are told, and a top that is at the bottom is seen."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.doctor.inputs import check_decoding, check_input_range, input_fault, judge_decoding, upside_down
from petmood.doctor.work import opened
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.train.augment import BatchAugmentation

SMALL = TrainSettings(
    model="test_efficientnet", image_size=48, pretrained="none", batch_size=8, device="cpu", threads=1
)
PREPROCESSING = Preprocessing(
    image_size=48, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bicubic", fit="pad"
)

torch.set_num_threads(1)


def pictures(seed=0, count=8):
    """Normalised pictures with colours of their own: N × 3 × 16 × 16."""
    generator = np.random.default_rng(seed)
    colours = generator.uniform(0, 1, (count, 3, 1, 1))
    pixels = np.clip(colours + generator.normal(0, 0.1, (count, 3, 16, 16)), 0, 1)
    mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (PREPROCESSING.mean, PREPROCESSING.std))
    return (pixels - mean) / std


@given(st.integers(0, 1000), st.floats(0, 0.02))
def test_what_differs_by_rounding_is_right(seed, noise):
    right = pictures(seed)
    assert input_fault(right + noise, right) == ""


@given(st.integers(0, 1000))
def test_each_fault_has_its_name(seed):
    right = pictures(seed)
    assert "scaled twice" in input_fault(right / 255, right)
    assert "not scaled" in input_fault(right * 255, right)
    assert "exchanged" in input_fault(right[:, ::-1], right)
    assert "mean and deviation" in input_fault(right * 0.5 + 0.5, right)


def test_grey_pictures_have_nothing_to_exchange():
    grey = np.repeat(pictures()[:, :1], 3, axis=1)
    assert input_fault(grey, grey) == ""


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
def test_real_crops_enter_as_the_backbone_expects(tmp_path, fit):
    workspace = make_workspace(tmp_path / "work")
    with opened(workspace, dataclasses.replace(SMALL, fit=fit), brief=True) as work:
        check = check_input_range(work)
        assert check_decoding(work).verdict == "ok"
    assert check.verdict == "ok"
    assert check.numbers["backbone_size"] == 160


def test_a_picture_far_below_the_size_of_the_first_weights_is_told(tmp_path):
    workspace = make_workspace(tmp_path / "work")
    with opened(workspace, SMALL, brief=True) as work:
        check = check_input_range(dataclasses.replace(work, settings=dataclasses.replace(SMALL, pretrained="hub")))
    assert check.verdict == "warn"
    assert "48 px (the backbone's own: 160)" in check.evidence


@pytest.mark.parametrize(
    "changes",
    [
        {"rand_augment": 9},
        {"rand_augment": 30},
        {"mixup": 0.4, "cutmix": 1.0},
        {"random_erasing": 0.5},
        {"min_scale": 0.1},
    ],
)
def test_what_petmood_changes_leaves_animals_on_their_feet(changes):
    settings = dataclasses.replace(SMALL, **changes)
    change = BatchAugmentation(settings, PREPROCESSING, classes=3)
    assert upside_down(settings, PREPROCESSING, change) < 0.3


def test_the_doctors_draws_leave_those_of_the_training_alone():
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    settings = dataclasses.replace(SMALL, rand_augment=9)
    upside_down(settings, PREPROCESSING, BatchAugmentation(settings, PREPROCESSING, classes=3))
    assert torch.rand(1) == before


def test_a_source_that_does_not_say_how_large_its_pictures_are():
    check = judge_decoding(256, 70_000, 0, 224)
    assert check.verdict == "ok"
    assert "fewer pixels" not in check.evidence
