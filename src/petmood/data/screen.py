"""Stage 4: what pixels alone tell. Refuse crops that show nothing, drop near-copies, join clips that share them.

`pack` measured each crop's sharpness and hash; nothing is decoded here but the candidates for near-copies.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.crops import CropStore
from petmood.data.copies import BETWEEN, Joined, Thumbnails, find_copies, repeats
from petmood.data.near import MOST, Rows, similar_pairs
from petmood.data.tables import add_rejects, among, numbered
from petmood.data.weighting import even_weights
from petmood.errors import RunError, UserError
from petmood.records import REASONS, StageSummary
from petmood.settings import SETTINGS, fingerprint, to_plain
from petmood.workspace import Workspace, reading

#: Part of what the result is made from: raise it when the way of screening changes.
SCREEN_RULES = 1
#: Crops less sharp than this are one flat colour or a plain shade.
_BLANK = 1.0
#: Rows of features compared each with each: minutes. Of more crops, fewer of each clip are taken.
_FEATURE_ROWS = 100_000
#: Shares that are worth a warning: of crops refused, of clips in one joined group.
_MANY_REFUSED, _LARGE_GROUP = 0.2, 0.1


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class ScreenSettings:
    """Which crops are worth showing, and what counts as the same picture."""

    min_sharpness: Annotated[float, Field(ge=0)] = 8.0
    """Refuse crops less sharp than this (variance of the Laplacian of the grey crop at half size); 0 refuses none, not
    even blank ones. Of 2,830 crops of real photos and video frames the least sharp has 20; of 400 photos blurred by 6
    pixels of 256, three in four have less than 6.3."""
    near_copies: Literal["hash", "features", "off"] = "hash"
    """Find near-copies by hash and pixels; with features also by a network, which sees mirrored and turned copies too
    (for loose photos: clips of one room may all look alike to it); or do not look for them."""
    within: Annotated[int, Field(ge=0, le=16)] = 1
    """Drop a frame whose hash differs from that of a kept one of its clip in at most so many of 64 bits."""
    between: Annotated[int, Field(ge=0, le=MOST)] = BETWEEN
    """Join clips that have frames whose hashes differ in at most so many bits, if their pixels agree as well."""
    min_similarity: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Join clips that have frames with more than this cosine of their features (only with --near-copies features)."""


class Features(Protocol):
    """What describes the crops: `petmood.features.CropFeatures`, or anything alike."""

    @property
    def values(self) -> npt.NDArray[Any]:
        """N × D, rows as in crops.parquet."""

    @property
    def key(self) -> str:
        """Changes with the values."""


def screen(
    work: Path,
    settings: ScreenSettings = ScreenSettings(),  # noqa: B008 - frozen
    *,
    features: Features | None = None,
    threads: int = 0,
    force: bool = False,
) -> StageSummary:
    """Take ``keep`` from crops not worth showing, and give clips that share near-copies one ``group``.

    Starts from what `pack` and the source left, so that it can be run again with other settings.

    Raises:
        UserError: nothing is packed yet, or ``features`` are missing or not those of the crops.
        RunError: no crop is left; the workspace stays as it was.
    """
    workspace = Workspace.open(work)
    key = "" if features is None or settings.near_copies != "features" else features.key
    made_from = screen_made_from(workspace.require("pack")["made_from"], settings, key)
    if not force and workspace.is_current("screen", made_from):
        return StageSummary(stage="screen", skipped=True, counts=workspace.mark("screen")["counts"])
    shots = _shots(workspace)
    judged = _refused(shots, settings)
    kept = shots.filter(~pl.col("row").is_in(judged["row"].implode()))
    if kept.is_empty():
        raise RunError(
            f"min-sharpness {settings.min_sharpness:g} refuses all {len(shots):,} crops; "
            f"the sharpest has {shots.select('sharpness').max().item():.1f}.",
            hint="give a smaller --min-sharpness, or 0 for none",
        )
    joining = _Joining(kept)
    if settings.near_copies != "off":
        joining.by_pixels(CropStore(workspace.crops), settings.between, threads=threads)
    if settings.near_copies == "features":
        joining.by_features(_checked(features, len(shots)), settings.min_similarity)
    counts = _counts(shots, judged, joining)
    workspace.begin("screen")
    _write(workspace, kept, judged, joining.names())
    workspace.finish("screen", made_from=made_from, settings=to_plain(settings), counts=counts)
    return StageSummary(stage="screen", skipped=False, counts=counts, lines=tuple(_lines(counts, settings)))


