"""The data stages at AI Hub's full size: time, memory and bytes read of each, at shares of 68,730 clips.

    python benchmarks/scale.py --share 0.01 0.1 --form unpacked zips
    python benchmarks/scale.py --share 1 --form zips
    python benchmarks/scale.py --table
    python benchmarks/scale.py --remove

`scale_data.py` says what of the data is made up and how: label files, numbers of clips and frames, archives and missing
pictures as in the real set; pictures tiny (so `pack` and `screen` are measured for their tables and their reading, not
for decoding: benchmarks/pack.py has that). Made once and kept in .work/scale until `--remove`; 100 % takes about 8 GB
in zips. Files may lie in the page cache, as they were just written: `disk` tells what was read from the disk itself.

Steps, each in a fresh process; times without imports:
    index curate pack screen split   on a new workspace
    again                            the whole of `petmood prepare`, nothing changed
    +index +curate +pack …           after 1 % new clips (in folders or archives of their own) came to the source
Memory is that of the process and all its children, sampled every 50 ms: `peak` is the sum of their proportional set
sizes, of which `own` is not backed by files (mapped files can be dropped by the system at any time). `read` counts the
bytes that the processes asked for in read calls. `growth` compares with the next smaller share of the same form: time
and peak as a multiple of the growth of the clips, so that 1 is linear and less is better.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from measuring import WORK, machine, tell, timed
from scale_data import CLIPS, Form, make

FOLDER = WORK / "scale"
RESULTS = FOLDER / "results.json"
STAGES = ("index", "curate", "pack", "screen", "split")
#: Where new clips stand while they are part of the source.
ADDED = "added"


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step cost."""

    form: Form
    clips: int
    step: str
    seconds: float
    peak_mb: float
    own_mb: float
    read_mb: float
    disk_mb: float
    told: str


class Watch(threading.Thread):
    """Follows a process with its children until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.peak = self.own = 0.0
        self._read: dict[int, tuple[int, int]] = {}

    def run(self) -> None:
        """Sample until `finish` is called."""
        while not self._over.wait(0.05):
            try:
                family = [self._process, *self._process.children(recursive=True)]
            except psutil.Error:
                continue
            sizes = [_memory(member.pid) for member in family]
            self.peak = max(self.peak, sum(total for total, _ in sizes))
            self.own = max(self.own, sum(own for _, own in sizes))
            for member in family:
                self._read[member.pid] = _bytes_read(member.pid) or self._read.get(member.pid, (0, 0))

    def finish(self) -> tuple[float, float]:
        """MB asked for in read calls, and MB read from the disk."""
        self._over.set()
        self.join()
        asked, disk = (sum(values) / 1e6 for values in zip(*self._read.values(), strict=True))
        return asked, disk


def _memory(pid: int) -> tuple[float, float]:
    """Proportional set size of a process in MB, and how much of it is no file; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0, 0.0
    told = {line.split(":")[0]: int(line.split()[1]) / 1e3 for line in lines[1:]}
    return told["Pss"], told["Pss"] - told.get("Pss_File", 0.0)


def _bytes_read(pid: int) -> tuple[int, int] | None:
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    told = {name: int(number) for name, number in (line.split(": ") for line in lines)}
    return told["rchar"], told["read_bytes"]


def one(step: str, source: Path, work: Path, jobs: int) -> None:
    """Run one step in this process and tell its time."""
    from petmood.cli import run
    from petmood.data.curate import curate
    from petmood.data.index import index
    from petmood.data.pack import pack
    from petmood.data.screen import screen
    from petmood.data.split import split

    match step:
        case "index":
            seconds, summary = timed(lambda: index(source, work, jobs=jobs, quiet=True))
        case "curate":
            seconds, summary = timed(lambda: curate(work))
        case "pack":
            seconds, summary = timed(lambda: pack(work, jobs=jobs, quiet=True))
        case "screen":
            seconds, summary = timed(lambda: screen(work, threads=jobs))
        case "split":
            seconds, summary = timed(lambda: split(work))
        case _:
            words = ["prepare", str(source), str(work), "-q", "--json", "--no-sheet", "--jobs", str(jobs)]
            seconds, summary = timed(lambda: run(words))
            tell(seconds, "")
            return
    counts = getattr(summary, "counts", {})
    known = ("found", "kept", "clips", "chosen", "crops", "taken_over", "groups")
    tell(seconds, ", ".join(f"{name} {counts[name]:,}" for name in known if isinstance(counts.get(name), int)))


