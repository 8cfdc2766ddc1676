"""A work folder as the checks see it: the training that is meant, planned but not begun."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import torch

from petmood.crops import CropStore
from petmood.doctor.trial import Trial, tried
from petmood.errors import UserError
from petmood.loading import CropBatches, Samples
from petmood.recipes import TrainSettings
from petmood.sampling import Numbers
from petmood.train.loop import Loop
from petmood.train.trial import planned
from petmood.workspace import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """A work folder with the training that is meant."""

    workspace: Workspace
    settings: TrainSettings
    """As they were asked for."""
    brief: bool
    loop: Loop
    """The training in this process alone, at a constant learning rate; never changed by a check."""
    problem: UserError | None = None
    """Why the training cannot have its first weights; ``loop`` then starts from random ones."""

    @functools.cached_property
    def trial(self) -> Trial:
        """A few steps of the training, made when it is first asked for.

        Raises:
            RunError: the loss was no finite number, or the memory ran out.
        """
        return tried(self.loop, brief=self.brief)


@contextlib.contextmanager
def opened(workspace: Workspace, settings: TrainSettings, *, brief: bool) -> Iterator[Work]:
    """A work folder with a planned training; nothing is written into it.

    Weights that cannot be had are noted in ``problem``: most questions do not depend on them.

    Raises:
        UserError: data or settings are unusable.
    """
    # What a probe is shown is what a fine-tuning would be, too. Compiling takes minutes and changes no answer.
    asked = dataclasses.replace(settings, method="fine-tune", compile=False)
    problem = None
    with contextlib.ExitStack() as stack:
        try:
            loop = stack.enter_context(planned(workspace, asked))
        except UserError as error:
            if settings.init or settings.pretrained == "none":
                raise
            # Raises again if it is not the weights.
            loop = stack.enter_context(planned(workspace, dataclasses.replace(asked, pretrained="none")))
            problem = error
        yield Work(workspace=workspace, settings=settings, brief=brief, loop=loop, problem=problem)


def some_rows(samples: Samples, count: int, *, seed: int = 0) -> Numbers:
    """Up to ``count`` rows, one of a clip, the classes in turn: no class is left out while another has several."""
    order = np.random.default_rng(seed).permutation(len(samples))
    clips = np.array(samples.clips)
    rows = order[np.sort(np.unique(clips[order], return_index=True)[1])]
    # The n-th row of its class comes in the n-th turn.
    turns = np.zeros(len(rows), np.int64)
    for label in np.unique(samples.labels[rows]):
        members = samples.labels[rows] == label
        turns[members] = np.arange(members.sum())
    return rows[np.argsort(turns, kind="stable")][:count]


def squares(loop: Loop, samples: Samples, rows: Numbers) -> torch.Tensor:
    """Those pictures as the loader gives them without changes: uint8, N × 3 × size × size."""
    store = CropStore(samples.store.folder, samples.store.table[rows.tolist()])
    batches = CropBatches(store, loop.preprocessing, batch_size=len(rows), threads=loop.settings.threads)
    return next(iter(batches)).pixels
