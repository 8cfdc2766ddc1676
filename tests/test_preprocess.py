"""Pixels to network input: geometry of the three fits, scaling exactly once, and what augmentation may change."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from petmood.preprocess import DRAWS, Augmentation, Preprocessing, View, random_draws
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


def draws(seed):
    return np.random.default_rng(seed).random(DRAWS).tolist()


def shown(change, seed, size=64):
    """What the network sees of the ramp with one change."""
    view = change.view(60, 90, draws(seed))
    square = np.empty((size, size, 3), np.uint8)
    preprocessing(fit="squash", size=size).paint(square, view.of(ramp()), mirrored=view.mirrored)
    return square


def test_augmentation_never_turns_a_picture_upside_down():
    change = Augmentation(horizontal_flip=True, min_scale=0.7)
    mirrored = 0
    for seed in range(60):
        seen = shown(change, seed)
        assert seen[-1, 0, 0] > seen[0, 0, 0]  # the upper side stays up
        mirrored += seen[0, 0, 1] > seen[0, -1, 1]
    assert 15 < mirrored < 45


def test_a_random_window_keeps_most_of_the_body():
    change = Augmentation(horizontal_flip=False, min_scale=0.7)
    views = [change.view(60, 90, draws(seed)) for seed in range(60)]
    areas = np.array([view.height * view.width for view in views]) / (60 * 90)
    stretch = np.array([view.width / view.height for view in views]) / 1.5
    assert areas.min() > 0.66
    assert areas.max() <= 1
    assert len({(view.height, view.width) for view in views}) > 20
    assert 0.85 < stretch.min() < stretch.max() < 1.18
    assert not any(view.mirrored for view in views)


def test_no_augmentation_changes_nothing():
    view = Augmentation(horizontal_flip=False, min_scale=1.0).view(60, 90, draws(0))
    assert view == View(0, 0, 60, 90, False)
    assert np.array_equal(view.of(ramp()), ramp())


@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    numbers=st.lists(st.floats(0, 1, exclude_max=True), min_size=DRAWS, max_size=DRAWS),
    reduction=st.sampled_from([1, 2, 4, 8]),
    least=st.floats(0.01, 1),
)
def test_a_view_lies_within_the_picture_also_where_it_was_decoded_smaller(height, width, numbers, reduction, least):
    view = Augmentation(horizontal_flip=True, min_scale=least).view(height, width, numbers)
    assert 0 <= view.top < view.top + view.height <= height
    assert 0 <= view.left < view.left + view.width <= width
    smaller = np.zeros((-(-height // reduction), -(-width // reduction), 3), np.uint8)
    part = view.of(smaller, reduction)
    assert abs(part.shape[0] - view.height / reduction) <= 1.5
    assert abs(part.shape[1] - view.width / reduction) <= 1.5
    assert min(part.shape) >= 1


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
@pytest.mark.parametrize("size", [32, 90, 200])
@pytest.mark.parametrize("rough", [False, True])
def test_a_mirrored_square_is_the_square_mirrored(fit, size, rough):
    prepare = preprocessing(fit=fit, size=size)
    plain_square, mirrored = np.empty((2, size, size, 3), np.uint8)
    prepare.paint(plain_square, ramp(), rough=rough)
    prepare.paint(mirrored, ramp(), mirrored=True, rough=rough)
    assert np.array_equal(mirrored[:, ::-1], plain_square)
    if not rough:
        assert np.array_equal(prepare.prepare(ramp()), plain_square)


def test_painting_leaves_nothing_of_what_was_there():
    for shape in ((40, 80, 3), (80, 40, 3), (32, 32, 3), (3, 90, 3)):
        over = np.full((32, 32, 3), 255, np.uint8)
        preprocessing().paint(over, np.zeros(shape, np.uint8))
        assert np.array_equal(over, preprocessing().prepare(np.zeros(shape, np.uint8)))


def test_rough_shrinking_is_close_to_averaging():
    square, rough = np.empty((2, 32, 32, 3), np.uint8)
    preprocessing().paint(square, ramp())
    preprocessing().paint(rough, ramp(), rough=True)
    assert np.abs(square.astype(int) - rough).max() <= 4


@pytest.mark.parametrize(
    ("fit", "height", "width", "expected"),
    [
        ("pad", 40, 31, (1, True)),
        ("pad", 63, 63, (1, True)),
        ("pad", 64, 40, (2, True)),
        ("pad", 300, 20, (8, True)),
        ("squash", 300, 64, (2, True)),  # not one side may be decoded too small
        ("crop", 130, 300, (4, True)),
        ("pad", 32, 32, (1, False)),
        ("squash", 300, 20, (1, False)),
    ],
)
def test_a_picture_is_decoded_no_smaller_than_the_square_needs(fit, height, width, expected):
    assert preprocessing(fit=fit).reduction(height, width) == expected
    assert preprocessing(fit=fit).reduction(width, height) == expected


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 7), st.integers(0, 2**40), st.integers(0, 500))
def test_random_numbers_follow_from_the_place_alone(start, count, step, seed, epoch):
    stop = start + step * (count - 1) + 1
    some = random_draws(seed, epoch, range(start, stop, step))
    assert some == random_draws(seed, epoch, range(stop))[start::step]
    assert all(len(numbers) >= DRAWS and 0 <= min(numbers) <= max(numbers) < 1 for numbers in some)


def test_random_numbers_of_other_places_epochs_and_seeds_differ():
    found = [tuple(numbers[:DRAWS]) for key in ((0, 0), (0, 1), (1, 0)) for numbers in random_draws(*key, range(300))]
    assert len(set(found)) == 900
    assert np.abs(np.mean(found, axis=0) - 0.5).max() < 0.05
    assert np.abs(np.corrcoef(np.array(found).T) - np.eye(DRAWS)).max() < 0.12
