"""Every stage killed at random moments (SIGKILL), started again until it ends, and compared with an undisturbed run.

    python benchmarks/faults.py                          # 50 kills a stage
    python benchmarks/faults.py --kills 8 --stages pack,train
    python benchmarks/faults.py --spawn                  # each start a fresh `python -m petmood`: slow, for a sample

A trial copies the work folder as it was before the stage, starts the command, kills it at a moment drawn evenly from
its measured duration (from its very start on), starts it again as a user would (the same command; a training that has
begun with --resume), maybe kills that too, and so on. Then every file is compared: byte for byte first; where a format
holds times, value for value without them. What is neither is a difference, and the script fails.

Commands run in processes forked from this one, which has imported everything: a start costs milliseconds, so that
kills hit the work. Every other kill goes to the process alone, as when memory runs out; the rest to its whole group.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same sums in each run, and forks without threads
os.environ.setdefault("TQDM_DISABLE", "1")

NETWORK = ("--model", "test_efficientnet", "--pretrained", "none", "--image-size", 64, "--device", "cpu")
LIMIT = 300
"""Seconds after which a command counts as hanging."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One command that is killed."""

    name: str
    words: tuple[object, ...]
    """SOURCE, WORK and RUN stand for paths."""
    run: str = ""
    """Name of the run that it trains: once begun, it is gone on with by --resume."""


STAGES = (
    Stage("index (2 processes)", ("index", "SOURCE", "WORK", "-q", "--jobs", 2, "--pictures", "now")),
    Stage("index", ("index", "SOURCE", "WORK", "-q", "--jobs", 1)),
    Stage("curate", ("curate", "WORK", "--no-sheet")),
    Stage("pack (2 processes)", ("pack", "WORK", "-q", "--jobs", 2)),
    Stage("pack", ("pack", "WORK", "-q", "--jobs", 1)),
    Stage("screen", ("screen", "WORK", "-q")),
    Stage("split", ("split", "WORK", "--allow-leak")),
    Stage(
        "probe",
        ("train", "WORK", "--recipe", "probe", "--name", "probe", "--no-doctor", "-q", *NETWORK, "--batch-size", 16),
        run="probe",
    ),
    Stage(
        "train",
        (
            *("train", "WORK", "--name", "train", "--no-doctor", "-q", "--epochs", 3, "--batch-size", 16),
            *("--checkpoint-minutes", 0.002, *NETWORK),
        ),
        run="train",
    ),
    Stage("evaluate", ("evaluate", "RUN", "-q", "--device", "cpu")),
    Stage("export", ("export", "RUN")),
)
#: Stages that come one after the other; the others start from what these leave.
CHAIN = ("index", "curate", "pack", "screen", "split", "probe", "train", "evaluate", "export")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="at least so many of each stage")
    parser.add_argument("--stages", default="", help="names, separated by commas; all if left out")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spawn", action="store_true", help="fresh processes instead of forked ones")
    options = parser.parse_args()
    wanted = set(options.stages.split(",")) if options.stages else {stage.name for stage in STAGES}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), spawn=options.spawn, chance=random.Random(options.seed))
        bench.make_source(options.clips, options.frames)
        print(
            f"{'stage':<20}{'s':>7}{'kills':>7}{'starts':>8}{'same bytes':>12}{'same values':>13}{'left out':>10}",
            flush=True,
        )
        good = True
        for stage in STAGES:
            chained = stage.name in CHAIN
            if chained or stage.name in wanted:
                reference = bench.undisturbed(stage)
            if stage.name in wanted:
                good = bench.kill_often(stage, reference, options.kills) and good
            if chained:
                bench.go_on(reference)
        sys.exit(not good)


