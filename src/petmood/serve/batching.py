"""Requests that come at the same time share a pass through the network: a queue before one worker thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class Batcher(Generic[_Item, _Answer]):
    """Gathers what is asked at the same time and answers it in batches, in one thread, in the order of asking."""

    def __init__(
        self,
        work: Callable[[Sequence[_Item]], Sequence[_Answer]],
        *,
        largest: int,
        wait: float,
        coming: Callable[[], int],
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Answer by ``work``.

        Args:
            work: answers for items, as many and in the same order; called in one thread at a time.
            largest: items of a batch.
            wait: seconds that a batch waits at most for items that are on their way.
            coming: how many items are on their way or in the queue; a batch that holds them all does not wait.
            told: is told the size of each batch.
        """
        self._work, self._largest, self._wait, self._coming, self._told = work, largest, wait, coming, told
        self._queue: asyncio.Queue[tuple[_Item, asyncio.Future[_Answer]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")

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
        loop = asyncio.get_running_loop()
        try:
            while True:
                batch = await self._gathered()
                if not batch:
                    continue
                self._told(len(batch))
                try:
                    answers = await loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
                    outcomes = [(waiting, answer, None) for (_, waiting), answer in zip(batch, answers, strict=True)]
                except Exception as error:  # noqa: BLE001 - whatever it was, those who asked must hear of it
                    for _, waiting in batch:
                        if not waiting.done():
                            waiting.set_exception(error)
                    continue
                for waiting, answer, _ in outcomes:
                    if not waiting.done():
                        waiting.set_result(answer)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _gathered(self) -> list[tuple[_Item, asyncio.Future[_Answer]]]:
        """The next batch, without those who no longer wait."""
        batch = [await self._queue.get()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._wait):
                while len(batch) < self._largest:
                    if self._queue.empty() and self._coming() <= len(batch):
                        break
                    batch.append(await self._queue.get())
        return [(item, waiting) for item, waiting in batch if not waiting.done()]
