"""Stage 5: training, validation and test by group of clips, never by frame; and the audit that says so."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import polars as pl
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from sklearn.model_selection import StratifiedGroupKFold

from petmood.data.copies import BETWEEN
from petmood.data.leaks import SIDES, leaking_clips, leaking_frames, summed, told, write_leaks
from petmood.errors import RunError, UserError
from petmood.labels import classes_of
from petmood.records import StageSummary
from petmood.settings import SETTINGS, fingerprint, to_plain
from petmood.workspace import Workspace, reading

#: Part of what a split is made from: raise it when the rules or the audit change.
SPLIT_RULES = 2


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class SplitSettings:
    """Which clips are for training and which for judging."""

    split: Literal["group", "official"] = "group"
    """By group of clips that may show the same animal, or AI Hub's own (which is not animal-independent)."""
    group_by: str = "group"
    """Column of frames.parquet whose values must never stand on two sides."""
    val: Annotated[float, Field(gt=0, lt=0.6)] = 0.15
    """Share of the clips that choose the best epoch."""
    test: Annotated[float, Field(ge=0, lt=0.6)] = 0.15
    """Share of the clips that are looked at once, for the report; 0 for none."""
    seed: int = 0
    """Another seed, another split."""
    allow_leak: bool = False
    """Go on although clips, groups or near-copies stand on two sides; every later report names it."""

    @model_validator(mode="after")
    def _leaves_some_for_training(self) -> Self:
        if self.val + self.test > 0.9:
            raise ValueError(f"val {self.val:g} and test {self.test:g} leave less than a tenth for training")
        return self


def split(
    work: Path,
    settings: SplitSettings = SplitSettings(),  # noqa: B008 - frozen
    *,
    force: bool = False,
) -> StageSummary:
    """Write ``split`` (train, val, test) into frames.parquet and audit it; what leaks is listed in leaks.csv.

    Raises:
        UserError: crops were not screened yet, no such column, too few groups, or no official split in the source.
        RunError: clips, groups or near-copies stand on two sides and ``allow_leak`` was not given; only leaks.csv is
            written.
    """
    workspace = Workspace.open(work)
    screened = workspace.require("screen")
    made_from = split_made_from(screened["made_from"], settings)
    if not force and workspace.is_current("split", made_from):
        return StageSummary(stage="split", skipped=True, counts=workspace.mark("split")["counts"])
    clips = clip_table(_read(workspace, settings.group_by), settings.group_by)
    sides = _official(clips) if settings.split == "official" else by_group(clips, settings)
    clips = clips.with_columns(split=sides)
    within = screened["settings"].get("between", BETWEEN)
    leaks = pl.concat([leaking_clips(clips), leaking_frames(workspace, clips, within=within)])
    leak = {**summed(leaks), "allowed": settings.allow_leak}
    counts = {"by": settings.split, "leak": leak, **_sizes(clips)}
    write_leaks(workspace, leaks)
    _refuse_leak(workspace, leaks, leak)
    workspace.begin("split")
    workspace.set_columns({"split": _of_frames(workspace, clips)})
    workspace.finish("split", made_from=made_from, settings=to_plain(settings), counts=counts)
    return StageSummary(stage="split", skipped=False, counts=counts, lines=tuple(_lines(counts, clips)))


def split_made_from(screened: str, settings: SplitSettings | Mapping[str, Any], *, rules: int = SPLIT_RULES) -> str:
    """What a split counts as made from: the screening's fingerprint and the settings, also as a mark has kept them."""
    return fingerprint("split", rules, screened, settings)


def _read(workspace: Workspace, group_by: str) -> pl.DataFrame:
    """What the split is made from: the kept frames.

    Raises:
        UserError: there is no such column.
    """
    with reading(workspace.frames):
        known = pl.read_parquet_schema(workspace.frames)
        if group_by not in known:
            raise UserError(f"column {group_by!r} is not in frames.parquet; it has {', '.join(known)}.")
        needed = {"clip", "species", "emotion", "official_split", "keep", group_by}
        frames = pl.scan_parquet(workspace.frames, glob=False).filter("keep")
        return frames.select(name for name in known if name in needed).collect(engine="streaming")


def _of_frames(workspace: Workspace, clips: pl.DataFrame) -> pl.Series:
    """The side of every frame, kept or not; null where its clip has none."""
    sides = clips.lazy().select("clip", "split")
    with reading(workspace.frames):
        frames = pl.scan_parquet(workspace.frames, glob=False).select("clip")
        found = frames.join(sides, on="clip", how="left", maintain_order="left").select("split")
        return found.collect(engine="streaming")["split"]


def clip_table(frames: pl.DataFrame, group_by: str) -> pl.DataFrame:
    """One row a clip that has kept frames: clip, group, species, emotion, official."""
    return (
        frames.filter("keep")
        .group_by("clip", maintain_order=True)
        .agg(
            group=pl.col(group_by).cast(pl.String).first().fill_null(pl.col("clip").first()),
            species=pl.col("species").first().fill_null("unknown"),
            emotion=pl.col("emotion").first(),
            official=pl.col("official_split").first(),
        )
    )


