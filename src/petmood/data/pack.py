"""Stage 3: decode each chosen frame once, ever; keep the animal as a small crop and what only pixels tell."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import polars as pl
from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood import places
from petmood.crops import CROP_SCHEMA, is_whole_jpeg, is_whole_part, writing_part
from petmood.data.parts import part_bounds
from petmood.data.tables import add_rejects, among
from petmood.errors import RunError
from petmood.geometry import Box, CropGeometry
from petmood.media import Crop, cut, encode
from petmood.parallel import followed, progress, run_tasks
from petmood.pictures import BadPictureError, Pixels
from petmood.records import REASONS, StageSummary
from petmood.schemas import REJECT_SCHEMA
from petmood.settings import SETTINGS, fingerprint, to_plain
from petmood.workspace import Workspace, move, read_table, reading, replacing, sweep, write_table

#: Crops a tar part in the mean: about 10 MB, one task. Fixed, so that the parts do not depend on the machine.
CROPS_A_PART = 512
#: Part of what crops are made from: raise it when the way of cutting changes.
PACK_RULES = 1
#: In a folder of crops until `pack` has left its mark; holds what they are made from, then the number of parts.
UNFINISHED = "unfinished"


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class PackSettings:
    """How animals are cut out and stored."""

    margin: Annotated[float, Field(ge=0, le=1)] = CropGeometry.margin
    """Widening of the box on each side, as a share of its size."""
    shorter_side: Annotated[int, Field(ge=32, le=2048)] = CropGeometry.shorter_side
    """Pixels of a crop's shorter side; smaller crops are not enlarged."""
    quality: Annotated[int, Field(ge=50, le=100)] = CropGeometry.quality
    """JPEG quality of the crops."""


@dataclasses.dataclass(frozen=True)
class _Part:
    """The frames of one tar part and where it goes."""

    name: str
    frames: pl.DataFrame
    """Their rows of frames.parquet, with those of crops.parquet of an earlier packing (null where there is none)."""
    geometry: CropGeometry
    folder: Path
    earlier: Path
    """Crops of an earlier packing, to be taken over where they would come out the same."""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """What it writes, in this order; the last one says that it is done."""
        return (self.folder / f"{self.name}.tar", self.crops, self.rejects)

    @property
    def crops(self) -> Path:
        return self.folder / f"{self.name}.crops"

    @property
    def rejects(self) -> Path:
        return self.folder / f"{self.name}.rejects"


def pack(
    work: Path,
    settings: PackSettings = PackSettings(),  # noqa: B008 - frozen
    *,
    jobs: int = 0,
    quiet: bool = False,
    force: bool = False,
) -> StageSummary:
    """Cut every kept frame out of its picture into ``crops/``; frames that fail only now join rejects.parquet.

    Crops of an earlier packing are taken over where picture, box and way of cutting are the same: a changed label or
    choice decodes only what is new, ``force`` everything. A killed run goes on with the parts that are missing and
    gives the same bytes as one that was not.

    Raises:
        UserError: the workspace has no chosen frames yet.
        RunError: not one picture could be used.
    """
    workspace = Workspace.open(work)
    made_from = pack_made_from(workspace.require("curate")["made_from"], settings)
    if not force and workspace.is_current("pack", made_from):
        _tidy(workspace)
        return StageSummary(stage="pack", skipped=True, counts=workspace.mark("pack")["counts"])
    building = _building(workspace, made_from, force=force)
    geometry = CropGeometry(margin=settings.margin, shorter_side=settings.shorter_side, quality=settings.quality)
    chosen = _chosen_again(workspace).join(
        _earlier(workspace, force=force), on="frame_id", how="left", maintain_order="left"
    )
    parts = _parts(chosen, geometry, building, workspace.crops)
    (building / UNFINISHED).write_text(f"{made_from} {len(parts)}", encoding="ascii")
    _make(parts, jobs=jobs, quiet=quiet)
    sweep(building)  # of a cluster's workers that were killed, while the others went on
    counts = _finish(workspace, parts, building)
    # The mark says what the crops are, not how this run came by them: a stopped run's is the same in the end.
    lasting = {name: number for name, number in counts.items() if name != "taken_over"}
    workspace.finish("pack", made_from=made_from, settings=to_plain(settings), counts=lasting)
    _tidy(workspace)
    return StageSummary(stage="pack", skipped=False, counts=counts, lines=tuple(_lines(counts)))


