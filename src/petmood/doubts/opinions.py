"""What models that have not seen a clip say of it: of a work folder out of fold, of a run for val and test."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.bundle import BundleInfo, check_same_classes, data_fingerprints, read_info
from petmood.doubts.outoffold import STRENGTHS, out_of_fold
from petmood.doubts.ranking import expecting
from petmood.errors import UserError
from petmood.features import CropFeatures, crop_features
from petmood.loading import Samples, data_classes, load_samples
from petmood.metrics import Floats, clip_means
from petmood.parallel import progress
from petmood.predict import Predictor
from petmood.recipes.doubts import DoubtSettings
from petmood.recipes.features import FeatureSettings
from petmood.workspace import Workspace

#: leak: clips or groups stand on two sides of the split. started_elsewhere: the run started from one that was trained
#: on other data. In both cases the run may have seen what it judges.
NoteKind = Literal["leak", "started_elsewhere"]

#: Frames whose features are in memory at once: some 170 MB.
_AT_ONCE = 32_768


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opinions:
    """Probabilities for clips, by models that have seen none of them."""

    frames: pl.DataFrame
    """Frames of the judged clips (columns of ``FRAME_SCHEMA``); in them clips appear in the order of the rows below."""
    clips: pl.DataFrame
    """One row a clip: clip, group, species, emotion, owner_emotion, frames, path."""
    classes: tuple[str, ...]
    """The emotions that were judged; a class number is a position in them."""
    labels: npt.NDArray[np.int64]
    probabilities: Floats
    """(clips, classes)."""
    left_out: Mapping[str, int]
    """Emotion that was not judged → groups with clips of it."""
    made_by: Mapping[str, object]
    """What the predictions come from, for the record."""
    notes: tuple[NoteKind, ...] = ()
    """What a reader must know."""


def of_workspace(
    workspace: Workspace, settings: DoubtSettings, features: FeatureSettings, *, quiet: bool = False
) -> Opinions:
    """Out-of-fold opinions on all clips with kept frames.

    Raises:
        UserError: a stage is missing, or fewer than two emotions have clips in enough groups.
    """
    workspace.require("screen")
    frames = workspace.read_frames().filter("keep")
    frames, classes, left_out = _judgeable(frames, data_classes(workspace), settings.folds, where=workspace.root)
    clips = _clip_table(frames)
    known = crop_features(workspace, features, frames=frames["frame_id"], quiet=quiet)
    means = _clip_features(known, frames, clips)
    labels = _numbers(clips, classes)
    with progress("compare", settings.folds * len(STRENGTHS), "fits", quiet=quiet) as advance:
        found = out_of_fold(
            means, labels, clips["group"].to_list(), folds=settings.folds, seed=settings.seed, advance=advance
        )
    return Opinions(
        frames=frames,
        clips=clips,
        classes=classes,
        labels=labels,
        probabilities=found.probabilities,
        left_out=left_out,
        made_by={"model": features.model, "features": known.key, "strength": found.strength},
    )


def of_run(
    run: Path, workspace: Workspace, settings: DoubtSettings, features: FeatureSettings, *, quiet: bool = False
) -> Opinions:
    """A run's opinions on the clips of val and test; it has seen the others.

    Raises:
        UserError: no model, other data than it was trained on, or too few clips.
    """
    info = read_info(run)
    classes = data_classes(workspace)
    check_same_classes(info, classes, where=f"work folder {workspace.root}")
    _check_unseen(run, workspace, info)
    samples = _unseen(workspace, classes)
    predictor = Predictor.load(run, device=features.device)
    with progress("predict", sum(map(len, samples)), "frames", quiet=quiet) as advance:
        parts = [
            predictor.crops(one.store, batch_size=features.batch_size, threads=features.threads, advance=advance)
            for one in samples
        ]
    frames = pl.concat([one.frames for one in samples])
    attention = [part.attention for part in parts if part.attention is not None]
    scores = clip_means(
        frames["clip"].to_list(),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([one.labels for one in samples]),
        np.concatenate(attention) if attention else None,
    )
    kept, judged, left_out = _judgeable(frames, classes, settings.folds, where=run)
    clips = _clip_table(kept)
    wanted = set(clips["clip"])
    rows = [row for row, clip in enumerate(scores.clips) if clip in wanted]
    columns = [classes.index(name) for name in judged]
    labels = _numbers(clips, judged)
    before = [info.shares.get(name, 1.0) for name in judged]
    probabilities = expecting(
        scores.probabilities[np.ix_(rows, columns)],
        before=np.array(before),
        # A model that was told to expect all emotions equally often would doubt every frequent one.
        now=np.bincount(labels, minlength=len(judged)) / len(labels) if info.shares else np.array(before),
    )
    return Opinions(
        frames=kept,
        clips=clips,
        classes=judged,
        labels=labels,
        probabilities=probabilities,
        left_out=left_out,
        made_by={"model": info.model, "run": run.name, "epoch": info.epoch},
        notes=_notes(workspace, info),
    )


def _notes(workspace: Workspace, info: BundleInfo) -> tuple[NoteKind, ...]:
    leak = workspace.mark("split")["counts"].get("leak", {})
    notes: list[NoteKind] = ["leak"] if leak.get("clips") or leak.get("groups") else []
    if info.init is not None and not info.init.same_data:
        notes.append("started_elsewhere")
    return tuple(notes)


def _check_unseen(run: Path, workspace: Workspace, info: BundleInfo) -> None:
    now = data_fingerprints(workspace)
    changed = [stage for stage, made_from in now.items() if info.data.get(stage) != made_from]
    if changed:
        raise UserError(
            f"the data of {workspace.root} has changed since {run.name} was trained ({', '.join(changed)} ran again): "
            "it may have seen the clips that are val and test now.",
            hint=f"audit the work folder instead (`petmood audit {workspace.root}`), or train again",
        )


def _unseen(workspace: Workspace, classes: tuple[str, ...]) -> list[Samples]:
    """The pictures of val and test, as far as there are any."""
    workspace.require("split")
    there = set(workspace.read_frames().filter("keep")["split"].unique())
    found = [load_samples(workspace, split) for split in ("val", "test") if split in there]
    if not found:
        raise UserError(
            f"work folder {workspace.root} has no clips in val or test, and a run has seen all others.",
            hint=f"audit the work folder instead: `petmood audit {workspace.root}`",
        )
    return found


def _judgeable(
    frames: pl.DataFrame, classes: tuple[str, ...], folds: int, *, where: Path
) -> tuple[pl.DataFrame, tuple[str, ...], dict[str, int]]:
    """Frames of emotions with clips in enough groups, these emotions, and the others with their numbers of groups."""
    found = dict(frames.group_by("emotion").agg(pl.col("group").n_unique()).iter_rows())
    judged = tuple(name for name in classes if found.get(name, 0) >= folds)
    if len(judged) < 2:
        counts = ", ".join(f"{name} {found.get(name, 0)}" for name in classes)
        raise UserError(
            f"{where} has clips in at least {folds} groups for {len(judged)} of its emotions ({counts}); two emotions "
            "are needed.",
            hint="add data, or give fewer --folds",
        )
    left_out = {name: found.get(name, 0) for name in classes if name not in judged}
    return frames.filter(pl.col("emotion").is_in(judged)), judged, left_out


def _clip_table(frames: pl.DataFrame) -> pl.DataFrame:
    """One row a clip, in order of first appearance; the picture is that in the middle of the clip."""
    return frames.group_by("clip", maintain_order=True).agg(
        pl.col("group", "species", "emotion", "owner_emotion").first(),
        frames=pl.len().cast(pl.Int64),
        path=pl.col("path").sort_by("timestamp_ms").get(pl.len() // 2),
    )


def _numbers(clips: pl.DataFrame, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    numbers = {name: number for number, name in enumerate(classes)}
    return np.array([numbers[name] for name in clips["emotion"]], np.int64)


def _clip_features(features: CropFeatures, frames: pl.DataFrame, clips: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Mean feature of each clip's kept frames, float32 (clips, features), a part of the frames at a time."""
    numbers = clips.select("clip", number=pl.int_range(pl.len(), dtype=pl.Int64))
    rows = frames.select("frame_id", "clip").join(numbers, on="clip", how="left", maintain_order="left")
    rows = rows.sort("number", maintain_order=True)
    sums = np.zeros((len(clips), features.values.shape[1]), np.float32)
    for part in rows.iter_slices(_AT_ONCE):
        clip = part["number"].to_numpy()
        starts = np.flatnonzero(np.diff(clip, prepend=-1))
        sums[clip[starts]] += np.add.reduceat(features.of(part["frame_id"]), starts, axis=0)
    counts = clips["frames"].to_numpy().astype(np.float32)
    return np.asarray(sums / counts[:, None])
