"""Pixels to network input: geometry of the three fits, scaling exactly once, and what augmentation may change."""

import numpy as np
import pytest
import torch

from petmood.preprocess import Augmentation, Preprocessing
from petmood.settings import build, to_plain


def preprocessing(*, fit="pad", size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5)):
    return Preprocessing(image_size=size, mean=mean, std=std, interpolation="bicubic", fit=fit)


def plain(height, width, value=200):
    return np.full((height, width, 3), value, np.uint8)


def test_pad_keeps_the_whole_body_and_its_proportions():
    square = preprocessing().prepare(plain(40, 80))
    assert square.shape == (32, 32, 3)
    assert (square[8:24] == 200).all()
    border = np.concatenate([square[:8], square[24:]])
    assert (border == [128, 102, 76]).all()  # the mean colour, which normalises to about zero


def test_squash_fills_the_square():
    assert (preprocessing(fit="squash").prepare(plain(40, 80)) == 200).all()


def test_crop_takes_the_middle():
    picture = plain(40, 80)
    picture[:, :20] = picture[:, 60:] = 0
    assert (preprocessing(fit="crop").prepare(picture) == 200).all()


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (7, 5), (32, 32), (256, 301)])
def test_any_size_becomes_the_square(fit, shape):
    square = preprocessing(fit=fit).prepare(plain(*shape))
    assert square.shape == (32, 32, 3)
    assert square.dtype == np.uint8


def test_normalise_scales_once():
    batch = torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    result = preprocessing().normalise(batch)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result[0, :, 0, 0], torch.tensor([(1 - 0.5) / 0.2, (1 - 0.4) / 0.25, (1 - 0.3) / 0.5]))


def test_normalise_keeps_channels_last():
    batch = torch.zeros((2, 4, 4, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
    assert preprocessing().normalise(batch).is_contiguous(memory_format=torch.channels_last)


def test_pixels_that_were_scaled_before_are_refused():
    # The notes' first mistake: divided by 255 before a network that rescales by itself.
    with pytest.raises(TypeError, match=r"pixels are float32; uint8 from 0 to 255 is expected"):
        preprocessing().prepare(plain(8, 8).astype(np.float32) / 255)
    with pytest.raises(TypeError, match=r"batch is torch.float32; uint8 from 0 to 255 is expected"):
        preprocessing().normalise(torch.zeros(1, 3, 8, 8))


def test_it_survives_a_file():
    value = preprocessing(fit="crop")
    assert build(Preprocessing, to_plain(value), where="file") == value


def test_it_comes_from_the_backbone():
    config = {"input_size": (3, 160, 160), "mean": (0.5,) * 3, "std": (0.4,) * 3, "interpolation": "bilinear"}
    own = Preprocessing.of_backbone(config, image_size=0, fit="pad")
    assert (own.image_size, own.mean, own.std, own.interpolation) == (160, (0.5,) * 3, (0.4,) * 3, "bilinear")
    assert Preprocessing.of_backbone(config, image_size=96, fit="pad").image_size == 96


def ramp(height=60, width=90):
    rows = np.linspace(0, 255, height).astype(np.uint8)
    columns = np.linspace(0, 255, width).astype(np.uint8)
    blank = np.zeros((height, width), np.uint8)
    return np.stack([blank + rows[:, None], blank + columns[None, :], blank], axis=-1)


def test_augmentation_never_turns_a_picture_upside_down():
    change = Augmentation(horizontal_flip=True, min_scale=0.7)
    mirrored = 0
    for seed in range(60):
        seen = change.apply(ramp(), np.random.default_rng(seed))
        assert seen[-1, 0, 0] > seen[0, 0, 0]  # the upper side stays up
        mirrored += seen[0, 0, 1] > seen[0, -1, 1]
    assert 15 < mirrored < 45


def test_a_random_window_keeps_most_of_the_body():
    change = Augmentation(horizontal_flip=False, min_scale=0.7)
    shapes = [change.apply(ramp(), np.random.default_rng(seed)).shape for seed in range(60)]
    areas = np.array([height * width for height, width, _ in shapes]) / (60 * 90)
    stretch = np.array([width / height for height, width, _ in shapes]) / 1.5
    assert areas.min() > 0.66
    assert areas.max() <= 1
    assert len(set(shapes)) > 20
    assert 0.85 < stretch.min() < stretch.max() < 1.18


def test_no_augmentation_changes_nothing():
    change = Augmentation(horizontal_flip=False, min_scale=1.0)
    assert np.array_equal(change.apply(ramp(), np.random.default_rng(0)), ramp())