def _tidy(workspace: Workspace) -> None:
    """Remove what only an unfinished packing needs; a run killed after its mark leaves that to the next."""
    for leftover in [*workspace.crops.glob("*.crops"), *workspace.crops.glob("*.rejects")]:
        leftover.unlink()
    (workspace.crops / UNFINISHED).unlink(missing_ok=True)


def pack_made_from(chosen: str, settings: PackSettings | Mapping[str, Any], *, rules: int = PACK_RULES) -> str:
    """What a packing counts as made from: the choice's fingerprint and the settings, also as a mark has kept them."""
    return fingerprint("pack", rules, chosen, settings)


def difference_hash(grey: Pixels) -> int:
    """64-bit difference hash of a grey picture (height × width): which of two neighbours is brighter, on an 8 × 8 grid.

    Near-copies differ in few bits. The method is Krawetz' dHash (2013).
    """
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def sharpness(grey: Pixels) -> float:
    """Variance of the Laplacian of a grey picture (Pech-Pacheco et al. 2000); higher is sharper, blank is 0."""
    _, deviation = cv2.meanStdDev(cv2.Laplacian(grey, cv2.CV_16S))
    return float(deviation[0, 0] ** 2)


def _chosen_again(workspace: Workspace) -> pl.DataFrame:
    """Frames that `curate` chose: those with ``keep``, and those that were refused since then, to be tried again."""
    since = pl.scan_parquet(workspace.rejects, glob=False).filter(pl.col("stage").is_in(["pack", "screen"]))
    columns = ("frame_id", "path", "clip", "x", "y", "width", "height", "image_width", "image_height")
    with reading(workspace.frames, workspace.rejects):
        refused = since.select("frame_id").collect()["frame_id"]
        chosen = pl.col("keep") | pl.col("frame_id").is_in(refused.implode())
        frames = pl.scan_parquet(workspace.frames, glob=False).filter(chosen if len(refused) else pl.col("keep"))
        return frames.select(columns).collect(engine="streaming")


def _building(workspace: Workspace, made_from: str, *, force: bool) -> Path:
    """The folder in which the crops grow; a killed run's is taken up again, one for other settings is removed."""
    building = workspace.root / f".pack-{made_from}"
    for other in workspace.root.glob(".pack-*"):
        if force or other != building:
            shutil.rmtree(other)
    moved = workspace.crops / UNFINISHED
    if (
        not force
        and not building.exists()
        and moved.is_file()
        and moved.read_text(encoding="ascii").split()[:1] == [made_from]
    ):
        move(workspace.crops, building)  # killed between the last rename and the mark
    building.mkdir(exist_ok=True)
    sweep(building)
    return building


def _earlier(workspace: Workspace, *, force: bool) -> pl.DataFrame:
    """Crops of an earlier packing, columns of ``CROP_SCHEMA`` as ``earlier_…`` beside ``frame_id``; maybe none.

    ``earlier_together`` is the number of crops in the same part.
    """
    table = pl.DataFrame(schema=CROP_SCHEMA)
    path = workspace.crops / "crops.parquet"
    if path.is_file() and not force:
        found = read_table(path)
        table = found if found.schema == table.schema else table  # an older petmood's cannot be told to be the same
    table = table.with_columns(together=pl.len().over("part"))
    return table.rename({name: f"earlier_{name}" for name in table.columns if name != "frame_id"})


def _parts(chosen: pl.DataFrame, geometry: CropGeometry, folder: Path, earlier: Path) -> list[_Part]:
    bounds = part_bounds(chosen["frame_id"].to_list(), CROPS_A_PART)
    return [
        _Part(f"part-{number:05d}", chosen[start:end], geometry, folder, earlier)
        for number, (start, end) in enumerate(bounds)
    ]


