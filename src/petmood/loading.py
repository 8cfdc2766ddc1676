"""Batches of crops for training and for evaluation: decoded by threads straight from the memory map, a few ahead.

The seed and the epoch decide the order and every random change of every picture, so that a run can be repeated, taken
up again at any batch, and dealt to any number of processes, whatever the timing of the threads.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import math
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, NamedTuple, TypedDict

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import torch

from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.media import decode, size_of
from petmood.parallel import cores
from petmood.pictures import Pixels
from petmood.preprocess import Augmentation, Preprocessing, random_draws
from petmood.sampling import ClipSampler, Numbers, deal
from petmood.settings import fingerprint
from petmood.workspace import Workspace, read_table

Split = Literal["train", "val", "test"]

#: Pictures that one task decodes: small enough to share a batch among threads, large enough to hide the task's cost.
_SLICE = 16
#: Pictures of a process's batch on which batch norm can train.
_LEAST = 2
#: Batches that are decoded ahead of the one in use; more if they are so small that threads would be idle.
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
    total: int
    """Pictures of this batch over all processes; N with one."""


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


class LoaderState(TypedDict):
    """Where an iteration stands, in plain values that a checkpoint can hold."""

    epoch: int
    batches: int
    """Batches of that epoch that each process was given."""
    order: str
    """Fingerprint of what decides which rows come when."""
    batch_size: int
    processes: int


class CropBatches:
    """Batches of a split's pictures, anew at each iteration; usable as a Lightning data loader.

    Without a sampler all pictures come in order. With one, for training, each epoch shows the sampler's rows. Nothing
    is left out in either case: batch norm cannot train on one picture, hence a last training batch that would have
    fewer than two pictures in any process is added to the batch before it.

    Several processes share an epoch (``sampling.deal``): no picture is shown twice or lost, and all have the same
    number of batches. The random changes of a picture follow from seed, epoch and its place in the epoch alone, not
    from the number of processes or threads.

    Its state (``state_dict``) is part of Lightning's checkpoints. After ``load_state_dict`` the next iteration goes on
    with the batch that would have come next if it is of the epoch that was broken off; any other starts from the front.
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
        sampler: ClipSampler | None = None,
        seed: int = 0,
        epoch: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world: int = 1,
        threads: int = 0,
        pinned: bool = False,
        sizes: Callable[[int], int] | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Batches of rows of ``store``.

        Args:
            store: crops; row numbers count in it.
            preprocessing: how a crop becomes the network's square.
            batch_size: pictures of a batch; the last one may be smaller, or one picture a process larger.
            labels: class number of each row; 0 for all if left out.
            weights: of each row in the loss; 1 for all if left out.
            augmentation: random changes.
            sampler: decides the rows of an epoch; left out, all rows come in order.
            seed: with the epoch it decides the changes.
            epoch: asked when the first batch of an iteration is taken for the number of the epoch.
            rank: number of this process, below ``world``.
            world: number of processes that share an epoch.
            threads: that decode; 0 means all cores.
            pinned: allocate in page-locked memory, from which a GPU can fetch by itself.
            sizes: pixels of the square in an epoch; left out, that of ``preprocessing``.
            device: a GPU to which each batch is copied while the one before is computed on; else they stay in memory.

        Raises:
            UserError: an epoch is too small to train on.
        """
        self.store = store
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.labels = np.zeros(len(store), np.int64) if labels is None else labels
        self.weights = np.ones(len(store), np.float32) if weights is None else weights
        self.augmentation = augmentation
        self._sampler = sampler  # a public `sampler` Lightning would take for one of PyTorch's
        self.seed = seed
        self.epoch = epoch
        self.rank, self.world = rank, world
        self.threads = cores(threads)
        self.pinned = pinned
        self.sizes, self.device = sizes, device
        self.waited = 0.0
        """Seconds for which whoever takes the batches has waited for pictures, since the beginning."""
        shown = len(store) if sampler is None else len(sampler)
        if sampler is not None and shown < _LEAST * world:
            raise UserError(
                f"an epoch shows {shown} picture{'s' * (shown != 1)}; at least {_LEAST * world} are needed to train.",
                hint="add data, or show more frames of each clip by --frames-per-clip",
            )
        least = 1 if sampler is None else _LEAST
        self._batches = deal(shown, batch_size=batch_size, least=least, rank=rank, world=world)
        self._epoch, self._given = 0, 0
        self._continues = False

    def __len__(self) -> int:
        return len(self._batches)

    def order(self, epoch: int) -> Numbers:
        """Rows in the order in which this epoch shows them, over all processes."""
        return np.arange(len(self.store)) if self._sampler is None else self._sampler.rows(epoch)

    def state_dict(self) -> LoaderState:
        """Where the iteration stands: what was yielded counts as done."""
        return LoaderState(
            epoch=self._epoch,
            batches=self._given,
            order=self._fingerprint(),
            batch_size=self.batch_size,
            processes=self.world,
        )

    def load_state_dict(self, state: LoaderState) -> None:
        """Let the next iteration go on where another loader of the same rows stood.

        Raises:
            UserError: the rows, the batch size or the number of processes are others, so that the place means nothing.
        """
        wrong = [
            f"{name} was {then} and is {now}"
            for name, then, now in (
                ("the order of pictures", state["order"], self._fingerprint()),
                ("the batch size", state["batch_size"], self.batch_size),
                ("the number of processes", state["processes"], self.world),
            )
            if then != now
        ]
        if wrong:
            raise UserError(
                f"the checkpoint stands within an epoch that cannot be continued: {'; '.join(wrong)}.",
                hint="go on with the same data, settings and devices, or from a checkpoint at the end of an epoch",
            )
        self._epoch, self._given = state["epoch"], state["batches"]
        self._continues = True

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        # An epoch that was complete when its state was saved is over: the same number means that it is shown again.
        first = self._given if self._continues and epoch == self._epoch and self._given < len(self) else 0
        self._epoch, self._given, self._continues = epoch, first, False
        with contextlib.closing(self._decoded(epoch, first)) as decoded:
            for batch in self._on_device(decoded):
                self._given += 1
                yield batch

    def _on_device(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The same batches; with a GPU each is copied there, on a stream of its own, before the one before is used."""
        if self.device is None or self.device.type != "cuda":
            yield from batches
            return
        stream = torch.cuda.Stream(self.device)
        coming: tuple[Batch, torch.cuda.Event] | None = None
        for batch in batches:
            with torch.cuda.stream(stream):
                pixels, labels, weights, rows = (each.to(self.device, non_blocking=True) for each in batch[:4])
                copied = Batch(pixels, labels, weights, rows, batch.total), stream.record_event()
            if coming:
                yield _taken(*coming)
            coming = copied
        if coming:
            yield _taken(*coming)

    def _decoded(self, epoch: int, first: int) -> Generator[Batch]:
        """This process's batches from number ``first`` on."""
        order = self.order(epoch)
        size = self.sizes(epoch) if self.sizes else self.preprocessing.image_size
        task = _Squares(self.store, dataclasses.replace(self.preprocessing, image_size=size), self.augmentation)
        memory = _Memory(size, pinned=self.pinned)
        ahead = max(_AHEAD, math.ceil(2 * self.threads * _SLICE / self.batch_size))
        # OpenCV's own threads would fight with ours over the same cores.
        cv2.setNumThreads(1)
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="petmood-decode")
        waiting: collections.deque[tuple[Batch, list[Future[None]]]] = collections.deque()
        try:
            for part in self._batches[first:]:
                waiting.append(self._begin(pool, task, memory.take(len(part)), order, part, epoch))
                if len(waiting) > ahead:
                    yield self._finished(*waiting.popleft())
            while waiting:
                yield self._finished(*waiting.popleft())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _fingerprint(self) -> str:
        return fingerprint("in order", len(self.store)) if self._sampler is None else self._sampler.fingerprint

    def _begin(
        self, pool: ThreadPoolExecutor, task: _Squares, pixels: torch.Tensor, order: Numbers, places: range, epoch: int
    ) -> tuple[Batch, list[Future[None]]]:
        """A batch whose pictures are on their way."""
        rows = order[places.start : places.stop : places.step]
        batch = Batch(
            pixels.permute(0, 3, 1, 2),  # a view: N × 3 × H × W, channels last
            self._tensor(self.labels[rows]),
            self._tensor(self.weights[rows]),
            self._tensor(rows),
            places.stop - places.start + self.rank,
        )
        target = pixels.numpy()
        # By place, not by row: an epoch that shows a row twice changes it in two ways.
        draws = random_draws(self.seed, epoch, places) if self.augmentation else [()] * len(rows)
        parts = [slice(start, start + _SLICE) for start in range(0, len(rows), _SLICE)]
        return batch, [pool.submit(task.paint, target[part], rows[part].tolist(), draws[part]) for part in parts]

    def _tensor(self, values: npt.NDArray[np.generic]) -> torch.Tensor:
        return torch.tensor(values, pin_memory=self.pinned)

    def _finished(self, batch: Batch, tasks: list[Future[None]]) -> Batch:
        start = time.perf_counter()
        for task in tasks:
            task.result()
        self.waited += time.perf_counter() - start
        return batch


