"""How much of the bare model's speed is left when photos are predicted: decoding, finding and cutting beside it.

    python benchmarks/predict.py RUN FOLDER [--detector FILE] [--photos 256] [--repeats 3]

RUN is a run folder or an exported file, FOLDER holds photos. Measured in turns, so that another load meets all alike:
the model alone on squares that are ready; the detector alone on pixels that are ready; all of `petmood predict` from
the files on, with whole photos and (with a detector) with animals that are found.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from petmood.answering import open_engine
from petmood.detect import open_detector
from petmood.engine import Engine
from petmood.inputs import PICTURES
from petmood.look import Looker
from petmood.media import glance
from petmood.parallel import cores

BATCH = 32


def files_of(folder: Path, count: int) -> list[tuple[str, Path, None]]:
    """Photos of a folder, from the start again if there are too few."""
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    return [(str(path), path, None) for path in itertools.islice(itertools.cycle(found), count)]


def bare(engine: Engine, count: int) -> float:
    """Seconds of the model alone."""
    size = engine.prepare(np.zeros((8, 8, 3), np.uint8)).shape[0]
    squares = np.random.default_rng(0).integers(0, 255, (BATCH, size, size, 3), np.uint8)
    start = time.perf_counter()
    for _ in range(count // BATCH):
        engine.ask(squares)
    return time.perf_counter() - start


def finding(detector: object, files: list[tuple[str, Path, None]]) -> float:
    """Seconds of the detector alone, asked by as many threads as in prediction."""
    pixels = [glance(path.read_bytes(), least=832)[0] for _, path, _ in files[:64]]
    start = time.perf_counter()
    with ThreadPoolExecutor(cores(0)) as pool:
        list(pool.map(detector.animals, pixels))  # type: ignore[attr-defined]
    return (time.perf_counter() - start) * len(files) / len(pixels)


def predicting(looker: Looker, files: list[tuple[str, Path, None]]) -> tuple[float, int]:
    """Seconds from files to answers, and how many animals were asked about."""
    start = time.perf_counter()
    answers = list(looker.files(files))
    return time.perf_counter() - start, sum(one.emotion is not None for group in answers for one in group)


def median(measure: Callable[[], float], repeats: int) -> float:
    """Median of some measurements."""
    return statistics.median(measure() for _ in range(repeats))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default="")
    parser.add_argument("--photos", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    count = given.photos // BATCH * BATCH
    engine = open_engine(given.run, device=given.device)
    files = files_of(given.folder, count)
    looker = Looker(engine, None, whole=True, batch_size=BATCH)
    bare(engine, BATCH), predicting(looker, files[:BATCH])
    alone, whole = [], []
    for _ in range(given.repeats):
        alone.append(bare(engine, count))
        whole.append(predicting(looker, files)[0])
    model = statistics.median(alone)
    ratios = [a / b for a, b in zip(alone, whole, strict=True)]
    print(f"{count} photos, batches of {BATCH}, {cores(0)} cores, median of {given.repeats}")
    print(f"model alone                  {count / model:8.1f} pictures/s")
    print(f"files to answers, whole      {count / statistics.median(whole):8.1f} photos/s  "
          f"{statistics.median(ratios):.2f} of the model's speed ({min(ratios):.2f} to {max(ratios):.2f})")  # fmt: skip
    if given.detector:
        detector = open_detector(given.detector, threads=1)
        with_it = Looker(engine, detector, batch_size=BATCH)
        found, parts = [], []
        for _ in range(given.repeats):
            seconds, animals = predicting(with_it, files)
            parts.append((finding(detector, files) + bare(engine, count) * animals / count) / seconds)
            found.append(seconds)
        print(f"files to answers, found      {count / statistics.median(found):8.1f} photos/s  ", end="")
        print(f"{statistics.median(parts):.2f} of model and detector one after the other ({animals} animals)")


if __name__ == "__main__":
    main()
