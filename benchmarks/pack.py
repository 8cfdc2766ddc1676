"""How fast chosen frames become crops: `petmood pack` beside the notes' map function and beside the limit.

    python benchmarks/pack.py --clips 60 --size 1280x720

Part 1, one core (all contestants are held to it), the same chosen frames, alternating, each in a fresh process, times
without imports, medians:
    notes    the notes' tf.data map function rebuilt: read, decode, crop the box, / 255, bilinear to 256 × 256
    limit    entropy decoding of the whole pictures and nothing else (libjpeg-turbo at 1/8 scale stands in for it)
    pack     the whole of `petmood pack`: read, decode, crop, resize, JPEG, hash, sharpness, tar, tables
    plain    the same without hash and sharpness: what the fused checks cost

Part 2, all cores, the whole set, once each after a warming round:
    theirs   scan (benchmarks/index.py), decode check of every frame, one epoch of decoding through tf.data
    ours     `petmood index`, `curate` and `pack`
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

from index import notes as notes_scan
from measuring import WORK, in_turn, machine, median_seconds, peak_mb, tell, timed

SIDE = 256


def make(clips: int, frames: int, size: str) -> Path:
    """A made-up source and a workspace in which its frames are chosen; returns the workspace."""
    from petmood.data.curate import curate
    from petmood.data.index import index
    from petmood.synth import SynthSettings, synth

    source = WORK / f"clips-{clips}-{frames}-{size}"
    if not source.exists():
        synth(source, SynthSettings(clips=clips, frames=frames, size=size, cut_short=False, seed=1), jobs=0)
    work = WORK / f"{source.name}-workspace"
    index(source, work, quiet=True)
    curate(work)
    return work


def _frames(work: Path, *, chosen: bool) -> list[tuple[str, int, int, int, int]]:
    from petmood.workspace import Workspace

    frames = Workspace.open(work).read_frames()
    rows = frames.filter("keep") if chosen else frames
    return rows.select("path", "x", "y", "width", "height").rows()


def tf_data(work: Path, *, chosen: bool, threads: int) -> int:
    """The notes' loader up to the batch: decode the whole picture, crop the box, scale to 0–1, resize."""
    import tensorflow as tf

    rows = _frames(work, chosen=chosen)
    paths = [row[0] for row in rows]
    boxes = [(row[2], row[1], row[4], row[3]) for row in rows]

    def load(path: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        crop = tf.image.crop_to_bounding_box(picture, box[0], box[1], box[2], box[3])
        return tf.image.resize(tf.cast(crop, tf.float32) / 255.0, (SIDE, SIDE))

    parallel = tf.data.AUTOTUNE if threads == 0 else threads
    data = tf.data.Dataset.from_tensor_slices((paths, boxes)).map(load, num_parallel_calls=parallel).batch(64)
    total = 0
    for batch in data.prefetch(2):
        total += int(batch.shape[0])
    return total


def decode_check(work: Path) -> int:
    """The notes' check of every frame in one thread."""
    import tensorflow as tf

    good = 0
    for path, x, y, width, height in _frames(work, chosen=False):
        picture = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        tf.image.crop_to_bounding_box(picture, y, x, height, width)
        good += 1
    return good


def limit(work: Path) -> int:
    import simplejpeg

    rows = _frames(work, chosen=True)
    for path, *_ in rows:
        with open(path, "rb") as file:
            data = file.read()
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        simplejpeg.decode_jpeg(data, min_height=height // 8, min_width=width // 8, fastdct=True, fastupsample=True)
    return len(rows)


def pack(work: Path, jobs: int) -> int:
    from petmood.data.pack import pack as run

    return int(run(work, jobs=jobs, quiet=True, force=True).counts["crops"])


def plain(work: Path) -> int:
    from petmood.data import pack as module

    module.difference_hash = lambda grey: 0
    module.sharpness = lambda grey: 0.0
    return pack(work, 1)


def theirs(work: Path) -> dict[str, float]:
    source = Path(str(work).removesuffix("-workspace"))
    scan, _ = timed(notes_scan, source)
    check, _ = timed(decode_check, work)
    epoch, _ = timed(lambda: tf_data(work, chosen=False, threads=0))
    return {"scan": scan, "check": check, "epoch": epoch}


def ours(work: Path) -> dict[str, float]:
    from petmood.data.curate import curate
    from petmood.data.index import index

    source, fresh = Path(str(work).removesuffix("-workspace")), WORK / "fresh-workspace"
    shutil.rmtree(fresh, ignore_errors=True)
    scan, _ = timed(lambda: index(source, fresh, quiet=True))
    choose, _ = timed(curate, fresh)
    store, _ = timed(pack, fresh, 0)
    return {"index": scan, "curate": choose, "pack": store}


def one(contestant: str, work: Path) -> None:
    import petmood.data.index
    import petmood.data.pack  # noqa: F401 - so that no contestant pays for imports

    if contestant in {"notes", "theirs"}:
        import tensorflow as tf

        tf.io.decode_jpeg(
            tf.io.read_file(_frames(work, chosen=True)[0][0])
        )  # its first call builds what later ones use
    functions = {
        "notes": lambda: tf_data(work, chosen=True, threads=1),
        "limit": lambda: limit(work),
        "pack": lambda: pack(work, 1),
        "plain": lambda: plain(work),
        "theirs": lambda: theirs(work),
        "ours": lambda: ours(work),
    }
    tell(*timed(functions[contestant]))


def one_core(work: Path, repeats: int) -> None:
    names = ("notes", "limit", "pack", "plain")
    runs = in_turn(__file__, {name: [str(work)] for name in names}, repeats=repeats, cpus=[0])
    frames = runs["notes"][0].result
    print(f"\none core, {frames:,} chosen frames of {work.name}")
    print("| contestant | frames/s | × notes | × limit | peak MB |\n|---|---:|---:|---:|---:|")
    for name in names:
        seconds = median_seconds(runs[name])
        ratios = [median_seconds(runs[other]) / seconds for other in ("notes", "limit")]
        speed = int(str(frames)) / seconds
        print(f"| {name} | {speed:,.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} | {peak_mb(runs[name]):,.0f} |")
    extra = median_seconds(runs["pack"]) / median_seconds(runs["plain"]) - 1
    print(f"hash and sharpness cost {extra:+.1%} of packing")


def whole(work: Path, repeats: int) -> None:
    runs = in_turn(__file__, {name: [str(work)] for name in ("theirs", "ours")}, repeats=repeats)
    seconds = {name: median_seconds(runs[name]) for name in runs}
    print(f"\nall {os.cpu_count()} cores, the whole set")
    for name, measured in runs.items():
        parts = ", ".join(f"{part} {value:.1f} s" for part, value in dict(measured[-1].result).items())
        print(f"| {name} | {seconds[name]:.1f} s | {parts} | peak {peak_mb(measured):,.0f} MB |")
    print(f"ours is {seconds['theirs'] / seconds['ours']:.1f} × as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--frames", type=int, default=99)
    parser.add_argument("--size", default="1280x720", help="WIDTHxHEIGHT of the pictures")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("CONTESTANT", "WORK"))
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    if arguments.one:
        one(arguments.one[0], Path(arguments.one[1]))
        return
    print(machine())
    work = make(arguments.clips, arguments.frames, arguments.size)
    one_core(work, arguments.repeats)
    whole(work, max(1, arguments.repeats - 1))


if __name__ == "__main__":
    main()
