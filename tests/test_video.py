"""Frames of any video at regular times, upright; and videos that are written."""

import io
import struct
from pathlib import Path

import av
import numpy as np
import pytest

from petmood import video
from petmood.errors import UserError
from petmood.pictures import BadPictureError


def scene(number, width=96, height=64):
    """Grey that grows with the number; the top left corner is white."""
    pixels = np.full((height, width, 3), 40 + 4 * number, np.uint8)
    pixels[:16, :16] = 255
    return pixels


def number_of(pixels):
    return round((float(np.median(pixels)) - 40) / 4)


def film(path, times, **size):
    with video.recording(path, every_ms=40) as recorder:
        for number, time_ms in enumerate(times):
            recorder.add(time_ms, scene(number, **size))
    return path


@pytest.fixture(scope="module")
def steady(tmp_path_factory):
    """A second and a half at 25 frames a second."""
    return film(tmp_path_factory.mktemp("video") / "steady.mp4", range(0, 1520, 40))


@pytest.fixture(scope="module")
def broken(steady, tmp_path_factory):
    """A file of the full length whose last pictures are destroyed."""
    data = bytearray(steady.read_bytes())
    data[-300:] = bytes(300)
    path = tmp_path_factory.mktemp("broken") / "broken.mp4"
    path.write_bytes(data)
    return path


def test_what_is_written_is_read_again(steady):
    found = list(video.frames(steady, every_ms=0))
    assert [time for time, _ in found] == list(range(0, 1520, 40))
    assert [number_of(pixels) for _, pixels in found] == list(range(38))
    assert found[0][1].shape == (64, 96, 3)
    assert found[0][1].dtype == np.uint8


def test_a_frame_is_taken_each_time_so_much_has_passed(steady):
    times = [time for time, _ in video.frames(steady, every_ms=200)]
    assert times == [0, 200, 400, 600, 800, 1000, 1200, 1400]
    odd = [time for time, _ in video.frames(steady, every_ms=90)]
    assert odd == [0, 120, 200, 280, 360, 480, 560, 640, 720, 840, 920, 1000, 1080, 1200, 1280, 1360, 1440]
    assert len(odd) == -(-1500 // 90)  # one for each stretch


def test_any_changing_frame_rate_is_understood(tmp_path):
    times = [0, 10, 20, 500, 505, 900, 1300, 1301]
    path = film(tmp_path / "uneven.mp4", times)
    assert [(time, number_of(pixels)) for time, pixels in video.frames(path, every_ms=200)] == [
        (0, 0),
        (500, 3),
        (900, 5),
        (1300, 6),
    ]


def test_a_video_is_read_from_memory_whatever_its_name(steady, tmp_path):
    other = tmp_path / "photo.jpg"
    other.write_bytes(steady.read_bytes())
    expected = [time for time, _ in video.frames(steady)]
    assert [time for time, _ in video.frames(other)] == expected
    assert [time for time, _ in video.frames(io.BytesIO(steady.read_bytes()))] == expected


@pytest.mark.parametrize(("degrees", "corner"), [(90, (0, -1)), (180, (-1, -1)), (270, (-1, 0))])
def test_a_turned_video_is_set_upright(steady, tmp_path, degrees, corner):
    """Phones write the pixels as the sensor lies, and how to turn them (clockwise) into the track's head."""
    data = bytearray(steady.read_bytes())
    one = 1 << 16
    turn = {90: (0, one, -one, 0), 180: (-one, 0, 0, -one), 270: (0, -one, one, 0)}[degrees]
    a, b, c, d = turn
    place = data.index(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = tmp_path / "turned.mp4"
    path.write_bytes(data)
    _, pixels = next(video.frames(path))
    assert pixels.shape == ((64, 96, 3) if degrees == 180 else (96, 64, 3))
    row, column = (8 if place == 0 else -9 for place in corner)
    assert pixels[row, column].min() > 200


def test_what_is_damaged_is_left_out(broken):
    found = [number_of(pixels) for _, pixels in video.frames(broken, every_ms=0)]
    assert found[:5] == [0, 1, 2, 3, 4]
    assert len(found) < 38


def reason(source, **options):
    with pytest.raises(BadPictureError) as caught:
        list(video.frames(source, **options))
    return caught.value.reason, caught.value.detail


def test_what_is_no_video_is_refused_with_the_reason(steady, tmp_path):
    (tmp_path / "text.mp4").write_text("hello " * 500)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "cut.mp4").write_bytes(steady.read_bytes()[:300])
    assert reason(tmp_path / "none.mp4") == ("no_image", "the file does not exist")
    assert reason(tmp_path / "empty.mp4")[0] == "empty_image"
    assert reason(tmp_path / "text.mp4")[0] == "unreadable_video"
    assert reason(tmp_path / "cut.mp4")[0] == "unreadable_video"
    assert reason(tmp_path) == ("unreadable_video", "Is a directory")
    assert reason(io.BytesIO(b"\x1aE\xdf\xa3" * 9))[0] == "unreadable_video"


def test_sound_alone_is_refused(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert reason(path) == ("unreadable_video", "the file holds no video")


def test_a_file_that_names_other_files_is_not_followed(steady, tmp_path):
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{steady}\n#EXT-X-ENDLIST\n")
    assert reason(playlist)[1].startswith("none of the formats")
    concat = tmp_path / "concat.mp4"
    concat.write_text(f"ffconcat version 1.0\nfile {steady}\n")
    assert reason(concat)[0] == "unreadable_video"


def test_too_large_frames_are_refused_before_decoding(steady):
    assert reason(steady, most_pixels=96 * 64 - 1) == ("unreadable_video", "96 × 64 pixels are more than 6,143")


def test_odd_sizes_are_cut_to_even_ones(tmp_path):
    path = film(tmp_path / "odd.mp4", [0, 40], width=97, height=65)
    assert next(video.frames(path))[1].shape == (64, 96, 3)


def test_a_recording_that_fails_leaves_nothing_behind(tmp_path):
    def fail():
        with video.recording(tmp_path / "half.mp4", every_ms=40) as recorder:
            recorder.add(0, scene(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_camera_that_is_not_there_is_explained():
    if Path("/dev/video99").exists():
        pytest.skip("this machine has a hundred cameras")
    with pytest.raises(UserError, match=r"webcam 99 .* cannot be opened"):
        next(video.camera(99))