def screen_made_from(
    packed: str, settings: ScreenSettings | Mapping[str, Any], features: str = "", *, rules: int = SCREEN_RULES
) -> str:
    """What a screening counts as made from: the packing's fingerprint and the settings, also as a mark has kept them.

    ``features`` is the key of those that near-copies were found by, if any were.
    """
    return fingerprint("screen", rules, packed, settings, features)


def _shots(workspace: Workspace) -> pl.DataFrame:
    """What is known of each crop, clip after clip, in the order of time.

    Columns: row (in crops.parquet), frame_id, clip (its number in the order of the index), source_group, hash,
    sharpness.
    """
    crops = pl.scan_parquet(workspace.crops / "crops.parquet", glob=False)
    crops = crops.select("frame_id", "hash", "sharpness").with_row_index("row")
    columns = ("frame_id", "clip", "source_group", "timestamp_ms")
    frames = pl.scan_parquet(workspace.frames, glob=False).select(columns).with_row_index("place")
    with reading(workspace.crops / "crops.parquet", workspace.frames):
        shots = crops.join(frames, on="frame_id", how="inner").collect(engine="streaming")
    named = pl.col("source_group").fill_null(pl.col("clip"))
    return (
        shots.with_columns(source_group=named, clip=pl.col("place").min().over("clip").rank("dense"))
        .sort("clip", pl.col("timestamp_ms").fill_null(0), "place")
        .drop("timestamp_ms", "place")
    )


def _refused(shots: pl.DataFrame, settings: ScreenSettings) -> pl.DataFrame:
    """Crops that are left out: row, frame_id, reason, detail."""
    sharp = pl.col("sharpness")
    columns = ("row", "frame_id", "reason", "detail")
    dull = shots.filter(sharp < settings.min_sharpness).with_columns(
        reason=pl.when(sharp < min(_BLANK, settings.min_sharpness)).then(pl.lit("blank")).otherwise(pl.lit("blurred")),
        detail=pl.format("sharpness {}, less than {}", sharp.round(2), pl.lit(settings.min_sharpness)),
    )
    if settings.near_copies == "off":
        return dull.select(columns)
    rest = shots.filter(sharp >= settings.min_sharpness)
    first = repeats(rest["hash"].to_numpy(), rest["clip"].cast(pl.Int64).to_numpy(), settings.within)
    again = np.flatnonzero(first >= 0)
    original = rest[first[again].tolist()]
    bits = np.bitwise_count(rest["hash"].to_numpy()[again] ^ original["hash"].to_numpy())
    copies = rest[again.tolist()].with_columns(
        reason=pl.lit("near_copy"),
        detail=pl.format("{} bits from {}", pl.Series(bits, dtype=pl.UInt8), original["frame_id"]),
    )
    return pl.concat([dull.select(columns), copies.select(columns)])


@dataclasses.dataclass(frozen=True)
class _Example:
    """Two frames for whose likeness groups were joined."""

    frame: str
    other: str


