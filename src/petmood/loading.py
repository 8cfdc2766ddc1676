"""Batches of crops for training and for evaluation: decoded by threads straight from the memory map, a few ahead.

The seed and the epoch decide the order and every random change of every picture, so that a run can be repeated and
taken up again at any epoch, whatever the timing of the threads.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.parallel import cores
from petmood.preprocess import Augmentation, Preprocessing
from petmood.workspace import Workspace, read_table

Split = Literal["train", "val", "test"]
Numbers = npt.NDArray[np.int64]

#: Pictures that one task decodes: small enough to share a batch among threads, large enough to hide the task's cost.
_SLICE = 8
#: Batches that are decoded ahead of the one in use.
_AHEAD = 3


class Batch(NamedTuple):
    """Pictures with what is known about them; N ≤ batch size."""

    pixels: torch.Tensor
    """Prepared squares: uint8, N × 3 × size × size, channels last in memory."""
    labels: torch.Tensor
    """Class numbers: int64, N."""
    weights: torch.Tensor
    """Weight of each picture in the loss: float32, N."""
    rows: torch.Tensor
    """Row of each picture in its samples: int64, N."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """The pictures of one split; everything is in the same order of rows."""

    store: CropStore
    frames: pl.DataFrame
    """Rows of ``frames.parquet`` (columns of ``FRAME_SCHEMA``)."""
    labels: Numbers
    """Class numbers: positions in the data set's list of classes."""
    weights: npt.NDArray[np.float32]

    @property
    def clips(self) -> list[str]:
        """Clip of each row."""
        return self.frames["clip"].to_list()

    def __len__(self) -> int:
        return len(self.labels)


def data_classes(workspace: Workspace) -> tuple[str, ...]:
    """The data set's emotions (English names); a class number is a position in it.

    Raises:
        UserError: the workspace has not been indexed.
    """
    return tuple(workspace.require("index")["counts"]["classes"])


def load_samples(workspace: Workspace, split: Split, *, limit: int = 0, seed: int = 0) -> Samples:
    """The chosen pictures of one split, in the order of the index.

    Args:
        workspace: with all data stages completed.
        split: train, val or test.
        limit: at most this many, drawn at random evenly over the clips; 0 takes all.
        seed: of that draw.

    Raises:
        UserError: a stage is missing, the split is empty, or crops are missing.
    """
    workspace.require("split")
    frames = workspace.read_frames().filter(pl.col("keep") & (pl.col("split") == split))
    if frames.is_empty():
        raise UserError(
            f"work folder {workspace.root} has no chosen frames in the split {split!r}.",
            hint=f"give the split a larger share: `petmood split {workspace.root} --help`, or add data",
        )
    if 0 < limit < len(frames):
        frames = frames[_evenly(frames["clip"].to_list(), limit, seed)]
    crops = read_table(workspace.crops / "crops.parquet")
    table = frames.select("frame_id").join(crops, on="frame_id", how="left", maintain_order="left")
    missing = table["part"].null_count()
    if missing:
        raise UserError(
            f"work folder {workspace.root} lacks the crops of {missing:,} chosen frames.",
            hint=f"run `petmood pack {workspace.root}`; it makes only what is missing",
        )
    numbers = {name: number for number, name in enumerate(data_classes(workspace))}
    labels = np.array([numbers[name] for name in frames["emotion"]], np.int64)
    return Samples(CropStore(workspace.crops, table), frames, labels, frames["weight"].fill_null(1.0).to_numpy().copy())


def _evenly(clips: Sequence[str], limit: int, seed: int) -> list[int]:
    """Rows, in order: a random frame of each clip, then a second of each, until ``limit`` are drawn."""
    seen: collections.Counter[str] = collections.Counter()
    turns = []
    for row in np.random.default_rng((seed, 0)).permutation(len(clips)):
        turns.append((seen[clips[row]], int(row)))
        seen[clips[row]] += 1
    turns.sort(key=lambda turn: turn[0])  # stable: within a turn the random order stays
    return sorted(row for _, row in turns[:limit])


