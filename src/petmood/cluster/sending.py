"""Tasks to a scheduler, and their results in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import pickle
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from petmood.cluster.asking import ALIKE, Errand, Needs, Parcel, Sign, distributed, look, signed, versions
from petmood.errors import RunError, UserError
from petmood.parallel import elsewhere
from petmood.workspace import replacing

if TYPE_CHECKING:
    from distributed import Client, Future

T = TypeVar("T")
R = TypeVar("R")

#: Seconds for the scheduler to answer, and between two looks at whether anybody is still there.
_CONNECT, _LOOK = 10.0, 2.0
#: Seconds after which a result that does not arrive is asked for again, at first.
_FETCH = 10.0
#: Tasks that are sent ahead, as a multiple of the workers' threads: a slow one shall not leave the others idle.
_AHEAD = 4

_INSTALL = "install the same petmood on all workers"
_AGAIN = "look why it ended and start it again; then the same command goes on where it stopped"


@contextlib.contextmanager
def on_cluster(
    address: str,
    *,
    work: Path | None = None,
    sees: Sequence[str] = (),
    bring: bool = False,
    patience: float = 60,
) -> Iterator[None]:
    """A block in which `parallel.run_tasks` sends its tasks to a Dask cluster.

    Args:
        address: of the scheduler, such as ``tcp://host:8786``.
        work: the work folder, which every worker must share; None if the tasks need none.
        sees: further files and folders, or remote folders, that every worker must see as this machine does.
        bring: the workers share no work folder: what a task writes (its ``outputs``) comes back with its result.
        patience: seconds to wait for the first worker, and for another one when all are gone.

    Raises:
        UserError: no scheduler answers, there is no worker, or one has other versions or does not see what it must.
        RunError: within the block, when the scheduler is gone, or a task's workers died again and again.
    """
    distributed()  # its own logs are set up when it is imported
    with _quiet_logs():
        client = _client(address, min(patience, _CONNECT))
        try:
            _wait_for_workers(client, address, patience)
            needs = Needs(versions(), tuple((place, look(place)) for place in sees))
            with contextlib.nullcontext() if work is None or bring else signed(work) as sign:
                _check_workers(client, needs, sign)
            cluster = _Cluster(client, address, needs, bring=bring, patience=patience)
            with elsewhere(cluster.results):
                yield
        finally:
            client.close(timeout=_CONNECT)


class _Cluster:
    """A scheduler that answers, and what its workers must have."""

    def __init__(self, client: Client, address: str, needs: Needs, *, bring: bool, patience: float) -> None:
        self._client = client
        self._address = address
        self._needs = needs
        self._bring = bring
        self._patience = patience
        self._asked = 0.0
        self._threads = 1

    def results(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """Results in the order of the tasks, as `parallel.run_tasks` promises."""
        errand = Errand(function, self._needs, self._bring)
        run, sent = uuid.uuid4().hex, 0
        waiting: deque[tuple[Future[Any], str]] = deque()
        try:
            while sent < len(tasks) or waiting:
                while sent < len(tasks) and len(waiting) < _AHEAD * self._width() + 2:
                    task, key = tasks[sent], f"{getattr(function, '__name__', 'task')}-{sent}-{run}"
                    name = getattr(task, "name", f"task {sent + 1:,} of {len(tasks):,}")
                    parcel = pickle.dumps(Parcel(errand, pickle.dumps(task)))
                    waiting.append((self._client.submit(pickle.loads, parcel, key=key, pure=False), name))
                    sent += 1
                yield self._result(*waiting.popleft())
        finally:
            with contextlib.suppress(Exception):  # the scheduler may be gone
                self._client.cancel([future for future, _ in waiting], force=True)

    def _width(self) -> int:
        """Threads of all workers, looked up every few seconds: workers come and go."""
        if time.monotonic() - self._asked > 2 * _LOOK:
            self._threads = max(1, sum(_threads(self._client).values()))
            self._asked = time.monotonic()
        return self._threads

    def _result(self, future: Future[tuple[R, list[tuple[Path, bytes]]]], name: str) -> R:
        """The result of one task, when it is there; what it wrote is in its place then.

        Raises:
            RunError: it cannot be had.
            Exception: the task's own.
        """
        seconds = _FETCH
        while True:
            self._wait(future, name)
            try:
                result, files = future.result(timeout=seconds)
                break
            except TimeoutError:  # the worker that had it may be gone (then others do it again), or the way is slow
                seconds *= 2
            except CancelledError:
                raise self._lost() from None
        for path, content in files:
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        return result

    def _wait(self, future: Future[Any], name: str) -> None:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        deserted = time.monotonic()
        while future.status in {"pending", "lost"}:  # lost is what a dead worker had; it is done again
            done.wait(_LOOK)
            done.clear()
            if future.status not in {"pending", "lost"} or _threads(self._client):
                deserted = time.monotonic()
            elif self._client.status != "running":
                raise self._lost()
            elif time.monotonic() - deserted > self._patience:
                raise RunError(f"the cluster at {self._address} has no worker left.", hint=_AGAIN)
        if future.status == "cancelled":
            raise self._lost()
        if future.status == "error":
            raise self._told(future.exception(), name)

    def _lost(self) -> RunError:
        return RunError(f"the connection to the scheduler at {self._address} is lost.", hint=_AGAIN)

    def _told(self, error: BaseException, name: str) -> BaseException:
        """What ended a task, for people where it is not the task's own."""
        if type(error).__name__ == "KilledWorker":
            return RunError(
                f"{name} ended each worker that tried it; this mostly means that their memory ran out.",
                hint="give the workers more memory (their logs say how they ended); the same command goes on then",
            )
        if isinstance(error, ModuleNotFoundError):
            return RunError(f"a worker that came later cannot import {error.name}.", hint=_INSTALL)
        return error


