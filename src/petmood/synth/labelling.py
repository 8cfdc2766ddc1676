"""Label files as AI Hub data set 59 has them: every key, both streams' key order, every damage to a label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from petmood.labels import EMOTIONS_KO
from petmood.synth.story import Clip

Json = dict[str, object]
Box = tuple[int, int, int, int]

#: Number of keypoints; their codes are "1" to "15".
KEYPOINTS = 15

_TRUE_KEYS = ("x", "y", "width", "height")


@dataclass(frozen=True)
class Annotation:
    """What is true of one frame: the animal's box and joints, in pixels of the picture."""

    box: Box
    """x, y, width, height."""
    joints: Sequence[tuple[float, float]]
    """Fifteen points in the order of AI Hub's codes, possibly outside box or picture."""


def label_bytes(clip: Clip, truth: Sequence[Annotation], rng: np.random.Generator) -> bytes:
    """The bytes of the clip's label file, damage included."""
    if clip.clip_fault == "unreadable_label:empty":
        return b""
    annotations = _annotations(clip, truth, rng)
    document: Json
    if clip.animal.stream == "manual":
        document = {"annotations": annotations, "metadata": _metadata(clip, rng), "file_video": _video(clip)}
    else:
        document = {"file_video": _video(clip), "metadata": _metadata(clip, rng), "annotations": annotations}
    data = json.dumps(document, ensure_ascii=False, indent=4).encode()
    if clip.clip_fault == "unreadable_label:broken":
        return data[: len(data) * 2 // 3]
    return b"\xef\xbb\xbf" + data if "byte_order_mark" in clip.irregular else data


def _video(clip: Clip) -> str:
    name = f"{clip.animal.species}-{clip.action.slug}-{clip.seq:06d}.mp4"
    return f"{clip.animal.date}/{name}"


def _metadata(clip: Clip, rng: np.random.Generator) -> Json:
    animal = clip.animal
    width, height = animal.size
    duration = (clip.numbers[-1] + 1) / clip.fps + float(rng.uniform(0, 0.2))
    action = clip.action.new if "new_wording" in clip.irregular else clip.action.old
    inspected = clip.action.old if "inspect_action_differs" in clip.irregular else action
    if "inspect_action_differs" in clip.irregular and inspected == action:
        inspected = clip.action.new
    return {
        "seq": clip.seq,
        "species": animal.species.upper(),
        "action": f"{action} " if "action_trailing_space" in clip.irregular else action,
        "location": animal.location,
        "height": height,
        "width": width,
        "duration": max(1, round(duration)) if "int_duration" in clip.irregular else round(duration, 6),
        "animal": {"breed": animal.breed, "gender": animal.gender, "age": animal.age, "neuter": animal.neuter},
        "owner": {
            "pain": "N",
            "disease": "Y" if rng.random() < 0.05 else "N",
            "emotion": EMOTIONS_KO[clip.owner_emotion],
            "situation": clip.situation,
            "animalCount": animal.together,
        },
        "inspect": {
            "action": inspected,
            "painDisease": "N",
            "abnormalAction": "Y" if rng.random() < 0.03 else "N",
            "emotion": _inspected_emotion(clip),
        },
    }


def _inspected_emotion(clip: Clip) -> str:
    if clip.clip_fault == "unknown_emotion":
        # A word that is no emotion, or nothing at all: both have the same reason.
        return "배고픔" if clip.index % 2 else ""
    word = EMOTIONS_KO[clip.emotion]
    return f" {word} " if "emotion_spaces" in clip.irregular else word


def _annotations(clip: Clip, truth: Sequence[Annotation], rng: np.random.Generator) -> list[Json]:
    written = []
    previous: Box | None = None
    for position, annotation in enumerate(truth):
        box = annotation.box
        if previous and "repeated_boxes" in clip.irregular and position % 2 and position not in clip.frame_faults:
            box = previous
        previous = box
        shown = _box_json(box, clip, position, rng)
        points = _points_json(annotation, clip, rng)
        written.append(_annotation(clip, position, shown, points))
    return written


def _annotation(clip: Clip, position: int, box: Json, points: Json) -> Json:
    number, stamp = clip.numbers[position], clip.timestamp(position)
    if clip.animal.stream == "manual":
        url = f"/{clip.animal.date}/{clip.folder}/{clip.picture(position)}"
        return {"frame_number": number, "frame_url": url, "timestamp": stamp, **box, "keypoints": points}
    return {"frame_number": number, "timestamp": stamp, "keypoints": points, **box}


def _box_json(box: Box, clip: Clip, position: int, rng: np.random.Generator) -> Json:
    """The `bounding_box` entry, damaged if planned; no entry at all where the key is missing."""
    width, height = clip.animal.size
    x, y, w, h = box
    match clip.frame_faults.get(position):
        case "no_box":
            return {} if rng.random() < 0.3 else {"bounding_box": None}
        case "negative_box":
            beyond = -int(rng.integers(1, 30))
            x, y = (beyond, y) if rng.random() < 0.5 else (x, beyond)
        case "box_outside_image":
            beyond = int(rng.integers(1, 40))
            w, h = (width - x + beyond, h) if rng.random() < 0.5 else (w, height - y + beyond)
        case "empty_box":
            w, h = (0, h) if rng.random() < 0.5 else (w, 0)
        case _:
            pass
    return {"bounding_box": dict(zip(_TRUE_KEYS, (x, y, w, h), strict=True))}


def _points_json(annotation: Annotation, clip: Clip, rng: np.random.Generator) -> Json:
    """Keypoints by code; null outside box or picture, as the labelling tool wrote them."""
    width, height = clip.animal.size
    x, y, w, h = annotation.box
    hidden = _hidden_codes(clip, rng)
    points: Json = {}
    for code, (px, py) in enumerate(annotation.joints, start=1):
        inside = x <= px < x + w and y <= py < y + h and 0 <= px < width and 0 <= py < height
        if code in hidden and "absent_keypoints" in clip.irregular:
            continue
        points[str(code)] = {"x": int(px), "y": int(py)} if inside and code not in hidden else None
    return points


def _hidden_codes(clip: Clip, rng: np.random.Generator) -> set[int]:
    """Codes without a point: about half of them in such clips of the manual stream, some in others."""
    rates: Mapping[str, float] = {"null_keypoints": 0.5, "absent_keypoints": 0.25}
    rate = max((rates[kind] for kind in rates if kind in clip.irregular), default=0.0)
    if not rate:
        return set()
    return {1, *(code for code in range(2, KEYPOINTS + 1) if rng.random() < rate)}