class Bench:
    """The made-up data, the work folder before the next stage, and how commands are started."""

    def __init__(self, folder: Path, *, spawn: bool, chance: random.Random) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.before = folder / "before"
        self.work = folder / "work"
        self.spawn = spawn
        self.chance = chance
        self.before.mkdir()
        self.seconds = 0.0
        if not spawn:
            import_everything()

    def make_source(self, clips: int, frames: int) -> None:
        """Made-up clips with damaged ones among them."""
        words = ("synth", self.source, "--clips", clips, "--frames", frames, "--seed", 0, "--jobs", 1)
        code, told = wait(self.start(tuple(map(str, words))))
        assert code == 0, told

    def start(self, words: Sequence[str]) -> tuple[int, Path]:
        """Start a command as the leader of its own group; returns its number and where its output goes."""
        out = self.folder / "output"
        if self.spawn:
            with out.open("wb") as file:
                command = [sys.executable, "-m", "petmood", *words]
                return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True).pid, out
        sys.stdout.flush()
        number = os.fork()
        if number:
            return number, out
        os.setsid()
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        code = 99
        try:
            from petmood import cli

            code = cli.run(list(words))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def fresh(self) -> None:
        """The work folder as it was before the stage."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.before, self.work)

    def words(self, stage: Stage, *, resume: bool = False) -> tuple[str, ...]:
        """The command as it is typed."""
        places = {"SOURCE": self.source, "WORK": self.work, "RUN": self.work / "runs" / "train"}
        given = tuple(str(places.get(str(word), word)) for word in stage.words)
        return (*given, "--resume") if resume else given

    def undisturbed(self, stage: Stage) -> Path:
        """What the stage leaves when nothing happens; its duration is measured by the way."""
        times = []
        for _ in range(3):
            self.fresh()
            begun = time.perf_counter()
            code, told = wait(self.start(self.words(stage)))
            times.append(time.perf_counter() - begun)
            if code:
                raise SystemExit(f"{stage.name} failed undisturbed:\n{told}")
        self.seconds = statistics.median(times)
        reference = self.folder / f"reference {stage.name}"
        shutil.copytree(self.work, reference)
        return reference

    def go_on(self, reference: Path) -> None:
        """Let the next stage start from what this one leaves."""
        shutil.rmtree(self.before)
        shutil.copytree(reference, self.before)

    def kill_often(self, stage: Stage, reference: Path, kills: int) -> bool:
        """Trials until there were so many kills; prints a line, and what differed; returns whether nothing did."""
        done = starts = 0
        found: Counter[str] = Counter()
        problems: list[str] = []
        while done < kills and len(problems) < 5:
            self.fresh()
            killed = True
            ran = 0
            while killed:
                killed, problem = self.one_start(stage, disturb=ran == 0 or self.chance.random() < 0.3)
                done += killed
                ran += 1
                if problem:
                    problems.append(problem)
                    break
            starts += ran
            if not problems:
                counts, different = self.apart(lambda: compare(reference, self.work))
                found.update(counts)
                problems += different
        print(
            f"{stage.name:<20}{self.seconds:>7.2f}{done:>7}{starts:>8}{found['bytes']:>12,}{found['values']:>13,}"
            f"{found['left out']:>10,}",
            flush=True,
        )
        for problem in problems:
            print(f"  DIFFERENT: {problem}", flush=True)
        return not problems

    def one_start(self, stage: Stage, *, disturb: bool) -> tuple[bool, str]:
        """One start, killed or not; returns whether it was killed, and what went wrong with one that ended."""
        run = self.work / "runs" / stage.run
        resume = bool(stage.run) and (run / "config.yaml").is_file()
        number, out = self.start(self.words(stage, resume=resume))
        if disturb:
            moment = self.chance.uniform(0, self.seconds * 1.05)
            until = time.perf_counter() + moment
            while time.perf_counter() < until:
                if os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    break
                time.sleep(0.001)
            else:
                group = self.chance.random() < 0.5
                with contextlib.suppress(ProcessLookupError):
                    (os.killpg if group else os.kill)(number, signal.SIGKILL)
                code, _ = wait((number, out))
                return code == -signal.SIGKILL, ""
        code, told = wait((number, out))
        finished = "is finished; a probe has nothing to go on" in told
        return False, "" if code == 0 or finished else f"{stage.name} ended with {code}: {told.strip()[-400:]}"

    def apart(self, work: Callable[[], tuple[Counter[str], list[str]]]) -> tuple[Counter[str], list[str]]:
        """The result of some work in a forked process: this one must stay without threads."""
        reader, writer = os.pipe()
        number = os.fork()
        if not number:
            code = 1
            try:
                with os.fdopen(writer, "w") as file:
                    file.write(json.dumps(work()))
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader) as file:
            told = file.read()
        os.waitpid(number, 0)
        counts, different = json.loads(told)
        return Counter(counts), different


def wait(started: tuple[int, Path]) -> tuple[int, str]:
    """Exit code (negative: a signal) and output of a command that was started."""
    number, out = started
    until = time.monotonic() + LIMIT
    while True:
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), out.read_text(errors="replace") if out.exists() else ""
        if time.monotonic() > until:
            os.killpg(number, signal.SIGKILL)
            os.waitpid(number, 0)
            return 98, f"did not end within {LIMIT} s"
        time.sleep(0.002)


def import_everything() -> None:
    """All that any command imports, without starting a thread (forks would lose them)."""
    for name in ("data.index", "data.curate", "data.pack", "data.screen", "data.split", "synth", "train", "probe"):
        importlib.import_module(f"petmood.{name}")
    for name in ("evaluate", "explain", "export", "report.render", "report.texts", "cli", "elsewhere"):
        importlib.import_module(f"petmood.{name}")
    from petmood.cli import COMMANDS

    for command in COMMANDS:
        importlib.import_module(f"petmood.cli.{command.replace('-', '_')}")


def compare(reference: Path, work: Path) -> tuple[Counter[str], list[str]]:
    """How many files are the same by bytes, by values, or left out; and what differs."""
    counts: Counter[str] = Counter()
    different = []
    wanted, found = (
        {str(path.relative_to(root)): path for path in root.rglob("*") if path.is_file()} for root in (reference, work)
    )
    for name in sorted(wanted.keys() | found.keys()):
        if "/tensorboard/" in name:  # named by the time and the process; a stopped training leaves one a start
            counts["left out"] += 1
        elif name not in found or name not in wanted:
            different.append(f"{name} is {'missing' if name in wanted else 'left over'}")
        elif name.endswith("/previous.ckpt"):  # a spare, taken by the clock: it must be whole, whatever its moment
            counts["left out" if is_whole(found[name]) else "broken"] += 1
        elif wanted[name].read_bytes() == found[name].read_bytes():
            counts["bytes"] += 1
        elif same_values(wanted[name], found[name]):
            counts["values"] += 1
        else:
            different.append(f"{name} has another content")
    different += ["runs/train/checkpoints/previous.ckpt is damaged"] * counts["broken"]
    return counts, different


def is_whole(checkpoint: Path) -> bool:
    """Whether a training could go on from a checkpoint."""
    from petmood.errors import UserError
    from petmood.train.checkpoints import read_checkpoint

    try:
        read_checkpoint(checkpoint)
    except UserError:
        return False
    return True


def same_values(first: Path, second: Path) -> bool:
    """Whether two files say the same, but for times and speeds."""
    if first.suffix == ".json":
        return without_times(json.loads(first.read_text())) == without_times(json.loads(second.read_text()))
    if first.suffix == ".parquet":
        import polars as pl

        return pl.read_parquet(first).equals(pl.read_parquet(second))
    if first.suffix == ".csv":
        import polars as pl

        tables = [pl.read_csv(path) for path in (first, second)]
        kept = [table.select(name for name in table.columns if not is_time(name)) for table in tables]
        return kept[0].equals(kept[1])
    if first.suffix == ".ckpt":
        return same_checkpoints(first, second)
    if first.suffix == ".onnx":
        return same_graphs(first, second)
    if first.suffix == ".html":  # the report tells how fast the evaluation was
        return without_digits(first.read_text()) == without_digits(second.read_text())
    return False


def is_time(name: str) -> bool:
    return name in {"speed", "taken", "when"} or any(word in name for word in ("second", "time", "wait"))


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if not is_time(key)}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def without_digits(text: str) -> str:
    """A page without its numbers: those are compared in metrics.json."""
    return "".join(letter for letter in text if not letter.isdigit())


def same_checkpoints(first: Path, second: Path) -> bool:
    import torch

    def same(one: object, other: object) -> bool:
        if isinstance(one, torch.Tensor):
            return isinstance(other, torch.Tensor) and torch.equal(one, other)
        if isinstance(one, dict):
            keys = {key for key in one if not is_time(str(key))}
            return isinstance(other, dict) and all(key in other and same(one[key], other[key]) for key in keys)
        if isinstance(one, list | tuple):
            return isinstance(other, list | tuple) and len(one) == len(other) and all(map(same, one, other))
        return bool(one == other) or (one != one and other != other)

    loaded = [torch.load(path, map_location="cpu", weights_only=True) for path in (first, second)]
    return all(
        same(loaded[0][key], loaded[1][key]) for key in ("state_dict", "optimizer_states", "epoch", "global_step")
    )


def same_graphs(first: Path, second: Path) -> bool:
    import onnx

    graphs = [onnx.load(path).graph for path in (first, second)]
    nodes = [[(node.op_type, [str(a) for a in node.attribute]) for node in graph.node] for graph in graphs]
    weights = [[(tuple(tensor.dims), tensor.raw_data) for tensor in graph.initializer] for graph in graphs]
    return nodes[0] == nodes[1] and weights[0] == weights[1]


if __name__ == "__main__":
    main()
