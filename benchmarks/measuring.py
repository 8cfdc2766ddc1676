"""What the benchmarks share: measuring contestants in turn, each in a fresh process, and telling the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import psutil

WORK = Path(__file__).parent / ".work"


@dataclass(frozen=True)
class Measured:
    """One run of one contestant."""

    seconds: float
    """Of the work alone: the contestant measures itself after its imports."""
    result: object
    peak_mb: float
    """Largest resident memory of the contestant with all its processes, sampled every 20 ms."""


def run_once(script: str, contestant: str, arguments: Sequence[str], *, cpus: Sequence[int] | None = None) -> Measured:
    """Run ``script --one contestant …`` in a fresh process, held to ``cpus`` if given."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, script, "--one", contestant, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    if cpus is not None:
        psutil.Process(process.pid).cpu_affinity(list(cpus))
    peak = _Peak(process.pid)
    peak.start()
    out, problems = process.communicate()
    peak.finish()
    if process.returncode:
        raise SystemExit(f"{contestant} failed:\n{problems}")
    answer = json.loads(out.splitlines()[-1])
    return Measured(answer["seconds"], answer["result"], peak.megabytes)


def in_turn(
    script: str, contestants: Mapping[str, Sequence[str]], *, repeats: int, cpus: Sequence[int] | None = None
) -> dict[str, list[Measured]]:
    """Every contestant ``repeats`` times, in turn; one round before, which warms all of them, is not counted."""
    runs: dict[str, list[Measured]] = {name: [] for name in contestants}
    for number in range(repeats + 1):
        for name, arguments in contestants.items():
            measured = run_once(script, name, arguments, cpus=cpus)
            if number:
                runs[name].append(measured)
    return runs


def median_seconds(runs: Sequence[Measured]) -> float:
    """Median time of some runs."""
    return statistics.median(run.seconds for run in runs)


def peak_mb(runs: Sequence[Measured]) -> float:
    """Largest peak of some runs."""
    return max(run.peak_mb for run in runs)


def tell(seconds: float, result: object) -> None:
    """What a contestant prints at its end."""
    print(json.dumps({"seconds": seconds, "result": result}))


def timed(function: object, *arguments: object) -> tuple[float, object]:
    """Seconds and result of one call."""
    start = time.perf_counter()
    result = function(*arguments)  # type: ignore[operator]
    return time.perf_counter() - start, result


def machine() -> str:
    """One line about where and when this was measured."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    memory = psutil.virtual_memory().total / 2**30
    python = platform.python_version()
    return f"{model}, {psutil.cpu_count()} cores, {memory:.0f} GiB, Python {python}, {date.today().isoformat()}"


class _Peak(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.megabytes = 0.0

    def run(self) -> None:
        while not self._over.wait(0.02):
            try:
                family = [self._process, *self._process.children(recursive=True)]
                total = sum(member.memory_info().rss for member in family)
            except psutil.Error:
                continue
            self.megabytes = max(self.megabytes, total / 2**20)

    def finish(self) -> None:
        self._over.set()
        self.join()
