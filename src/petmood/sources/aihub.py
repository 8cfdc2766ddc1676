"""AI Hub data set 59, unpacked in any of its layouts: label files and clip folders, found and paired by their stem."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from petmood import places
from petmood.labels import normalise, species_of
from petmood.settings import fingerprint
from petmood.sources.label import Box, Inspect, Label, Metadata, Owner, decoded, points_of
from petmood.sources.rows import PICTURE_SUFFIXES, POINTS, RefusedTask, Source, Task, copies_remark, raw_rows, split_of
from petmood.sources.tree import CLIP_NAME, Inside, Tree, printable

#: Label files a task: some tens of milliseconds of work, so that all cores are busy even on small sets.
_CLIPS_A_TASK = 256


@dataclasses.dataclass(frozen=True)
class ClipFiles:
    """One clip on disk: its label file, its folder of pictures, or only one of them."""

    clip: str
    label: str | None
    folder: str | None
    duplicate: bool = False
    stamp: int = 0
    """64 bits that change with the label file and with the list of the folder's pictures."""


@dataclasses.dataclass(frozen=True)
class AihubTask:
    """Some clips of one data set."""

    root: str
    clips: Sequence[ClipFiles]

    @property
    def size(self) -> int:
        """Number of clips."""
        return len(self.clips)

    def stamps(self) -> list[tuple[str, int]]:
        """Each clip's name, once, with 64 bits that change whenever its rows may: label file, folder, their list.

        They do not change with what is inside a picture.
        """
        return [(name, _joined(entry.stamp for entry in entries)) for name, entries in _by_clip(self.clips)]

    def without(self, clips: Collection[str]) -> AihubTask:
        """The task without all that belongs to these clips."""
        return dataclasses.replace(self, clips=[entry for entry in self.clips if entry.clip not in clips])

    def read(self) -> pl.DataFrame:
        """Raw rows of its clips: one an annotation, one an unlabelled picture, one a label that cannot be read."""
        rows = _Rows(self.root)
        for clip in self.clips:
            rows.add(clip)
        return rows.table()


def open_aihub(root: str, tree: Tree) -> Source:
    """Pair the label files and clip folders that a walk over ``root`` found.

    Clips come in the order of their names; those in archives behind the others, archive by archive and in the order in
    which they lie there, so that a process reads onwards and needs few archives at a time.
    """
    states: dict[str, object] = {path: state for path, *state in tree.stamps}
    states.update({place: where.stamp for place, where in tree.inside.items()})
    paired = pair(tree.labels, tree.clip_folders)
    unpacked = _without_copies(paired) if tree.inside else paired
    clips = [_stamped(entry, states) for entry in unpacked]
    tasks: list[Task] = [AihubTask(root, part) for part in _cut(_in_order_of_archives(clips, tree))]
    if tree.refused:
        tasks.append(RefusedTask(tree.refused))
    mark = fingerprint("aihub", tree.stamps)
    remarks = [*tree.remarks, *copies_remark(len(paired) - len(unpacked), "clips")]
    return Source("aihub", "clips", tasks, mark, has_owner_labels=True, remarks=remarks)


def _without_copies(clips: Sequence[ClipFiles]) -> list[ClipFiles]:
    """Clips without what archives hold a second time: many keep the zips beside what they have unpacked."""
    chosen = {entry.clip: entry for entry in clips if entry.label and not entry.duplicate}

    def is_copy(entry: ClipFiles) -> bool:
        first = chosen.get(entry.clip)
        if first is None or first is entry:
            return False
        mine, theirs = (entry.label, first.label) if entry.label else (entry.folder, first.folder)
        return theirs is not None and _is_packed(mine) and not _is_packed(theirs)

    return [entry for entry in clips if not is_copy(entry)]


def _is_packed(place: str | None) -> bool:
    return place is not None and places.unpacked(place) != place


def _in_order_of_archives(clips: Sequence[ClipFiles], tree: Tree) -> list[ClipFiles]:
    if not tree.inside:
        return list(clips)
    outside = Inside(-1, 0, 0)

    def place(clip: tuple[str, list[ClipFiles]]) -> tuple[int, int, int, int]:
        label = tree.inside.get(clip[1][0].label or "", outside)
        folder = tree.inside.get(clip[1][0].folder or "", outside)
        return folder.archive, label.archive, label.offset, folder.offset

    return [entry for _, entries in sorted(_by_clip(clips), key=place) for entry in entries]


def _stamped(entry: ClipFiles, states: Mapping[str, object]) -> ClipFiles:
    """The same clip with its stamp, from the states of files and folders that a walk found."""
    told = [(path, states.get(path)) for path in (entry.label, entry.folder) if path]
    digest = hashlib.blake2b(repr((told, entry.duplicate)).encode(), digest_size=8)
    return dataclasses.replace(entry, stamp=int.from_bytes(digest.digest(), "big"))


