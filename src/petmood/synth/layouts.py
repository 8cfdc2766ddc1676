"""Where a clip's label file and picture folder lie, in each of the folder layouts in circulation."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from petmood.synth.settings import Layout
from petmood.synth.story import Clip
from petmood.synth.words import ACTIONS

_LABEL_KO = "라벨링데이터"
_SOURCE_KO = "원천데이터"


def label_file(clip: Clip, layout: Layout) -> PurePosixPath:
    """Path of the label file, relative to the data set."""
    return _parent(clip, layout, labels=True) / f"{clip.folder}.json"


def picture_folder(clip: Clip, layout: Layout) -> PurePosixPath:
    """Path of the picture folder, relative to the data set."""
    return _parent(clip, layout, labels=False) / clip.folder


def _parent(clip: Clip, layout: Layout, *, labels: bool) -> PurePosixPath:
    kind, action = clip.animal.species, clip.action.slug.upper()
    species = kind.upper()
    korean = _LABEL_KO if labels else _SOURCE_KO
    match layout:
        case "korean":
            parent = PurePosixPath(clip.split, korean, species, action)
        case "numbered":
            number = f"_{_archive(clip)}" if clip.split == "Training" else ""
            parent = PurePosixPath(clip.split, f"{korean}{number}", species, action)
        case "bracket":
            parent = PurePosixPath(clip.split, f"[{'라벨' if labels else '원천'}]{species}_{action}")
        case "species":
            parent = PurePosixPath(clip.split, species, "라벨" if labels else "원천")
        case "user":
            side = "train" if clip.split == "Training" else "val"
            parent = PurePosixPath(side, kind, "labels" if labels else "images", action)
        case "action":
            parent = PurePosixPath(clip.split, "label" if labels else "image", species, action)
    if "nfd_folder" in clip.irregular and labels:
        # A file system from Apple spells the same name in decomposed letters; the picture side stays composed.
        return PurePosixPath(*(unicodedata.normalize("NFD", part) for part in parent.parts))
    return parent


def _archive(clip: Clip) -> int:
    """Which of the nine numbered folders of the 2021 release an action went to: cats first, then dogs."""
    slugs = [action.slug for kind in ("cat", "dog") for action in ACTIONS[kind]]
    offset = 0 if clip.animal.species == "cat" else len(ACTIONS["cat"])
    own = [action.slug for action in ACTIONS[clip.animal.species]].index(clip.action.slug)
    return 1 + (offset + own) * 9 // len(slugs)


def has_korean(layout: Layout) -> bool:
    """Whether a layout's folder names hold Korean, so that they can be spelt in decomposed letters."""
    return layout not in {"user", "action"}
