"""What a pretrained network sees in every crop: computed once, kept, and found again by what it was made of.

WORK/features/KEY.npy     float16, crops × features, row by row as crops/crops.parquet
WORK/features/KEY.json    model, weights, preprocessing and pack; written last
WORK/features/KEY.blocks/ the finished blocks of a computation that was stopped; it goes on from there
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import timm.data
import torch
from torch import nn

from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.inference import folded, on_cores
from petmood.loading import CropBatches
from petmood.parallel import progress
from petmood.preprocess import Preprocessing
from petmood.recipes.features import FeatureSettings
from petmood.settings import fingerprint, to_plain
from petmood.weights import create_backbone
from petmood.workspace import Workspace, read_json, read_table, replacing, sweep, write_json

#: Part of the key: raise it when features are computed in another way.
_WAY = 2
#: Crops of a block: some 10 MB of features, a minute or two of work on two cores.
_BLOCK = 4096
_LARGEST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True)
class CropFeatures:
    """Pooled features of all packed crops of a workspace."""

    values: npt.NDArray[np.float16]
    """(crops, features), read from the disk as it is used; rows are those of crops/crops.parquet."""
    frames: pl.Series
    """Frame id of each row."""
    key: str
    """Sixteen hex digits that change with the model, its weights, the preprocessing or the crops."""
    found: bool = False
    """Whether they were in the cache already."""

    def of(self, frames: Sequence[str] | pl.Series) -> npt.NDArray[np.float32]:
        """Features of these frames, in their order: float32, (frames, features).

        Raises:
            UserError: a frame has no crop.
        """
        return self.values[self.rows(frames)].astype(np.float32)

    def rows(self, frames: Sequence[str] | pl.Series) -> npt.NDArray[np.int64]:
        """Rows of ``values`` that hold these frames, in their order.

        Raises:
            UserError: a frame has no crop.
        """
        wanted = pl.DataFrame({"frame_id": frames}, schema={"frame_id": pl.String})
        known = pl.DataFrame({"frame_id": self.frames}).with_row_index("row")
        rows = wanted.join(known, on="frame_id", how="left", maintain_order="left")["row"]
        if rows.null_count():
            raise UserError(
                f"{rows.null_count():,} of {len(rows):,} frames have no features, because they have no crop.",
                hint="run `petmood pack` on the work folder; it makes only what is missing",
            )
        return rows.cast(pl.Int64).to_numpy()


class Describer(NamedTuple):
    """A network that describes pictures by its features."""

    backbone: nn.Module
    """On the processor, as its family is built; not in a particular mode."""
    preprocessing: Preprocessing


_Describe = Callable[[torch.Tensor], Iterable[npt.NDArray[np.float16]]]


class _Extractor(NamedTuple):
    backbone: nn.Module
    preprocessing: Preprocessing
    device: torch.device
    settings: FeatureSettings


def crop_features(
    workspace: Workspace,
    settings: FeatureSettings = FeatureSettings(),  # noqa: B008 - frozen
    *,
    quiet: bool = False,
) -> CropFeatures:
    """Features of all packed crops, from the cache if they are there. A stopped computation goes on where it stopped.

    Features of crops that are no longer there are removed from the cache.

    Raises:
        UserError: nothing is packed, or the network or its weights cannot be had.
    """
    crops = _crops_mark(workspace)
    extractor = _extractor(settings)
    origin = {
        "model": settings.model,
        "weights": weights_digest(extractor.backbone),
        "preprocessing": to_plain(extractor.preprocessing),
        "crops": crops,
    }
    key = fingerprint("features", _WAY, origin)
    table = read_table(workspace.crops / "crops.parquet")
    folder = workspace.features
    folder.mkdir(exist_ok=True)
    _remove_stale(folder, crops=crops, key=key)
    final = folder / f"{key}.npy"
    found = _is_complete(final, len(table)) and (folder / f"{key}.json").is_file()
    if not found:
        extractor = _fast(extractor)
        blocks = folder / f"{key}.blocks"
        blocks.mkdir(exist_ok=True)
        parts = _compute(CropStore(workspace.crops, table), extractor, blocks, quiet=quiet)
        _join(parts, final, len(table))
        write_json(folder / f"{key}.json", {**origin, "settings": to_plain(settings), "rows": len(table)})
        shutil.rmtree(blocks)
    return CropFeatures(np.load(final, mmap_mode="r"), table["frame_id"], key, found)


def describer(settings: FeatureSettings) -> Describer:
    """The network of these settings, with the weights that ``crop_features`` uses.

    Raises:
        UserError: the network or its weights cannot be had.
    """
    with torch.random.fork_rng():
        # Weights that start from nothing are the same each time, so that their features are found again.
        torch.manual_seed(0)
        backbone = create_backbone(settings.model, pretrained=settings.pretrained, image_size=settings.image_size)
    preprocessing = Preprocessing.of_backbone(
        timm.data.resolve_model_data_config(backbone), image_size=settings.image_size, fit=settings.fit
    )
    return Describer(backbone, preprocessing)


def weights_digest(network: nn.Module) -> str:
    """Sixteen hex digits that two networks share only if all their tensors have the same names and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def _crops_mark(workspace: Workspace) -> str:
    """What the crops are: pack's mark, and size and hash of each picture (`pack --force` may have changed some)."""
    made_from = workspace.require("pack")["made_from"]
    table = read_table(workspace.crops / "crops.parquet").select("frame_id", "size", "hash")
    if table.is_empty():
        raise UserError(f"work folder {workspace.root} has no crops.", hint="see why in rejects.parquet")
    digest = hashlib.sha256("\n".join(table["frame_id"].to_list()).encode())
    digest.update(table["size"].to_numpy().tobytes())
    digest.update(table["hash"].to_numpy().tobytes())
    return fingerprint(made_from, digest.hexdigest())


