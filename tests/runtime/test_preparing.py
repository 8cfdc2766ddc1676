"""An exported file cuts and paints pictures as the rest of petmood does."""

import io

import numpy as np
import pytest
from PIL import Image

from petmood import media
from petmood.geometry import Box, CropGeometry
from petmood.pictures import BadPictureError
from petmood.preprocess import Preprocessing
from petmood.runtime.description import Description
from petmood.runtime.preparing import cut, prepare

GEOMETRY = CropGeometry(margin=0.1, shorter_side=64)


def scene(width, height, seed=0):
    """Smooth colours with an edge, as photos have them."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [127 + 100 * np.sin((rows * (2 + i) + columns * (3 - i)) / 40 + seed) for i in range(3)]
    pixels = np.stack(waves, axis=-1)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (220, 60, 30)
    return pixels.astype(np.uint8)


def saved(pixels, kind, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def described(**changed):
    usual = {
        "version": "0", "model": "m", "classes": ("happy", "calm"), "image_size": 48, "mean": (0.4, 0.5, 0.6),
        "interpolation": "bicubic", "fit": "pad", "geometry": GEOMETRY, "pool": "mean", "certainty": None,
    }  # fmt: skip
    return Description(**{**usual, **changed})


BOXES = [None, Box(10, 20, 120, 90), Box(-30, -10, 100, 80), Box(150, 100, 400, 400), Box(40, 40, 20, 300)]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("size", [(300, 200), (90, 60), (640, 480), (1200, 70)])
def test_crops_of_what_loses_nothing_are_the_same(size, box):
    data = saved(scene(*size), "PNG")
    try:
        expected = media.cut(data, box, GEOMETRY).pixels
    except BadPictureError as error:
        with pytest.raises(BadPictureError, match=error.reason):
            cut(data, box, GEOMETRY)
        return
    for picture in (data, scene(*size)):
        crop = cut(picture, box, GEOMETRY)
        assert crop.shape == expected.shape
        assert np.abs(crop.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(300, 200), (641, 483), (1300, 900)])
def test_a_jpeg_that_is_made_smaller_is_decoded_alike(size, mode):
    file = io.BytesIO()
    Image.fromarray(scene(*size)).convert(mode).save(file, "JPEG", quality=92)
    for box in (None, Box(33, 21, 200, 150)):
        expected = media.cut(file.getvalue(), box, GEOMETRY).pixels
        crop = cut(file.getvalue(), box, GEOMETRY)
        assert crop.shape == expected.shape
        # One of them may decode only the rows that it needs, and smooth other chroma at the last of them.
        assert np.abs(crop.astype(int) - expected).mean() < 0.2


def test_a_turned_photo_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(scene(300, 200), "JPEG", exif=exif)
    box = Box(20, 40, 100, 120)
    expected = media.cut(data, box, GEOMETRY).pixels
    assert np.abs(cut(data, box, GEOMETRY).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("fit", ["pad", "squash", "crop"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(64, 90), (200, 64), (20, 31), (48, 48), (400, 47), (31, 100)])
def test_squares_are_those_of_training(fit, interpolation, size):
    wide = {"image_size": 48, "mean": (0.4, 0.5, 0.6), "interpolation": interpolation, "fit": fit}
    pixels = scene(*size)
    expected = Preprocessing(std=(0.2, 0.2, 0.2), **wide).prepare(pixels)
    square = prepare(pixels, described(**wide))
    assert square.dtype == np.uint8
    assert np.abs(square.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", saved(scene(80, 60), "JPEG")[:900], saved(scene(80, 60), "PNG")[:900], b"\xff\xd8\xff\xe0"],
)
def test_a_file_of_no_use_is_refused_for_the_same_reason(data):
    with pytest.raises(BadPictureError) as expected:
        media.cut(data, None, GEOMETRY)
    with pytest.raises(BadPictureError) as found:
        cut(data, None, GEOMETRY)
    assert found.value.reason == expected.value.reason


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(monkeypatch):
    data = saved(scene(300, 200), "JPEG")
    monkeypatch.setattr("petmood.pictures.MAX_PIXELS", 300 * 200 - 1)
    with pytest.raises(BadPictureError, match="60000|60,000|pixels are more"):
        cut(data, None, GEOMETRY)


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_pixels_of_another_kind_are_refused(pixels):
    with pytest.raises(TypeError, match="uint8 from 0 to 255"):
        cut(pixels, None, GEOMETRY)
    with pytest.raises(TypeError, match="uint8 from 0 to 255"):
        prepare(pixels, described())
