"""How fast crops become training batches: `petmood.loading.CropBatches` beside other loaders and beside the limit.

    python benchmarks/loader.py --clips 30 --size 1920x1080

All cores, batches of 64 uint8 squares of 224 pixels (random window, mirrored or not, padded), alternating, each
contestant in a fresh process, medians. Only the steady state counts: processes have started and queues are full when
the clock starts, and the stream goes on when it stops.
    notes         the notes' tf.data loader rebuilt, on the full frames: read, decode, crop the box, / 255, bilinear to
                  224 × 224, random flips, batches of 64, of which ten are shuffled
    files-N       torch DataLoader with N workers, one JPEG file a crop
    webdataset-N  WebDataset with N workers, tar shards of the crops, a shuffle buffer of 1,000
    litdata-N     LitData with N workers, chunks of the crops
    petmood       CropBatches, as `petmood train` uses it
    limit         bare decoding (simplejpeg, no resizing, no batches) of the same bytes by one core, times the cores

files, webdataset and litdata are given petmood's own function from a JPEG to the square; what differs is the loader.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import random
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psutil

from measuring import WORK, Measured, in_turn, machine, peak_mb, tell

BATCH = 64
SIZE = 224
#: Pictures before the clock starts, and while it runs; the notes' loader is given fewer, it is so slow.
WARM, MEASURED = 1024, 4096
WARM_NOTES, MEASURED_NOTES = 256, 512


def make(clips: int, frames: int, size: str) -> Path:
    """A made-up work folder with crops, and the same crops as files, as tar shards and as LitData's chunks."""
    from petmood.crops import CropStore
    from petmood.data.curate import curate
    from petmood.data.index import index
    from petmood.data.pack import pack
    from petmood.synth import SynthSettings, synth
    from petmood.workspace import Workspace

    source = WORK / f"loader-{clips}-{frames}-{size}"
    if not source.exists():
        synth(source, SynthSettings(clips=clips, frames=frames, size=size, cut_short=False, seed=1), jobs=0)
    work = WORK / f"{source.name}-workspace"
    index(source, work, quiet=True)
    curate(work)
    pack(work, quiet=True)
    store = CropStore(Workspace.open(work).crops)
    jpegs = [bytes(store.jpeg(row)) for row in range(len(store))]
    _write_files(work / "files", jpegs)
    _write_shards(work / "shards", jpegs)
    _write_chunks(work / "chunks", work / "files")
    return work