def measured(form: Form, clips: int, step: str, source: Path, work: Path, jobs: int) -> Step:
    """One step in a fresh process."""
    command = [sys.executable, __file__, "--one", step.lstrip("+"), str(source), str(work), "--jobs", str(jobs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = Watch(process.pid)
    watch.start()
    out, problems = process.communicate()
    asked, disk = watch.finish()
    if process.returncode:
        raise SystemExit(f"{step} failed:\n{problems}")
    answer = json.loads(out.splitlines()[-1])
    return Step(form, clips, step, answer["seconds"], watch.peak, watch.own, asked, disk, answer["result"])


def measure(share: float, form: Form, jobs: int) -> list[Step]:
    """All steps at one share."""
    folder = FOLDER / f"{form}-{share:g}"
    start = time.perf_counter()
    made = make(folder, share, form)
    print(f"{form}, {share:.1%}: made in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    clips, work, added = round(CLIPS * share), folder / "work", made.source / ADDED
    shutil.rmtree(work, ignore_errors=True)
    if added.exists():  # an earlier measuring was stopped
        added.rename(made.new)
    steps = [measured(form, clips, step, made.source, work, jobs) for step in (*STAGES, "again")]
    made.new.rename(added)
    try:
        steps += [measured(form, clips, f"+{step}", made.source, work, jobs) for step in STAGES]
    finally:
        added.rename(made.new)
    shutil.rmtree(work)
    return steps


def remembered() -> list[Step]:
    """What earlier calls measured."""
    return [Step(**row) for row in json.loads(RESULTS.read_text(encoding="utf-8"))] if RESULTS.exists() else []


def remember(steps: list[Step]) -> None:
    """Keep steps, in place of earlier ones of the same form and size."""
    replaced = {(step.form, step.clips) for step in steps}
    kept = [step for step in remembered() if (step.form, step.clips) not in replaced]
    rows: list[dict[str, Any]] = [dataclasses.asdict(step) for step in [*kept, *steps]]
    RESULTS.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def print_table() -> None:
    """All that was measured, with growth from share to share."""
    steps = remembered()
    print(machine())
    print("\n| form | step | clips | s | clips/s | peak MB | own MB | read MB | disk MB | growth s | growth peak |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    names = [*STAGES, "again", *(f"+{stage}" for stage in STAGES)]
    for step in sorted(steps, key=lambda step: (step.form, names.index(step.step), step.clips)):
        smaller = [other for other in steps if (other.form, other.step) == (step.form, step.step)]
        before = max((other for other in smaller if other.clips < step.clips), key=lambda o: o.clips, default=None)
        cells = [f"{step.clips:,}", f"{step.seconds:.1f}", f"{step.clips / step.seconds:,.0f}"]
        cells += [f"{value:,.0f}" for value in (step.peak_mb, step.own_mb, step.read_mb, step.disk_mb)]
        if before:
            growth = step.clips / before.clips
            cells += [f"{step.seconds / before.seconds / growth:.2f}", f"{step.peak_mb / before.peak_mb / growth:.2f}"]
        else:
            cells += ["", ""]
        print("|", " | ".join([step.form, step.step, *cells]), "|")
    for step in steps:
        if step.told and not step.step.startswith("+"):
            print(f"{step.form} {step.clips:,} {step.step}: {step.told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, nargs="+", default=[0.01])
    parser.add_argument("--form", nargs="+", choices=["unpacked", "zips"], default=["unpacked", "zips"])
    parser.add_argument("--jobs", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print what was measured so far and nothing else")
    parser.add_argument("--remove", action="store_true", help="remove the data, keep what was measured")
    parser.add_argument("--one", nargs=3, metavar=("STEP", "SOURCE", "WORK"))
    arguments = parser.parse_args()
    if arguments.one:
        step, source, work = arguments.one
        one(step, Path(source), Path(work), arguments.jobs)
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.remove:
        for folder in FOLDER.iterdir():
            if folder.is_dir():
                shutil.rmtree(folder)
        return
    if not arguments.table:
        for form in arguments.form:
            for share in sorted(arguments.share):
                remember(measure(share, form, arguments.jobs))
    print_table()


if __name__ == "__main__":
    main()
