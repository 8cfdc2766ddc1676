"""The only door to videos: frames at regular times, of a file or a camera, and a new file of drawn ones.

By PyAV, hence by FFmpeg's libraries; no program is started. What a file is, is decided by its content. Playlists and
other files that name further files or addresses are not opened.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from petmood.errors import UserError
from petmood.pictures import BadPictureError, Pixels
from petmood.workspace import replacing

#: Milliseconds and RGB pixels (uint8, height × width × 3), upright.
Frame = tuple[int, Pixels]

#: What FFmpeg may take a file for: containers that hold everything in themselves.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,h264,hevc,m4v"
#: Larger frames are refused before decoding; 8K has 33 million pixels.
MAX_PIXELS = 40_000_000
#: Packets in a row that may be damaged before a video counts as broken off.
_MOST_DAMAGED = 100
#: How FFmpeg reaches cameras, by system: format and name of the device.
_CAMERAS = {
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("vfwcap", "{}"),
}
#: The first of these that FFmpeg was built with is used; browsers play the first only.
_ENCODERS = ("libx264", "mpeg4")
_MILLISECOND = Fraction(1, 1000)


def frames(source: Path | BinaryIO, *, every_ms: int = 200, most_pixels: int = MAX_PIXELS) -> Iterator[Frame]:
    """Frames of a video at regular times, upright, each with the milliseconds from the first one.

    Any frame rate, also a changing one: of each stretch of ``every_ms`` the first frame is taken. Damaged parts are
    left out.

    Args:
        source: a file, or its content.
        every_ms: time between frames; 0 takes all.
        most_pixels: of a frame; larger ones are refused before decoding.

    Raises:
        BadPictureError: ``no_image``, ``empty_image`` or ``unreadable_video``; where a video breaks off, after the
            frames that could be read.
    """
    with _opened(source) as container:
        if not container.streams.video:
            raise BadPictureError("unreadable_video", "the file holds no video")
        stream = container.streams.video[0]
        _check_size(stream.codec_context.width, stream.codec_context.height, most_pixels)
        stream.thread_type = "AUTO"
        due, any_frame = -1.0, False
        for time_ms, frame in _timed(container, stream):
            any_frame = True
            # Times are rounded: a frame that is a millisecond early is the one that was meant.
            if time_ms + 1 < due:
                continue
            due = (time_ms + 1) // every_ms * every_ms + every_ms if every_ms else time_ms
            _check_size(frame.width, frame.height, most_pixels)
            yield time_ms, _upright(frame)
        if not any_frame:
            raise BadPictureError("unreadable_video", "no frame of the video can be decoded")


def camera(number: int, *, every_ms: int = 200) -> Iterator[Frame]:
    """Frames of a camera, with the milliseconds since it was opened; it ends when the camera is unplugged.

    Args:
        number: of the camera, from 0.
        every_ms: least time between frames.

    Raises:
        UserError: there is no such camera, or it may not be used.
    """
    kind, pattern = _CAMERAS.get(sys.platform, _CAMERAS["linux"])
    name = pattern.format(number)
    try:
        container = av.open(name, format=kind)
    except (av.error.FFmpegError, OSError) as error:
        text = getattr(error, "strerror", "") or str(error)
        raise UserError(
            f"webcam {number} ({name}) cannot be opened: {text}.",
            hint="look which cameras there are and who may use them, or record a video and give its file",
        ) from None
    start, due = time.monotonic(), 0.0
    with container:
        for frame in container.decode(video=0):
            now = 1000 * (time.monotonic() - start)
            if now >= due:
                due = now + every_ms
                yield round(now), _upright(frame)


class Recorder:
    """Writes frames into an MP4 file (H.264 where FFmpeg has it); the file appears when all is written."""

    def __init__(self, container: av.container.OutputContainer, *, every_ms: int) -> None:
        self._container = container
        self._every = max(1, every_ms)
        self._stream: VideoStream | None = None
        self._last = -1

    def add(self, time_ms: int, pixels: Pixels) -> None:
        """Append a frame; all have the size of the first, which is cut to even numbers.

        Args:
            time_ms: milliseconds from the start, larger than the last one's.
            pixels: RGB, uint8, height × width × 3.
        """
        height, width = pixels.shape[0] // 2 * 2, pixels.shape[1] // 2 * 2
        if self._stream is None:
            self._stream = self._begun(width, height)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels[:height, :width]), format="rgb24")
        frame.pts = self._last = max(time_ms, self._last + 1)
        self._container.mux(self._stream.encode(frame))

    def finish(self) -> None:
        """Write what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _begun(self, width: int, height: int) -> VideoStream:
        name = next(one for one in _ENCODERS if one in av.codecs_available)
        stream = self._container.add_stream(name, rate=max(1, round(1000 / self._every)))
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = stream.time_base = _MILLISECOND
        stream.options = {"crf": "23", "preset": "veryfast"} if name == "libx264" else {"qscale:v": "4"}
        return stream


@contextmanager
def recording(path: Path, *, every_ms: int) -> Iterator[Recorder]:
    """A recorder for a new MP4 file, which appears under its name when all is written."""
    options = {"movflags": "+faststart"}  # a browser plays it before all of it is there
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4", options=options) as container:
        recorder = Recorder(container, every_ms=every_ms)
        yield recorder
        recorder.finish()


@contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[InputContainer]:
    """The container of a video; what FFmpeg and the system say against it becomes a BadPictureError."""
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        if isinstance(source, Path) and source.stat().st_size == 0:
            raise BadPictureError("empty_image", "the file has no bytes")
        # Opened here, so that the name is a name only and never an address or a protocol of FFmpeg's.
        opened = source.open("rb") if isinstance(source, Path) else nullcontext(source)
        with opened as file, av.open(file, mode="r", options=options) as container:
            yield container
    except FileNotFoundError:
        raise BadPictureError("no_image", "the file does not exist") from None
    except (av.error.FFmpegError, OSError) as error:
        # FFmpeg calls a file of a format that is not allowed an invalid argument.
        foreign = error.errno == errno.EINVAL
        text = f"none of the formats {_FORMATS}" if foreign else getattr(error, "strerror", "") or str(error)
        raise BadPictureError("unreadable_video", text) from None


def _timed(container: InputContainer, stream: VideoStream) -> Iterator[tuple[int, av.VideoFrame]]:
    """Each frame with its milliseconds from the first; damaged packets are left out.

    Raises:
        BadPictureError: too many of them in a row.
    """
    first: float | None = None
    last, damaged = 0.0, 0
    step = 1 / float(stream.average_rate or 25)
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            damaged += 1
            if damaged > _MOST_DAMAGED:
                raise BadPictureError("unreadable_video", "too many damaged parts") from None
            continue
        for frame in decoded:
            damaged = 0
            seconds = last + step if frame.time is None else frame.time
            first = seconds if first is None else first
            last = seconds
            yield max(0, round(1000 * (seconds - first))), frame


def _upright(frame: av.VideoFrame) -> Pixels:
    """RGB pixels, turned as the file asks for."""
    pixels: Pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    quarters = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels


def _check_size(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise BadPictureError("unreadable_video", f"{width} × {height} pixels are more than {most:,}")
