"""How fast labels are scanned: `petmood index` beside the notes' loop and beside bare JSON decoding.

    python benchmarks/index.py --clips 1000 10000

Made-up trees of the given numbers of clips, label files of the real size (99 annotations, 15 keypoints each), pictures
linked from a handful of files (only their names matter here). Contestants, alternating, each in a fresh process, times
without imports, medians:
    notes   the notes' scan rebuilt: json.load, os.path.exists per frame, the two box rules, rows written to a CSV
    bare    reading and msgspec-decoding the label files and nothing else: the limit
    scan1   petmood's reading and judging of all rows, one process, without writing any table
    scan2   the same with two processes, their start included
    index1  the whole of `petmood index`, one process
    index2  the same with two processes, their start included
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import WORK, in_turn, machine, median_seconds, peak_mb, tell, timed

if TYPE_CHECKING:
    from petmood.sources.rows import Task

LABELS, PICTURES = "라벨링데이터", "원천데이터"


def notes(source: Path) -> int:
    rows = []
    for folder, _, names in os.walk(source):
        for name in names:
            if not name.endswith(".json"):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8-sig") as file:
                label = json.load(file)
            pictures = path.removesuffix(".json").replace(LABELS, PICTURES)
            metadata = label["metadata"]
            for annotation in label["annotations"]:
                frame = f"frame_{annotation['frame_number']}_timestamp_{annotation['timestamp']}.jpg"
                picture = os.path.join(pictures, frame)
                if not os.path.exists(picture):
                    continue
                box = annotation["bounding_box"]
                sides = [box["y"], box["x"], box["height"], box["width"]]
                if min(sides) < 0:
                    continue
                if box["x"] + box["width"] > metadata["width"] or box["y"] + box["height"] > metadata["height"]:
                    continue
                rows.append([picture, ",".join(map(str, sides)), metadata["inspect"]["emotion"]])
    with open(WORK / "notes.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "bbox", "labels"])
        writer.writerows(rows)
    return len(rows)


def bare(source: Path) -> int:
    from petmood.sources.label import decoded

    total = 0
    for folder, _, names in os.walk(source):
        for name in names:
            if name.endswith(".json"):
                with open(os.path.join(folder, name), "rb") as file:
                    total += len(decoded(file.read().removeprefix(b"\xef\xbb\xbf")).annotations)
    return total


def scan(source: Path, jobs: int) -> int:
    from petmood.parallel import run_tasks
    from petmood.sources import open_source

    return sum(run_tasks(_judged, open_source(source).tasks, jobs=jobs))


def _judged(task: Task) -> int:
    from petmood.data.clean import judge

    return len(judge(task.read())[0])


def index(source: Path, jobs: int) -> int:
    from petmood.data.index import index as run

    work = WORK / "index-workspace"
    shutil.rmtree(work, ignore_errors=True)
    return run(source, work, jobs=jobs, quiet=True).counts["kept"]


def one(contestant: str, source: Path) -> None:
    import petmood.data.index
    import petmood.sources.aihub  # noqa: F401

    if contestant in {"notes", "bare"}:
        tell(*timed({"notes": notes, "bare": bare}[contestant], source))
    else:
        kind, jobs = contestant[:-1], int(contestant[-1])
        tell(*timed({"scan": scan, "index": index}[kind], source, jobs))


def make(clips: int, frames: int) -> Path:
    from petmood.synth import SynthSettings, synth

    source = WORK / f"labels-{clips}-{frames}"
    if not source.exists():
        synth(source, SynthSettings(clips=clips, frames=frames, pictures="few", cut_short=False), jobs=0)
    return source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[1000])
    parser.add_argument("--frames", type=int, default=99)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("CONTESTANT", "SOURCE"))
    arguments = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    if arguments.one:
        one(arguments.one[0], Path(arguments.one[1]))
        return
    print(machine())
    print("| clips | contestant | s | clips/s | × notes | peak MB |\n|---:|---|---:|---:|---:|---:|")
    for clips in arguments.clips:
        source = str(make(clips, arguments.frames))
        names = ("notes", "bare", "scan1", "scan2", "index1", "index2")
        runs = in_turn(__file__, {name: [source] for name in names}, repeats=arguments.repeats)
        reference = median_seconds(runs["notes"])
        for name in names:
            seconds = median_seconds(runs[name])
            speed, ratio, peak = clips / seconds, reference / seconds, peak_mb(runs[name])
            print(f"| {clips:,} | {name} | {seconds:.2f} | {speed:,.0f} | {ratio:.2f} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
