"""The record of a search on disk: Optuna's journal, which any kill leaves usable, and who may write to it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from petmood.errors import UserError

if sys.platform != "win32":
    import fcntl

JOURNAL = "journal.log"

#: Attributes of a trial: why it failed (a failed one without it was killed), and which killed trial it repeats.
PROBLEM, REPEATS = "problem", "repeats"

EndState = Literal["finished", "given up", "failed", "killed"]

_NAME = "petmood"
_MADE_FROM = "made_from"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial."""

    number: int
    state: EndState
    score: float | None
    """Macro-F1 of clips on the validation side in the epoch whose weights were kept; None unless it finished."""
    epochs: int
    """Epochs done."""
    values: Mapping[str, float]
    """The settings that were searched."""
    problem: str = ""
    """Why it failed."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A block in which no other process searches in ``folder``; the system lets go of it however the process ends.

    Raises:
        UserError: another process does.
    """
    with (folder / "lock").open("w", encoding="utf-8") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                hint = "wait for it, or give another --name"
                raise UserError(f"another `petmood tune` is at work in {folder}.", hint=hint) from None
        yield


def open_study(folder: Path, made_from: Mapping[str, Any], *, epochs: int, prune: bool) -> optuna.Study:
    """The search that ``folder`` holds, or a new one; trials that were killed wait to be run again.

    Args:
        folder: of the search; this process is alone in it.
        made_from: plain values that must be the same for all trials of a search.
        epochs: of a trial.
        prune: whether trials may be given up.

    Raises:
        UserError: the search was begun with other values, or its journal is damaged.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder / JOURNAL
    _mend(journal)
    try:
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(journal))),
            study_name=_NAME,
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(epochs, prune=prune),
        )
        _check_same(study, made_from, folder)
        _queue_killed(study)
    except (ValueError, KeyError, TypeError) as error:  # what Optuna raises while it reads lines that it did not write
        raise UserError(f"{journal} is damaged: {error}.", hint="delete its folder, or give another --name") from None
    return study


def sampler_for(seed: int, number: int) -> TPESampler:
    """The sampler of one trial, whose draws follow from seed and number: a search that was stopped does not repeat."""
    state = np.random.SeedSequence((seed, number)).generate_state(1)
    return TPESampler(seed=int(state[0]))


def rows(study: optuna.Study) -> list[TrialRow]:
    """All trials that have ended, in order."""
    return [_row(trial) for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]


def _row(trial: FrozenTrial) -> TrialRow:
    return TrialRow(
        number=trial.number,
        state=_state(trial),
        score=trial.value if trial.state == TrialState.COMPLETE else None,
        epochs=len(trial.intermediate_values),
        values=dict(trial.params),
        problem=str(trial.user_attrs.get(PROBLEM, "")),
    )


def _state(trial: FrozenTrial) -> EndState:
    if trial.state == TrialState.COMPLETE:
        return "finished"
    if trial.state == TrialState.PRUNED:
        return "given up"
    return "failed" if PROBLEM in trial.user_attrs else "killed"


def _pruner(epochs: int, *, prune: bool) -> BasePruner:
    if not prune:
        return NopPruner()
    return MedianPruner(n_startup_trials=5, n_warmup_steps=max(1, epochs // 3))


def _mend(journal: Path) -> None:
    """Cut off a last line that was not finished, which a full disk or a kill leaves: what follows it would be lost."""
    content = journal.read_bytes() if journal.is_file() else b""
    if content and not content.endswith(b"\n"):
        with journal.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _check_same(study: optuna.Study, made_from: Mapping[str, Any], folder: Path) -> None:
    """Note what a new search is made from; refuse to go on with one that was made from something else."""
    before = study.user_attrs.get(_MADE_FROM)
    if before is None:
        study.set_user_attr(_MADE_FROM, dict(made_from))
        return
    changed = [
        f"{name.replace('_', '-')} {made_from.get(name)!r} (then {before.get(name)!r})"
        for name in {**before, **made_from}
        if before.get(name) != made_from.get(name)
    ]
    if changed:
        raise UserError(
            f"search {folder} was begun otherwise: {', '.join(changed)}; its trials would not be comparable.",
            hint="give another --name, or the same settings and data as then",
        )


def _queue_killed(study: optuna.Study) -> None:
    """Let trials that were under way when their process ended run again: each once, whenever this itself is killed."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    repeated = {trial.user_attrs.get(REPEATS) for trial in trials}
    for trial in trials:
        if trial.state == TrialState.FAIL and _state(trial) == "killed" and trial.number not in repeated:
            study.enqueue_trial(dict(trial.params), user_attrs={REPEATS: trial.number})
