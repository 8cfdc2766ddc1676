"""From the bytes of an uploaded video to its frames, within limits; all of it stays in memory."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

from petmood import video
from petmood.pictures import BadPictureError, Pixels
from petmood.serve.refusals import RefusalError

#: Frames of a video are held several at a time: 4K is the most.
_MOST_PIXELS = 4096 * 2304


class Film:
    """A video of which the first seconds are looked at, frame by frame."""

    def __init__(self, data: bytes, *, every_ms: int, seconds: float, until: float) -> None:
        """A video that is read as far as `frames` is.

        Args:
            data: the file's bytes.
            every_ms: time between frames.
            seconds: of the video that are looked at.
            until: `time.monotonic` at which it is given up.
        """
        self._data, self._every, self._most, self._until = data, every_ms, 1000 * seconds, until
        self.seen = 0
        """Frames that were read."""
        self.cut_short = False
        """It goes on behind what was looked at, or breaks off there."""

    def frames(self) -> Iterator[tuple[int, Pixels]]:
        """Milliseconds from the start, and RGB pixels.

        Raises:
            RefusalError: ``empty_image``, ``unreadable_video`` or ``out_of_time``.
        """
        if not self._data:
            raise RefusalError("empty_image")
        try:
            for time_ms, pixels in video.frames(io.BytesIO(self._data), every_ms=self._every, most_pixels=_MOST_PIXELS):
                if time.monotonic() > self._until:
                    raise RefusalError("out_of_time")
                if time_ms > self._most:
                    self.cut_short = True
                    return
                self.seen += 1
                yield time_ms, pixels
        except BadPictureError:
            if not self.seen:
                raise RefusalError("unreadable_video") from None
            self.cut_short = True
