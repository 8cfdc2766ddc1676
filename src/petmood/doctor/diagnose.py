"""Every question in turn, of a work folder or of a run; a question that breaks is told and stops nothing."""

from __future__ import annotations

import contextlib
import difflib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from petmood.doctor.answers import check_beats_majority, check_one_class, check_permuted_classes
from petmood.doctor.bundles import (
    check_bundle,
    check_data_unchanged,
    check_run_input,
    check_same_input,
    check_same_scores,
)
from petmood.doctor.curves import check_diverged, check_never_learnt, check_overfit, check_still_learning
from petmood.doctor.data_checks import DATA_CHECKS
from petmood.doctor.exported import check_same_export
from petmood.doctor.inputs import check_augmentation, check_decoding, check_input_range
from petmood.doctor.learning import (
    check_gradients,
    check_learning_rate,
    check_loss_weights,
    check_one_batch,
    check_start_loss,
)
from petmood.doctor.machine import (
    check_disk,
    check_loader,
    check_memory,
    check_precision,
    check_projected_time,
)
from petmood.doctor.mixing import check_batch_mixing
from petmood.doctor.records import Check, Diagnosis
from petmood.doctor.run import Run, is_run
from petmood.doctor.work import Work, opened
from petmood.errors import PetmoodError, RunError, UserError
from petmood.recipes import TrainSettings
from petmood.recipes.doctor import DoctorSettings
from petmood.workspace import Workspace

Subject = TypeVar("Subject")
Question = tuple[str, Callable[[Subject], Check]]


def check_plan(work: Work) -> Check:
    """Whether a training with these settings could begin."""
    settings = work.settings
    if work.problem:
        raise work.problem
    return Check(
        name="plan",
        verdict="ok",
        evidence=f"{settings.model} ({settings.method}, --freeze {settings.freeze}) could begin on "
        f"{len(work.loop.train):,} pictures of {len(set(work.loop.train.clips)):,} clips",
        numbers={"pictures": len(work.loop.train), "validation": len(work.loop.val)},
    )


#: Of the training that is meant.
WORK_CHECKS: Sequence[Question[Work]] = (
    ("plan", check_plan),
    ("input-range", check_input_range),
    ("augmentation", check_augmentation),
    ("decoding", check_decoding),
    ("batch-mixing", check_batch_mixing),
    ("loss-weights", check_loss_weights),
    ("one-batch", check_one_batch),
    ("start-loss", check_start_loss),
    ("gradients", check_gradients),
    ("loader", check_loader),
    ("projected-time", check_projected_time),
    ("learning-rate", check_learning_rate),
    ("precision", check_precision),
    ("disk", check_disk),
    ("memory", check_memory),
)
#: Of a run, with or without its work folder.
RUN_CHECKS: Sequence[Question[Run]] = (
    ("bundle", check_bundle),
    ("input-range", check_run_input),
    ("same-input", check_same_input),
    ("same-scores", check_same_scores),
    ("same-export", check_same_export),
    ("data-unchanged", check_data_unchanged),
    ("beats-majority", check_beats_majority),
    ("permuted-classes", check_permuted_classes),
    ("one-class", check_one_class),
    ("never-learnt", check_never_learnt),
    ("diverged", check_diverged),
    ("overfit", check_overfit),
    ("still-learning", check_still_learning),
)
#: Questions about the data that a run's scores depend on.
_DATA_OF_A_RUN = frozenset({"leakage"})
#: What takes seconds, whatever the size of the data.
BRIEF = frozenset(
    {"leakage", "labels", "sides", "plan", "input-range", "augmentation", "batch-mixing", "loss-weights", "start-loss"}
    | {"gradients", "precision", "disk", "memory", "bundle", "beats-majority", "data-unchanged", "never-learnt"}
    | {"diverged", "overfit", "still-learning"}
)
#: Questions of training by steps, which a probe does not make.
_BY_STEPS = frozenset(
    {"augmentation", "batch-mixing", "one-batch", "start-loss", "gradients", "loader", "projected-time"}
    | {"learning-rate", "precision", "loss-weights", "disk"}
)


class _Asked(NamedTuple):
    """How questions are asked."""

    settings: DoctorSettings
    quiet: bool

    def wants(self, name: str) -> bool:
        """Whether that one is to be asked."""
        return (name in self.settings.names) if self.settings.names else (not self.settings.brief or name in BRIEF)


def check_names() -> list[str]:
    """Names of all checks, in the order in which they are made."""
    every = [name for questions in (DATA_CHECKS, WORK_CHECKS, RUN_CHECKS) for name, _ in questions]
    return list(dict.fromkeys(every))


