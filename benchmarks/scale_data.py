"""Made-up data of AI Hub's full size for `scale.py`: labels of the real size, tiny pictures, unpacked or in zips.

What is real: the numbers of clips, the size and form of the label files (99 annotations of 15 keypoints, indent 4,
Korean words, both key orders, points that are null), folder and archive names, which pictures the release lacks (all
but the first 13 or 14, in string order, of a dog's training clips; all of the cats' actions grooming and arch).
What is not: pictures are smooth noise of 160 × 120 pixels, about 1.5 KB; a clip has eight different ones, each shown
for an eighth of its time, so that chosen frames differ and no two clips are near-copies.
"""

from __future__ import annotations

import dataclasses
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import simplejpeg
from joblib import Parallel, delayed

from petmood.synth import SynthSettings
from petmood.synth.build import planned
from petmood.synth.labelling import KEYPOINTS, label_bytes
from petmood.synth.layouts import label_file, picture_folder
from petmood.synth.story import Clip

Form = Literal["unpacked", "zips"]
CLIPS = 68_730
WIDTH, HEIGHT = 160, 120
#: Different pictures of a clip.
_LOOKS = 8
#: Actions of cats whose pictures the circulating training release lacks.
_MISSING = frozenset({"grooming", "arch"})
#: Codes that are null in every second frame of a clip of the manual stream that lacks some.
_HIDDEN = frozenset(range(8, KEYPOINTS + 1))


@dataclasses.dataclass(frozen=True)
class Made:
    """A made-up data set on disk."""

    source: Path
    new: Path
    """One clip in a hundred more, to be moved into the source."""