def _client(address: str, timeout: float) -> Client:
    hint = "start one with `dask scheduler`, and give the address that it tells: --cluster tcp://HOST:8786"
    try:
        # Asked first, because a Client knocks for ever at a door behind which something else answers.
        kind = asyncio.run(_kind(address, timeout))
    except (OSError, TimeoutError, ValueError, ImportError, TypeError) as error:
        problem = (str(error) or f"nothing within {timeout:g} s").splitlines()[0]
        raise UserError(f"no Dask scheduler answers at {address}: {problem.rstrip('.')}.", hint=hint) from None
    if kind != "Scheduler":
        raise UserError(f"at {address} answers a {kind} of Dask, and no scheduler.", hint=hint)
    client: Client = distributed().Client(address, timeout=timeout, set_as_default=False)
    return client


async def _kind(address: str, timeout: float) -> str:
    """What answers at an address: ``Scheduler``, or another part of Dask."""
    async with asyncio.timeout(timeout), distributed().rpc(address) as there:
        found = await there.identity()
    return str(found["type"])


def _threads(client: Client) -> dict[str, int]:
    """Threads of each worker; none if the scheduler does not answer."""
    try:
        found: dict[str, int] = client.nthreads()
    except (OSError, TimeoutError, RuntimeError):
        return {}
    return found


def _wait_for_workers(client: Client, address: str, patience: float) -> None:
    try:
        client.wait_for_workers(1, timeout=patience)
    except TimeoutError:
        raise UserError(
            f"the scheduler at {address} has no worker, after {patience:g} s of waiting.",
            hint=f"start some with `dask worker {address} --nworkers auto --nthreads 1`",
        ) from None


def _check_workers(client: Client, needs: Needs, sign: Sign | None) -> None:
    """Ask every worker whether it can do the work.

    Raises:
        UserError: one cannot.
    """
    answers: dict[str, Any] = client.run(needs.lacking, sign, on_error="return")
    for worker, answer in sorted(answers.items()):
        if "ModuleNotFoundError" in repr(answer):  # the question's own module: all that it names is petmood's
            raise UserError(f"worker {worker} cannot import petmood.", hint=_INSTALL)
        if isinstance(answer, BaseException):
            raise UserError(f"worker {worker} cannot be asked: {type(answer).__name__}: {answer}.", hint=ALIKE)
        if answer:
            raise UserError(f"worker {worker} {answer}.", hint=ALIKE)


@contextlib.contextmanager
def _quiet_logs() -> Iterator[None]:
    """A block in which Dask does not tell on standard error, with tracebacks, what we tell in a sentence."""
    known = [name for name in logging.root.manager.loggerDict if name.startswith(("distributed", "tornado"))]
    loggers = [logging.getLogger(name) for name in known]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
