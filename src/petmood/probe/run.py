"""One probe, from a workspace to a run folder with an ordinary model: config.yaml · bundle.json · model.safetensors."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import nn

from petmood.bundle import INFO_FILE, WEIGHTS_FILE, RunOrigin, save_bundle
from petmood.errors import UserError
from petmood.features import CropFeatures, crop_features, describer
from petmood.judging import Answered, certainty_of
from petmood.loading import Samples, data_classes, load_samples
from petmood.losses import validation_scores
from petmood.model import EmotionNet
from petmood.probe.clip_head import ClipHead, fit_clip_head
from petmood.probe.fitting import Corrections, Fitted, Frames, fit_head
from petmood.probe.solver import Ints
from petmood.recipes import TrainSettings
from petmood.recipes.features import FeatureSettings
from petmood.runfolder import origin_notes, origin_of, read_config, read_origin, resolve_init, run_folder, write_config
from petmood.settings import to_plain
from petmood.workspace import Workspace

#: Settings that a probe looks at; others are for training by steps.
_USED = frozenset({
    *("method", "pool", "folds", "model", "image_size", "fit", "pretrained", "init", "new_head", "loss"),
    *("class_weights", "seed", "limit", "batch_size", "threads", "device", "compile"),
})  # fmt: skip
Scores = npt.NDArray[np.float32]
_SCORES = ("val_loss", "val_accuracy", "val_clip_macro_f1")
#: Rows that are copied out of the cache at once.
_AT_ONCE = 65_536


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeSummary:
    """What a probe came to."""

    run: Path
    scores: Mapping[str, float]
    """Of validation: val_loss (lower is better), val_accuracy of frames, val_clip_macro_f1."""
    strength: float
    """Pull of the weights towards zero, for a sum over the clips: scikit-learn's ``1 / C``."""
    features: int
    """Numbers that the backbone gives for each picture."""
    cached: bool
    """Whether the features were there already."""
    feature_seconds: float
    fit_seconds: float
    """For the choice of the strength and the fit, the clip head too."""
    seconds: float
    """Of the whole call."""
    notes: tuple[str, ...]
    """What the user should know about the data or the settings."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The summary for people."""
        scores = " · ".join(f"{name.removeprefix('val_')} {self.scores[name]:.3f}" for name in _SCORES)
        source = "from the cache" if self.cached else "computed"
        return (
            *(f"note: {note}" for note in self.notes),
            f"{self.features:,} features of each crop, {source} in {self.feature_seconds:,.1f} s; "
            f"fit in {self.fit_seconds:,.1f} s at strength {self.strength:.3g}",
            f"on validation: {scores}",
            f"model: {self.run}",
        )


def probe(
    workspace: Workspace,
    name: str,
    settings: TrainSettings,
    *,
    recipe: str = "",
    resume: bool = False,
    quiet: bool = False,
    folder: Path | None = None,
) -> ProbeSummary:
    """Fit a classifier to the features of the chosen crops of a workspace; the result is ``runs/NAME``.

    Args:
        workspace: with all data stages completed.
        name: of the run.
        settings: see ``TrainSettings``; with ``resume`` those of the run's config.yaml are taken instead.
        recipe: name of the recipe that the settings came from, for the record.
        resume: finish a run that was stopped while its model was written. Before that there is no run, and the same
            call again goes on with the features that were computed.
        quiet: no progress bar and no notes on standard error.
        folder: where the run's folder is made; the workspace's runs if left out.

    Raises:
        UserError: the run exists already (or, with ``resume``, does not, or is finished), or data, settings or weights
            are unusable.
    """
    started = time.monotonic()
    run = run_folder(folder or workspace.runs, name, resume=resume)
    if resume:
        settings, recipe = read_config(run)
        _check_unfinished(run, settings)
    plan = _plan(workspace, run, resolve_init(settings))
    notes = plan.notes
    if not quiet:
        for note in notes:  # before the features, not after them
            print(f"note: {note}", file=sys.stderr)  # noqa: T201
    describe = _feature_settings(plan.settings)
    begun = time.monotonic()
    wanted = pl.concat([plan.train.frames["frame_id"], plan.val.frames["frame_id"]])
    features = crop_features(workspace, describe, frames=wanted, quiet=quiet)
    featured = time.monotonic()
    fitted, clip_head = _fitted(features, plan)
    fit_seconds = time.monotonic() - featured
    # Not before: what was stopped leaves nothing but features, and the same command goes on with them.
    write_config(run, plan.settings, recipe, plan.origin)
    scores = _save(plan, describe, features, fitted, clip_head)
    found = (fitted.choice.note, clip_head.note if clip_head else "")
    return ProbeSummary(
        run=run,
        scores=scores,
        strength=fitted.choice.strength,
        features=features.values.shape[1],
        cached=features.found,
        feature_seconds=featured - begun,
        fit_seconds=fit_seconds,
        seconds=time.monotonic() - started,
        notes=(*notes, *(note for note in found if note)),
    )


