"""One training, from a workspace to a run folder.

runs/NAME/  config.yaml · metrics.csv (one row an epoch) · tensorboard/ · checkpoints/{best,last}.ckpt · bundle.json ·
model.safetensors
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import timm
import torch
import yaml

import petmood
from petmood.bundle import save_bundle
from petmood.errors import UserError
from petmood.loading import Samples, data_classes, load_samples
from petmood.losses import EmotionLoss, balanced_weights, clip_counts
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.settings import build, load_yaml, to_plain
from petmood.train.loop import DIRECTION, Loop, read_metrics
from petmood.train.module import EmotionModule
from petmood.train.optimise import choose_device, choose_precision
from petmood.weights import create_backbone
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
    notes: tuple[str, ...]


def train(
    workspace: Workspace,
    name: str,
    settings: TrainSettings,
    *,
    recipe: str = "",
    resume: bool = False,
    quiet: bool = False,
) -> TrainSummary:
    """Train a network on the chosen crops of a workspace; the result is ``runs/NAME``.

    Args:
        workspace: with all data stages completed.
        name: of the run.
        settings: see ``TrainSettings``; with ``resume`` those of the run's config.yaml are taken instead.
        recipe: name of the recipe that the settings came from, for the record.
        resume: go on with a run that was stopped, from the end of its last complete epoch.
        quiet: no progress bar.

    Raises:
        UserError: the run exists already (or, with ``resume``, does not), or data, settings or weights are unusable.
        RunError: the loss became infinite or not a number.
        KeyboardInterrupt: stopped by Ctrl-C; the last checkpoint is kept and how to go on is said on standard error.
    """
    run = _run_folder(workspace, name, resume=resume)
    if resume:
        settings, recipe = read_config(run)
    started = time.monotonic()
    plan = _plan(workspace, run, settings, recipe)
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


def _run_folder(workspace: Workspace, name: str, *, resume: bool) -> Path:
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UserError(f"run name {name!r} is not usable; allowed are letters, digits and . _ -")
    run = workspace.runs / name
    exists = (run / "config.yaml").is_file()
    if resume and not exists:
        found = sorted(path.parent.name for path in workspace.runs.glob("*/config.yaml"))
        raise UserError(f"run {name!r} does not exist in {workspace.runs}; found are {', '.join(found) or 'none'}.")
    if run.exists() and not resume:
        hint = "go on with it by --resume, or give another --name"
        raise UserError(f"run {name!r} exists already in {workspace.runs}.", hint=hint)
    return run


def _plan(workspace: Workspace, run: Path, settings: TrainSettings, recipe: str) -> _Plan:
    device = choose_device(settings.device)
    choose_precision(settings.precision, device)
    classes = data_classes(workspace)
    train_samples = load_samples(workspace, "train", limit=settings.limit, seed=settings.seed)
    val_samples = load_samples(workspace, "val", limit=settings.limit, seed=settings.seed)
    if len(train_samples) < 2:
        raise UserError("the training split has 1 picture; at least 2 are needed.", hint="add data or raise --limit")
    lightning.seed_everything(settings.seed, verbose=False)
    backbone = create_backbone(settings.model, pretrained=settings.pretrained, image_size=settings.image_size)
    preprocessing = Preprocessing.of_backbone(
        timm.data.resolve_model_data_config(backbone), image_size=settings.image_size, fit=settings.fit
    )
    net = EmotionNet(backbone, classes=len(classes), freeze=settings.freeze, dropout=settings.dropout)
    if settings.channels_last:
        net = net.to(memory_format=torch.channels_last)
    loss = _loss(train_samples, len(classes), settings)
    loop = Loop(
        run=run,
        settings=settings,
        device=device,
        train=train_samples,
        val=val_samples,
        preprocessing=preprocessing,
        module=EmotionModule(net, loss, preprocessing, settings, val_samples),
    )
    return _Plan(
        workspace=workspace, recipe=recipe, classes=classes, loop=loop, notes=_notes(train_samples, classes, settings)
    )


def _loss(samples: Samples, classes: int, settings: TrainSettings) -> EmotionLoss:
    balanced = settings.loss == "balanced_softmax"
    return EmotionLoss(
        label_smoothing=settings.label_smoothing,
        clip_counts=clip_counts(samples.clips, samples.labels, classes) if balanced else None,
        class_weights=balanced_weights(samples.labels, classes) if settings.class_weights == "balanced" else None,
    )


def _notes(samples: Samples, classes: tuple[str, ...], settings: TrainSettings) -> tuple[str, ...]:
    notes = []
    present = set(samples.labels.tolist())
    for number, name in enumerate(classes):
        if number not in present:
            notes.append(f"the training split has no picture of {name}: the model cannot learn it")
    if settings.loss == "balanced_softmax" and settings.class_weights == "balanced":
        notes.append("balanced softmax and balanced class weights correct for the same thing: use one of them")
    return tuple(notes)


def _write_config(plan: _Plan) -> None:
    """Make the run folder and its config.yaml: from here on the run exists and can be resumed."""
    plan.loop.run.mkdir(parents=True, exist_ok=True)
    content = {"petmood": petmood.__version__, "recipe": plan.recipe, "settings": to_plain(plan.loop.settings)}
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
    )
    return epoch, scores
