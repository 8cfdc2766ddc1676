"""How much is let in at once: by number, and by the memory that uploads and their pixels may fill."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from petmood.serve.refusals import RefusalError


class Gate:
    """Counts what is inside; whoever would be too much is sent away at once instead of waiting without end."""

    def __init__(self, *, requests: int, memory: int) -> None:
        """Let in ``requests`` at a time that together need ``memory`` bytes at most."""
        self._requests, self._memory = requests, memory
        self._lock = threading.Lock()
        self.inside = 0
        """Requests that are worked on or wait."""
        self.held = 0
        """Bytes that they said they need."""

    @contextmanager
    def enter(self, size: int) -> Iterator[Held]:
        """Let one request in, with so many bytes; they are given back when the block ends.

        Raises:
            RefusalError: ``busy``.
        """
        with self._lock:
            if self.inside >= self._requests:
                raise RefusalError("busy")
            self._take(size)
            self.inside += 1
        held = Held(self, size)
        try:
            yield held
        finally:
            with self._lock:
                self.inside -= 1
                self.held -= held.size

    def _take(self, size: int) -> None:
        # One request alone is always let in: limits of its own keep it small enough.
        if self.held and self.held + size > self._memory:
            raise RefusalError("busy")
        self.held += size


class Held:
    """The memory of one request; may be asked from any thread."""

    def __init__(self, gate: Gate, size: int) -> None:
        self._gate = gate
        self.size = size

    def more(self, size: int) -> None:
        """Take so many bytes in addition.

        Raises:
            RefusalError: ``busy``.
        """
        with self._gate._lock:
            others = self._gate.held - self.size
            if others and self._gate.held + size > self._gate._memory:
                raise RefusalError("busy")
            self._gate.held += size
            self.size += size
