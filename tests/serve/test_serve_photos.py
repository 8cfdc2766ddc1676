"""Whatever is sent, the answer is right or a sentence says why there is none; nothing strange gets far."""

import io
import zipfile

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from fixtures import photos
from petmood import media
from petmood.geometry import CropGeometry
from petmood.pictures import BadPictureError
from petmood.serve.photos import check
from petmood.serve.refusals import RefusalError, refusal_of

WHOLE = CropGeometry(shorter_side=1_000_000)


def decoded(data, *, most=40_000_000, take=lambda _: None):
    """Pixels, width and height of what the service may decode; what decoding itself finds is a refusal, too."""
    width, height = check(data, most_pixels=most, take=take)
    try:
        return media.cut(data, None, WHOLE).pixels, width, height
    except BadPictureError as error:
        raise refusal_of(error.reason) from None


def refusal(data, **options):
    with pytest.raises(RefusalError) as told:
        decoded(data, **options)
    return told.value.reason


def truncated():
    return photos.jpeg()[:1500]


def polyglot():
    """A good photo that is a good zip file, too."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("evil.html", "<script>alert(1)</script>")
    return photos.jpeg() + file.getvalue()


def turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    return photos.saved(photos.scene(), "JPEG", exif=exif)


FINE = {
    "jpeg": photos.jpeg,
    "progressive": lambda: photos.saved(photos.scene(), "JPEG", progressive=True),
    "png": lambda: photos.saved(photos.scene(), "PNG"),
    "webp": lambda: photos.saved(photos.scene(), "WEBP"),
    "bmp": lambda: photos.saved(photos.scene(), "BMP"),
    "tiff": lambda: photos.saved(photos.scene(), "TIFF"),
    "still gif": lambda: photos.saved(photos.scene(), "GIF"),
    "16-bit": photos.deep_grey,
    "cmyk": lambda: photos.saved(photos.scene().convert("CMYK"), "JPEG"),
    "palette": lambda: photos.saved(photos.scene().convert("P"), "PNG"),
    "transparent": lambda: photos.saved(photos.scene().convert("RGBA"), "PNG"),
    "one bit": lambda: photos.saved(photos.scene().convert("1"), "PNG"),
    "turned": turned,
    "polyglot": polyglot,
    "one pixel": lambda: photos.saved(Image.new("RGB", (1, 1)), "PNG"),
}
BAD = {
    "zero-byte": (lambda: b"", "empty_image"),
    "text": (lambda: b"hello, I am no photo", "unreadable_image"),
    "html": (lambda: b"<html><script>alert(1)</script>", "unreadable_image"),
    "svg": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "unreadable_image"),
    "pdf": (lambda: photos.saved(photos.scene(), "PDF"), "unreadable_image"),
    "postscript": (lambda: photos.saved(photos.scene(), "EPS"), "unreadable_image"),
    "truncated jpeg": (truncated, "truncated_image"),
    "truncated png": (lambda: photos.saved(photos.scene(), "PNG")[:200], "truncated_image"),
    "head alone": (lambda: photos.jpeg()[:20], "unreadable_image"),
    "animated gif": (lambda: photos.animated("GIF"), "animated_image"),
    "animated webp": (lambda: photos.animated("WEBP"), "animated_image"),
    "animated png": (lambda: photos.animated("PNG"), "animated_image"),
    "bomb": (photos.bomb, "too_many_pixels"),
    "endless scans": (photos.endless_scans, "unreadable_image"),
}


@pytest.mark.parametrize("name", FINE)
def test_a_fine_picture_of_any_kind_is_decoded(name):
    pixels, width, height = decoded(FINE[name]())
    assert pixels.dtype == np.uint8
    assert pixels.shape == (height, width, 3)


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_still_photo_is_refused_with_its_reason(name):
    make, reason = BAD[name]
    assert refusal(make()) == reason


@pytest.mark.parametrize("name", ["jpeg", "png", "turned"])
def test_the_pixels_are_those_of_the_picture(name):
    found, _, _ = decoded(FINE[name]())
    expected = np.asarray(photos.scene().rotate(-90, expand=True) if name == "turned" else photos.scene())
    assert np.abs(found.astype(int) - expected).mean() < 3


def test_size_is_judged_before_anything_is_decoded():
    taken = []
    assert refusal(photos.jpeg(400, 300), most=100_000, take=taken.append) == "too_many_pixels"
    assert taken == []
    decoded(photos.jpeg(400, 300), most=120_000, take=taken.append)
    assert taken == [400 * 300 * 3]


SEEDS = [make() for make in FINE.values()] + [make() for make, _ in BAD.values()]


@st.composite
def damaged(draw):
    """A file with some of its bytes changed, left out or repeated."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data), 4000) - 1))
        match draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                data[at] = draw(st.integers(0, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 400))]
            case _:
                data[at:at] = draw(st.binary(max_size=40))
    return bytes(data)


@hypothesis.settings(max_examples=1500)
@hypothesis.given(damaged())
def test_no_damage_brings_the_decoder_down(data):
    try:
        pixels, width, height = decoded(data, most=1_000_000)
    except RefusalError as error:
        assert error.words.status in {413, 415, 422}
    else:
        assert pixels.shape == (height, width, 3)
