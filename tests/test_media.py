from __future__ import annotations

import io
import struct
import warnings

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from petmood import media, pictures
from petmood.geometry import Box, CropGeometry, crop_window, output_size
from petmood.media import cut, decode, encode, inspect, probe
from petmood.pictures import BadPictureError
from petmood.records import REASONS

WIDTH, HEIGHT = 640, 360
GEOMETRY = CropGeometry(margin=0.1, shorter_side=96, quality=90)


def scene(width=WIDTH, height=HEIGHT, seed=0):
    """A picture without fine detail, so that two ways of scaling agree; different in every corner."""
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 90 + 2, width // 90 + 2, 3), np.uint8)
    return cv2.GaussianBlur(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 12)


PICTURE = Image.fromarray(scene())


def stored(image=PICTURE, kind="JPEG", **options):
    memory = io.BytesIO()
    image.save(memory, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return memory.getvalue()


def by_pillow(data, box, geometry=GEOMETRY):
    """The plain way: decode everything, cut, average down."""
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    height, width = pixels.shape[:2]
    window = crop_window(box, geometry.margin, width, height)
    region = pixels[window.y : window.y + window.height, window.x : window.x + window.width]
    return cv2.resize(region, output_size(window, geometry.shorter_side), interpolation=cv2.INTER_AREA)


def assert_alike(one, other, *, worst=14, mean=2.0):
    assert one.shape == other.shape
    difference = np.abs(one.astype(int) - other.astype(int))
    assert difference.mean() < mean
    assert np.quantile(difference, 0.995) < worst


def reason_of(call, *arguments, **named):
    with pytest.raises(BadPictureError) as caught:
        call(*arguments, **named)
    assert caught.value.reason in REASONS
    assert caught.value.detail
    return caught.value.reason


# --- where the crop lies ----------------------------------------------------------------------------------------------

sides = st.integers(1, 3000)
boxes = st.builds(Box, st.integers(-500, 3000), st.integers(-500, 3000), sides, sides)


@given(boxes, st.floats(0, 1), sides, sides)
def test_a_crop_lies_inside_the_picture_and_holds_the_box_as_far_as_the_picture_does(box, margin, width, height):
    window = crop_window(box, margin, width, height)
    if (
        box.x >= width * (1 + margin) + box.width
        or box.y >= height
        or box.x + box.width <= 0
        or box.y + box.height <= 0
    ):
        return
    assert 0 <= window.x <= max(0, box.x)
    assert 0 <= window.y <= max(0, box.y)
    assert min(width, box.x + box.width) <= window.x + window.width <= width
    assert min(height, box.y + box.height) <= window.y + window.height <= height


@given(boxes, sides, sides)
def test_without_margin_a_box_inside_the_picture_is_its_own_window(box, width, height):
    inside = Box(max(0, box.x), max(0, box.y), box.width, box.height)
    assert crop_window(inside, 0.0, inside.x + inside.width + width, inside.y + inside.height + height) == inside


@given(sides, sides, st.integers(32, 2048))
def test_output_keeps_proportions_is_never_enlarged_and_has_the_shorter_side_asked_for(width, height, shorter):
    out_width, out_height = output_size(Box(0, 0, width, height), shorter)
    assert 1 <= out_width <= width
    assert 1 <= out_height <= height
    assert min(out_width, out_height) == min(shorter, width, height)
    scale = min(1.0, shorter / min(width, height))
    assert abs(out_width - width * scale) <= 0.5
    assert abs(out_height - height * scale) <= 0.5


# --- the fast way -----------------------------------------------------------------------------------------------------


@given(
    x=st.integers(0, WIDTH - 1),
    y=st.integers(0, HEIGHT - 1),
    width=st.integers(1, WIDTH),
    height=st.integers(1, HEIGHT),
    shorter=st.sampled_from([32, 96, 256]),
)
@example(x=0, y=0, width=WIDTH, height=HEIGHT, shorter=32)
@example(x=0, y=0, width=WIDTH, height=16, shorter=96)
@example(x=WIDTH - 1, y=HEIGHT - 1, width=1, height=1, shorter=96)
@example(x=300, y=0, width=8, height=HEIGHT, shorter=32)
def test_the_fast_way_cuts_what_the_plain_way_cuts(x, y, width, height, shorter):
    box = Box(x, y, min(width, WIDTH - x), min(height, HEIGHT - y))
    geometry = CropGeometry(margin=0.1, shorter_side=shorter)
    crop = cut(JPEG, box, geometry)
    assert not crop.damaged
    # An edge may lie half a pixel of the crop elsewhere, which shows on slopes.
    assert_alike(crop.pixels, by_pillow(JPEG, box, geometry), mean=3, worst=20)


JPEG = stored()


@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("quality", [40, 95])
def test_the_fast_way_takes_every_chroma_sampling(sampling, quality):
    data = stored(subsampling=sampling, quality=quality)
    assert probe(data).plain_jpeg
    assert_alike(cut(data, Box(100, 40, 200, 100), GEOMETRY).pixels, by_pillow(data, Box(100, 40, 200, 100)))


@pytest.mark.parametrize("size", [(639, 361), (17, 33), (8, 500), (1, 1), (3, 900)])
def test_odd_sizes_are_cut_to_the_last_pixel(size):
    data = stored(PICTURE.resize(size))
    crop = cut(data, None, GEOMETRY)
    assert_alike(crop.pixels, by_pillow(data, Box(0, 0, *size)), mean=4, worst=30)


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"restart_marker_rows": 2},
        {"restart_marker_blocks": 3},
        {"optimize": True},
        {"dpi": (72, 72)},
        {"comment": b"Exif is only a word here"},
        {"icc_profile": bytes(range(256)) * 300},
    ],
    ids=str,
)
def test_every_kind_of_plain_jpeg_gives_the_same_crop(options):
    data = stored(**options)
    box = Box(50, 20, 180, 120)
    crop = cut(data, box, GEOMETRY)
    assert not crop.damaged
    assert_alike(crop.pixels, by_pillow(data, box))