def _extractor(settings: FeatureSettings) -> _Extractor:
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise UserError("device cuda is not available; found is cpu.", hint="use --device auto or --device cpu")
    device = torch.device("cuda" if available and settings.device != "cpu" else "cpu")
    backbone, preprocessing = describer(settings)
    return _Extractor(backbone.to(memory_format=torch.channels_last).eval(), preprocessing, device, settings)


def _fast(extractor: _Extractor) -> _Extractor:
    """The same network on its device: batch norms folded into the convolutions before them, compiled if asked for."""
    size = extractor.preprocessing.image_size
    backbone = folded(extractor.backbone, torch.zeros(1, 3, size, size)).to(extractor.device)
    if extractor.settings.compile:
        backbone.compile(dynamic=False)
    return extractor._replace(backbone=backbone)


def _remove_stale(folder: Path, *, crops: str, key: str) -> None:
    """Remove features of other crops, and what stopped computations with other settings left."""
    sweep(folder)
    for mark in folder.glob("*.json"):
        try:
            stale = read_json(mark).get("crops") != crops
        except UserError:  # damaged: what it speaks of is computed again
            stale = True
        if stale:
            mark.unlink()
            mark.with_suffix(".npy").unlink(missing_ok=True)
    for blocks in folder.glob("*.blocks"):
        if blocks.stem != key:
            shutil.rmtree(blocks)


def _compute(store: CropStore, extractor: _Extractor, folder: Path, *, quiet: bool) -> list[Path]:
    """Files of all blocks, in order; those that are there already are not computed again."""
    starts = range(0, len(store), _BLOCK)
    files = [folder / f"{start // _BLOCK:05d}.npy" for start in starts]
    sweep(folder)
    with progress("features", len(store), "frames", quiet=quiet) as advance:
        for start, path in zip(starts, files, strict=True):
            rows = min(_BLOCK, len(store) - start)
            if _is_complete(path, rows):
                advance(rows)
                continue
            part = CropStore(store.folder, store.table[start : start + rows])
            block = np.concatenate(list(_batches(part, extractor, advance)))
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, block)
    return files


def _batches(
    store: CropStore, extractor: _Extractor, advance: Callable[[int], None]
) -> Iterator[npt.NDArray[np.float16]]:
    on_gpu = extractor.device.type == "cuda"
    batches = CropBatches(
        store,
        extractor.preprocessing,
        batch_size=extractor.settings.batch_size,
        threads=extractor.settings.threads,
        pinned=on_gpu,
    )
    describe = _on_gpu(extractor) if on_gpu else on_cores(partial(_features, extractor))
    with describe as features:
        for batch in batches:
            for part in features(batch.pixels):
                yield part
                advance(len(part))


@contextlib.contextmanager
def _on_gpu(extractor: _Extractor) -> Iterator[_Describe]:
    """A function from prepared squares to their features, float16: one array."""

    def describe(pixels: torch.Tensor) -> Iterator[npt.NDArray[np.float16]]:
        with torch.autocast("cuda"):
            yield _features(extractor, pixels.to(extractor.device, non_blocking=True))

    yield describe


def _features(extractor: _Extractor, pixels: torch.Tensor) -> npt.NDArray[np.float16]:
    with torch.inference_mode():
        features = extractor.backbone(extractor.preprocessing.normalise(pixels)).float().clamp(-_LARGEST, _LARGEST)
        return features.cpu().numpy().astype(np.float16)


def _join(files: Sequence[Path], path: Path, rows: int) -> None:
    """One file of all blocks, under its name only when it is complete."""
    width = np.load(files[0], mmap_mode="r").shape[1]
    with replacing(path) as temporary:
        joined: Any = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=(rows, width))
        start = 0
        for file in files:
            block = np.load(file)
            joined[start : start + len(block)] = block
            start += len(block)
        joined.flush()


def _is_complete(path: Path, rows: int) -> bool:
    """Whether a file holds the features of so many rows."""
    try:
        found = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return bool(found.ndim == 2 and len(found) == rows and found.dtype == np.float16)
