"""Writing a planned data set: pictures, label files and the truth file, all under a temporary name first."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from joblib import Parallel, delayed

from petmood.errors import UserError
from petmood.labels import EMOTIONS
from petmood.synth import faults, irregular
from petmood.synth.film import Film, Frame
from petmood.synth.labelling import Annotation, label_bytes
from petmood.synth.layouts import label_file, picture_folder
from petmood.synth.settings import SynthSettings, SynthSummary
from petmood.synth.story import Clip, plan

#: Distinct pictures of each size that `pictures: few` draws.
_FEW = 6

#: Clips that one process writes before it reports back.
_BATCH = 4


def build(
    out: Path, settings: SynthSettings, *, jobs: int, progress: Callable[[int, int], None] | None = None
) -> SynthSummary:
    """Write the data set into `out` and the truth beside it; see `petmood.synth.synth`."""
    clips = planned(settings)
    _check_free(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _write_all(clips, partial, settings, jobs, progress)
        if out.is_dir():
            out.rmdir()
        truth = truth_path(out)
        _write_truth(truth, clips, settings)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _summary(out, truth, clips)


def planned(settings: SynthSettings) -> list[Clip]:
    """The clips with their oddities and damage."""
    clips = plan(settings)
    irregular.plant(clips, settings)
    faults.plant(clips, settings)
    return clips


def truth_path(out: Path) -> Path:
    """The truth file: beside the data set, as a reader looks at every JSON inside."""
    return out.with_name(f"{out.name}-truth.json")


def _check_free(out: Path) -> None:
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise UserError(f"output {out} exists and is not empty", hint="give a new folder, or remove this one first")


def _write_all(
    clips: list[Clip],
    root: Path,
    settings: SynthSettings,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    root.mkdir()
    stock = _draw_stock(clips, root, settings) if settings.pictures == "few" else {}
    batches = [clips[start : start + _BATCH] for start in range(0, len(clips), _BATCH)]
    tasks = (delayed(_write_batch)(batch, root, settings, stock) for batch in batches)
    results: Iterable[int] = Parallel(n_jobs=jobs or -1, return_as="generator_unordered")(tasks)
    done = 0
    for count in results:
        done += count
        if progress is not None:
            progress(done, len(clips))
    shutil.rmtree(root / _STOCK, ignore_errors=True)


_STOCK = ".stock"


@dataclass(frozen=True)
class _Stocked:
    """One of the few pictures: its file and what is true of it."""

    path: Path
    annotation: Annotation


_Stock = dict[tuple[int, int], list[_Stocked]]


def _draw_stock(clips: list[Clip], root: Path, settings: SynthSettings) -> _Stock:
    """A few pictures of each size, from the first clips that have it."""
    folder = root / _STOCK
    folder.mkdir()
    stock: _Stock = {}
    for clip in clips:
        own = stock.setdefault(clip.animal.size, [])
        if len(own) < _FEW:
            frame = Film(clip, settings.seed).frame(0.0)
            path = folder / f"{clip.index}.jpg"
            path.write_bytes(_encode(frame, settings))
            own.append(_Stocked(path, frame.annotation))
    return stock


def _write_batch(clips: list[Clip], root: Path, settings: SynthSettings, stock: _Stock) -> int:
    threads = cv2.getNumThreads()
    # One process a core already; more threads in each only get in each other's way.
    cv2.setNumThreads(1)
    try:
        for clip in clips:
            _write_clip(clip, root, settings, stock)
    finally:
        cv2.setNumThreads(threads)
    return len(clips)


def _write_clip(clip: Clip, root: Path, settings: SynthSettings, stock: _Stock) -> None:
    rng = np.random.default_rng([settings.seed, 5, clip.index])
    folder = root / picture_folder(clip, settings.layout)
    if clip.clip_fault != "no_image:label_without_folder":
        folder.mkdir(parents=True)
    if stock:
        annotations = _link_pictures(clip, folder, settings, stock[clip.animal.size], rng)
    else:
        annotations = _draw_pictures(clip, folder, settings, rng)
    if clip.clip_fault != "no_label:folder_without_label":
        path = root / label_file(clip, settings.layout)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(label_bytes(clip, annotations, rng))


def _has_pictures(clip: Clip) -> bool:
    return not clip.clip_fault.startswith("no_image")


def _draw_pictures(clip: Clip, folder: Path, settings: SynthSettings, rng: np.random.Generator) -> list[Annotation]:
    """Draw what the folder holds; frames whose pictures were left out are posed for their label only."""
    film = Film(clip, settings.seed)
    annotations = []
    for position in range(len(clip.numbers)):
        moment = clip.numbers[position] / clip.fps
        if position in clip.cut or not _has_pictures(clip):
            annotations.append(film.annotation(moment))
            continue
        frame = film.frame(moment)
        annotations.append(frame.annotation)
        _write_picture(clip, position, folder, _encode(frame, settings), settings, rng)
    return annotations


def _write_picture(
    clip: Clip, position: int, folder: Path, data: bytes, settings: SynthSettings, rng: np.random.Generator
) -> None:
    fault = clip.frame_faults.get(position)
    damaged = faults.damaged_picture(fault, data, settings.quality, rng)
    if damaged is not None:
        (folder / clip.picture(position)).write_bytes(damaged)
    if fault == "no_label":
        (folder / clip.unlisted_picture(position)).write_bytes(data)


def _link_pictures(
    clip: Clip, folder: Path, settings: SynthSettings, stock: list[_Stocked], rng: np.random.Generator
) -> list[Annotation]:
    """Link one of the few pictures to every frame; only damaged ones are files of their own."""
    annotations = []
    start = int(rng.integers(len(stock)))
    for position in range(len(clip.numbers)):
        stocked = stock[(start + position) % len(stock)]
        annotations.append(stocked.annotation)
        if position in clip.cut or not _has_pictures(clip):
            continue
        if position in clip.frame_faults:
            _write_picture(clip, position, folder, stocked.path.read_bytes(), settings, rng)
        else:
            _link(stocked.path, folder / clip.picture(position))
    return annotations


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        # File systems without hard links, or with no more links to spare (65,000 a file on ext4).
        shutil.copyfile(source, target)


def _encode(frame: Frame, settings: SynthSettings) -> bytes:
    data: bytes = simplejpeg.encode_jpeg(frame.picture, quality=settings.quality, colorsubsampling="420")
    return data


def _frames_ok(clip: Clip) -> int:
    """Frames of a clip that a correct reader keeps."""
    if clip.clip_fault:
        return 0
    refused = sum(fault != "no_label" for fault in clip.frame_faults.values())
    return len(clip.kept()) - refused


def _truth_of_clip(clip: Clip) -> dict[str, Any]:
    unknown = clip.clip_fault == "unknown_emotion"
    words = {*clip.frame_faults.values(), *([faults.reason_of(clip.clip_fault)] if clip.clip_fault else [])}
    return {
        "animal": clip.animal.index,
        "species": clip.animal.species,
        "action": clip.action.slug,
        "emotion": None if unknown else clip.emotion,
        "owner_emotion": clip.owner_emotion,
        "split": clip.split,
        "frames": _frames_ok(clip),
        "listed": len(clip.numbers),
        "cut_short": bool(clip.cut),
        "faults": sorted(words),
    }


def _planted(clip: Clip) -> Iterator[tuple[str, str]]:
    """Each damage of a clip: where, and the reason word."""
    if clip.clip_fault:
        yield clip.folder, faults.reason_of(clip.clip_fault)
    for position, fault in clip.frame_faults.items():
        name = clip.unlisted_picture(position) if fault == "no_label" else clip.picture(position)
        yield f"{clip.folder}/{name}", fault


def _write_truth(path: Path, clips: list[Clip], settings: SynthSettings) -> None:
    odd: dict[str, list[str]] = {}
    for clip in clips:
        for kind in clip.irregular:
            odd.setdefault(kind, []).append(clip.folder)
    truth = {
        "settings": asdict(settings),
        "clips": {clip.folder: _truth_of_clip(clip) for clip in sorted(clips, key=lambda clip: clip.folder)},
        "faults": dict(sorted(pair for clip in clips for pair in _planted(clip))),
        "irregular": {kind: sorted(odd[kind]) for kind in sorted(odd)},
        "frames_ok": sum(map(_frames_ok, clips)),
    }
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(json.dumps(truth, ensure_ascii=False, indent=1), encoding="utf-8")
    partial.replace(path)


def _summary(out: Path, truth: Path, clips: list[Clip]) -> SynthSummary:
    emotions = Counter(clip.emotion for clip in clips)
    return SynthSummary(
        out=out,
        truth=truth,
        animals=len({clip.animal.index for clip in clips}),
        clips=len(clips),
        frames_listed=sum(len(clip.numbers) for clip in clips),
        frames_ok=sum(map(_frames_ok, clips)),
        clips_by_emotion={name: emotions[name] for name in EMOTIONS if emotions[name]},
        faults=faults.counted(clips),
    )