def assembled(backbone: nn.Module, fitted: Fitted, clip_head: ClipHead | None = None) -> EmotionNet:
    """The network of a fit, in evaluation mode: its batch norm does the standardisation.

    Args:
        backbone: gives the features that were fitted.
        fitted: the head.
        clip_head: takes its place, if there is one; its attention is left out where it did not help.
    """
    weights, bias = fitted.head.weights, fitted.head.bias
    attention = clip_head.attention if clip_head and clip_head.attentive else None
    if clip_head and attention:
        weights, bias = clip_head.weights, clip_head.bias
    net = EmotionNet(backbone, classes=len(bias), attention=attention is not None)
    if net.attention is not None and attention is not None:
        net.attention.load_state_dict(attention)
    with torch.no_grad():
        net.norm.running_mean = torch.from_numpy(fitted.head.mean).clone()
        variance = np.square(fitted.head.std, dtype=np.float64) - net.norm.eps
        net.norm.running_var = torch.from_numpy(np.maximum(variance, 0).astype(np.float32))
        net.classifier.weight.copy_(torch.from_numpy(weights))
        net.classifier.bias.copy_(torch.from_numpy(bias))
    return net.eval()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Plan:
    """Everything of one probe, read and checked before anything is written."""

    workspace: Workspace
    run: Path
    settings: TrainSettings
    corrections: Corrections
    classes: tuple[str, ...]
    train: Samples
    val: Samples
    origin: RunOrigin | None
    notes: tuple[str, ...]


def _plan(workspace: Workspace, run: Path, settings: TrainSettings) -> _Plan:
    corrections = _corrections(settings)
    classes = data_classes(workspace)
    train = load_samples(workspace, "train", limit=settings.limit, seed=settings.seed)
    val = load_samples(workspace, "val", limit=settings.limit, seed=settings.seed)
    seen = set(train.labels.tolist())
    if len(seen) < 2:
        raise UserError(
            f"the training split has pictures of one emotion alone, {classes[seen.pop()]}; at least 2 are needed.",
            hint="add data of another emotion, or raise --limit",
        )
    origin = origin_of(Path(settings.init), workspace) if settings.init else None
    begun_from = read_origin(run)
    if begun_from and origin != begun_from:
        raise UserError(
            f"run {begun_from.run} is not what it was when {run.name!r} was begun from it.",
            hint="nothing was fitted yet: begin again under another --name",
        )
    return _Plan(
        workspace=workspace,
        run=run,
        settings=settings,
        corrections=corrections,
        classes=classes,
        train=train,
        val=val,
        origin=origin,
        notes=(*_notes(settings, classes, seen), *origin_notes(origin)),
    )


def _check_unfinished(run: Path, settings: TrainSettings) -> None:
    if settings.method != "probe":
        raise UserError(f"run {run.name!r} is a training by steps, not a probe.", hint="leave out --recipe probe")
    if (run / INFO_FILE).is_file():
        raise UserError(
            f"run {run.name!r} is finished; a probe has nothing to go on with.",
            hint="give another --name; the features are kept, so that it takes seconds",
        )


def _corrections(settings: TrainSettings) -> Corrections:
    if settings.loss == "focal":
        raise UserError(
            "loss 'focal' is not possible with a probe; allowed are balanced_softmax and cross_entropy.",
            hint="use --loss balanced_softmax, or train by steps: --recipe default",
        )
    return Corrections(loss=settings.loss, class_weights=settings.class_weights)