class _Joining:
    """Groups of the source, joined where their clips share near-copies."""

    def __init__(self, kept: pl.DataFrame) -> None:
        self.kept = kept
        self.sources = kept["source_group"].unique(maintain_order=True)
        numbers = pl.DataFrame({"source_group": self.sources}).with_row_index("number")
        numbered = kept.select("source_group").join(numbers, on="source_group", how="left", maintain_order="left")
        self.of_shot: Rows = numbered["number"].cast(pl.Int64).to_numpy()
        self.joined = Joined(len(self.sources))
        self.fewer = {"hash": 0, "features": 0}
        self.examples: list[_Example] = []

    def by_pixels(self, store: CropStore, between: int, *, threads: int) -> None:
        """Join by hashes and pixels."""
        place = self.kept["row"].cast(pl.Int64).to_numpy()
        thumbnails = Thumbnails(store, threads=threads)
        found = find_copies(
            self.kept["hash"].to_numpy(),
            within=between,
            alike=lambda left, right: thumbnails.alike(place[left], place[right]),
            settled=lambda left, right: self._root(left) == self._root(right),
        )
        for links in found:
            self._join("hash", links.left, links.right)

    def by_features(self, features: Features, at_least: float) -> None:
        """Join by the cosine of features."""
        place = self.kept["row"].cast(pl.Int64).to_numpy()
        chosen = _some_of_each(self.kept["clip"].cast(pl.Int64).to_numpy())
        chosen = chosen[np.argsort(place[chosen])]
        shot_of = np.full(len(features.values), -1, np.int64)
        shot_of[place] = np.arange(len(place))
        for pairs in similar_pairs(features.values, place[chosen], at_least):
            self._join("features", shot_of[pairs.left], shot_of[pairs.right])

    def _root(self, shots: Rows) -> Rows:
        return self.joined.roots[self.of_shot[shots]]

    def _join(self, way: str, left: Rows, right: Rows) -> None:
        new = self._root(left) != self._root(right)
        left, right = left[new], right[new]
        ids = self.kept["frame_id"]
        self.examples += [_Example(ids[a], ids[b]) for a, b in zip(left[:5].tolist(), right[:5].tolist(), strict=True)]
        self.fewer[way] += self.joined.join(self.of_shot[left], self.of_shot[right])

    def names(self) -> pl.DataFrame:
        """New name of each source group that was joined: source_group, group (the first of them in the index)."""
        roots = self.joined.roots
        changed = np.flatnonzero(roots != np.arange(len(roots)))
        changed = np.union1d(changed, roots[changed])  # a clip without a group of its own is given one
        return pl.DataFrame(
            {"source_group": self.sources[changed.tolist()], "group": self.sources[roots[changed].tolist()]},
            schema={"source_group": pl.String, "group": pl.String},
        )

    def clips_of_largest(self) -> int:
        """Clips of the largest group that was joined; 0 if none was."""
        clips = pl.DataFrame(
            {"root": self._root(np.arange(len(self.kept))), "own": self.of_shot, "clip": self.kept["clip"]}
        )
        sizes = clips.group_by("root").agg(pl.col("clip").n_unique(), pl.col("own").n_unique())
        return int(sizes.filter(pl.col("own") > 1)["clip"].max() or 0)  # type: ignore[arg-type]


