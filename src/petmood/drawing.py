"""Answers drawn into pictures: box, emotion, bars and how sure the answer is, in Korean or English."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from petmood.geometry import Box
from petmood.labels import Language, display
from petmood.pictures import Pixels
from petmood.records import Prediction
from petmood.wording import animal, said

#: Okabe and Ito's colours, told apart by people with any colour vision.
EMOTION_COLOURS: Mapping[str, str] = {
    "happy": "#E69F00",
    "calm": "#009E73",
    "anxious": "#56B4E9",
    "angry": "#D55E00",
    "fear": "#CC79A7",
    "aggressive": "#0072B2",
}
#: Of answers that are not sure.
UNSURE = "#BBBBBB"
#: Brought with the package, so that Korean is drawn on every machine (`docs/make_font.py`).
FONT = "petmood-sans-kr.otf"
#: Smaller pictures are enlarged, so that what is drawn can be read: pixels of the shorter side.
_READABLE = 480
#: Emotions with a bar.
_BARS = 3
_PAPER, _INK, _FAINT = (0, 0, 0, 175), "#FFFFFF", (85, 85, 85, 200)


def drawn(pixels: Pixels, predictions: Sequence[Prediction], language: Language) -> Pixels:
    """The picture with the answers in it, RGB; enlarged if its shorter side has less than 480 pixels.

    The frame has the colour of the likeliest emotion, or is grey where the answer is not sure.

    Args:
        pixels: RGB, uint8, height × width × 3, upright: those that the boxes speak of.
        predictions: of this picture or frame; those with a reason are told in a corner.
        language: of the words.
    """
    height, width = pixels.shape[:2]
    scale = max(1.0, _READABLE / min(height, width))
    picture = Image.fromarray(pixels).convert("RGBA")
    if scale > 1:
        picture = picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
    # The surest find comes first and is drawn last, on top of the others.
    for prediction in reversed(predictions):
        picture = _with_one(picture, prediction, scale, language)
    return np.asarray(picture.convert("RGB"))


@lru_cache(maxsize=16)
def font(size: int) -> ImageFont.FreeTypeFont:
    """The packaged font in pixels; it has the letters of petmood's own words and ASCII."""
    with resources.as_file(resources.files("petmood") / "fonts" / FONT) as path:
        return ImageFont.truetype(path, size)


def colour_of(prediction: Prediction) -> str:
    """The colour of the likeliest emotion; grey if the answer is not sure or there is none."""
    if prediction.emotion is None or len(prediction.answers) > 2:
        return UNSURE
    return EMOTION_COLOURS.get(prediction.emotion, UNSURE)


@dataclasses.dataclass(frozen=True)
class _Panel:
    """What is written about one animal, and how large it is."""

    title: str
    rows: tuple[tuple[str, float, str], ...]
    """Name, probability and colour of each bar."""
    size: int
    """Height of a letter in pixels."""

    @property
    def line(self) -> int:
        return round(1.4 * self.size)

    @property
    def names(self) -> int:
        """Pixels of the widest name."""
        return max((round(font(self._small).getlength(name)) for name, _, _ in self.rows), default=0)

    @property
    def _small(self) -> int:
        return max(9, round(0.8 * self.size))

    @property
    def extent(self) -> tuple[int, int]:
        """Width and height in pixels."""
        bars = self.names + 8 * self.size if self.rows else 0
        width = max(round(font(self.size).getlength(self.title)), bars)
        return width + self.size, self.line * (1 + len(self.rows)) + self.size // 2

    def draw(self, canvas: ImageDraw.ImageDraw, left: int, top: int) -> None:
        width, height = self.extent
        canvas.rounded_rectangle((left, top, left + width, top + height), radius=self.size // 3, fill=_PAPER)
        x, y = left + self.size // 2, top + self.line // 2 + self.size // 4
        canvas.text((x, y), self.title, _INK, font(self.size), anchor="lm")
        small, start = font(self._small), x + self.names + self.size // 2
        full = left + width - 3 * self.size - start
        for name, share, colour in self.rows:
            y += self.line
            canvas.text((x, y), name, _INK, small, anchor="lm")
            edge = self._small // 3
            canvas.rectangle((start, y - edge, start + full, y + edge), fill=_FAINT)
            canvas.rectangle((start, y - edge, start + round(full * share), y + edge), fill=colour)
            percent = f"{100 * share:.0f}%"
            canvas.text((left + width - self.size // 2, y), percent, _INK, small, anchor="rm")


def _with_one(picture: Image.Image, prediction: Prediction, scale: float, language: Language) -> Image.Image:
    size = max(13, round(min(picture.size) / 26))
    over = Image.new("RGBA", picture.size)
    canvas = ImageDraw.Draw(over)
    panel = _panel(prediction, size, language)
    if prediction.box is None or prediction.emotion is None:
        panel.draw(canvas, size // 2, size // 2)
        return Image.alpha_composite(picture, over)
    left, top, right, bottom = _corners(prediction.box, scale)
    line = max(2, size // 6)
    # Dark beside light, so that it is seen on any fur.
    canvas.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0, 200), width=line + 2)
    canvas.rectangle((left, top, right, bottom), outline=colour_of(prediction), width=line)
    panel.draw(canvas, *_place(panel.extent, (left, top, right, bottom), picture.size, line))
    return Image.alpha_composite(picture, over)


def _panel(prediction: Prediction, size: int, language: Language) -> _Panel:
    words = said(prediction, language)
    if prediction.emotion is None:
        return _Panel(words, (), size)
    named = prediction.species or prediction.track is not None
    title = f"{animal(prediction.species, prediction.track, language)}: {words}" if named else words
    likely = sorted(prediction.probabilities.items(), key=lambda pair: -pair[1])[:_BARS]
    rows = tuple((display(name, language), share, EMOTION_COLOURS.get(name, UNSURE)) for name, share in likely)
    return _Panel(title, rows, size)


def _corners(box: Box, scale: float) -> tuple[int, int, int, int]:
    edges = box.x, box.y, box.x + box.width, box.y + box.height
    left, top, right, bottom = (round(edge * scale) for edge in edges)
    return left, top, max(left, right - 1), max(top, bottom - 1)


def _place(
    extent: tuple[int, int], corners: tuple[int, int, int, int], picture: tuple[int, int], line: int
) -> tuple[int, int]:
    """Left and top of a panel: where it hides nothing of the animal, else over its feet; never beyond the picture."""
    width, height = extent
    left, top, right, bottom = corners
    beside = max(0, min(top, picture[1] - height - 1))
    along = max(0, min(left, picture[0] - width - 1))
    if top - height - line >= 0:
        return along, top - height - line
    if right + width + 2 * line < picture[0]:
        return right + 2 * line, beside
    if left - width - 2 * line >= 0:
        return left - width - 2 * line, beside
    return along, max(0, min(bottom + line, picture[1] - height - 1))
