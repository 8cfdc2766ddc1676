"""Is the data what it seems: leaks between the sides, labels, refusals, crops, frames of a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from petmood.data.copies import BETWEEN
from petmood.data.leaks import leaking_clips, leaking_frames, summed, told
from petmood.doctor.clips import clip_rows, is_packed, is_split, not_packed, not_split
from petmood.doctor.records import Check
from petmood.doctor.sides import classes_here
from petmood.labels import EMOTIONS
from petmood.records import REASONS
from petmood.workspace import Workspace, read_table, reading

#: Crops among which near-copies on two sides are looked for; `petmood split` has looked among all.
MOST_CROPS = 400_000
#: Share of what a stage was given that it may refuse for one reason before it is worth a look.
_REFUSED = 0.05
#: Reasons that the user asked for, or that every film gives.
_WANTED = {"labels_disagree", "other_species", "user_verdict", "near_copy"}
#: Share of crops that may be enlarged.
_ENLARGED = 0.1
#: Kept frames of a clip from which on most of an epoch shows the same again.
_MANY_FRAMES = 16


# --- leaks between the sides ------------------------------------------------------------------------------------------


def check_leakage(workspace: Workspace) -> Check:
    """Whether clips, groups of clips or near-copies of frames stand on two sides."""
    frames = _kept(workspace, "clip", "group", "split")
    if not is_split(frames):
        return not_split("leakage", workspace)
    standing = frames.unique(maintain_order=True)
    leaks = [leaking_clips(standing)]
    looked = "near-copies were not looked for: the crops are not yet made"
    if is_packed(workspace):
        sides, looked = _looked_through(standing, len(frames))
        within = workspace.mark("screen").get("settings", {}).get("between", BETWEEN)
        leaks.append(leaking_frames(workspace, sides, within=within))
    return leakage(
        pl.concat(leaks),
        allowed=bool(_split_mark(workspace, "counts").get("leak", {}).get("allowed")),
        looked=looked,
        remedy=f"`petmood split {workspace.root}` without --split official, --group-by and --allow-leak",
    )


def leakage(leaks: pl.DataFrame, *, allowed: bool, looked: str, remedy: str) -> Check:
    """The verdict on leaks (``data.leaks.LEAK_SCHEMA``); ``looked`` says among what near-copies were looked for."""
    found = summed(leaks)
    numbers = {**found, "allowed": allowed}
    amounts = f"{found['clips']:,} clips, {found['groups']:,} groups and {found['frames']:,} pairs of near-copies"
    if leaks.is_empty():
        evidence = f"no clip, group or near-copy stands on two sides ({looked})."
        return Check(name="leakage", verdict="ok", evidence=evidence, numbers=numbers)
    evidence = f"{amounts} stand on two sides, such as {'; '.join(told(leaks, 3))}; every score would be too good"
    if allowed:
        evidence += " (it was allowed, and every report names it)"
    return Check(
        name="leakage", verdict="warn" if allowed else "fail", evidence=f"{evidence}.", remedy=remedy, numbers=numbers
    )


def _looked_through(standing: pl.DataFrame, crops: int) -> tuple[pl.DataFrame, str]:
    """Clips with their side, of very many a sample, and words for it. A clip on two sides counts with the first."""
    sides = standing.select("clip", "split").unique("clip", keep="first", maintain_order=True)
    if crops <= MOST_CROPS:
        return sides, f"near-copies among {crops:,} crops"
    sample = sides.sample(fraction=MOST_CROPS / crops, shuffle=True, seed=0)
    return sample, f"near-copies in a sample of {len(sample):,} of {len(sides):,} clips; `petmood split` looks at all"


def check_official_split(workspace: Workspace) -> Check:
    """Whether the split is the source's own, which is not animal-independent, and whether animals are known at all."""
    settings = _split_mark(workspace, "settings")
    if not settings:
        return not_split("official-split", workspace)
    official, by = settings.get("split") == "official", settings.get("group_by", "group")
    numbers = {"split": settings.get("split"), "group_by": by}
    remedy = f"`petmood split {workspace.root}`"
    if official:
        evidence = "the split is the source's own, made clip by clip: animals may stand on both sides."
        return Check(name="official-split", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)
    if by != "group":
        evidence = f"the split was made by {by!r}, not by group of clips that may show one animal."
        return Check(name="official-split", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)
    clips = _kept(workspace, "clip", "group").unique()
    alone = clips["group"].fill_null(clips["clip"]).n_unique() == len(clips)
    evidence = f"the split is by group: {clips['group'].n_unique():,} groups of {len(clips):,} clips"
    evidence += ". Every clip is a group of its own: that no animal stands on two sides is taken on trust" * alone
    return Check(name="official-split", verdict="ok", evidence=f"{evidence}.", numbers=numbers)


