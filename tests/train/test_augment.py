"""Random changes on the device: what each does to pictures, targets and weights, and where its chance comes from."""

import itertools
import random

import numpy as np
import pytest
import torch

from petmood.loading import Batch
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.train.augment import BatchAugmentation

SQUARE = Preprocessing(image_size=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2), interpolation="bilinear", fit="pad")
CLASSES = 4
EVERYTHING = {"rand_augment": 9, "random_erasing": 0.5, "mixup": 0.4, "cutmix": 1.0}

torch.set_num_threads(1)


def batch(count=16, *, alike=False):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1 if alike else count, 32, 32, 3), dtype=torch.uint8, generator=generator)
    pixels = pixels.expand(count, -1, -1, -1).permute(0, 3, 1, 2)
    return Batch(pixels, torch.arange(count) % CLASSES, torch.linspace(0.5, 2, count), torch.arange(count), count)


def shown(given, *, seed=0, **options):
    torch.manual_seed(seed)
    random.seed(seed)
    return BatchAugmentation(TrainSettings(**options), SQUARE, classes=CLASSES)(given)


def test_nothing_is_changed_unless_it_is_asked_for():
    given = batch()
    images, targets, weights = shown(given)
    assert torch.equal(images, SQUARE.normalise(given.pixels))
    assert targets is given.labels
    assert weights is given.weights


@pytest.mark.parametrize("options", [{name: value} for name, value in EVERYTHING.items()] + [EVERYTHING], ids=str)
def test_the_loaders_pixels_stay_as_they_are_and_what_is_shown_is_usable(options):
    given = batch()
    before = given.pixels.clone()
    images, targets, weights = shown(given, **options)
    assert torch.equal(given.pixels, before)
    assert (images.dtype, images.shape) == (torch.float32, (16, 3, 32, 32))
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(images, SQUARE.normalise(before))
    assert len(targets) == len(weights) == 16


@pytest.mark.parametrize("options", [{name: value} for name, value in EVERYTHING.items()] + [EVERYTHING], ids=str)
def test_the_seed_decides_everything(options):
    given = batch()
    one, again, other = (shown(given, seed=seed, **options) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not torch.equal(one.images, other.images)


# RandAugment


def test_pictures_of_a_batch_are_changed_in_several_ways():
    images = shown(batch(32, alike=True), rand_augment=9).images
    ways = {image.numpy().tobytes() for image in images}
    assert 1 < len(ways) <= 4


def test_the_magnitude_matters():
    # Half black, half white: all that moves or dims it shows.
    given = batch(400, alike=True)
    pixels = torch.zeros(400, 3, 32, 32, dtype=torch.uint8)
    pixels[:, :, 16:] = 255
    given = given._replace(pixels=pixels)
    plain = SQUARE.normalise(pixels)
    small, large = (float((shown(given, rand_augment=m).images - plain).abs().mean()) for m in (2, 20))
    assert 0 < small < large / 2


def test_no_animal_is_turned_on_its_head():
    transform = BatchAugmentation(TrainSettings(rand_augment=30), SQUARE, classes=CLASSES).changes
    shapes = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}
    colours = {"Brightness", "Color", "Contrast", "Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"}
    assert set(transform._AUGMENTATION_SPACE) == shapes | colours | {"Identity"}
    pixels = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    pixels[:, :, 16:] = 255  # white below
    rows = torch.arange(32.0)[:, None]
    for one, other in itertools.product(shapes, repeat=2):
        for signs in itertools.product((1, -1), repeat=2):
            image = pixels
            for name, sign in zip((one, other), signs, strict=True):
                largest = sign * float(transform._AUGMENTATION_SPACE[name][0](31, 32, 32)[30])
                arguments = transform.interpolation, transform._fill
                image = transform._apply_image_or_video_transform(image, name, largest, *arguments)
            white, black = (image[0, 0] > 200).float(), (image[0, 0] < 20).float()
            if white.sum() > 9 and black.sum() > 9:  # else: moved out of the picture
                assert (white * rows).sum() / white.sum() > (black * rows).sum() / black.sum(), (one, other, signs)


