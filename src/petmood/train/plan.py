"""Everything of one training, built and checked before anything is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import lightning
import torch

from petmood.bundle import RunOrigin, weights_digest
from petmood.errors import UserError
from petmood.loading import Samples, data_classes, load_samples
from petmood.losses import clip_counts
from petmood.recipes import TrainSettings
from petmood.runfolder import origin_notes, read_origin
from petmood.sampling import ClipSampler
from petmood.train.balance import Balance, balance, balance_notes
from petmood.train.loop import Loop
from petmood.train.module import EmotionModule
from petmood.train.optimise import choose_device, choose_precision
from petmood.train.processes import plan_processes, process_notes
from petmood.train.squares import check_small_size
from petmood.train.start import Start, empty_start, new_start
from petmood.train.trackers import check_tracker
from petmood.workspace import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A training that could begin; nothing of it has been written."""

    workspace: Workspace
    recipe: str
    classes: tuple[str, ...]
    loop: Loop
    balance: Balance
    origin: RunOrigin | None
    notes: tuple[str, ...]


def plan_training(
    workspace: Workspace,
    run: Path,
    settings: TrainSettings,
    *,
    recipe: str = "",
    checkpoint: Path | None = None,
    after_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Plan:
    """A training, ready to begin; nothing is written.

    Args:
        workspace: with all data stages completed.
        run: the run's folder, which need not exist.
        settings: resolved by ``runfolder.resolve_init``.
        recipe: name of the recipe that the settings came from, for the record.
        checkpoint: what the training will go on from; the first weights are not fetched then.
        after_epoch: told the epoch (from 1) and its validation scores.

    Raises:
        UserError: data, settings or weights are unusable.
    """
    device = choose_device(settings.device)
    choose_precision(settings.precision, device)
    check_tracker(settings)
    processes = plan_processes(settings, device)
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
    start = _start(workspace, run, settings, classes, checkpoint)
    check_small_size(settings, start.preprocessing.image_size, start.net.backbone)
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
        processes=processes,
        after_epoch=after_epoch,
    )
    return Plan(
        workspace=workspace,
        recipe=recipe,
        classes=classes,
        loop=loop,
        balance=balanced,
        origin=start.origin,
        notes=(
            *balance_notes(balanced, classes),
            *origin_notes(start.origin),
            *start.notes,
            *process_notes(processes, settings, device),
        ),
    )


def _balance(samples: Samples, sampler: ClipSampler, classes: int, settings: TrainSettings) -> Balance:
    shown = sampler.class_shares(classes, samples.weights if sampler.uses_weights else None)
    return balance(settings, clip_counts(samples.clips, samples.labels, classes), shown)


def _start(
    workspace: Workspace, run: Path, settings: TrainSettings, classes: tuple[str, ...], checkpoint: Path | None
) -> Start:
    """The network as it begins, or as a checkpoint will fill it."""
    origin = read_origin(run)
    if checkpoint:
        return empty_start(settings, classes, origin)
    if origin and weights_digest(Path(origin.run)) != origin.weights:
        raise UserError(
            f"run {origin.run} has other weights than when {run.name!r} was begun from it.",
            hint="nothing was trained yet: begin again under another --name",
        )
    return new_start(settings, classes, workspace)
