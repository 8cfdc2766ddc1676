"""Small pictures of crops for a page: each crop is decoded once, however often it is shown."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np
import polars as pl

from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.media import encode
from petmood.pictures import Pixels
from petmood.workspace import Workspace, read_table

#: Pixels of a thumbnail's longer side.
SIDE = 128
#: JPEG quality of thumbnails: about 4 kB each.
QUALITY = 78
#: How much of a pixel is heat rather than picture.
_HEAT_SHARE = 0.6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """One small picture."""

    jpeg: bytes
    width: int
    height: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """The small pictures of some frames, and those with their heat map over them."""

    plain: Mapping[str, Thumbnail]
    """frame_id → picture; frames whose crop is gone have none."""
    heat: Mapping[str, Thumbnail]


def read_pictures(workspace: Workspace, run: Path, frame_ids: Iterable[str], *, with_heat: Iterable[str]) -> Pictures:
    """Thumbnails of some frames.

    Args:
        workspace: that holds the crops.
        run: its heatmaps.parquet, if there is one, gives the heat.
        frame_ids: which frames; doubles are decoded once.
        with_heat: those of them whose heat map is wanted as well.

    Raises:
        UserError: a table or a part of the crops is missing or damaged.
    """
    wanted = pl.DataFrame({"frame_id": list(dict.fromkeys(frame_ids))}, schema={"frame_id": pl.String})
    crops = read_table(workspace.crops / "crops.parquet")
    found = wanted.join(crops, on="frame_id", how="inner", maintain_order="left")
    store = CropStore(workspace.crops, found)
    maps = _heat_maps(run, with_heat)
    plain: dict[str, Thumbnail] = {}
    heat: dict[str, Thumbnail] = {}
    for row, frame_id in enumerate(found["frame_id"]):
        small = shrunk(store.pixels(row), SIDE)
        plain[frame_id] = encoded(small)
        if frame_id in maps:
            heat[frame_id] = encoded(_overlaid(small, maps[frame_id]))
    return Pictures(plain=plain, heat=heat)


def data_uri(jpeg: bytes) -> str:
    """A JPEG as a link that holds it."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _heat_maps(run: Path, wanted: Iterable[str]) -> dict[str, Pixels]:
    """frame_id → heat (h, w), uint8, over the whole crop; empty if none were made."""
    path = run / "heatmaps.parquet"
    if not path.is_file():
        return {}
    table = read_table(path).filter(pl.col("frame_id").is_in(list(wanted)))
    try:
        return {
            row["frame_id"]: np.frombuffer(row["heat"], np.uint8).reshape(row["height"], row["width"])
            for row in table.iter_rows(named=True)
        }
    except (ValueError, pl.exceptions.PolarsError):
        hint = f"run `petmood evaluate {run}` again"
        raise UserError(f"{path} is damaged: a map has not height × width bytes.", hint=hint) from None


def shrunk(pixels: Pixels, side: int) -> Pixels:
    """The picture with a longer side of ``side`` pixels at most."""
    scale = min(1.0, side / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _overlaid(pixels: Pixels, heat: Pixels) -> Pixels:
    """The picture in grey under its heat in inferno, whose lightness rises evenly with the heat."""
    smooth = cv2.resize(heat, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_CUBIC)
    colours = cv2.applyColorMap(smooth, cv2.COLORMAP_INFERNO)[:, :, ::-1].astype(np.float32)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)[:, :, None]
    mixed = _HEAT_SHARE * colours + (1 - _HEAT_SHARE) * grey
    return np.ascontiguousarray(mixed.round().clip(0, 255).astype(np.uint8))


def encoded(pixels: Pixels) -> Thumbnail:
    """The picture as it stands in a page."""
    return Thumbnail(jpeg=encode(pixels, QUALITY), width=pixels.shape[1], height=pixels.shape[0])