def test_two_turns_together_are_30_degrees_at_most():
    transform = BatchAugmentation(TrainSettings(rand_augment=30), SQUARE, classes=CLASSES).changes
    degrees, _ = transform._AUGMENTATION_SPACE["Rotate"]
    assert transform.num_ops * float(degrees(31, 32, 32).max()) <= 30


def test_what_turning_leaves_blank_is_the_mean_colour():
    transform = BatchAugmentation(TrainSettings(rand_augment=30), SQUARE, classes=CLASSES).changes
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    turned = transform._apply_image_or_video_transform(white, "Rotate", 30.0, transform.interpolation, transform._fill)
    corner = SQUARE.normalise(turned)[0, :, 0, 0]
    assert corner.abs().max() < 0.02


# Random erasing


def test_a_share_of_the_pictures_has_one_blank_rectangle():
    given = batch(400)._replace(pixels=torch.full((400, 3, 32, 32), 200, dtype=torch.uint8))
    images = shown(given, random_erasing=0.25).images
    blank = (images == 0).all(dim=1)
    erased = blank.flatten(1).any(dim=1)
    assert 0.17 < float(erased.float().mean()) < 0.33
    for mask in blank[erased][:20]:
        rows, columns = mask.any(dim=1).nonzero().squeeze(1), mask.any(dim=0).nonzero().squeeze(1)
        assert mask.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        assert 0.01 < float(mask.float().mean()) < 0.4


# Mixing


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_targets_are_mixed_as_the_pictures_are(kind):
    given = batch(8)._replace(weights=torch.ones(8))
    pixels = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    pixels[::2] = 255
    images, targets, weights = shown(given._replace(pixels=pixels), **{kind: 1.0})
    plain = SQUARE.normalise(pixels)
    # Of a white picture beside a black one: how much of it is white?
    low, high = plain[1, 0].mean(), plain[0, 0].mean()
    share = (images[:, 0].mean(dim=(1, 2)) - low) / (high - low)
    own = targets[torch.arange(8), given.labels]
    expected = torch.where(torch.arange(8) % 2 == 0, own, 1 - own)
    torch.testing.assert_close(share, expected, atol=1e-5, rtol=0)
    assert 0 < float(own[0]) < 1
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))
    torch.testing.assert_close(weights, torch.ones(8))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_weights_are_mixed_with_the_targets(kind):
    given = batch(8)
    _, targets, weights = shown(given, **{kind: 1.0})
    others = given.weights.roll(1)
    own = targets[torch.arange(8), given.labels] * weights / given.weights
    torch.testing.assert_close(own, own[:1].expand(8))  # one share of mixing for the batch
    torch.testing.assert_close(weights, own * given.weights + (1 - own) * others)


def test_a_picture_without_weight_adds_nothing_to_a_mixture():
    given = batch(8)._replace(weights=torch.tensor([0.0, 1.0] * 4))
    _, targets, weights = shown(given, mixup=1.0)
    assert torch.isfinite(targets).all()
    torch.testing.assert_close(targets[1::2], torch.eye(CLASSES)[given.labels[1::2]])
    _, targets, weights = shown(given._replace(weights=torch.zeros(8)), mixup=1.0)
    assert torch.isfinite(targets).all()
    assert not weights.any()


def test_with_both_each_batch_has_one_of_them():
    pixels = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    pixels[0] = 255
    given = batch(2)._replace(pixels=pixels)
    plain = {round(float(value), 4) for value in SQUARE.normalise(pixels)[:, 0, 0, 0]}
    kinds = set()
    for seed in range(20):
        values = {
            round(float(value), 4) for value in shown(given, seed=seed, mixup=1.0, cutmix=1.0).images[:, 0].unique()
        }
        kinds.add("cutmix" if values <= plain else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_a_small_alpha_mixes_little():
    def evenness(alpha):
        found = [shown(batch(4), seed=seed, mixup=alpha).targets.max(dim=1).values.mean() for seed in range(60)]
        return float(np.mean(found))

    assert evenness(0.1) > evenness(5.0) + 0.1