def test_a_grey_jpeg_becomes_rgb():
    data = stored(PICTURE.convert("L"))
    crop = cut(data, Box(50, 20, 180, 120), GEOMETRY).pixels
    assert np.ptp(crop.astype(int), axis=2).max() == 0
    assert_alike(crop, by_pillow(data, Box(50, 20, 180, 120)))


def test_rows_below_the_crop_are_not_decoded(monkeypatch):
    asked = []
    original = media.simplejpeg.decode_jpeg

    def watched(data, **options):
        asked.append(options["min_height"])
        return original(data, **options)

    monkeypatch.setattr(media.simplejpeg, "decode_jpeg", watched)
    cut(JPEG, Box(10, 10, 100, 100), CropGeometry(margin=0.0, shorter_side=256))
    assert asked == [128]  # of 360


def test_bytes_after_the_picture_do_not_matter():
    data = JPEG + b"a phone appended a video here" * 200
    assert inspect(data).plain_jpeg
    np.testing.assert_array_equal(cut(data, None, GEOMETRY).pixels, cut(JPEG, None, GEOMETRY).pixels)


# --- every other kind -------------------------------------------------------------------------------------------------


def rotated(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return stored(exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_before_the_box(orientation):
    data = rotated(orientation)
    turned = WIDTH, HEIGHT
    if orientation >= 5:
        turned = HEIGHT, WIDTH
    info = probe(data)
    assert (info.width, info.height) == turned
    assert info.plain_jpeg == (orientation == 1)
    steps = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    upright = PICTURE.transpose(steps[orientation]) if orientation > 1 else PICTURE
    box = Box(30, 50, 120, 90)
    assert_alike(cut(data, box, GEOMETRY, expected=turned).pixels, by_pillow(stored(upright, "PNG"), box), mean=3)


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_an_exif_orientation_that_means_nothing_is_upright(orientation):
    assert_alike(cut(rotated(orientation), None, GEOMETRY).pixels, by_pillow(JPEG, Box(0, 0, WIDTH, HEIGHT)))


def test_broken_exif_does_not_lose_the_picture():
    segment = b"Exif\x00\x00II*\x00" + b"\xff" * 40
    data = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + JPEG[2:]
    assert_alike(cut(data, None, GEOMETRY).pixels, by_pillow(JPEG, Box(0, 0, WIDTH, HEIGHT)))


def test_a_thumbnail_in_the_head_does_not_pass_for_the_end_of_the_picture():
    thumbnail = b"Exif\x00\x00" + stored(PICTURE.resize((32, 18)))
    data = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + JPEG[2:]
    assert inspect(data).width == WIDTH
    assert reason_of(inspect, data[: len(data) // 2]) == "truncated_image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_other_formats_give_the_same_crop(kind):
    options = {"WEBP": {"quality": 95}}.get(kind, {})
    crop = cut(stored(kind=kind, **options), Box(50, 20, 180, 120), GEOMETRY).pixels
    assert_alike(crop, by_pillow(JPEG, Box(50, 20, 180, 120)), mean=10, worst=70)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "YCbCr"])
def test_other_colour_modes_become_rgb(mode):
    image = PICTURE.convert(mode)
    kind = "PNG" if mode in {"L", "P"} else "TIFF"
    crop = cut(stored(image, kind), Box(50, 20, 180, 120), GEOMETRY).pixels
    assert_alike(crop, by_pillow(stored(image.convert("RGB"), "PNG"), Box(50, 20, 180, 120)), mean=3)


def test_a_cmyk_jpeg_takes_the_slow_way():
    data = stored(PICTURE.convert("CMYK"))
    assert not probe(data).plain_jpeg
    assert_alike(cut(data, Box(50, 20, 180, 120), GEOMETRY).pixels, by_pillow(data, Box(50, 20, 180, 120)))


def test_sixteen_bits_are_scaled_down():
    grey = np.asarray(PICTURE.convert("L"))
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    crop = cut(stored(deep, "PNG"), None, GEOMETRY).pixels
    assert_alike(crop, by_pillow(stored(PICTURE.convert("L"), "PNG"), Box(0, 0, WIDTH, HEIGHT)))


def test_a_dark_picture_of_sixteen_bits_stays_dark():
    deep = Image.fromarray(np.full((40, 40), 200, np.uint16))
    assert cut(stored(deep, "PNG"), None, GEOMETRY).pixels.max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode):
    image = Image.new("RGBA", (40, 40), (200, 0, 0, 0))
    image.paste((0, 0, 0, 255), (0, 0, 20, 40))
    kind = "PNG" if mode != "PA" else "TIFF"
    converted = image.convert(mode if mode != "PA" else "RGBA")
    crop = cut(stored(converted, kind), None, GEOMETRY).pixels
    assert crop[:, 30:].min() == 255
    assert crop[:, :10].max() == 0


def test_a_palette_with_one_transparent_colour_becomes_white_there():
    image = Image.new("P", (40, 40), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    data = stored(image, "PNG", transparency=1)
    assert cut(data, None, GEOMETRY).pixels.min() == 255


# --- broken pictures --------------------------------------------------------------------------------------------------


def test_no_bytes_are_an_empty_image():
    assert reason_of(cut, b"", None, GEOMETRY) == "empty_image"
    assert reason_of(inspect, b"") == "empty_image"


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am text",
        b"\xff\xd8",
        b"\xff\xd8\xff",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"\x00" * 999,
        b"RIFF1234WEBPVP8 ",
    ],
)
def test_what_is_no_picture_is_an_unreadable_image(data):
    assert reason_of(cut, data, None, GEOMETRY) == "unreadable_image"
    assert reason_of(inspect, data) == "unreadable_image"


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 2}], ids=str)
@pytest.mark.parametrize("share", [0.0005, 0.004, 0.02, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_jpeg_is_refused_whatever_the_box_needs(options, share):
    data = stored(**options)
    short = data[: max(2, int(len(data) * share))]
    for box in (None, Box(0, 0, 40, 20)):
        reason = reason_of(cut, short, box, GEOMETRY)
        assert reason in {"truncated_image", "unreadable_image"}
        assert reason == "truncated_image" or share < 0.1
    assert reason_of(inspect, short) == reason


def test_a_truncated_jpeg_with_an_end_mark_is_refused_or_called_damaged():
    data = JPEG[: len(JPEG) // 2] + b"\xff\xd9"
    try:
        assert cut(data, None, GEOMETRY).damaged
    except BadPictureError as error:
        assert error.reason == "truncated_image"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_a_truncated_picture_of_another_kind_is_refused_now_and_later(kind, share):
    data = stored(kind=kind)
    short = data[: int(len(data) * share)]
    assert reason_of(cut, short, None, GEOMETRY) in {"truncated_image", "unreadable_image"}
    assert reason_of(inspect, short) in {"truncated_image", "unreadable_image"}


def test_damage_in_the_middle_is_reported_and_the_rest_is_kept():
    middle = len(JPEG) // 2
    crop = cut(JPEG[:middle] + b"too much" * 20 + JPEG[middle:], None, GEOMETRY)
    assert crop.damaged
    assert_alike(crop.pixels[:40], cut(JPEG, None, GEOMETRY).pixels[:40])


def test_damage_that_ends_the_decoding_is_refused_not_padded():
    broken = bytearray(JPEG)
    middle = len(broken) // 2
    broken[middle : middle + 8] = b"\xff\xd3\x00\x11\xff\x9c\x01\x02"  # no such marker
    assert reason_of(cut, bytes(broken), None, GEOMETRY) == "unreadable_image"


def test_an_unusual_version_in_the_head_is_no_damage():
    data = JPEG.replace(b"JFIF\x00\x01\x01", b"JFIF\x00\x09\x01")
    assert data != JPEG
    assert not cut(data, None, GEOMETRY).damaged


def test_a_size_that_differs_from_the_label_is_refused_with_both_sizes():
    with pytest.raises(BadPictureError) as caught:
        cut(JPEG, None, GEOMETRY, expected=(HEIGHT, WIDTH))
    assert caught.value.reason == "size_differs"
    assert caught.value.detail == f"label {HEIGHT} × {WIDTH}, picture {WIDTH} × {HEIGHT}"
    assert reason_of(inspect, JPEG, expected=(HEIGHT, WIDTH)) == "size_differs"


@pytest.mark.parametrize("box", [Box(WIDTH + 50, 0, 10, 10), Box(0, HEIGHT + 50, 10, 10), Box(-90, 0, 20, 20)])
def test_a_box_that_leaves_nothing_is_refused(box):
    assert reason_of(cut, JPEG, box, GEOMETRY) == "box_outside_image"


def test_a_decompression_bomb_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    for kind in ("JPEG", "PNG"):
        assert reason_of(cut, stored(kind=kind), None, GEOMETRY) == "unreadable_image"


SMALL = {kind: stored(PICTURE.resize((64, 48)), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP")}
SMALL["progressive"] = stored(PICTURE.resize((64, 48)), progressive=True)
SMALL["exif"] = rotated(6)[:4000] + rotated(6)[-4000:]
SMALL["CMYK"] = stored(PICTURE.resize((64, 48)).convert("CMYK"))


@given(
    kind=st.sampled_from(sorted(SMALL)),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    head=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), max_size=4),
    end=st.floats(0, 1) | st.just(1.0),
    box=st.none() | st.builds(Box, st.integers(-9, 64), st.integers(-9, 48), st.integers(1, 64), st.integers(1, 48)),
)
def test_no_damage_whatever_gets_past_as_another_error(kind, edits, head, end, box):
    broken = bytearray(SMALL[kind])
    for share, value in edits:
        broken[min(len(broken) - 1, int(share * len(broken)))] = value
    for position, value in head:
        broken[position % len(broken)] = value
    data = bytes(broken[: int(end * len(broken))])
    try:
        crop = cut(data, box, GEOMETRY)
    except BadPictureError as error:
        assert error.reason in REASONS
    else:
        assert crop.pixels.dtype == np.uint8
        assert crop.pixels.ndim == 3
        assert crop.pixels.flags["C_CONTIGUOUS"]


def test_pillow_warnings_about_broken_metadata_stay_inside():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = stored(exif=exif).replace(b"II*\x00", b"II*\xff").replace(b"MM\x00*", b"MM\xff*")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cut(data, None, GEOMETRY)


# --- stored crops -----------------------------------------------------------------------------------------------------


def test_stored_crops_come_back_within_rounding():
    pixels = scene(96, 128)
    assert_alike(decode(encode(pixels, 95)), pixels)
    assert_alike(decode(memoryview(encode(pixels, 95))), pixels)


def test_the_same_pixels_give_the_same_bytes():
    assert encode(scene(), 90) == encode(scene(), 90)
