"""Requests that come at the same time share a pass through the network: a queue before a few worker threads."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")
#: What was asked, and where its answer is awaited.
_Asked = tuple[_Item, asyncio.Future[_Answer]]


class Batcher(Generic[_Item, _Answer]):
    """Gathers what is asked at the same time and answers it in batches, in the order of asking.

    One worker suits a model that spreads a batch over a device or all cores; it waits a little for a larger batch.
    Several suit one that computes in one thread each: they share what there is evenly and never wait.
    """

    def __init__(
        self,
        work: Callable[[Sequence[_Item]], Sequence[_Answer]],
        *,
        largest: int,
        wait: float,
        coming: Callable[[], int],
        workers: int = 1,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Answer by ``work``.

        Args:
            work: answers for items, as many and in the same order; called in ``workers`` threads at a time.
            largest: items of a batch.
            wait: seconds that a single worker waits at most for items that are on their way.
            coming: how many items are on their way or in the queue; a batch that holds them all does not wait.
            workers: batches at the same time.
            told: is told the size of each batch.
        """
        self._work, self._largest, self._wait, self._coming, self._told = work, largest, wait, coming, told
        self._queue: asyncio.Queue[_Asked[_Item, _Answer]] = asyncio.Queue()
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="network")

    async def ask(self, item: _Item) -> _Answer:
        """The answer for one item; whoever stops waiting is left out of later batches.

        Raises:
            Exception: what ``work`` raised for the batch that the item was in.
        """
        answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((item, answer))
        return await answer

    async def run(self) -> None:
        """Answer until cancelled."""
        try:
            await asyncio.gather(*(self._worker() for _ in range(self._workers)))
        finally:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _worker(self) -> None:
        while True:
            gathered = await (self._gathered() if self._workers == 1 else self._share())
            # Without those who no longer wait.
            batch = [(item, waiting) for item, waiting in gathered if not waiting.done()]
            if batch:
                self._told(len(batch))
                await self._answer(batch)

    async def _answer(self, batch: Sequence[_Asked[_Item, _Answer]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._threads, self._work, [item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - whatever it was, those who asked must hear of it
            for _, waiting in batch:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        for (_, waiting), answer in zip(batch, answers, strict=True):
            if not waiting.done():
                waiting.set_result(answer)

    async def _share(self) -> list[_Asked[_Item, _Answer]]:
        """This worker's share of what is in the queue."""
        batch = [await self._queue.get()]
        share = min(self._largest, math.ceil((1 + self._queue.qsize()) / self._workers))
        while len(batch) < share and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    async def _gathered(self) -> list[_Asked[_Item, _Answer]]:
        """All that is in the queue, and what comes within the time."""
        batch = [await self._queue.get()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait):
                while len(batch) < self._largest:
                    if self._queue.empty() and self._coming() <= len(batch):
                        break
                    batch.append(await self._queue.get())
        return batch