def _kept(workspace: Workspace, *columns: str) -> pl.DataFrame:
    """Some columns of the kept frames."""
    with reading(workspace.frames):
        return pl.scan_parquet(workspace.frames, glob=False).filter("keep").select(columns).collect()


def _split_mark(workspace: Workspace, part: str) -> Mapping[str, Any]:
    return dict(workspace.mark("split").get(part, {}))


# --- labels -----------------------------------------------------------------------------------------------------------


def check_labels(workspace: Workspace) -> Check:
    """Whether class numbers can mean one thing only: index, frames and petmood name the same classes in one order."""
    frames = _kept(workspace, "clip", "emotion")
    listed = workspace.require("index")["counts"].get("classes", [])
    several = frames.unique().group_by("clip").len().filter(pl.col("len") > 1).height
    return labels(listed, classes_here(frames), nameless=frames["emotion"].null_count(), several=several)


def labels(listed: Sequence[str], found: Sequence[str], *, nameless: int, several: int) -> Check:
    """The verdict on class names.

    Args:
        listed: classes in the order of the index.
        found: those that kept frames have, in the one order.
        nameless: kept frames without an emotion.
        several: clips with more than one emotion.
    """
    problems = []
    if unknown := [name for name in {*listed, *found} if name not in EMOTIONS]:
        problems.append(f"{', '.join(sorted(unknown))} is none of {', '.join(EMOTIONS)}")
    if list(listed) != [name for name in EMOTIONS if name in listed]:
        problems.append(f"index.json lists the classes as {', '.join(listed)}, not in the one order")
    if extra := [name for name in found if name not in listed and name in EMOTIONS]:
        problems.append(f"frames show {', '.join(extra)}, which index.json does not list")
    if nameless:
        problems.append(f"{nameless:,} kept frames have no emotion")
    if several:
        problems.append(f"{several:,} clips have several emotions")
    numbers = {"classes": list(found), "listed": list(listed), "nameless": nameless, "several": several}
    if problems:
        remedy = "`petmood index --force`, and do not edit frames.parquet by hand"
        return Check(name="labels", verdict="fail", evidence=f"{'; '.join(problems)}.", remedy=remedy, numbers=numbers)
    if lost := [name for name in listed if name not in found]:
        evidence = f"no frame of {', '.join(lost)} is kept, though index.json lists it: class numbers are those of "
        evidence += f"{', '.join(found)}."
        remedy = "see which stage refused them in rejects.parquet"
        return Check(name="labels", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)
    evidence = f"one order everywhere: {', '.join(f'{number} {name}' for number, name in enumerate(found))}."
    return Check(name="labels", verdict="ok", evidence=evidence, numbers=numbers)


# --- refusals ---------------------------------------------------------------------------------------------------------


def check_refused(workspace: Workspace) -> Check:
    """Whether a stage refused more than a twentieth of what it was given for one reason."""
    return refused(_given(workspace), fewer=workspace.require("index")["counts"].get("fewer_images", {}))


def _given(workspace: Workspace) -> dict[str, tuple[int, dict[str, int]]]:
    """Stage → what it was given (rows, or crops) and how much it refused for each reason."""
    counts = {stage: workspace.mark(stage).get("counts", {}) for stage in ("index", "pack", "screen")}
    refusals = {stage: dict(of.get("refused", {})) for stage, of in counts.items()}
    given = {
        "index": counts["index"].get("found", 0),
        "pack": counts["pack"].get("crops", 0) + sum(refusals["pack"].values()),
        "screen": counts["screen"].get("crops", 0),
    }
    return {stage: (number, refusals[stage]) for stage, number in given.items()}


def refused(given: Mapping[str, tuple[int, Mapping[str, int]]], *, fewer: Mapping[str, int]) -> Check:
    """The verdict on refusals.

    Args:
        given: stage → what it was given, and reason → how much of it was refused.
        fewer: ``frames`` of ``clips`` whose folders hold fewer pictures than their label names, as AI Hub's do: they
            are told, but are no fault of this copy.
    """
    missing = fewer.get("frames", 0)
    rates = {
        (stage, reason): max(0, count - missing * (reason == "no_image" and stage == "index")) / number
        for stage, (number, reasons) in given.items()
        for reason, count in reasons.items()
        if number and reason not in _WANTED
    }
    high = {key: rate for key, rate in sorted(rates.items(), key=lambda item: -item[1]) if rate > _REFUSED}
    numbers = {f"{stage}.{reason}": rate for (stage, reason), rate in rates.items()}
    note = ""
    if missing:
        note = f"; {fewer.get('clips', 0):,} folders hold fewer pictures than their labels name ({missing:,} frames)"
    if high:
        said = [
            f"{stage} refused {rate:.1%} as {reason} ({_meaning(reason)})" for (stage, reason), rate in high.items()
        ]
        remedy = "look some of them up in rejects.parquet; `petmood doctor --only boxes` reads the boxes among them"
        evidence = f"{'; '.join(said)}{note}."
        return Check(name="refused", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)
    (stage, reason), most = max(rates.items(), key=lambda item: item[1], default=(("", ""), 0.0))
    worst = f", most by {stage} as {reason} ({most:.2%})" if most else ""
    evidence = f"no stage refused more than {_REFUSED:.0%} for one reason{worst}{note}."
    return Check(name="refused", verdict="ok", evidence=evidence, numbers=numbers)