def make(folder: Path, share: float, form: Form) -> Made:
    """The data set of a share of all clips; what an earlier call made is used again."""
    made = Made(folder / "source", folder / "new")
    if (folder / "done").exists():
        return made
    shutil.rmtree(folder, ignore_errors=True)
    count = round(CLIPS * share)
    wanted = count + max(1, count // 100)
    settings = SynthSettings(clips=wanted + wanted // 8, frames=99, dogs=0.65, size=f"{WIDTH}x{HEIGHT}")
    # Made-up numbers of so many clips repeat some names.
    clips = list({clip.folder: clip for clip in planned(settings)}.values())[:wanted]
    assert len(clips) == wanted
    write = _unpack if form == "unpacked" else _zip
    tasks = [*write(clips[:count], made.source), *write(clips[count:], made.new)]
    Parallel(n_jobs=-1, batch_size=1)(tasks)
    (folder / "done").touch()
    return made


def _unpack(clips: Sequence[Clip], root: Path) -> Iterable[object]:
    return [delayed(_write_folders)(clips[start : start + 32], root) for start in range(0, len(clips), 32)]


def _write_folders(clips: Sequence[Clip], root: Path) -> None:
    cv2.setNumThreads(1)
    for clip in clips:
        label, folder = root / label_file(clip, "korean"), root / picture_folder(clip, "korean")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_bytes(label_of(clip))
        if _has_pictures(clip):
            folder.mkdir(parents=True)
            looks = _pictures(clip)
            for position in clip.kept():
                (folder / clip.picture(position)).write_bytes(_shown(clip, position, looks))


def _zip(clips: Sequence[Clip], root: Path) -> Iterable[object]:
    archives: dict[tuple[str, str, str], list[Clip]] = defaultdict(list)
    for clip in clips:
        archives[clip.split, clip.animal.species.upper(), clip.action.slug.upper()].append(clip)
    # The largest first, so that no process ends long after the others.
    largest = sorted(archives, key=lambda key: len(archives[key]), reverse=True)
    return [delayed(_write_archives)(archives[key], root / key[0], "_".join(key[1:])) for key in largest]


def _write_archives(clips: Sequence[Clip], folder: Path, name: str) -> None:
    """One archive of labels, deflated, and one of pictures, stored."""
    cv2.setNumThreads(1)
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"[라벨]{name}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as labels:
        for clip in clips:
            # A date of its own making: else the archive would hold the present time.
            labels.writestr(zipfile.ZipInfo(f"{clip.folder}.json"), label_of(clip), zipfile.ZIP_DEFLATED)
    shown = [clip for clip in clips if _has_pictures(clip)]
    if not shown:
        return
    with zipfile.ZipFile(folder / f"[원천]{name}.zip", "w", zipfile.ZIP_STORED) as pictures:
        for clip in shown:
            looks = _pictures(clip)
            for position in clip.kept():
                member = zipfile.ZipInfo(f"{clip.folder}/{clip.picture(position)}")
                pictures.writestr(member, _shown(clip, position, looks))


def _has_pictures(clip: Clip) -> bool:
    return clip.split == "Validation" or clip.animal.species == "dog" or clip.action.slug not in _MISSING


def label_of(clip: Clip) -> bytes:
    """The clip's label file: the head as `petmood synth` writes it, annotations from a template."""
    rng = np.random.default_rng([1, clip.index])
    empty = label_bytes(clip, (), rng)
    lacking = _HIDDEN if "null_keypoints" in clip.irregular else frozenset[int]()
    units = [_unit(clip, lacking if position % 2 else frozenset()) for position in range(len(clip.numbers))]
    numbers: list[object] = []
    for position, (box, points) in enumerate(zip(*_movement(clip, rng), strict=True)):
        told = [value for code in range(KEYPOINTS) if f"{code + 1}" in units[position][1] for value in points[code]]
        url = [f"/{clip.animal.date}/{clip.folder}/{clip.picture(position)}"] if _manual(clip) else []
        order = [*url, clip.timestamp(position), *box, *told] if _manual(clip) else None
        numbers += [clip.numbers[position], *(order or [clip.timestamp(position), *told, *box])]
    text = ",\n".join(unit for unit, _ in units) % tuple(numbers)
    return empty.replace(b'"annotations": []', f'"annotations": [\n{text}\n    ]'.encode())


def _manual(clip: Clip) -> bool:
    return clip.animal.stream == "manual"


def _movement(clip: Clip, rng: np.random.Generator) -> tuple[list[list[int]], list[list[list[int]]]]:
    """Box and fifteen points of every frame, wandering about."""
    count = len(clip.numbers)
    sides = rng.uniform(50, 90, 2) + np.cumsum(rng.normal(0, 0.3, (count, 2)), axis=0)
    sides = sides.clip(40, 110).round()
    corner = (rng.uniform(5, 40, 2) + np.cumsum(rng.normal(0, 0.5, (count, 2)), axis=0)).clip(0, None)
    corner = np.minimum(corner, np.array([WIDTH, HEIGHT]) - sides).clip(0).round()
    wander = rng.uniform(0.1, 0.9, (KEYPOINTS, 2)) + np.cumsum(rng.normal(0, 0.01, (count, KEYPOINTS, 2)), axis=0)
    points = corner[:, None] + wander.clip(0, 0.99) * sides[:, None]
    boxes = np.concatenate([corner, np.minimum(sides, np.array([WIDTH, HEIGHT]) - corner)], axis=1)
    return boxes.astype(int).tolist(), points.astype(int).tolist()


def _unit(clip: Clip, hidden: frozenset[int]) -> tuple[str, frozenset[str]]:
    """One annotation with places for its values, in the stream's order of keys; and which codes have a place."""
    indent = "\n" + 20 * " "
    known = f'{{{indent}"x": %d,{indent}"y": %d\n                }}'
    points = ",\n".join(
        f'                "{code}": {"null" if code in hidden else known}' for code in range(1, KEYPOINTS + 1)
    )
    box = ",\n".join(f'                "{side}": %d' for side in ("x", "y", "width", "height"))
    keypoints = f'            "keypoints": {{\n{points}\n            }}'
    bounds = f'            "bounding_box": {{\n{box}\n            }}'
    stamp = '            "timestamp": %d'
    url = '            "frame_url": "%s"'
    parts = [url, stamp, bounds, keypoints] if _manual(clip) else [stamp, keypoints, bounds]
    body = ",\n".join(['            "frame_number": %d', *parts])
    told = frozenset(str(code) for code in range(1, KEYPOINTS + 1) if code not in hidden)
    return f"        {{\n{body}\n        }}", told


def _pictures(clip: Clip) -> list[bytes]:
    """The clip's different pictures as JPEG: a smooth field of its own, changing a little."""
    rng = np.random.default_rng([2, clip.index])
    field = rng.standard_normal((12, 16, 1)) + 0.1 * rng.standard_normal((12, 16, 3))
    pictures = []
    for _ in range(_LOOKS):
        field = field + 0.4 * rng.standard_normal((12, 16, 1))
        smooth = cv2.resize(field, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        pixels = (128 + 40 * smooth).clip(0, 255).astype(np.uint8)
        pictures.append(simplejpeg.encode_jpeg(pixels, quality=50, colorsubsampling="420"))
    return pictures


def _shown(clip: Clip, position: int, looks: Sequence[bytes]) -> bytes:
    return looks[position * len(looks) // len(clip.numbers)]