class CropBatches:
    """Batches of a split's pictures, anew at each iteration; usable as a Lightning data loader.

    Without augmentation the pictures come in order and none is left out. With it they are shuffled across the whole
    split in each epoch, and a last batch of one is left out, because batch norm cannot train on it.
    """

    def __init__(
        self,
        store: CropStore,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        labels: Numbers | None = None,
        weights: npt.NDArray[np.float32] | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        epoch: Callable[[], int] = lambda: 0,
        threads: int = 0,
        pinned: bool = False,
    ) -> None:
        """Batches over all rows of ``store``.

        Args:
            store: crops; row numbers count in it.
            preprocessing: how a crop becomes the network's square.
            batch_size: pictures of a batch; the last one may be smaller.
            labels: class number of each row; 0 for all if left out.
            weights: of each row in the loss; 1 for all if left out.
            augmentation: random changes; also turns shuffling on.
            seed: with the epoch it decides order and changes.
            epoch: asked at the start of each iteration for the number of the epoch.
            threads: that decode; 0 means all cores.
            pinned: allocate in page-locked memory, from which a GPU can fetch by itself.
        """
        self.store = store
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.labels = np.zeros(len(store), np.int64) if labels is None else labels
        self.weights = np.ones(len(store), np.float32) if weights is None else weights
        self.augmentation = augmentation
        self.seed = seed
        self.epoch = epoch
        self.threads = cores(threads)
        self.pinned = pinned

    def __len__(self) -> int:
        count = len(self.store)
        if self.augmentation is not None and count % self.batch_size == 1:
            count -= 1
        return math.ceil(count / self.batch_size)

    def order(self, epoch: int) -> Numbers:
        """Rows in the order in which this epoch shows them."""
        if self.augmentation is None:
            return np.arange(len(self.store))
        return np.random.default_rng((self.seed, epoch)).permutation(len(self.store)).astype(np.int64)

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        order = self.order(epoch)
        starts = iter(range(0, len(self) * self.batch_size, self.batch_size))
        # OpenCV's own threads would fight with ours over the same cores.
        cv2.setNumThreads(1)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="petmood-decode")
        waiting: collections.deque[tuple[Batch, list[Future[None]]]] = collections.deque()
        try:
            for start in starts:
                waiting.append(self._begin(pool, order[start : start + self.batch_size], epoch))
                if len(waiting) > _AHEAD:
                    yield _finished(*waiting.popleft())
            while waiting:
                yield _finished(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _begin(self, pool: ThreadPoolExecutor, rows: Numbers, epoch: int) -> tuple[Batch, list[Future[None]]]:
        size = self.preprocessing.image_size
        pixels = torch.empty((len(rows), size, size, 3), dtype=torch.uint8, pin_memory=self.pinned)
        batch = Batch(
            pixels.permute(0, 3, 1, 2),  # a view: N × 3 × H × W, channels last
            torch.from_numpy(self.labels[rows]),
            torch.from_numpy(self.weights[rows]),
            torch.from_numpy(rows),
        )
        target = pixels.numpy()
        tasks = [
            pool.submit(self._fill, target[start : start + _SLICE], rows[start : start + _SLICE], epoch)
            for start in range(0, len(rows), _SLICE)
        ]
        return batch, tasks

    def _fill(self, target: npt.NDArray[np.uint8], rows: Numbers, epoch: int) -> None:
        for place, row in zip(target, rows, strict=True):
            pixels = self.store.pixels(int(row))
            if self.augmentation is not None:
                pixels = self.augmentation.apply(pixels, np.random.default_rng((self.seed, epoch, int(row))))
            place[:] = self.preprocessing.prepare(pixels)


def _finished(batch: Batch, tasks: list[Future[None]]) -> Batch:
    wait(tasks)
    for task in tasks:
        task.result()
    return batch
