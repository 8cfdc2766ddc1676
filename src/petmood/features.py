"""What a pretrained network sees in a crop: computed once, kept, and found again by what it was made of.

WORK/features/KEY.json       model, weights, preprocessing and pack
WORK/features/KEY.npy        float16, crops × features, row by row as crops/crops.parquet; zeros where none are known
WORK/features/KEY.known.npy  bool, one a crop: whether its row is computed; written after the rows that it speaks of

Only what is asked for is computed; a stopped computation loses the block that it was in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
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

from petmood.crops import CropStore, crops_state
from petmood.errors import UserError
from petmood.inference import folded, on_cores
from petmood.loading import CropBatches
from petmood.lock import owned
from petmood.parallel import followed, is_elsewhere, progress, run_tasks
from petmood.preprocess import Preprocessing
from petmood.recipes.features import FeatureSettings
from petmood.settings import fingerprint, to_plain
from petmood.weights import create_backbone
from petmood.workspace import Workspace, read_json, read_table, replacing, sweep, write_json

#: Part of the key: raise it when features are computed in another way.
_WAY = 2
#: Crops of a block: some 10 MB of features, a minute or less of work on two cores.
_BLOCK = 4096
_LARGEST = float(np.finfo(np.float16).max)


@dataclasses.dataclass(frozen=True)
class CropFeatures:
    """Pooled features of the packed crops of a workspace."""

    values: npt.NDArray[np.float16]
    """(crops, features), read from the disk as it is used; rows are those of crops/crops.parquet."""
    known: npt.NDArray[np.bool_]
    """(crops,): whether a row is computed; those that were asked for are."""
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
            ValueError: features of a frame were not asked for.
        """
        rows = _rows_of(frames, self.frames)
        if not self.known[rows].all():
            raise ValueError("features of these frames were not asked for")
        return rows


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
    frames: pl.Series | None = None,
    quiet: bool = False,
) -> CropFeatures:
    """Features of packed crops, from the cache as far as they are there. A stopped computation goes on from there.

    Features of crops that are no longer there are removed from the cache.

    Args:
        workspace: with all stages up to `pack` completed.
        settings: of the network and the machine.
        frames: ids of the frames whose features are wanted; None wants those of all crops.
        quiet: no progress bar.

    Raises:
        UserError: nothing is packed, a frame has no crop, or the network or its weights cannot be had.
    """
    crops = crops_state(workspace)
    extractor = _extractor(settings)
    origin = {
        "model": settings.model,
        "weights": weights_digest(extractor.backbone),
        "preprocessing": to_plain(extractor.preprocessing),
        "crops": crops,
    }
    key = fingerprint("features", _WAY, origin)
    table = read_table(workspace.crops / "crops.parquet")
    ids = table["frame_id"]
    with owned(workspace.root, "petmood features", part="features", wait=True):  # others find them in the cache
        workspace.features.mkdir(exist_ok=True)
        _remove_stale(workspace.features, crops=crops)
        cache = _Cache(workspace.features, key, len(table))
        wanted = np.arange(len(table)) if frames is None else np.unique(_rows_of(frames, ids))
        missing = wanted[~cache.known()[wanted]]
        if missing.size:
            write_json(cache.mark, {**origin, "settings": to_plain(settings), "rows": len(table)})
            _compute(CropStore(workspace.crops, table), missing, settings, extractor, cache, quiet=quiet)
    return CropFeatures(np.load(cache.values, mmap_mode="r"), cache.known(), ids, key, found=not missing.size)


def _rows_of(frames: Sequence[str] | pl.Series, known: pl.Series) -> npt.NDArray[np.int64]:
    """Rows of ``known`` that hold these frame ids, in their order."""
    wanted = pl.DataFrame({"frame_id": frames}, schema={"frame_id": pl.String})
    numbered = pl.DataFrame({"frame_id": known}).with_row_index("row")
    rows = wanted.join(numbered, on="frame_id", how="left", maintain_order="left")["row"]
    if rows.null_count():
        raise UserError(
            f"{rows.null_count():,} of {len(rows):,} frames have no features, because they have no crop.",
            hint="run `petmood pack` on the work folder; it makes only what is missing",
        )
    return rows.cast(pl.Int64).to_numpy()


