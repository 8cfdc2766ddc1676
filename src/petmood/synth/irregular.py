"""Oddities of the real data that no reader may refuse: which clips have them. They are there at any fault rate.

Rates follow what was found in the published label files; every kind occurs at least once where a clip can have it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from petmood.labels import EMOTIONS
from petmood.synth.layouts import has_korean
from petmood.synth.settings import SynthSettings
from petmood.synth.story import Clip, cut_positions, folder_name

#: A set smaller than this holds no clip of one annotation: it would cost an animal its only clip.
_SINGLE_FROM_CLIPS = 20


def plant(clips: list[Clip], settings: SynthSettings) -> None:
    """Give clips their oddities, in place; ends with which pictures the release left out."""
    rng = np.random.default_rng([settings.seed, 1])
    for kind, rate in _RATES.items():
        able = [clip for clip in clips if _ABLE.get(kind, _any)(clip)]
        count = min(len(able), max(1, round(rate * len(clips))))
        for position in sorted(rng.permutation(len(able))[:count].tolist()):
            able[position].irregular.add(kind)
    if len(clips) >= _SINGLE_FROM_CLIPS:
        _single_annotation(clips, rng)
    for clip in clips:
        _apply(clip, rng)
    _reuse_sequence_number(clips, rng)
    if has_korean(settings.layout):
        _decompose_a_folder(clips, rng)
    for clip in clips:
        clip.folder = folder_name(clip)
        if settings.cut_short and clip.split == "Training" and clip.animal.species == "dog" and len(clip.numbers) > 14:
            clip.cut = cut_positions(clip, 13 if rng.random() < 0.36 else 14)


def _any(clip: Clip) -> bool:
    return True


def _manual(clip: Clip) -> bool:
    return clip.animal.stream == "manual"


def _auto(clip: Clip) -> bool:
    return clip.animal.stream == "auto"


def _long(clip: Clip) -> bool:
    return len(clip.numbers) >= 10


#: Share of the clips with each oddity. The words are those of the truth file.
_RATES: Mapping[str, float] = {
    "owner_differs": 0.24,
    "new_wording": 0.6,
    "action_trailing_space": 0.02,
    "emotion_spaces": 0.02,
    "int_duration": 0.06,
    "gaps": 0.06,
    "absent_keypoints": 0.02,
    "null_keypoints": 0.02,
    "repeated_boxes": 0.04,
    "inspect_action_differs": 0.03,
    "byte_order_mark": 0.005,
    "undated_low_id": 0.005,
}

_ABLE: Mapping[str, Callable[[Clip], bool]] = {
    "gaps": _long,
    "repeated_boxes": _manual,
    "null_keypoints": _manual,
    "undated_low_id": _auto,
}


def _apply(clip: Clip, rng: np.random.Generator) -> None:
    """Change the clip itself where an oddity shows in more than the label file."""
    if clip.animal.stream == "manual":
        clip.irregular.add("mp4_folder")
    if "owner_differs" in clip.irregular:
        clip.owner_emotion = str(rng.choice([name for name in EMOTIONS if name != clip.emotion]))
    if "undated_low_id" in clip.irregular:
        # Far above what the manual stream uses in a set of any size, and still a low number.
        clip.seq = 10_101 + int(rng.integers(99))
    if "gaps" in clip.irregular:
        clip.numbers = _with_gaps(clip.numbers, rng)


def _with_gaps(numbers: tuple[int, ...], rng: np.random.Generator) -> tuple[int, ...]:
    """The clip without its first frame and without one to three frames in two places of its middle."""
    middle = len(numbers) // 2
    lost = {0, middle - 2}
    lost.update(range(middle + 1, middle + 1 + int(rng.integers(1, 4))))
    return tuple(number for position, number in enumerate(numbers) if position not in lost)


def _single_annotation(clips: list[Clip], rng: np.random.Generator) -> None:
    """One clip in two hundred, and at least one, keeps its first frame only; never one of a rare emotion."""
    common = max(EMOTIONS, key=lambda name: sum(clip.emotion == name for clip in clips))
    able = [clip for clip in clips if clip.emotion == common and "gaps" not in clip.irregular]
    for position in rng.permutation(len(able))[: max(1, len(clips) // 200)].tolist():
        able[position].numbers = able[position].numbers[:1]
        able[position].irregular.add("single_annotation")


def _reuse_sequence_number(clips: list[Clip], rng: np.random.Generator) -> None:
    """Let one clip in a thousand, and at least one, carry the number of a clip with another action."""
    for position in rng.permutation(len(clips))[: max(1, len(clips) // 1000)].tolist():
        clip = clips[position]
        others = [
            other
            for other in clips
            if other.action.slug != clip.action.slug
            and other.animal.stream == clip.animal.stream
            and not {"seq_reused", "undated_low_id"} & (other.irregular | clip.irregular)
        ]
        if others:
            clip.seq = others[int(rng.integers(len(others)))].seq
            clip.irregular.add("seq_reused")


def _decompose_a_folder(clips: list[Clip], rng: np.random.Generator) -> None:
    """All clips of one action and split have their label folder's name in decomposed letters (NFD)."""
    chosen = clips[int(rng.integers(len(clips)))]
    for clip in clips:
        if (clip.split, clip.animal.species, clip.action.slug) == (
            chosen.split,
            chosen.animal.species,
            chosen.action.slug,
        ):
            clip.irregular.add("nfd_folder")