def _cut(clips: Sequence[ClipFiles]) -> list[list[ClipFiles]]:
    """Parts for the tasks; all entries of one name are in one part."""
    parts: list[list[ClipFiles]] = []
    for _, entries in _by_clip(clips):
        if not parts or len(parts[-1]) >= _CLIPS_A_TASK:
            parts.append([])
        parts[-1] += entries
    return parts


def _by_clip(clips: Sequence[ClipFiles]) -> Iterator[tuple[str, list[ClipFiles]]]:
    """Name and entries of each clip; entries of one name stand together."""
    return ((name, list(entries)) for name, entries in groupby(clips, key=lambda entry: entry.clip))


def _joined(stamps: Iterator[int]) -> int:
    """One stamp of several; that of one alone."""
    first, *others = stamps
    if not others:
        return first
    digest = hashlib.blake2b(repr((first, others)).encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")


def speaks_of_clips(tree: Tree) -> bool:
    """Whether any JSON file is named like a clip or like a folder of pictures: else it is about something else."""
    folders = {_name(folder) for folder in tree.clip_folders}
    stems = (_stem(label) for label in tree.labels)
    return any(CLIP_NAME.fullmatch(stem) or stem in folders for stem in stems)


def _name(folder: str) -> str:
    """Name of a folder, or of an archive that is one."""
    return normalise(os.path.basename(places.unpacked(folder)))


def _stem(label: str) -> str:
    return normalise(os.path.basename(label))[: -len(".json")]


def pair(labels: Sequence[str], folders: Sequence[str]) -> list[ClipFiles]:
    """Match label files and clip folders by stem (label name without its last ``.json`` = folder name), in NFC.

    Where several folders bear the name, the one whose path has most in common with the label's is taken. A label file
    whose stem was seen before is marked as a duplicate; what is in no archive comes first. Result in the order of the
    clip names.
    """
    by_name: dict[str, list[str]] = defaultdict(list)
    for folder in sorted(folders, key=_is_packed):
        by_name[_name(folder)].append(folder)
    found: dict[str, ClipFiles] = {}
    duplicates: list[ClipFiles] = []
    used: set[str] = set()
    for label in sorted(labels, key=lambda label: (_is_packed(label), normalise(label))):
        clip = _stem(label)
        # Some users strip `.mp4` from the folders of the manual stream.
        candidates = by_name.get(clip) or by_name.get(clip.removesuffix(".mp4"), [])
        nearest = _nearest([folder for folder in candidates if folder not in used], label)
        if nearest is not None:
            used.add(nearest)
        entry = ClipFiles(clip, label, nearest, duplicate=clip in found)
        if entry.duplicate:
            duplicates.append(entry)
        else:
            found[clip] = entry
    unlabelled = [ClipFiles(name, None, path) for name, paths in by_name.items() for path in paths if path not in used]
    return sorted([*found.values(), *duplicates, *unlabelled], key=lambda entry: (entry.clip, entry.label or ""))


def _nearest(folders: Sequence[str], label: str) -> str | None:
    """The folder whose path has most in common with the label's; the first of equals."""
    return max(folders, key=lambda folder: len(os.path.commonpath([folder, label])), default=None)


class _Rows:
    """Collects rows as columns: frames in one table, what is said once a clip in another, joined at the end."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._clips: list[dict[str, object]] = []
        self._counts: list[int] = []
        self._names: list[str] = []
        self._present: list[bool] = []
        self._times: list[float] = []
        self._boxes: list[Box | None] = []
        self.points_of: list[NDArray[np.int16]] = []
        self._refused: list[pl.DataFrame] = []

    def add(self, files: ClipFiles) -> None:
        """Read one clip's label file and list its folder."""
        pictures = _pictures(files.folder)
        label, problem = (None, ("no_label", "no label file")) if files.label is None else _read_label(files)
        if label is None:
            if files.label is not None:
                self._refuse([files.label], files.clip, *problem)
            if files.folder is not None:
                paths = [f"{files.folder}/{printable(name)}" for name in sorted(pictures)]
                self._refuse(paths, files.clip, "no_label", problem[1])
            return
        names = [f"frame_{item.frame_number}_timestamp_{item.timestamp}.jpg" for item in label.annotations]
        times = [item.timestamp for item in label.annotations]
        if float in set(map(type, times)):  # 200.0 in the label, mostly 200 in the file's name
            names = [name if name in pictures else name.replace(".0.jpg", ".jpg") for name in names]
        present = [name in pictures for name in names]
        self._clips.append(_clip_values(files, label, self._root))
        self._counts.append(len(names))
        self._names += names
        self._present += present
        self._times += times
        self._boxes += [item.bounding_box for item in label.annotations]
        self.points_of.append(points_of(label.annotations, present))
        if sum(present) < len(pictures):
            unlisted = [f"{files.folder}/{printable(name)}" for name in sorted(pictures.difference(names))]
            self._refuse(unlisted, files.clip, "no_label", "not listed in the label file")

    def table(self) -> pl.DataFrame:
        """All rows added so far (``RAW_SCHEMA``)."""
        return pl.concat([self._frames(), *self._refused])

    def _refuse(self, paths: list[str], clip: str, reason: str, detail: str) -> None:
        if paths:
            self._refused.append(
                raw_rows({"path": paths, "clip": [clip] * len(paths)}).with_columns(
                    refused=pl.lit(reason), detail=pl.lit(detail)
                )
            )

    def _frames(self) -> pl.DataFrame:
        if not self._names:
            return raw_rows({"path": pl.Series([], dtype=pl.String)})
        boxes = self._boxes
        # One plain loop a column: measured twice as fast as going through getattr or a table of structs.
        numbers: dict[str, list[float | None]] = {
            "timestamp_ms": list(self._times),
            "x": [None if box is None else box.x for box in boxes],
            "y": [None if box is None else box.y for box in boxes],
            "width": [None if box is None else box.width for box in boxes],
            "height": [None if box is None else box.height for box in boxes],
        }
        frames = pl.DataFrame(
            {
                "clip_row": np.repeat(np.arange(len(self._counts), dtype=np.uint32), self._counts),
                "name": self._names,
                "present": self._present,
                "points": pl.Series(np.concatenate(self.points_of), dtype=POINTS),
                **{name: pl.Series(values, dtype=pl.Float64) for name, values in numbers.items()},
            }
        )
        clips = pl.LazyFrame(self._clips, schema=_CLIP_COLUMNS).with_row_index("clip_row")
        together = frames.lazy().join(clips, on="clip_row", how="left", maintain_order="left")
        rounded = [pl.col(name).round() for name in numbers]
        return raw_rows(together.with_columns(*_DERIVED, *rounded).collect())


_CLIP_COLUMNS: dict[str, pl.DataType] = {
    "clip": pl.String(),
    "label": pl.String(),
    "folder": pl.String(),
    "group": pl.String(),
    "species": pl.String(),
    "emotion_text": pl.String(),
    "owner_text": pl.String(),
    "action": pl.String(),
    "situation": pl.String(),
    "image_width": pl.Float64(),
    "image_height": pl.Float64(),
    "official_split": pl.String(),
}

_DERIVED = (
    pl.concat_str(pl.col("clip"), pl.lit("/"), pl.col("name").str.strip_suffix(".jpg")).alias("frame_id"),
    pl.concat_str(pl.col("folder").fill_null(pl.col("label")), pl.lit("/"), pl.col("name")).alias("path"),
    pl.when(~pl.col("present")).then(pl.lit("no_image")).alias("refused"),
    pl.when(pl.col("present"))
    .then(None)
    .when(pl.col("folder").is_null())
    .then(pl.lit("no folder of pictures for this label file"))
    .otherwise(pl.lit("not in the clip's folder"))
    .alias("detail"),
)


def _pictures(folder: str | None) -> set[str]:
    """Names of the pictures in a clip's folder."""
    if folder is None:
        return set()
    try:
        names = places.names(folder)
    except OSError:
        return set()
    return {name for name in names if name.endswith(".jpg") or os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES}


def _read_label(files: ClipFiles) -> tuple[Label | None, tuple[str, str]]:
    """A clip's label, or None with reason and detail."""
    if files.duplicate or files.label is None:
        return None, ("duplicate_label", "a label file of this name stands elsewhere too")
    try:
        data = places.read(files.label, most=places.LABEL)
        label = decoded(data.removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        return None, ("unreadable_label", error.strerror or str(error))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return None, ("unreadable_label", str(error) or type(error).__name__)
    return (label, ("", "")) if label.annotations else (None, ("unreadable_label", "it lists no frames"))


def _clip_values(files: ClipFiles, label: Label, root: str) -> dict[str, object]:
    """What a label says once for all frames of its clip."""
    metadata = label.metadata or Metadata()
    owner, inspect = metadata.owner or Owner(), metadata.inspect or Inspect()
    parts = CLIP_NAME.fullmatch(files.clip)
    species = species_of(metadata.species or "") or (parts and parts["species"])
    return {
        "clip": files.clip,
        "label": files.label,
        "folder": files.folder,
        "group": _group_key(files.clip, label, metadata, species),
        "species": species,
        "emotion_text": inspect.emotion,
        "owner_text": owner.emotion,
        "action": parts and parts["action"],
        "situation": owner.situation and normalise(owner.situation),
        "image_width": metadata.width,
        "image_height": metadata.height,
        "official_split": split_of(places.unpacked((files.label or "").removeprefix(root)).split("/")),
    }


def _group_key(clip: str, label: Label, metadata: Metadata, species: str | None) -> str:
    """Clips that may show the same animal: filmed on one day, same breed, sex, age, neutering, household and place.

    The data set has no animal id. This key merges look-alikes of a popular breed filmed on one day and misses an animal
    filmed on two; for keeping animals on one side of a split, merging too much is the harmless error.
    """
    animal = metadata.animal
    if animal is None:
        return clip
    day = (label.file_video or "").split("/")[0]
    count = metadata.owner.animal_count if metadata.owner else None
    facts = (day, species, animal.breed, animal.gender, animal.age, animal.neuter, count, metadata.location)
    return "/".join("?" if fact is None else normalise(str(fact)) for fact in facts)
