from __future__ import annotations

import hashlib
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import simplejpeg
from synth_sets import composed, made

from petmood.errors import UserError
from petmood.labels import EMOTIONS_KO
from petmood.synth import SynthSettings, synth

_AUTO = {"file_video", "metadata", "annotations"}
_METADATA = ["seq", "species", "action", "location", "height", "width", "duration", "animal", "owner", "inspect"]


def _digest(root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(root.parent.rglob("*")):
        digest.update(str(path.relative_to(root.parent)).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def test_same_seed_same_bytes_whatever_the_jobs(tmp_path):
    settings = SynthSettings(clips=12, frames=3, size="200x120", faults=0.05)
    made(tmp_path / "one" / "set", settings, jobs=1)
    made(tmp_path / "two" / "set", settings, jobs=2)
    made(tmp_path / "three" / "set", SynthSettings(clips=12, frames=3, size="200x120", faults=0.05, seed=1), jobs=1)
    assert _digest(tmp_path / "one" / "set") == _digest(tmp_path / "two" / "set")
    assert _digest(tmp_path / "one" / "set") != _digest(tmp_path / "three" / "set")


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        synth(tmp_path / "set", SynthSettings(clips=1))
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "mine.txt"]


def test_a_broken_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("petmood.synth.build._write_truth", fail)
    with pytest.raises(OSError, match="disk full"):
        synth(tmp_path / "set", SynthSettings(clips=2, frames=1, size="200x120"))
    assert list(tmp_path.iterdir()) == []


def test_labels_have_every_key(damaged):
    for clip in damaged.sound_clips():
        document = damaged.document(clip)
        assert set(document) == _AUTO
        assert list(document["metadata"]) == _METADATA
        assert (next(iter(document)) == "annotations") == clip.endswith(".mp4")
        for entry in document["annotations"]:
            assert ("frame_url" in entry) == clip.endswith(".mp4")
            assert set(entry["keypoints"]) <= {str(code) for code in range(1, 16)}
        assert (
            document["metadata"]["inspect"]["emotion"].strip() == EMOTIONS_KO[damaged.truth["clips"][clip]["emotion"]]
        )


def test_names_follow_the_two_styles(damaged):
    styles = {bool(re.match(r"\d{8}_", clip)) for clip in damaged.truth["clips"]}
    assert styles == {True, False}
    for clip in damaged.truth["clips"]:
        assert re.fullmatch(r"(\d{8}_(dog|cat)-[a-z]+-\d{6}\.mp4|(dog|cat)-[a-z]+-\d{6})", clip)
    for path in damaged.root.rglob("*.jpg"):
        assert re.fullmatch(r"frame_\d+_timestamp_\d+\.jpg", path.name)


def test_korean_layout_with_one_decomposed_folder(damaged):
    tops = {path.name for path in (damaged.root / "Training").iterdir()}
    tops |= {path.name for path in (damaged.root / "Validation").iterdir()}
    assert {composed(Path(top)) for top in tops} == {"라벨링데이터", "원천데이터"}
    assert len(tops) == 3


def test_cut_short_clips_hold_the_first_names_in_string_order(damaged):
    clips = damaged.truth["clips"]
    cut = [clip for clip in damaged.sound_clips() if clips[clip]["cut_short"]]
    assert cut
    for clip in cut:
        assert clips[clip]["species"] == "dog"
        assert clips[clip]["split"] == "Training"
        entries = damaged.document(clip)["annotations"]
        names = sorted(f"frame_{e['frame_number']}_timestamp_{e['timestamp']}.jpg" for e in entries)
        held = sorted(path.name for path in damaged.folders[clip].iterdir())
        assert held == names[: len(held)]
        assert len(held) in {13, 14}


def _state(damaged, clip: str, picture: str) -> str:
    """What is wrong with a picture, found without petmood; empty if nothing is."""
    document = damaged.document(clip)
    width, height = document["metadata"]["width"], document["metadata"]["height"]
    path = damaged.folders[clip] / picture
    number = int(picture.split("_")[1])
    listed = [entry for entry in document["annotations"] if entry["frame_number"] == number]
    if not listed:
        return "no_label"
    return _box_state(listed[0].get("bounding_box"), width, height) or _picture_state(path, width, height)


def _box_state(box, width: int, height: int) -> str:
    if box is None:
        return "no_box"
    if box["x"] < 0 or box["y"] < 0:
        return "negative_box"
    if box["width"] == 0 or box["height"] == 0:
        return "empty_box"
    return "box_outside_image" if box["x"] + box["width"] > width or box["y"] + box["height"] > height else ""


def _picture_state(path: Path, width: int, height: int) -> str:
    if not path.exists():
        return "no_image"
    data = path.read_bytes()
    if not data:
        return "empty_image"
    if not data.startswith(b"\xff\xd8"):
        return "unreadable_image"
    if not data.endswith(b"\xff\xd9"):
        return "truncated_image"
    found = simplejpeg.decode_jpeg_header(data)[:2]
    return "size_differs" if found != (height, width) else ""


def test_truth_names_all_damage_to_frames_and_nothing_else(damaged):
    planted = {place: word for place, word in damaged.truth["faults"].items() if "/" in place}
    assert len(set(planted.values())) == 10
    found = {}
    whole = {place for place in damaged.truth["faults"] if "/" not in place}
    for clip in set(damaged.truth["clips"]) - whole:
        held = {path.name for path in damaged.folders[clip].iterdir()}
        if not damaged.truth["clips"][clip]["cut_short"]:
            held |= {
                f"frame_{e['frame_number']}_timestamp_{e['timestamp']}.jpg"
                for e in damaged.document(clip)["annotations"]
            }
        held |= {place.split("/")[1] for place in planted if place.startswith(f"{clip}/")}
        found |= {f"{clip}/{name}": state for name in held if (state := _state(damaged, clip, name))}
    assert found == planted


def test_truth_counts_good_frames(damaged):
    good = 0
    for clip, entry in damaged.truth["clips"].items():
        if clip in damaged.truth["faults"]:
            assert entry["frames"] == 0
            continue
        states = [_state(damaged, clip, path.name) for path in damaged.folders[clip].iterdir()]
        assert states.count("") == entry["frames"]
        assert len(damaged.document(clip)["annotations"]) == entry["listed"]
        good += entry["frames"]
    assert good == damaged.truth["frames_ok"] == damaged.summary.frames_ok


def _clip_state(damaged, clip: str) -> str:
    if clip not in damaged.labels:
        return "no_label"
    if clip not in damaged.folders or not any(damaged.folders[clip].iterdir()):
        return "no_image"
    try:
        document = damaged.document(clip)
    except json.JSONDecodeError:
        return "unreadable_label"
    word = document["metadata"]["inspect"]["emotion"].strip()
    return "" if word in EMOTIONS_KO.values() else "unknown_emotion"


def test_truth_names_all_damage_to_clips_and_nothing_else(damaged):
    planted = {place: word for place, word in damaged.truth["faults"].items() if "/" not in place}
    assert set(planted.values()) == {"unreadable_label", "unknown_emotion", "no_label", "no_image"}
    found = {clip: state for clip in damaged.truth["clips"] if (state := _clip_state(damaged, clip))}
    assert found == planted


def test_oddities_are_on_disk(damaged):
    odd = {
        kind: [clip for clip in clips if clip in damaged.sound_clips()]
        for kind, clips in damaged.truth["irregular"].items()
    }
    for clip in odd["owner_differs"]:
        metadata = damaged.document(clip)["metadata"]
        assert metadata["owner"]["emotion"].strip() != metadata["inspect"]["emotion"].strip()
    for clip in odd["action_trailing_space"]:
        assert damaged.document(clip)["metadata"]["action"].endswith(" ")
    for clip in odd["int_duration"]:
        assert isinstance(damaged.document(clip)["metadata"]["duration"], int)
    for clip in odd["byte_order_mark"]:
        assert damaged.labels[clip].read_bytes().startswith(b"\xef\xbb\xbf")
    for clip in odd["nfd_folder"]:
        assert composed(damaged.labels[clip]) != str(damaged.labels[clip])
    for clip in odd["gaps"]:
        numbers = [entry["frame_number"] for entry in damaged.document(clip)["annotations"]]
        steps = {after - before for before, after in pairwise(numbers)}
        assert numbers[0] > 0
        assert len(steps) > 1


def test_few_pictures_are_linked_to_all_frames(tmp_path):
    data = made(
        tmp_path / "set", SynthSettings(clips=20, frames=10, size="200x120", pictures="few", faults=0.05), jobs=1
    )
    pictures = list(data.root.rglob("*.jpg"))
    assert len({path.stat().st_ino for path in pictures}) < 40
    assert sum(path.stat().st_size > 0 for path in pictures) > 100
    assert not list(tmp_path.rglob(".stock*"))
    assert data.truth["frames_ok"] == sum(clip["frames"] for clip in data.truth["clips"].values())