def _meaning(reason: str) -> str:
    return REASONS.get(reason, "a reason that this petmood does not know")


# --- crops and frames -------------------------------------------------------------------------------------------------


def check_crops(workspace: Workspace, *, image_size: int = 224) -> Check:
    """Whether crops are smaller than the network's input and have to be enlarged.

    Args:
        workspace: with crops.
        image_size: pixels of the input's side.
    """
    if not is_packed(workspace):
        return not_packed("crops", workspace)
    crops = read_table(workspace.crops / "crops.parquet", columns=("width", "height"))
    shorter = crops.select(pl.min_horizontal("width", "height"))["width"]
    stored = workspace.mark("pack").get("settings", {}).get("shorter_side", 256)
    return crop_sizes(shorter, stored=stored, image_size=image_size)


def crop_sizes(shorter: pl.Series, *, stored: int, image_size: int) -> Check:
    """The verdict on the crops' shorter sides, in pixels.

    Args:
        shorter: of each crop.
        stored: what `pack` makes larger crops down to.
        image_size: pixels of the input's side.
    """
    share = float((shorter < image_size).to_numpy().mean()) if len(shorter) else 0.0
    numbers = {"enlarged": share, "shorter_side": stored, "image_size": image_size}
    quantiles = [int(shorter.quantile(level) or 0) for level in (0.05, 0.5)]
    evidence = f"{share:.1%} of {len(shorter):,} crops are below {image_size} pixels and are enlarged "
    evidence += f"(shorter side: median {quantiles[1]}, one in twenty up to {quantiles[0]})."
    if share <= _ENLARGED:
        return Check(name="crops", verdict="ok", evidence=evidence, numbers=numbers)
    remedy = f"`petmood pack --shorter-side {image_size}`" if stored < image_size else "use a smaller `--image-size`"
    if stored >= image_size:
        remedy += ", larger pictures, or `petmood curate --min-box` to leave small boxes out"
    return Check(name="crops", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)


def check_frames_per_clip(workspace: Workspace) -> Check:
    """How many near-identical frames a clip has, and how many clips the frames are worth."""
    clips = clip_rows(workspace)
    if clips.is_empty():
        return Check(name="frames-per-clip", verdict="fail", evidence="no frame is kept.", remedy="`petmood curate`")
    remedy = f"`petmood curate {workspace.root}` keeps 8 that differ, and lets all clips count the same"
    return frames_per_clip(clips["frames"], clips["weight"], clips["group"].n_unique(), remedy=remedy)


def frames_per_clip(frames: pl.Series, weights: pl.Series, groups: int, *, remedy: str) -> Check:
    """The verdict on the kept frames of each clip.

    Args:
        frames: kept frames of each clip.
        weights: sum of their weights in training.
        groups: groups that the clips are of.
        remedy: what to do if there are too many.
    """
    effective = effective_number(weights)
    median = float(np.median(frames.to_numpy()))
    numbers = {"median": median, "clips": len(frames), "effective_clips": effective, "groups": groups}
    evidence = (
        f"{frames.sum():,} frames of {len(frames):,} clips of {groups:,} groups, {median:g} a clip (at most "
        f"{int(frames.to_numpy().max()):,}); by weight they are worth {effective:,.0f} clips that count the same"
    )
    if median >= _MANY_FRAMES or effective < len(frames) / 2:
        evidence += ". Frames of a clip are nearly the same picture under one label"
        return Check(name="frames-per-clip", verdict="warn", evidence=f"{evidence}.", remedy=remedy, numbers=numbers)
    return Check(name="frames-per-clip", verdict="ok", evidence=f"{evidence}.", numbers=numbers)


def effective_number(weights: pl.Series) -> float:
    """How many things of equal weight are worth as much: (sum of weights)² / sum of squares (Kish 1965).

    >>> effective_number(pl.Series([1.0, 1.0, 1.0, 1.0])), effective_number(pl.Series([1.0, 0.0, 0.0, 0.0]))
    (4.0, 1.0)
    """
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0