def _notes(settings: TrainSettings, classes: Sequence[str], seen: set[int]) -> Iterator[str]:
    for number, name in enumerate(classes):
        if number not in seen:
            yield f"the training split has no picture of {name}: the model cannot learn it"
    if settings.loss == "balanced_softmax" and settings.class_weights != "none":
        yield "class weights and balanced softmax are both chosen: balanced softmax takes what the weights leave"
    defaults = TrainSettings()
    unused = [
        field.name
        for field in dataclasses.fields(TrainSettings)
        if field.name not in _USED and getattr(settings, field.name) != getattr(defaults, field.name)
    ]
    if unused:
        yield f"a probe does not use {', '.join(name.replace('_', '-') for name in unused)}"


def _feature_settings(settings: TrainSettings) -> FeatureSettings:
    """How the crops are described: by the run that is started from, or by first weights."""
    return FeatureSettings(
        model=settings.model,
        pretrained=str(Path(settings.init) / WEIGHTS_FILE) if settings.init else settings.pretrained,
        image_size=settings.image_size,
        fit=settings.fit,
        batch_size=settings.batch_size,
        threads=settings.threads,
        device=settings.device,
        compile=settings.compile,
    )


def _fitted(features: CropFeatures, plan: _Plan) -> tuple[Fitted, ClipHead | None]:
    """The head, and the one for clips if it is asked for."""
    settings = plan.settings
    _, first, clips = np.unique(plan.train.clips, return_index=True, return_inverse=True)
    labels = plan.train.labels[first]
    groups = plan.train.frames["group"].gather(first).to_list()
    rows = features.rows(plan.train.frames["frame_id"])
    device = torch.device("cuda" if torch.cuda.is_available() and settings.device != "cpu" else "cpu")
    fitted = fit_head(
        Frames(features=_read(features, rows), clips=clips, labels=labels, groups=groups),
        len(plan.classes),
        plan.corrections,
        folds=settings.folds,
        seed=settings.seed,
        device=device,
    )
    if settings.pool == "frames":
        return fitted, None
    shares = fitted.left.astype(np.float32) if settings.loss == "balanced_softmax" else None
    clip_head = fit_clip_head(
        _read(features, rows).numpy(),
        clips,
        labels,
        groups,
        fitted.head,
        shares=shares,
        seed=settings.seed,
        folds=settings.folds,
    )
    return fitted, clip_head


def _read(features: CropFeatures, rows: Ints) -> torch.Tensor:
    """Features of some rows, float32, a part at a time."""
    read = torch.empty((len(rows), features.values.shape[1]), dtype=torch.float32)
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        read[start : start + len(part)] = torch.from_numpy(features.values[part])
    return read


def _save(
    plan: _Plan, describe: FeatureSettings, features: CropFeatures, fitted: Fitted, clip_head: ClipHead | None
) -> dict[str, float]:
    """Write the run's model; returns its validation scores."""
    backbone, preprocessing = describer(describe)
    net = assembled(backbone, fitted, clip_head)
    logits, attention = _answers(net, features, plan.val)
    scores = validation_scores(logits, plan.val.labels, plan.val.clips, attention)
    answered = Answered(
        frames=plan.val.frames,
        labels=plan.val.labels,
        probabilities=logits.softmax(dim=1).numpy(),
        attention=attention,
    )
    save_bundle(
        plan.run,
        net,
        plan.workspace,
        model=plan.settings.model,
        classes=plan.classes,
        preprocessing=preprocessing,
        settings=to_plain(plan.settings),
        epoch=1,
        scores=scores,
        shares=dict(zip(plan.classes, fitted.expected.tolist(), strict=True)),
        training_clips=dict(zip(plan.classes, fitted.counts.tolist(), strict=True)),
        init=plan.origin,
        certainty=lambda check: certainty_of(answered, check),
    )
    return scores


def _answers(net: EmotionNet, features: CropFeatures, val: Samples) -> tuple[torch.Tensor, Scores | None]:
    """Logits (frames, classes) and, if the head has it, attention (frames,) of the validation frames, by the cache."""
    rows = features.rows(val.frames["frame_id"])
    logits, attention = [], []
    with torch.inference_mode():
        for part in np.array_split(rows, math.ceil(len(rows) / _AT_ONCE)):
            normalised = net.norm(_read(features, part))
            logits.append(net.classifier(normalised))
            if net.attention is not None:
                attention.append(net.attention(normalised))
    return torch.cat(logits), torch.cat(attention).numpy() if attention else None
