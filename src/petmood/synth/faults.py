"""Damage: which frames and clips are damaged and how (a plan), and the doing of it to picture files.

The words are petmood's reasons for refusing a frame. Boxes and label text are damaged where they are written
(`labelling`), picture files here.
"""

from __future__ import annotations

from collections import Counter

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from petmood.synth.settings import SynthSettings
from petmood.synth.story import Clip

FRAME_FAULTS: tuple[str, ...] = (
    "negative_box",
    "box_outside_image",
    "no_box",
    "empty_box",
    "no_image",
    "empty_image",
    "truncated_image",
    "unreadable_image",
    "size_differs",
    "no_label",
)

#: Damage to a whole clip: reason, and which form of it.
CLIP_FAULTS: tuple[str, ...] = (
    "unreadable_label:broken",
    "unknown_emotion",
    "no_label:folder_without_label",
    "no_image:empty_folder",
    "no_image:label_without_folder",
    "unreadable_label:empty",
)

#: A set smaller than this gets frame damage only: clips are too dear.
_CLIP_FAULTS_FROM = 12


def plant(clips: list[Clip], settings: SynthSettings) -> None:
    """Decide which clips and frames are damaged, in place."""
    if settings.faults == 0:
        return
    rng = np.random.default_rng([settings.seed, 2])
    if len(clips) >= _CLIP_FAULTS_FROM:
        _plant_in_clips(clips, settings.faults, rng)
    _plant_in_frames(clips, settings.faults, rng)


def reason_of(fault: str) -> str:
    """Petmood's reason word for a fault."""
    return fault.partition(":")[0]


def counted(clips: list[Clip]) -> dict[str, int]:
    """How often each reason was planted, in frames and clips, by name."""
    words: Counter[str] = Counter()
    for clip in clips:
        words.update(clip.frame_faults.values())
        if clip.clip_fault:
            words[reason_of(clip.clip_fault)] += 1
    return dict(sorted(words.items()))


def _plant_in_clips(clips: list[Clip], rate: float, rng: np.random.Generator) -> None:
    """Every kind once, then at the rate; no emotion loses more than a third of its clips while others are left."""
    left = Counter(clip.emotion for clip in clips)
    bearable = {emotion: count // 3 for emotion, count in left.items()}
    wanted = max(len(CLIP_FAULTS), round(rate * len(clips)))
    done = 0
    for index in rng.permutation(len(clips)).tolist():
        clip = clips[index]
        if done == wanted:
            return
        if bearable[clip.emotion] > 0 or rate == 1:
            bearable[clip.emotion] -= 1
            clip.clip_fault = CLIP_FAULTS[done % len(CLIP_FAULTS)]
            done += 1


def _plant_in_frames(clips: list[Clip], rate: float, rng: np.random.Generator) -> None:
    """Damage frames whose pictures the release holds, in clips that are otherwise sound."""
    sound = [clip for clip in clips if not clip.clip_fault and len(clip.numbers) > 1]
    places = [(clip, position) for clip in sound for position in clip.kept()]
    wanted = min(len(places), max(len(FRAME_FAULTS), round(rate * len(places))))
    for number, index in enumerate(rng.permutation(len(places))[:wanted].tolist()):
        clip, position = places[index]
        clip.frame_faults[position] = FRAME_FAULTS[number % len(FRAME_FAULTS)]


def damaged_picture(fault: str | None, data: bytes, quality: int, rng: np.random.Generator) -> bytes | None:
    """The bytes on disk for a picture with this fault; None where no file is to be written."""
    match fault:
        case "no_image":
            return None
        case "empty_image":
            return b""
        case "truncated_image":
            return data[: int(len(data) * rng.uniform(0.3, 0.7))]
        case "unreadable_image":
            return rng.bytes(max(2000, len(data) // 4))
        case "size_differs":
            return _other_size(data, quality)
        case _:
            return data


def _other_size(data: bytes, quality: int) -> bytes:
    picture: NDArray[np.uint8] = simplejpeg.decode_jpeg(data)
    height, width = picture.shape[:2]
    smaller = cv2.resize(picture, (width * 3 // 4, height * 3 // 4), interpolation=cv2.INTER_AREA)
    encoded: bytes = simplejpeg.encode_jpeg(smaller, quality=quality)
    return encoded