def _write_files(folder: Path, jpegs: list[bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for number, jpeg in enumerate(jpegs):
        (folder / f"{number:06d}.jpg").write_bytes(jpeg)


def _write_shards(folder: Path, jpegs: list[bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for shard in range(4):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number, jpeg in list(enumerate(jpegs))[shard::4]:
                for name, data in ((f"{number:06d}.jpg", jpeg), (f"{number:06d}.cls", b"%d" % (number % 6))):
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def _chunk(item: tuple[str, int]) -> dict[str, object]:
    return {"jpeg": Path(item[0]).read_bytes(), "label": item[1]}


def _write_chunks(folder: Path, files: Path) -> None:
    if (folder / "index.json").exists():
        return
    import litdata

    paths = sorted(files.iterdir())
    repeated = [(str(paths[number % len(paths)]), number % 6) for number in range(_needed())]
    litdata.optimize(_chunk, repeated, output_dir=str(folder), chunk_bytes="16MB", num_workers=1, verbose=False)


def _needed() -> int:
    """Pictures of a stream that has not ended when the clock stops and the queues are still full."""
    return WARM + MEASURED + 32 * BATCH


def _rate(batches: Iterable[object], *, warm: int, measured: int) -> None:
    """Print the seconds for ``measured`` pictures of a stream of batches, after ``warm`` ones."""
    start = spent = 0.0
    for number, _ in enumerate(batches, 1):
        if number == warm // BATCH:
            start, spent = time.perf_counter(), _processor_seconds()
        if number == (warm + measured) // BATCH:  # told within the loop, at whose end the processes are stopped
            tell(time.perf_counter() - start, {"pictures": measured, "cpu": _processor_seconds() - spent})
            break


def _processor_seconds() -> float:
    """Processor time of this process and of those that it has started, until now."""
    process = psutil.Process()
    times = [each.cpu_times() for each in [process, *process.children(recursive=True)]]
    return float(sum(each.user + each.system for each in times))


def _square(jpeg: bytes, draws: list[float]) -> np.ndarray:
    """One crop as petmood prepares it for training."""
    from petmood.media import decode, size_of

    augmentation, preprocessing = _settings()
    view = augmentation.view(*size_of(jpeg), draws)
    reduction, shrinks = preprocessing.reduction(view.height, view.width)
    square = np.empty((SIZE, SIZE, 3), np.uint8)
    part = view.of(decode(jpeg, reduction=reduction, rough=shrinks), reduction)
    preprocessing.paint(square, part, mirrored=view.mirrored, rough=True)
    return square


def _settings():  # noqa: ANN202
    import cv2

    from petmood.preprocess import Augmentation, Preprocessing

    cv2.setNumThreads(1)
    return (
        Augmentation(horizontal_flip=True, min_scale=0.7),
        Preprocessing(
            image_size=SIZE, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), interpolation="bicubic", fit="pad"
        ),
    )


def _shown(jpeg: bytes) -> np.ndarray:
    return _square(jpeg, [random.random() for _ in range(5)])


# Contestants


def notes(work: Path) -> None:
    import tensorflow as tf

    from petmood.workspace import Workspace

    frames = Workspace.open(work).read_frames().filter("keep")
    paths = frames["path"].to_list()
    boxes = frames.select("y", "x", "height", "width").rows()

    def load(path: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        crop = tf.image.crop_to_bounding_box(picture, box[0], box[1], box[2], box[3])
        picture = tf.image.resize(tf.cast(crop, tf.float32) / 255.0, (SIZE, SIZE))
        return tf.image.random_flip_up_down(tf.image.random_flip_left_right(picture))

    data = tf.data.Dataset.from_tensor_slices((paths, boxes)).repeat().map(load, num_parallel_calls=tf.data.AUTOTUNE)
    stream = data.batch(BATCH).shuffle(10).prefetch(tf.data.AUTOTUNE)
    # The shuffle buffer is filled first: ten batches are made before the first one comes.
    _rate(stream, warm=WARM_NOTES, measured=MEASURED_NOTES)


def files(work: Path, workers: int) -> None:
    import torch
    from torch.utils.data import DataLoader, Dataset

    paths = sorted((work / "files").iterdir())

    class Files(Dataset):
        def __len__(self) -> int:
            return _needed()

        def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
            path = paths[number % len(paths)]
            return torch.from_numpy(_shown(path.read_bytes())), number % 6

    loader = DataLoader(Files(), batch_size=BATCH, shuffle=True, num_workers=workers, prefetch_factor=4)
    _rate(loader, warm=WARM, measured=MEASURED)


def webdataset(work: Path, workers: int) -> None:
    import torch
    import webdataset as wds
    from torch.utils.data import default_collate

    urls = [str(path) for path in sorted((work / "shards").iterdir())]
    data = (
        wds.WebDataset(urls, resampled=True, shardshuffle=True)
        .shuffle(1000)
        .to_tuple("jpg", "cls")
        .map_tuple(lambda jpeg: torch.from_numpy(_shown(jpeg)), int)
        .batched(BATCH, collation_fn=default_collate)
    )
    loader = wds.WebLoader(data, batch_size=None, num_workers=workers, prefetch_factor=4)
    _rate(loader, warm=WARM, measured=MEASURED)


def litdata(work: Path, workers: int) -> None:
    import litdata as lit
    import torch

    class Crops(lit.StreamingDataset):
        def __getitem__(self, number: object) -> tuple[torch.Tensor, int]:
            item = super().__getitem__(number)
            return torch.from_numpy(_shown(item["jpeg"])), item["label"]

    loader = lit.StreamingDataLoader(
        Crops(str(work / "chunks"), shuffle=True), batch_size=BATCH, num_workers=workers, prefetch_factor=4
    )
    _rate(loader, warm=WARM, measured=MEASURED)


def petmood(work: Path) -> None:
    import polars as pl

    from petmood.crops import CropStore
    from petmood.loading import CropBatches
    from petmood.sampling import ClipSampler
    from petmood.workspace import Workspace

    augmentation, preprocessing = _settings()
    store = CropStore(Workspace.open(work).crops)
    store = CropStore(store.folder, pl.concat([store.table] * (1 + _needed() // len(store))))
    labels = np.arange(len(store), dtype=np.int64) % 6
    sampler = ClipSampler([str(row) for row in range(len(store))], labels, frames_per_clip=0)
    batches = CropBatches(
        store, preprocessing, batch_size=BATCH, labels=labels, augmentation=augmentation, sampler=sampler
    )
    _rate(batches, warm=WARM, measured=MEASURED)


def limit(work: Path) -> None:
    import simplejpeg

    jpegs = [path.read_bytes() for path in sorted((work / "files").iterdir())]
    for jpeg in jpegs:
        simplejpeg.decode_jpeg(jpeg, fastdct=True)
    start, spent = time.perf_counter(), _processor_seconds()
    for jpeg in itertools.islice(itertools.cycle(jpegs), MEASURED):
        simplejpeg.decode_jpeg(jpeg, fastdct=True)
    seconds = (time.perf_counter() - start) / len(os.sched_getaffinity(0))
    tell(seconds, {"pictures": MEASURED, "cpu": _processor_seconds() - spent})


def contestants() -> dict[str, Callable[[Path], None]]:
    cores = len(os.sched_getaffinity(0))
    peers = {"files": files, "webdataset": webdataset, "litdata": litdata}
    found: dict[str, Callable[[Path], None]] = {"notes": notes, "petmood": petmood, "limit": limit}
    for name, function in peers.items():
        for workers in sorted({max(1, cores // 2), cores}):
            found[f"{name}-{workers}"] = lambda work, function=function, workers=workers: function(work, workers)
    return found


def one(contestant: str, work: Path) -> None:
    contestants()[contestant](work)
    sys.stdout.flush()
    os._exit(0)  # the stream goes on; nobody waits for its processes


# The table


def rates(runs: list[Measured]) -> list[float]:
    """Pictures a second."""
    return [dict(run.result)["pictures"] / run.seconds for run in runs]  # type: ignore[call-overload]


def spent(runs: list[Measured]) -> float:
    """Microseconds of processor time a picture, which other work on the machine disturbs less."""
    each = [dict(run.result) for run in runs]  # type: ignore[call-overload]
    return statistics.median(1e6 * found["cpu"] / found["pictures"] for found in each)


def table(runs: dict[str, list[Measured]]) -> None:
    rate = {name: statistics.median(rates(measured)) for name, measured in runs.items()}
    best = max((name for name in rate if "-" in name), key=rate.__getitem__)
    print("| loader | pictures/s | lowest–highest | × notes | × best peer | share of the limit | CPU µs | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in sorted(rate, key=rate.__getitem__):
        each = rates(runs[name])
        ratios = f"{rate[name] / rate['notes']:.1f} | {rate[name] / rate[best]:.2f} | {rate[name] / rate['limit']:.2f}"
        span = f"{min(each):,.0f}–{max(each):,.0f}"
        memory = f"{peak_mb(runs[name]):,.0f}"
        print(f"| {name} | {rate[name]:,.0f} | {span} | {ratios} | {spent(runs[name]):,.0f} | {memory} |")
    ours, cpu = rate["petmood"], {name: spent(measured) for name, measured in runs.items()}
    print(
        f"\npetmood: {ours / rate['notes']:.1f} × the notes (aim 15), {ours / rate[best]:.2f} × the best peer, {best} "
        f"(aim 1.4), {ours / rate['limit']:.2f} of the limit (aim 0.80)\n"
        f"by processor time: {cpu['notes'] / cpu['petmood']:.1f} × the notes, "
        f"{cpu[best] / cpu['petmood']:.2f} × {best}, {cpu['limit'] / cpu['petmood']:.2f} of the limit"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=30)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", default="1920x1080", help="WIDTHxHEIGHT of the pictures")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("CONTESTANT", "WORK"))
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    if arguments.one:
        one(arguments.one[0], Path(arguments.one[1]))
        return
    print(machine())
    work = make(arguments.clips, arguments.frames, arguments.size)
    crops = sorted((work / "files").iterdir())
    mean = statistics.mean(path.stat().st_size for path in crops) / 1024
    print(f"{len(crops)} crops of {mean:.0f} KB on average, from frames of {arguments.size}, all cores\n")
    table(in_turn(__file__, {name: [str(work)] for name in contestants()}, repeats=arguments.repeats))


if __name__ == "__main__":
    main()
