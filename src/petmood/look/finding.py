"""The animals of a picture as squares for the network."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

from petmood import places
from petmood.detect import Animal, Detector
from petmood.detect.animal import within
from petmood.detect.files import GLANCE
from petmood.engine import Engine
from petmood.errors import UserError
from petmood.geometry import Box
from petmood.media import PictureInfo, cut, cut_pixels, glance
from petmood.pictures import BadPictureError, Pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """One animal, ready for the network."""

    square: Pixels
    box: Box | None
    """Pixels of the upright picture; None if all of it was taken."""
    species: str = ""
    detected: float | None = None


class Finder:
    """Finds the animals of a picture, or takes the box or the whole picture as it was told to."""

    def __init__(self, engine: Engine, detector: Detector | None, *, whole: bool, least: float) -> None:
        self.engine = engine
        self._detector = detector
        self._whole = whole
        self._least = least

    def in_pixels(self, pixels: Pixels, box: Box | None) -> list[Found]:
        """Animals of an upright RGB picture, the surest first.

        Raises:
            BadPictureError: ``no_animal`` or ``box_outside_image``.
            UserError: there is neither a detector nor a box, and the whole picture was not asked for.
        """
        geometry = self.engine.geometry
        if box is not None or self._whole:
            return [Found(self.engine.prepare(cut_pixels(pixels, box, geometry)), box)]
        return [
            Found(self.engine.prepare(cut_pixels(pixels, one.box, geometry)), one.box, one.species, one.score)
            for one in self._animals(pixels)
        ]

    def in_file(self, file: Path | bytes, box: Box | None) -> list[Found]:
        """Animals of a picture file, the surest first; as much of it is decoded as is needed.

        Raises:
            BadPictureError: the file cannot be used, ``no_animal`` or ``box_outside_image``.
            UserError: as for pixels.
        """
        data = file if isinstance(file, bytes) else _content(file)
        geometry = self.engine.geometry
        if box is not None or self._whole:
            return [Found(self.engine.prepare(cut(data, box, geometry).pixels), box)]
        pixels, info = glance(data, least=GLANCE)
        if pixels.shape[:2] == (info.height, info.width):
            return self.in_pixels(pixels, None)
        found = []
        for one in self._animals(pixels):
            enlarged = _enlarged(one.box, pixels, info)
            square = self.engine.prepare(cut(data, enlarged, geometry).pixels)
            found.append(Found(square, enlarged, one.species, one.score))
        return found

    def _animals(self, pixels: Pixels) -> list[Animal]:
        if self._detector is None:
            raise UserError(
                "there is no detector to find the animal, and no box.",
                hint="give a detector, the box of the animal, or take the whole picture",
            )
        animals = self._detector.animals(pixels, least=self._least)
        if not animals:
            raise BadPictureError("no_animal", "no dog or cat was found; --whole takes the whole picture")
        return animals


def _enlarged(box: Box, pixels: Pixels, info: PictureInfo) -> Box:
    """The box of a picture that was decoded smaller, in the full one."""
    across, down = info.width / pixels.shape[1], info.height / pixels.shape[0]
    left, top = box.x * across, box.y * down
    right, bottom = left + box.width * across, top + box.height * down
    return within(left, top, right, bottom, width=info.width, height=info.height) or box


def _content(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        BadPictureError: there is none, or it cannot be read.
    """
    try:
        return places.read(str(path))
    except FileNotFoundError:
        raise BadPictureError("no_image", "the file does not exist") from None
    except OSError as error:
        word = "it is a folder" if error.errno == errno.EISDIR else (error.strerror or str(error))
        raise BadPictureError("unreadable_image", word) from None