def _some_of_each(clips: Rows) -> Rows:
    """Positions of at most ``_FEATURE_ROWS`` frames: all, or as many of each clip, evenly spread over it."""
    starts = np.flatnonzero(np.diff(clips, prepend=clips[:1] - 1))
    if len(clips) <= _FEATURE_ROWS:
        return np.arange(len(clips))
    lengths = np.diff(starts, append=len(clips))
    wanted = np.minimum(lengths, max(1, _FEATURE_ROWS // len(starts)))
    rank = np.arange(int(wanted.sum())) - np.repeat(np.cumsum(wanted) - wanted, wanted)
    return np.asarray(np.repeat(starts, wanted) + rank * np.repeat(lengths, wanted) // np.repeat(wanted, wanted))


def _checked(features: Features | None, crops: int) -> Features:
    if features is None or len(features.values) != crops:
        found = "none are" if features is None else f"{len(features.values):,} are"
        raise UserError(
            f"near-copies by features need one row of features a crop, {crops:,}; {found} given.",
            hint="`petmood screen --near-copies features` computes them, or leave out --near-copies",
        )
    return features


def _write(workspace: Workspace, kept: pl.DataFrame, judged: pl.DataFrame, names: pl.DataFrame) -> None:
    """Put the result into rejects.parquet and frames.parquet.

    At every moment what `pack` packed is kept or among the rejects, so that no stop can make it forget a frame.
    """
    frames = pl.scan_parquet(workspace.frames, glob=False)
    reasons = judged.lazy().select("frame_id", "reason", "detail")
    with reading(workspace.frames):
        refused = (
            frames.select("frame_id", "path", "clip")
            .join(reasons, on="frame_id", how="inner", maintain_order="left")
            .with_columns(stage=pl.lit("screen"))
            .collect(engine="streaming")
        )
    add_rejects(workspace, refused.lazy(), after="screen")
    keep = among(workspace, kept["frame_id"])
    with reading(workspace.frames):
        group = _renamed(frames, names).collect(engine="streaming")["group"]
        weight = _weights(workspace, frames.select(numbered("clip")).collect()["clip"], keep)
    workspace.set_columns({"keep": keep, "group": group, "weight": weight})
    add_rejects(workspace, refused.lazy(), after="pack")


def _renamed(frames: pl.LazyFrame, names: pl.DataFrame) -> pl.LazyFrame:
    """The ``group`` of each frame: that of the source, or the one that it was joined to."""
    source = frames.select("source_group", name=pl.col("source_group").fill_null(pl.col("clip")))
    joined = source.join(names.lazy(), left_on="name", right_on="source_group", how="left", maintain_order="left")
    return joined.select(pl.coalesce("group", "source_group"))


def _weights(workspace: Workspace, clips: pl.Series, keep: pl.Series) -> pl.Series:
    """As `curate` gives them: all clips count the same, but 1 where it chose frames whatever their clip."""
    method = workspace.mark("curate").get("settings", {}).get("method", "pose")
    if method in {"pose", "time"}:
        return even_weights(clips, keep)
    return pl.repeat(1.0, len(keep), dtype=pl.Float32, eager=True).alias("weight")


def _counts(shots: pl.DataFrame, judged: pl.DataFrame, joining: _Joining) -> dict[str, Any]:
    """Numbers for scripts."""
    reasons = dict(judged.group_by("reason").len().iter_rows())
    clips, left = shots["clip"].n_unique(), joining.kept["clip"].n_unique()
    return {
        "crops": len(shots),
        "kept": len(joining.kept),
        "refused": {reason: reasons[reason] for reason in REASONS if reason in reasons},
        "clips": left,
        "clips_lost": clips - left,
        "source_groups": len(joining.sources),
        "groups": len(joining.sources) - sum(joining.fewer.values()),
        "joined_by": joining.fewer,
        "largest_joined": joining.clips_of_largest(),
        "examples": [[example.frame, example.other] for example in joining.examples[:5]],
    }


def _lines(counts: dict[str, Any], settings: ScreenSettings) -> Iterator[str]:
    """The summary for people."""
    yield f"kept {counts['kept']:,} of {counts['crops']:,} crops of {counts['clips']:,} clips"
    for reason, number in counts["refused"].items():
        yield f"refused: {reason:<18} {number:>7,}  {REASONS[reason]}"
    if counts["clips_lost"]:
        yield f"{counts['clips_lost']:,} clips have no crop left"
    dull = sum(counts["refused"].get(reason, 0) for reason in ("blank", "blurred"))
    if dull > _MANY_REFUSED * counts["crops"]:
        share = dull / counts["crops"]
        yield f"WARNING: {share:.0%} of the crops are blank or blurred; look at some, or lower --min-sharpness"
    yield from _lines_of_groups(counts, settings)


def _lines_of_groups(counts: dict[str, Any], settings: ScreenSettings) -> Iterator[str]:
    if settings.near_copies == "off":
        yield "near-copies were not looked for; `petmood split` still refuses them on two sides"
        return
    fewer = counts["source_groups"] - counts["groups"]
    if not fewer:
        yield f"no near-copies between the {counts['groups']:,} groups of clips"
        return
    by = ", ".join(f"{number:,} by {way}" for way, number in counts["joined_by"].items() if number)
    yield (
        f"near-copies between clips: {counts['source_groups']:,} groups became {counts['groups']:,} ({by}); "
        f"the largest joined one has {counts['largest_joined']:,} clips"
    )
    frame, other = counts["examples"][0]
    yield f"  such as {frame} and {other}"
    if counts["largest_joined"] > _LARGE_GROUP * counts["clips"]:
        option = "a larger --min-similarity" if counts["joined_by"]["features"] else "a smaller --between"
        share = counts["largest_joined"] / counts["clips"]
        yield f"WARNING: one joined group holds {share:.0%} of the clips; look at some, or give {option}"
