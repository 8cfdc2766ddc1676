"""One training, from a workspace to a run folder.

runs/NAME/  config.yaml · metrics.csv (one row an epoch) · tensorboard/ · checkpoints/{best,last}.ckpt · bundle.json ·
model.safetensors
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
import yaml

import petmood
from petmood.bundle import RunOrigin, save_bundle, weights_digest
from petmood.errors import UserError
from petmood.loading import Samples, data_classes, load_samples
from petmood.losses import clip_counts
from petmood.recipes import TrainSettings
from petmood.sampling import ClipSampler
from petmood.settings import build, load_yaml, to_plain
from petmood.train.balance import Balance, balance, balance_notes
from petmood.train.loop import DIRECTION, Loop, read_metrics
from petmood.train.module import EmotionModule
from petmood.train.optimise import choose_device, choose_precision
from petmood.train.start import Start, empty_start, new_start, resolve_init
from petmood.workspace import Workspace, replacing


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

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary for people."""
        scores = " · ".join(f"{name.removeprefix('val_')} {self.scores[name]:.3f}" for name in DIRECTION)
        return (
            *(f"note: {note}" for note in self.notes),
            f"{self.epochs} epochs in {self.seconds:,.0f} s; best is epoch {self.best_epoch} on validation: {scores}",
            f"model: {self.run}",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """Everything of one training, built and checked before anything is written."""

    workspace: Workspace
    recipe: str
    classes: tuple[str, ...]
    loop: Loop
    balance: Balance
    origin: RunOrigin | None
    notes: tuple[str, ...]


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
        resume: go on with a run that was stopped, from the end of its last complete epoch.
        quiet: no progress bar.
        folder: where the run's folder is made; the workspace's runs if left out.
        after_epoch: told the epoch (from 1) and its validation scores; an exception ends training and passes through.

    Raises:
        UserError: the run exists already (or, with ``resume``, does not), or data, settings or weights are unusable.
        RunError: the loss became infinite or not a number.
        KeyboardInterrupt: stopped by Ctrl-C; the last checkpoint is kept and how to go on is said on standard error.
    """
    run = _run_folder(folder or workspace.runs, name, resume=resume)
    if resume:
        settings, recipe = read_config(run)
    else:
        settings = resolve_init(settings)
    started = time.monotonic()
    plan = _plan(workspace, run, settings, recipe, after_epoch)
    if not quiet:
        for note in plan.notes:  # before the hours, not after them
            print(f"note: {note}", file=sys.stderr)  # noqa: T201
    _write_config(plan)
    last = run / "checkpoints" / "last.ckpt"
    try:
        plan.loop.fit(last if last.is_file() else None, quiet=quiet)
    except KeyboardInterrupt:
        if (run / "checkpoints" / "best.ckpt").is_file():
            _save_best(plan)
        print(f"go on with: petmood train {workspace.root} --name {name} --resume", file=sys.stderr)  # noqa: T201
        raise
    best_epoch, scores = _save_best(plan)
    return TrainSummary(
        run=run,
        epochs=len(read_metrics(run / "metrics.csv")),
        best_epoch=best_epoch,
        scores=scores,
        seconds=time.monotonic() - started,
        notes=plan.notes,
    )


def read_config(run: Path) -> tuple[TrainSettings, str]:
    """Settings and recipe name that a run was started with (its config.yaml).

    Raises:
        UserError: the file is missing or damaged.
    """
    path = run / "config.yaml"
    content = load_yaml(path)
    settings = content.get("settings")
    if not isinstance(settings, dict):
        raise UserError(f"{path} is damaged: it has no settings.", hint="start a new run under another name")
    return build(TrainSettings, settings, where=str(path)), str(content.get("recipe", ""))


def _run_folder(folder: Path, name: str, *, resume: bool) -> Path:
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UserError(f"run name {name!r} is not usable; allowed are letters, digits and . _ -")
    run = folder / name
    exists = (run / "config.yaml").is_file()
    if resume and not exists:
        found = sorted(path.parent.name for path in folder.glob("*/config.yaml"))
        raise UserError(f"run {name!r} does not exist in {folder}; found are {', '.join(found) or 'none'}.")
    if run.exists() and not resume:
        hint = "go on with it by --resume, or give another --name"
        raise UserError(f"run {name!r} exists already in {folder}.", hint=hint)
    return run


def _plan(
    workspace: Workspace,
    run: Path,
    settings: TrainSettings,
    recipe: str,
    after_epoch: Callable[[int, Mapping[str, float]], None] | None,
) -> _Plan:
    device = choose_device(settings.device)
    choose_precision(settings.precision, device)
    classes = data_classes(workspace)
    train_samples = load_samples(workspace, "train", limit=settings.limit, seed=settings.seed)
    val_samples = load_samples(workspace, "val", limit=settings.limit, seed=settings.seed)
    sampler = ClipSampler(
        train_samples.clips,
        train_samples.labels,
        frames_per_clip=settings.frames_per_clip,
        sampling=settings.sampling,
        seed=settings.seed,
    )
    if len(sampler) < 2:
        hint = "add data, or raise --limit or --frames-per-clip"
        raise UserError("the training split shows 1 picture an epoch; at least 2 are needed.", hint=hint)
    balanced = _balance(train_samples, sampler, len(classes), settings)
    lightning.seed_everything(settings.seed, verbose=False)
    start = _start(workspace, run, settings, classes)
    net = start.net.to(memory_format=torch.channels_last) if settings.channels_last else start.net
    loop = Loop(
        run=run,
        settings=settings,
        device=device,
        train=train_samples,
        val=val_samples,
        sampler=sampler,
        preprocessing=start.preprocessing,
        module=EmotionModule(net, balanced.loss(), start.preprocessing, settings, val_samples),
        after_epoch=after_epoch,
    )
    return _Plan(
        workspace=workspace,
        recipe=recipe,
        classes=classes,
        loop=loop,
        balance=balanced,
        origin=start.origin,
        notes=(*balance_notes(balanced, classes), *_origin_notes(start.origin)),
    )


def _balance(samples: Samples, sampler: ClipSampler, classes: int, settings: TrainSettings) -> Balance:
    shown = sampler.class_shares(classes, samples.weights if sampler.uses_weights else None)
    return balance(settings, clip_counts(samples.clips, samples.labels, classes), shown)


def _start(workspace: Workspace, run: Path, settings: TrainSettings, classes: tuple[str, ...]) -> Start:
    """The network as it begins, or as a checkpoint will fill it."""
    origin = _read_origin(run)
    if (run / "checkpoints" / "last.ckpt").is_file():
        return empty_start(settings, classes, origin)
    if origin and weights_digest(Path(origin.run)) != origin.weights:
        raise UserError(
            f"run {origin.run} has other weights than when {run.name!r} was begun from it.",
            hint="nothing was trained yet: begin again under another --name",
        )
    return new_start(settings, classes, workspace)


def _origin_notes(origin: RunOrigin | None) -> Iterator[str]:
    if origin and not origin.same_data:
        yield (
            f"{origin.run} was trained on other data or another split: it may have seen clips that judge this training"
        )


def _read_origin(run: Path) -> RunOrigin | None:
    """The run that a run was begun from (its config.yaml), if any."""
    path = run / "config.yaml"
    content = load_yaml(path).get("init") if path.is_file() else None
    return build(RunOrigin, content, where=str(path)) if isinstance(content, dict) else None


def _write_config(plan: _Plan) -> None:
    """Make the run folder and its config.yaml: from here on the run exists and can be resumed."""
    plan.loop.run.mkdir(parents=True, exist_ok=True)
    content = {"petmood": petmood.__version__, "recipe": plan.recipe, "settings": to_plain(plan.loop.settings)}
    if plan.origin:
        content["init"] = to_plain(plan.origin)
    with replacing(plan.loop.run / "config.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _save_best(plan: _Plan) -> tuple[int, dict[str, float]]:
    """Write the best epoch's weights as the run's model; returns that epoch (from 1) and its validation scores."""
    loop = plan.loop
    checkpoint: dict[str, Any] = torch.load(
        loop.run / "checkpoints" / "best.ckpt", map_location="cpu", weights_only=True
    )
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
