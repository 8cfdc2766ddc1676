"""Class folders: photos below a folder named after their emotion (``happy/*.jpg``, ``dog/화남/clip-3/*.png``)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import polars as pl

from petmood import places
from petmood.errors import UserError
from petmood.labels import EMOTIONS, EMOTIONS_KO, emotion_of, normalise, species_of
from petmood.settings import fingerprint
from petmood.sources.rows import RefusedTask, Source, Task, copies_remark, picture_size, raw_rows, split_of
from petmood.sources.tree import Tree

_PICTURES_A_TASK = 512


@dataclasses.dataclass(frozen=True)
class FolderTask:
    """Some photos of one data set."""

    root: str
    pictures: Sequence[str]
    class_depths: Sequence[int]
    """For each photo, which part of its path (relative to the root) names the emotion; -1 if none does."""

    @property
    def size(self) -> int:
        """Number of photos."""
        return len(self.pictures)

    def read(self) -> pl.DataFrame:
        """One raw row a photo; the box is the whole photo."""
        rows = [self._row(path, depth) for path, depth in zip(self.pictures, self.class_depths, strict=True)]
        return raw_rows(pl.DataFrame(rows, infer_schema_length=None))

    def _row(self, path: str, depth: int) -> dict[str, object]:
        relative = [normalise(part) for part in below(path, self.root)]
        name = os.path.splitext(relative[-1])[0]
        # Photos in a folder of their own below the class are one clip; loose photos are each their own.
        clip = "/".join(relative[:-1]) if 0 <= depth < len(relative) - 2 else "/".join([*relative[:-1], name])
        species = next((found for part in relative[:-1] if (found := species_of(part))), None)
        width, height, reason, detail = picture_size(path)
        return {
            "frame_id": "/".join(relative),
            "path": path,
            "clip": clip,
            "group": clip,
            "species": species,
            "emotion_text": relative[depth if depth >= 0 else -2] if len(relative) > 1 else "",
            "x": 0,
            "y": 0,
            "width": width,
            "height": height,
            "image_width": width,
            "image_height": height,
            "official_split": split_of(relative[:-1]),
            "refused": reason,
            "detail": detail,
        }


def below(place: str, root: str) -> list[str]:
    """The parts of a place below its root; an archive counts as a folder of its name."""
    return places.unpacked(place.removeprefix(root)).strip("/").split("/")


def open_folders(root: str, tree: Tree, named: Sequence[str] = ()) -> Source:
    """Photos in folders named after emotions, or after words that the user merges into one (``named``).

    Raises:
        UserError: no folder is named after an emotion.
    """
    words = {normalise(word).lower() for word in named}
    pictures = _without_copies(tree.pictures)
    depths = [_class_depth(below(path, root)[:-1], words) for path in pictures]
    if all(depth < 0 for depth in depths):
        names = sorted({normalise(os.path.basename(os.path.dirname(path))) for path in tree.pictures})
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        raise UserError(
            f"source {root} has {len(tree.pictures):,} pictures (in: {shown}) but no label files, and "
            "no folder is named after an emotion.",
            hint=f"put photos into folders named {', '.join(EMOTIONS)} (or {', '.join(EMOTIONS_KO.values())}), "
            "name other words with `--merge WORD=EMOTION`, or give the folder that holds AI Hub's label files too",
        )
    tasks: list[Task] = [
        FolderTask(root, pictures[start:stop], depths[start:stop])
        for start in range(0, len(pictures), _PICTURES_A_TASK)
        for stop in [start + _PICTURES_A_TASK]
    ]
    if tree.refused:
        tasks.append(RefusedTask(tree.refused))
    mark = fingerprint("folders", tree.stamps)
    remarks = [*tree.remarks, *copies_remark(len(tree.pictures) - len(pictures), "pictures")]
    return Source("folders", "pictures", tasks, mark, has_owner_labels=False, remarks=remarks)


def _without_copies(pictures: Sequence[str]) -> list[str]:
    """Pictures without those of archives that lie unpacked beside them."""
    outside = {normalise(path) for path in pictures if places.unpacked(path) == path}
    return [
        path for path in pictures if places.unpacked(path) == path or normalise(places.unpacked(path)) not in outside
    ]


def _class_depth(folders: Sequence[str], words: set[str]) -> int:
    """Position of the innermost folder that names an emotion, or -1."""
    for depth in range(len(folders) - 1, -1, -1):
        if emotion_of(folders[depth]) or normalise(folders[depth]).lower() in words:
            return depth
    return -1