@dataclasses.dataclass(frozen=True)
class _Cache:
    """The files of one key."""

    folder: Path
    key: str
    rows: int

    @property
    def values(self) -> Path:
        return self.folder / f"{self.key}.npy"

    @property
    def mark(self) -> Path:
        return self.folder / f"{self.key}.json"

    def known(self) -> npt.NDArray[np.bool_]:
        """Which rows are computed; none if a file is missing or damaged."""
        values, known = _loaded(self.values), _loaded(self._known)
        whole = values is not None and values.ndim == 2 and len(values) == self.rows and values.dtype == np.float16
        if not whole or known is None or known.shape != (self.rows,) or known.dtype != np.bool_:
            return np.zeros(self.rows, np.bool_)
        return np.array(known)

    def keep(self, rows: npt.NDArray[np.int64], block: npt.NDArray[np.float16]) -> None:
        """Write the features of some rows, then that they are known."""
        known = self.known()
        if not known.any():  # there is nothing, or nothing that can be trusted
            with replacing(self.values) as temporary:
                shape = (self.rows, block.shape[1])
                np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        values: Any = np.load(self.values, mmap_mode="r+")
        values[rows] = block
        values.flush()
        known[rows] = True
        with replacing(self._known) as temporary, temporary.open("wb") as file:
            np.save(file, known)

    @property
    def _known(self) -> Path:
        return self.folder / f"{self.key}.known.npy"


def _loaded(path: Path) -> npt.NDArray[Any] | None:
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return None
    return found


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


def _remove_stale(folder: Path, *, crops: str) -> None:
    """Remove features of other crops, and files that no mark speaks of."""
    sweep(folder)
    for mark in folder.glob("*.json"):
        try:
            stale = read_json(mark).get("crops") != crops
        except UserError:  # damaged: what it speaks of is computed again
            stale = True
        if stale:
            mark.unlink()
    for path in folder.glob("*.npy"):
        if not (folder / f"{path.name.partition('.')[0]}.json").is_file():
            path.unlink()


class _Ready(NamedTuple):
    """The network that this process has ready, and what it was built from."""

    settings: FeatureSettings
    weights: str
    extractor: _Extractor


@dataclasses.dataclass(frozen=True)
class _Block:
    """Some crops whose features are wanted; can be sent to another machine that sees them."""

    folder: Path
    table: pl.DataFrame
    """Their rows of crops.parquet."""
    settings: FeatureSettings
    weights: str
    """As `weights_digest` has it."""


#: Built once a process: another machine is asked for many blocks.
_ready: list[_Ready] = []
#: Blocks that another machine is asked for at once take turns: each of them uses all its cores.
_turn = threading.Lock()


def _compute(
    store: CropStore,
    rows: npt.NDArray[np.int64],
    settings: FeatureSettings,
    extractor: _Extractor,
    cache: _Cache,
    *,
    quiet: bool,
) -> None:
    """Fill the cache with these rows, a block at a time."""
    parts = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    weights = weights_digest(extractor.backbone)
    blocks = [_Block(store.folder, store.table[part], settings, weights) for part in parts]
    fast = None if is_elsewhere() else _fast(extractor)
    with progress("features", len(rows), "frames", quiet=quiet) as advance:
        if fast is None:
            described = followed(run_tasks(describe_block, blocks), advance, len)
        else:
            described = (_described(block, fast, advance) for block in blocks)
        for part, features in zip(parts, described, strict=True):
            cache.keep(part, features)


def describe_block(block: _Block) -> npt.NDArray[np.float16]:
    """Features of some crops: float16, (crops, features). As computed in the process that asks, block for block.

    Raises:
        UserError: the crops, the network or its weights cannot be had here, or the weights are others.
    """
    with _turn:
        return _described(block, _kept_ready(block), lambda _: None)


def _described(block: _Block, extractor: _Extractor, advance: Callable[[int], None]) -> npt.NDArray[np.float16]:
    return np.concatenate(list(_batches(CropStore(block.folder, block.table), extractor, advance)))


def _kept_ready(block: _Block) -> _Extractor:
    """The network for a block, which stays ready for the next one.

    Raises:
        UserError: as `describe_block`.
    """
    if not _ready or _ready[0][:2] != (block.settings, block.weights):
        extractor = _extractor(block.settings)
        found = weights_digest(extractor.backbone)
        if found != block.weights:
            raise UserError(
                f"weights of {block.settings.model} are others here ({found}) than asked for ({block.weights}).",
                hint="all machines need the same: --pretrained with a file that all see, or the same package or hub",
            )
        _ready[:] = [_Ready(block.settings, block.weights, _fast(extractor))]
    return _ready[0].extractor


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
