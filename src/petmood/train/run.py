"""One training, from a workspace to a run folder.

runs/NAME/  config.yaml · metrics.csv (one row an epoch) · tensorboard/ · checkpoints/{best,last,previous}.ckpt ·
bundle.json · model.safetensors
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from petmood.bundle import INFO_FILE, save_bundle
from petmood.errors import RunError, UserError
from petmood.recipes import TrainSettings
from petmood.runfolder import read_config, resolve_init, run_folder, write_config
from petmood.settings import to_plain
from petmood.train.bottleneck import bottleneck_of
from petmood.train.checkpoints import BEST, FOLDER, read_checkpoint, resume_point
from petmood.train.epochs import DIRECTION, read_metrics
from petmood.train.plan import Plan, plan_training
from petmood.train.processes import is_first
from petmood.workspace import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSummary:
    """What a training came to."""

    run: Path
    epochs: int
    """Epochs done, over all parts of a resumed training."""
    best_epoch: int
    """The epoch whose weights are the model, from 1."""
    scores: Mapping[str, float]
    """Validation scores of that epoch: val_loss (lower is better), val_accuracy of frames, val_clip_macro_f1."""
    seconds: float
    """Of this call."""
    notes: tuple[str, ...]
    """What the user should know about the data or the settings."""
    bottleneck: str = ""
    """Whether the loader or the network held the training up, and what to change; empty if nothing was measured."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary for people."""
        scores = " · ".join(f"{name.removeprefix('val_')} {self.scores[name]:.3f}" for name in DIRECTION)
        return (
            *(f"note: {note}" for note in self.notes),
            f"{self.epochs} epochs in {self.seconds:,.0f} s; best is epoch {self.best_epoch} on validation: {scores}",
            *([self.bottleneck] if self.bottleneck else []),
            f"model: {self.run}",
        )


def train(
    workspace: Workspace,
    name: str,
    settings: TrainSettings,
    *,
    recipe: str = "",
    resume: bool = False,
    quiet: bool = False,
    folder: Path | None = None,
    after_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> TrainSummary:
    """Train a network on the chosen crops of a workspace; the result is ``runs/NAME``.

    Args:
        workspace: with all data stages completed.
        name: of the run.
        settings: see ``TrainSettings``; with ``resume`` those of the run's config.yaml are taken instead.
        recipe: name of the recipe that the settings came from, for the record.
        resume: go on with a run that was stopped, from its newest whole checkpoint.
        quiet: no progress bar.
        folder: where the run's folder is made; the workspace's runs if left out.
        after_epoch: told the epoch (from 1) and its validation scores; an exception ends training and passes through.

    Raises:
        UserError: the run exists already (or, with ``resume``, does not), or data, settings or weights are unusable.
        RunError: a loss or a weight became infinite or not a number, or the disk refused something.
        KeyboardInterrupt: stopped by Ctrl-C; there is a checkpoint, and how to go on is said on standard error.
        SystemExit: stopped by SIGTERM (code 143), likewise. Of several processes all but the first end so (code 0).
    """
    run = run_folder(folder or workspace.runs, name, resume=resume, shared=not is_first())
    if resume:
        settings, recipe = read_config(run)
    else:
        settings = resolve_init(settings)
    started = time.monotonic()
    point = resume_point(run) if resume else None
    if resume and point is None:
        _refuse_finished(run)
    checkpoint = point.path if point else None
    plan = plan_training(workspace, run, settings, recipe=recipe, checkpoint=checkpoint, after_epoch=after_epoch)
    if point:
        point.check_fits(plan.loop.module)
    if is_first():
        _begin(plan, quiet=quiet)
    with _stopped_cleanly(plan, go_on="" if folder else f"petmood train {workspace.root} --name {name} --resume"):
        plan.loop.fit(checkpoint, quiet=quiet or not is_first())
        if not is_first():
            raise SystemExit(0)
        best_epoch, scores = _save_best(plan)
    rows = read_metrics(run / "metrics.csv")
    return TrainSummary(
        run=run,
        epochs=len(rows),
        best_epoch=best_epoch,
        scores=scores,
        seconds=time.monotonic() - started,
        notes=plan.notes,
        bottleneck=bottleneck_of(rows, settings, plan.loop.device),
    )


def _refuse_finished(run: Path) -> None:
    """Never begin a run again that has a model and no checkpoint: that would throw the model away.

    Raises:
        UserError: it is one.
    """
    if (run / INFO_FILE).is_file():
        raise UserError(
            f"run {run.name!r} has a model and no checkpoint to go on from.",
            hint=f"begin a new one from it: --name OTHER --init {run}",
        )


@contextlib.contextmanager
def _stopped_cleanly(plan: Plan, *, go_on: str) -> Iterator[None]:
    """A block that trains: what ends it early leaves the best epoch's model, and says how to go on (a command)."""
    run = plan.loop.run
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if is_first():
            if (run / FOLDER / BEST).is_file():
                _save_best(plan)
            if go_on:
                print(f"go on with: {go_on}", file=sys.stderr)  # noqa: T201
        raise
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        mend = "free some space" if error.errno in {errno.ENOSPC, errno.EDQUOT} else "mend that"
        raise RunError(
            f"training of run {run.name!r} was stopped: {error.strerror or error}{where}; its checkpoints are whole.",
            hint=f"{mend}, then go on with: {go_on}" if go_on else mend,
        ) from error


def _begin(plan: Plan, *, quiet: bool) -> None:
    """Make the run folder and its config.yaml: from here on the run exists and can be resumed."""
    if not quiet:
        for note in plan.notes:  # before the hours, not after them
            print(f"note: {note}", file=sys.stderr)  # noqa: T201
    write_config(plan.loop.run, plan.loop.settings, plan.recipe, plan.origin)


def _save_best(plan: Plan) -> tuple[int, dict[str, float]]:
    """Write the best epoch's weights as the run's model; returns that epoch (from 1) and its validation scores."""
    loop = plan.loop
    checkpoint = read_checkpoint(loop.run / FOLDER / BEST)
    weights = checkpoint["state_dict"]
    net = loop.module.net
    net.load_state_dict({name.removeprefix("net."): weights[name] for name in weights if name.startswith("net.")})
    epoch = int(checkpoint["epoch"]) + 1
    scores = {
        name: value
        for row in read_metrics(loop.run / "metrics.csv")
        if row["epoch"] == epoch
        for name, value in row.items()
    }
    scores = {name: scores[name] for name in DIRECTION}
    save_bundle(
        loop.run,
        net,
        plan.workspace,
        model=loop.settings.model,
        classes=plan.classes,
        preprocessing=loop.preprocessing,
        settings=to_plain(loop.settings),
        epoch=epoch,
        scores=scores,
        shares=dict(zip(plan.classes, plan.balance.expected.tolist(), strict=True)),
        training_clips=dict(zip(plan.classes, plan.balance.clips.tolist(), strict=True)),
        init=plan.origin,
    )
    return epoch, scores