def _make(parts: list[_Part], *, jobs: int, quiet: bool) -> None:
    """Make the parts that are not there yet."""
    missing = [part for part in parts if not part.rejects.exists()]
    total = sum(len(part.frames) for part in parts)
    with progress("pack", total, "frames", quiet=quiet) as advance:
        advance(total - sum(len(part.frames) for part in missing))
        for _ in followed(run_tasks(_make_part, missing, jobs=jobs), advance, int):
            pass


def _make_part(part: _Part) -> int:
    """Make one part; returns how many frames were tried."""
    cv2.setNumThreads(1)  # one process a core: its own threads would fight
    stamps = [_stamp(frame, part.geometry) for frame in part.frames.iter_rows(named=True)]
    crops, refused = (_linked(part), []) if _is_unchanged(part, stamps) else _cut_all(part, stamps)
    write_table(crops, part.crops)
    # Written last: its presence says that the part is done.
    write_table(pl.DataFrame(refused, schema=dict(REJECT_SCHEMA), orient="row"), part.rejects)
    return len(part.frames)


def _is_unchanged(part: _Part, stamps: Sequence[int]) -> bool:
    """Whether one part of the earlier packing holds these crops and no others."""
    frames = part.frames
    if frames["earlier_stamp"].to_list() != stamps or frames["earlier_part"].n_unique() > 1:
        return False
    file, offsets, sizes = part.earlier / frames["earlier_part"][0], frames["earlier_offset"], frames["earlier_size"]
    alone = frames["earlier_together"][0] == len(frames) and offsets.is_sorted()
    return alone and is_whole_part(file, offsets.to_list(), sizes.to_list())


def _linked(part: _Part) -> pl.DataFrame:
    """Take over a whole part without reading it; returns the rows of its crops."""
    with replacing(part.folder / f"{part.name}.tar") as temporary:
        source = part.earlier / part.frames["earlier_part"][0]
        try:
            temporary.hardlink_to(source)
        except OSError:  # a file system without links
            shutil.copyfile(source, temporary)
    rows = part.frames.select("frame_id", *(pl.col(f"earlier_{name}").alias(name) for name in list(CROP_SCHEMA)[1:]))
    return rows.with_columns(part=pl.lit(f"{part.name}.tar"))


def _cut_all(part: _Part, stamps: Sequence[int]) -> tuple[pl.DataFrame, list[tuple[object, ...]]]:
    """Write the crops of a part one by one; returns their rows, and those of refused frames."""
    rows: list[tuple[object, ...]] = []
    refused: list[tuple[object, ...]] = []
    with writing_part(part.folder / f"{part.name}.tar") as writer:
        for frame, stamp in zip(part.frames.iter_rows(named=True), stamps, strict=True):
            try:
                jpeg, *rest = _taken_over(frame, part, stamp) or _made(frame, part.geometry)
            except BadPictureError as error:
                refused.append((frame["frame_id"], frame["path"], frame["clip"], error.reason, error.detail, "pack"))
                continue
            offset = writer.add(f"{frame['frame_id']}.jpg", jpeg)
            rows.append((frame["frame_id"], f"{part.name}.tar", offset, len(jpeg), *rest, stamp))
    return pl.DataFrame(rows, schema=CROP_SCHEMA, orient="row"), refused


def _made(frame: dict[str, Any], geometry: CropGeometry) -> tuple[Any, ...]:
    """The crop as JPEG, then width, height and looks as in ``CROP_SCHEMA``."""
    crop = _cut(frame, geometry)
    height, width = crop.pixels.shape[:2]
    grey = _half_grey(crop.pixels)
    looks = (difference_hash(grey), sharpness(grey), crop.damaged)
    return (encode(crop.pixels, geometry.quality), width, height, *looks)