def diagnose(
    path: Path,
    settings: DoctorSettings = DoctorSettings(),  # noqa: B008 - frozen
    training: TrainSettings = TrainSettings(),  # noqa: B008 - frozen
    *,
    quiet: bool = False,
) -> Diagnosis:
    """What would make a training in a work folder fail or lie, or what is wrong with a run.

    Nothing is written. A check that cannot be made because of an earlier one is skipped; one that breaks says how.

    Args:
        path: a work folder or the folder of a run.
        settings: which checks.
        training: that is meant, of a work folder; a run has its own settings.
        quiet: do not say on standard error which check is running.

    Raises:
        UserError: the folder is neither of both, or a check is asked for that does not exist.
    """
    started = time.monotonic()
    _check_asked(settings)
    asked = _Asked(settings, quiet)
    if (path / "petmood.json").is_file():
        found = list(_of_work(Workspace.open(path), training, asked))
    elif is_run(path):
        found = list(_of_run(Run(folder=path.absolute(), brief=settings.brief), asked))
    else:
        raise UserError(
            f"folder {path} is neither a work folder (petmood.json is missing) nor a run (config.yaml is missing).",
            hint="give WORK as `petmood prepare` made it, or WORK/runs/NAME as `petmood train` did",
        )
    if not found:
        kind = "a work folder" if (path / "petmood.json").is_file() else "a run"
        raise UserError(f"none of the checks asked for is one of {kind}: {settings.only}.")
    return Diagnosis(subject=str(path), checks=tuple(found), seconds=time.monotonic() - started)


def _check_asked(settings: DoctorSettings) -> None:
    known = check_names()
    for name in sorted(settings.names - set(known)):
        close = difflib.get_close_matches(name, known, n=2)
        meant = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}."
        raise UserError(f"check {name!r} does not exist; {meant}")


def _of_work(workspace: Workspace, training: TrainSettings, asked: _Asked) -> Iterator[Check]:
    for check in DATA_CHECKS:
        if asked.wants(check[0]):
            yield answer(check, workspace, quiet=asked.quiet)
    wanted = [question for question in WORK_CHECKS if asked.wants(question[0])]
    if not wanted:
        return
    with contextlib.ExitStack() as stack:
        try:
            with _told("plan", quiet=asked.quiet):
                work = stack.enter_context(opened(workspace, training, brief=asked.settings.brief))
        except PetmoodError as error:
            yield _refused("plan", error)
            why = "a training with these settings cannot be planned"
            yield from (_skipped(name, why) for name, _ in wanted if name != "plan")
            return
        for question in wanted:
            if training.method == "probe" and question[0] in _BY_STEPS:
                yield _skipped(question[0], "a probe makes no steps: it fits the classifier at once")
            else:
                yield answer(question, work, quiet=asked.quiet)


def _of_run(run: Run, asked: _Asked) -> Iterator[Check]:
    for question in RUN_CHECKS:
        if asked.wants(question[0]):
            # What a run lacks is told once, by the first question.
            yield answer(question, run, quiet=asked.quiet, lacking="fail" if question[0] == "bundle" else "skipped")
    try:
        workspace = run.workspace
    except UserError:
        return
    for check in DATA_CHECKS:
        if check[0] in _DATA_OF_A_RUN and asked.wants(check[0]):
            yield answer(check, workspace, quiet=asked.quiet)


def answer(question: Question[Subject], subject: Subject, *, quiet: bool = True, lacking: str = "fail") -> Check:
    """What a check finds; whatever happens in it becomes an answer.

    Args:
        question: name and function.
        subject: that is asked about.
        quiet: do not say on standard error that it is running.
        lacking: verdict if what it needs is missing or unusable (``UserError``).
    """
    name, function = question
    with _told(name, quiet=quiet):
        try:
            return function(subject)
        except UserError as error:
            return _skipped(name, error.message) if lacking == "skipped" else _refused(name, error)
        except RunError as error:
            return _refused(name, error)
        except Exception as error:  # noqa: BLE001 - a check that breaks must not hide what the others find
            text = " ".join(str(error).split())[:300]
            return Check(
                name=name,
                verdict="warn",
                evidence=f"the check itself broke: {type(error).__name__}: {text}",
                remedy="look whether its data are damaged; if not, this is a mistake in petmood: report it",
            )


def _refused(name: str, error: PetmoodError) -> Check:
    return Check(name=name, verdict="fail", evidence=error.message, remedy=error.hint)


def _skipped(name: str, why: str) -> Check:
    return Check(name=name, verdict="skipped", evidence=why)


@contextlib.contextmanager
def _told(name: str, *, quiet: bool) -> Iterator[None]:
    """A block during which standard error says which check is running, if it is a terminal."""
    shown = not quiet and sys.stderr.isatty()
    if shown:
        print(f"checking {name} …", end="", file=sys.stderr, flush=True)  # noqa: T201
    try:
        yield
    finally:
        if shown:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)  # noqa: T201
