"""The animals of a picture file, found in as small a decoding as the detectors can use."""

from __future__ import annotations

import dataclasses

from petmood.detect.animal import LEAST, Animal, Detector, within
from petmood.media import glance

#: Detectors look at squares of 320 to 640 pixels; a photo that is decoded smaller than that loses nothing to them.
GLANCE = 832


def animals_in(data: bytes, detector: Detector, *, least: float = LEAST) -> list[Animal]:
    """Cats and dogs in a picture file, the surest first; boxes in pixels of the upright picture at its full size.

    Args:
        data: the file's bytes.
        detector: that looks.
        least: score that an animal needs, 0 to 1.

    Raises:
        BadPictureError: the file cannot be used.
    """
    pixels, info = glance(data, least=GLANCE)
    across, down = info.width / pixels.shape[1], info.height / pixels.shape[0]
    found = []
    for animal in detector.animals(pixels, least=least):
        left, top = animal.box.x * across, animal.box.y * down
        right, bottom = left + animal.box.width * across, top + animal.box.height * down
        box = within(left, top, right, bottom, width=info.width, height=info.height)
        if box:
            found.append(dataclasses.replace(animal, box=box))
    return found