def _taken_over(frame: dict[str, Any], part: _Part, stamp: int) -> tuple[Any, ...] | None:
    """The same from an earlier packing, or None if it was made from something else or cannot be read."""
    if frame["earlier_stamp"] != stamp:
        return None
    try:
        with (part.earlier / frame["earlier_part"]).open("rb") as file:
            file.seek(frame["earlier_offset"])
            jpeg = file.read(frame["earlier_size"])
    except OSError:
        return None
    rest = [frame[f"earlier_{name}"] for name in ("width", "height", "hash", "sharpness", "damaged")]
    return (jpeg, *rest) if is_whole_jpeg(jpeg, 0, frame["earlier_size"]) else None


def _stamp(frame: dict[str, Any], geometry: CropGeometry) -> int:
    """64 bits that change with anything that decides how a frame's crop comes out."""
    try:
        state = places.state(frame["path"])
    except (OSError, ValueError):
        state = (0, 0)  # cutting will say what is wrong
    box = tuple(frame[name] for name in ("x", "y", "width", "height", "image_width", "image_height"))
    return int(fingerprint(PACK_RULES, frame["path"], state, box, geometry), 16) % 2**64


def _half_grey(pixels: Pixels) -> Pixels:
    """The crop in grey at half its size: enough for hash and sharpness, at a quarter of the cost."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    half = (max(1, grey.shape[1] // 2), max(1, grey.shape[0] // 2))
    return np.asarray(cv2.resize(grey, half, interpolation=cv2.INTER_AREA), np.uint8)


def _cut(frame: dict[str, Any], geometry: CropGeometry) -> Crop:
    try:
        data = places.read(frame["path"])
    except FileNotFoundError as error:
        raise BadPictureError("no_image", str(error.strerror)) from None
    except OSError as error:
        raise BadPictureError("unreadable_image", str(error.strerror)) from None
    size = (frame["image_width"], frame["image_height"])
    box = Box(frame["x"], frame["y"], frame["width"], frame["height"])
    return cut(data, box, geometry, expected=None if None in size else size)


def _finish(workspace: Workspace, parts: list[_Part], building: Path) -> dict[str, Any]:
    """Join the parts' tables, put everything in its place, and return the counts.

    Raises:
        RunError: no crop could be made; the workspace stays as it was.
    """
    crops = read_table(*(part.crops for part in parts))
    refused = read_table(*(part.rejects for part in parts))
    reasons = dict(refused.group_by("reason").len().iter_rows())
    counts = {
        "crops": len(crops),
        "taken_over": _unchanged(parts, crops),
        "bytes": int(crops["size"].sum()),
        "damaged": int(crops["damaged"].sum()),
        "refused": {reason: reasons[reason] for reason in REASONS if reason in reasons},
    }
    if crops.is_empty():
        shutil.rmtree(building)
        first = refused.row(0, named=True)
        raise RunError(
            f"pack could use none of {len(refused):,} pictures, such as {first['path']}: "
            f"{first['reason']} ({first['detail']}).",
            hint="if the pictures moved, run `petmood index` on where they are now",
        )
    workspace.begin("pack")
    add_rejects(workspace, refused.lazy(), after="curate")
    workspace.set_columns({"keep": among(workspace, crops["frame_id"])})
    write_table(crops, building / "crops.parquet")
    if workspace.crops.exists():
        shutil.rmtree(workspace.crops)
    move(building, workspace.crops)
    return counts


def _unchanged(parts: list[_Part], crops: pl.DataFrame) -> int:
    """How many crops are those of an earlier packing."""
    earlier = pl.concat([part.frames.select("frame_id", "earlier_stamp") for part in parts])
    return crops.join(earlier, on="frame_id").filter(pl.col("stamp") == pl.col("earlier_stamp")).height


def _lines(counts: dict[str, Any]) -> list[str]:
    size = counts["bytes"] / 1e6
    lines = [f"{counts['crops']:,} crops, {size:,.1f} MB; {counts['damaged']:,} of them repaired by the decoder"]
    if counts["taken_over"]:
        lines.append(
            f"{counts['taken_over']:,} of them were already packed: nothing that they are made from has changed"
        )
    lines += [f"refused: {reason:<18} {number:>7,}  {REASONS[reason]}" for reason, number in counts["refused"].items()]
    return lines