def _taken(batch: Batch, copied: torch.cuda.Event) -> Batch:
    """A batch that was copied on another stream, for use on the one of now."""
    stream = torch.cuda.current_stream(batch.pixels.device)
    stream.wait_event(copied)
    for tensor in batch[:4]:
        tensor.record_stream(stream)  # or its memory would be given away while this stream still reads it
    return batch


class _Memory:
    """Memory for batches, taken back from dropped ones: clearing new memory costs a twentieth of the decoding.

    Page-locked memory is given out again by torch itself.
    """

    def __init__(self, size: int, *, pinned: bool) -> None:
        self.size, self.pinned = size, pinned
        self._spare: list[Pixels] = []

    def take(self, count: int) -> torch.Tensor:
        """Uninitialised uint8, count × size × size × 3."""
        shape = (count, self.size, self.size, 3)
        if self.pinned:
            return torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        spare = self._spare.pop() if self._spare else None
        buffer = spare if spare is not None and len(spare) >= count else np.empty(shape, np.uint8)
        lent = buffer[:count]  # lives as long as any tensor that shows it
        weakref.finalize(lent, self._spare.append, buffer).atexit = False
        return torch.from_numpy(lent)


@dataclasses.dataclass(frozen=True)
class _Squares:
    """What the threads do in one epoch: JPEGs to the squares that the network sees."""

    store: CropStore
    preprocessing: Preprocessing
    augmentation: Augmentation | None

    def paint(self, squares: Pixels, rows: Sequence[int], draws: Sequence[Sequence[float]]) -> None:
        """Fill squares with the pictures of some rows, each changed as its draws say."""
        for square, row, numbers in zip(squares, rows, draws, strict=True):
            jpeg = self.store.jpeg(row)
            if self.augmentation is None:
                self.preprocessing.paint(square, decode(jpeg))
                continue
            view = self.augmentation.view(*size_of(jpeg), numbers)
            reduction, shrinks = self.preprocessing.reduction(view.height, view.width)
            part = view.of(decode(jpeg, reduction=reduction, rough=shrinks), reduction)
            self.preprocessing.paint(square, part, mirrored=view.mirrored, rough=True)
