"""All cores for many small tasks, with progress; the one place that starts processes.

Within `elsewhere` (see `cluster.on_cluster`) the tasks of `run_tasks` are done on other machines.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from petmood.errors import RunError

T = TypeVar("T")
R = TypeVar("R")

#: Gives the results of a function over tasks, in the order of the tasks.
Runner = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]

_runner: ContextVar[Runner | None] = ContextVar("runner", default=None)


def cores(jobs: int = 0) -> int:
    """Number of processes to use: ``jobs`` if positive, else the cores that this process may use."""
    return jobs if jobs > 0 else int(joblib.cpu_count())


def run_tasks(function: Callable[[T], R], tasks: Sequence[T], *, jobs: int = 0) -> Iterator[R]:
    """Results of ``function`` over ``tasks``, in the order of the tasks, each as soon as it and those before are ready.

    Args:
        function: importable by name (it runs in other processes when more than one is used).
        tasks: picklable arguments; large enough (tens of milliseconds) that sending them does not matter.
        jobs: processes of this machine; 0 means all cores, 1 means this process alone. A cluster does not ask for it.

    Raises:
        RunError: a process was killed, as the operating system does when memory runs out.
    """
    runner = _runner.get()
    if runner is not None:
        yield from runner(function, tasks)
        return
    count = min(cores(jobs), len(tasks))
    if count <= 1:
        yield from map(function, tasks)
        return
    pool = joblib.Parallel(n_jobs=count, backend="loky", return_as="generator", pre_dispatch="3*n_jobs", batch_size=1)
    try:
        with _deaf_to_ctrl_c():
            results = pool(joblib.delayed(function)(task) for task in tasks)
        yield from results
    except TerminatedWorkerError:
        raise RunError(
            f"a worker process was killed, one of {count}; this mostly means that the memory ran out.",
            hint="run the same command with fewer processes (--jobs 1); it goes on where it stopped",
        ) from None


@contextmanager
def elsewhere(runner: Runner) -> Iterator[None]:
    """A block in which the tasks of `run_tasks` are given to ``runner``."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def is_elsewhere() -> bool:
    """Whether tasks are done on other machines now."""
    return _runner.get() is not None


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Processes started in this block never hear Ctrl-C, which a terminal sends to all of them.

    Only this process has something to say then, and it ends the others. What is ignored stays so in a new program,
    whereas a blocked signal is let through again by multiprocessing.
    """
    if threading.current_thread() is not threading.main_thread():  # only that one may change what a signal does
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} {self.unit}/s" if speed else "", style="progress.data.speed")


@contextmanager
def progress(title: str, total: int, unit: str, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on standard error with rate and time left; yields the function to call with the amount just done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f}"),
        _Rate(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


def followed(results: Iterable[R], advance: Callable[[int], None], size: Callable[[R], int]) -> Iterator[R]:
    """The same results, telling the progress bar the size of each as it passes."""
    for result in results:
        advance(size(result))
        yield result
