"""Whether an upload may be decoded: judged by its content, never by its name, and measured before."""

from __future__ import annotations

import re
from collections.abc import Callable

from petmood import media
from petmood.pictures import BadPictureError, opened
from petmood.serve.refusals import RefusalError, refusal_of

#: A progressive JPEG of a camera has about ten scans. Each of them costs a pass over all pixels, whatever the size of
#: the file: thousands keep a decoder busy for minutes.
_MOST_SCANS = 100
#: Parts of a JPEG file; a photo has some dozens.
_MOST_SEGMENTS = 4096
#: The next mark that is not part of a scan's data (0 is an escaped 255, D0 to D7 are restarts).
_MARK = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_BOMB = "decompression bomb"
_STILL_KINDS = {"JPEG", "MPO", "TIFF", "BMP"}
#: Bytes of memory that a pixel takes while it is decoded: plain JPEGs go straight into their array.
_PLAIN, _OTHERS = 3, 12


def check(data: bytes, *, most_pixels: int, take: Callable[[int], None] = lambda _: None) -> tuple[int, int]:
    """Width and height of an upload that may be decoded, upright.

    Args:
        data: the file's bytes.
        most_pixels: larger pictures are refused.
        take: told the bytes of memory that decoding may need; may refuse.

    Raises:
        RefusalError: the picture cannot be used, or ``take`` refuses it.
    """
    try:
        _check_scans(data)
        info = media.probe(data)
        if info.width * info.height > most_pixels:
            raise RefusalError("too_many_pixels")
        if not info.plain_jpeg:
            _check_still(data)
    except BadPictureError as error:
        # Pillow has a limit of its own, far above every photo.
        raise RefusalError("too_many_pixels") if _BOMB in error.detail else refusal_of(error.reason) from None
    take(info.width * info.height * (_PLAIN if info.plain_jpeg else _OTHERS))
    return info.width, info.height


def _check_still(data: bytes) -> None:
    """Refuse a GIF, PNG or WebP that moves: no single frame of it is what was sent."""
    with opened(data) as image:
        moves = image.format not in _STILL_KINDS and getattr(image, "n_frames", 1) > 1
    if moves:
        raise RefusalError("animated_image")


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG whose many scans would keep the decoder busy."""
    if data[:2] != b"\xff\xd8":
        return
    position, scans = 2, 0
    for _ in range(_MOST_SEGMENTS):
        found = _MARK.search(data, position)
        if not found or data[found.start() + 1] == 0xD9:
            return
        scans += data[found.start() + 1] == 0xDA
        if scans > _MOST_SCANS:
            break
        position = found.start() + 2 + int.from_bytes(data[found.start() + 2 : found.start() + 4], "big")
    raise RefusalError("unreadable_image")
