"""Ctrl-C and SIGTERM (a cluster's or a container's way to stop): the step is finished and saved first."""

from __future__ import annotations

import signal
import sys
import threading
import time
import types

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

#: A launcher may repeat to its processes what the terminal has sent to them already.
_ECHO_SECONDS = 2.0


class Stopped(BaseException):
    """Training was asked to stop by a signal, and a checkpoint was written if the step allowed one."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number


class StopSignals(Callback):
    """Notes SIGINT and SIGTERM while steps are made; whoever saves asks for them between two steps.

    Lightning's own handlers, which it sets when a fit begins and takes back when it ends, would break a step off in the
    middle, or let the processes of a training wait for each other forever.
    """

    def __init__(self) -> None:
        self.asked = 0
        """Number of the signal that came."""
        self._since = 0.0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen, in the main thread, which alone may."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._note)

    def _note(self, number: int, _: types.FrameType | None) -> None:
        now = time.monotonic()
        if self.asked and number == signal.SIGINT and now - self._since > _ECHO_SECONDS:
            raise KeyboardInterrupt
        if not self.asked:
            self._since = now
            if rank_zero_only.rank == 0:
                again = "; press Ctrl-C again to stop at once" if number == signal.SIGINT else ""
                print(f"stopping after this step{again}", file=sys.stderr, flush=True)  # noqa: T201
        self.asked = number

    def agreed(self, *, due: bool) -> int | None:
        """What all processes do next, told to each of them: they must call this together.

        Args:
            due: whether it is time for a checkpoint in this process.

        Returns:
            None to go on, 0 to save only, else the number of the signal that came to any of them.
        """
        wish = self.asked if self.asked else 0 if due else -1
        if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
            backend = torch.distributed.get_backend()
            shared = torch.tensor(wish, device="cuda" if backend == "nccl" else "cpu")
            torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
            wish = int(shared)
        return None if wish < 0 else wish

    def obey(self, number: int) -> None:
        """End the training if a signal asked for it.

        Raises:
            Stopped: ``number`` is that of a signal.
        """
        if number:
            raise Stopped(number)