def by_group(clips: pl.DataFrame, settings: SplitSettings) -> pl.Series:
    """Side of each clip: groups stay whole, emotions and species are spread as evenly as that allows.

    Folds are made by scikit-learn's StratifiedGroupKFold; the test side is one fold of all, validation one of the rest.

    Raises:
        UserError: there are too few groups.
    """
    sides = np.full(len(clips), "train", dtype=object)
    rest = np.arange(len(clips))
    for side, share in (("test", settings.test), ("val", settings.val / (1 - settings.test))):
        if share == 0:
            continue
        fold = _one_fold(clips[rest.tolist()], share, settings.seed)
        sides[rest[fold]] = side
        rest = np.delete(rest, fold)
    return pl.Series("split", sides.tolist(), dtype=pl.String)


def _one_fold(clips: pl.DataFrame, share: float, seed: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Positions of about ``share`` of the clips, by whole groups: some of at most ten folds (more if it is small)."""
    groups, needed = clips["group"].n_unique(), max(2, round(1 / share))
    if groups < needed:
        raise UserError(
            f"split has {groups} groups of clips, too few for {needed} folds (a share of {share:.2f}).",
            hint="give larger shares (--val, --test 0), or more animals; never split frames of one animal",
        )
    strata, largest = _strata(clips, needed)
    taken, folds = _fraction(share, min(groups, largest, max(10, needed)))
    with warnings.catch_warnings():
        # Classes with fewer clips than folds cannot be on all sides; the printed table shows which.
        warnings.simplefilter("ignore", UserWarning)
        kfold = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        divided = kfold.split(np.zeros(len(clips)), strata.to_numpy(), clips["group"].to_numpy())
        fold = np.concatenate([positions for _, positions in itertools.islice(divided, taken)])
    return np.sort(fold)


def _strata(clips: pl.DataFrame, folds: int) -> tuple[pl.Series, int]:
    """What is spread evenly, and the clips of its largest value: emotion and species if that has a clip a fold."""
    both = clips.select(pl.concat_str("emotion", "species", separator="/"))["emotion"]
    for strata in (both, clips["emotion"]):
        largest = max(Counter(strata).values())
        if largest >= folds:
            return strata, largest
    return pl.Series(["all"] * len(clips)), len(clips)


def _fraction(share: float, folds: int) -> tuple[int, int]:
    """The nearest fraction of at most so many folds that takes neither none nor all.

    >>> _fraction(0.15, 10), _fraction(0.4, 10), _fraction(0.4, 3), _fraction(0.9, 2)
    ((1, 7), (2, 5), (1, 3), (1, 2))
    """
    nearest = Fraction(share).limit_denominator(folds)
    return max(Fraction(1, folds), min(nearest, Fraction(folds - 1, folds))).as_integer_ratio()


def _official(clips: pl.DataFrame) -> pl.Series:
    """AI Hub's own sides.

    Raises:
        UserError: a clip has none.
    """
    unknown = clips["official"].is_null().sum()
    if unknown:
        raise UserError(
            f"official split is unknown for {unknown:,} of {len(clips):,} clips.",
            hint="the source needs Training and Validation folders; else leave out --split official",
        )
    missing = {"train", "val"}.difference(clips["official"])
    if missing:
        raise UserError(f"official split has no {min(missing)} clips.", hint="leave out --split official")
    return clips["official"].alias("split")


def _refuse_leak(workspace: Workspace, leaks: pl.DataFrame, leak: dict[str, Any]) -> None:
    if leak["allowed"] or leaks.is_empty():
        return
    raise RunError(
        f"split leaks: {_amounts(leak)} stand on two sides; {workspace.leaks} lists them, such as "
        f"{'; '.join(told(leaks))}. A model judged on it would look better than it is.",
        hint="leave out --split official and --group-by to split by group, or give --allow-leak, which every report "
        "will name",
    )


def _amounts(leak: dict[str, Any]) -> str:
    return f"{leak['clips']:,} clips, {leak['groups']:,} groups of clips and {leak['frames']:,} pairs of near-copies"


def _sizes(clips: pl.DataFrame) -> dict[str, Any]:
    per_side = clips.group_by("split").agg(clips=pl.len(), groups=pl.col("group").n_unique())
    found = {side: (number, groups) for side, number, groups in per_side.iter_rows()}
    return {
        "clips": {side: found[side][0] for side in SIDES if side in found},
        "groups": {side: found[side][1] for side in SIDES if side in found},
    }


def _lines(counts: dict[str, Any], clips: pl.DataFrame) -> list[str]:
    leak = counts["leak"]
    lines = [
        f"{side}: {number:,} clips of {counts['groups'][side]:,} groups" for side, number in counts["clips"].items()
    ]
    if counts["by"] == "official":
        lines.append("AI Hub's own split was made clip by clip: it is not animal-independent")
    if leak["clips"] or leak["groups"] or leak["frames"]:
        lines.append(f"LEAK, allowed: {_amounts(leak)} stand on two sides (leaks.csv)")
    else:
        lines.append("audit: no clip, no group and no near-copy of a frame stands on two sides")
    table = clips.group_by("emotion", "split").len()
    for emotion in classes_of(clips["emotion"]):
        rows = dict(table.filter(pl.col("emotion") == emotion).select("split", "len").iter_rows())
        lines.append(f"  {emotion:<12}" + "".join(f"{side} {rows.get(side, 0):>6,}  " for side in counts["clips"]))
    return lines
