"""What the scores of the epochs tell: whether a training learnt, ran away, learnt by heart, or ended too early."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from petmood.doctor.records import Check
from petmood.doctor.run import Run
from petmood.recipes import TrainSettings
from petmood.train.epochs import DIRECTION
from petmood.train.trial import short

Epochs = Sequence[Mapping[str, float]]

#: Share of its first value by which the training loss must have fallen.
_FALLEN = 0.03
#: Times the smallest loss at which a training has run away, and at which validation says learnt by heart.
_AWAY, _BY_HEART = 1.5, 1.25


def check_diverged(run: Run) -> Check:
    """Whether the losses stayed finite and did not run away."""
    return judge_diverged(run.epochs, run.settings)


def judge_diverged(epochs: Epochs, settings: TrainSettings) -> Check:
    """The verdict on losses that run away."""
    name = "diverged"
    if not epochs:
        return _nothing(name)
    values = [value for row in epochs for key, value in row.items() if key.endswith("loss")]
    last, least = epochs[-1]["train_loss"], min(row["train_loss"] for row in epochs)
    endless = not all(map(math.isfinite, values))
    away = endless or last > _AWAY * least
    return Check(
        name=name,
        verdict="fail" if away else "ok",
        evidence="a loss is no finite number"
        if endless
        else f"training loss ends at {last:.3f}; its smallest was {least:.3f}",
        remedy=f"try --learning-rate {short(settings.learning_rate / 5)}, a longer --warmup-epochs or --clip-gradient 1"
        if away
        else "",
        numbers={"last": last, "least": least},
    )


def check_never_learnt(run: Run) -> Check:
    """Whether the training loss fell at all."""
    return judge_never_learnt(run.epochs, run.settings)


def judge_never_learnt(epochs: Epochs, settings: TrainSettings) -> Check:
    """The verdict on a loss that hardly moved."""
    name = "never-learnt"
    if len(epochs) < 2:
        return _nothing(name)
    first, least = epochs[0]["train_loss"], min(row["train_loss"] for row in epochs[1:])
    fallen = (first - least) / abs(first) if first else 0.0
    # A run that starts from a trained one may have little left to learn.
    stuck = fallen < _FALLEN and not (settings.init and not settings.new_head)
    frozen = f" with --freeze {settings.freeze}" if settings.freeze != "none" else ""
    return Check(
        name=name,
        verdict="fail" if stuck else "ok",
        evidence=f"training loss went from {first:.3f} to {least:.3f} ({fallen:.0%}) in {len(epochs)} epochs at "
        f"--learning-rate {short(settings.learning_rate)}{frozen}",
        remedy="`petmood find-lr WORK` proposes a rate at which something is learnt; for the head alone, take the "
        "probe: `petmood train WORK --recipe probe`"
        if stuck
        else "",
        numbers={"first": first, "least": least, "fallen": fallen},
    )


def check_overfit(run: Run) -> Check:
    """Whether the epoch that became the model had begun to learn by heart."""
    return judge_overfit(run.epochs, run.settings)


def judge_overfit(epochs: Epochs, settings: TrainSettings) -> Check:
    """The verdict on validation loss that rises while training loss falls."""
    name = "overfit"
    judged = [row for row in epochs if "val_loss" in row]
    if len(judged) < 2:
        return _nothing(name)
    best = min(judged, key=lambda row: row["val_loss"])
    taken = _best(judged, settings.checkpoint_on)
    by_heart = taken["val_loss"] > _BY_HEART * best["val_loss"] and taken["train_loss"] < best["train_loss"]
    return Check(
        name=name,
        verdict="warn" if by_heart else "ok",
        evidence=f"epoch {taken['epoch']:.0f} became the model: training loss {taken['train_loss']:.3f}, validation "
        f"loss {taken['val_loss']:.3f}; the least was {best['val_loss']:.3f} in epoch {best['epoch']:.0f}",
        remedy="it is too sure of itself: stronger changes (--min-scale 0.5, --rand-augment 5), --weight-decay, "
        "--label-smoothing, fewer epochs, or --freeze stem; `petmood evaluate` fits a temperature"
        if by_heart
        else "",
        numbers={"epoch": taken["epoch"], "val_loss": taken["val_loss"], "least_val_loss": best["val_loss"]},
    )


def check_still_learning(run: Run) -> Check:
    """Whether the training ended while its score still rose."""
    return judge_still_learning(run.epochs, run.settings)


def judge_still_learning(epochs: Epochs, settings: TrainSettings) -> Check:
    """The verdict on a best epoch that is the last one allowed."""
    name, score = "still-learning", settings.checkpoint_on
    judged = [row for row in epochs if score in row]
    if len(judged) < 2:
        return _nothing(name)
    best = _best(judged, score)
    cut = best is judged[-1] and judged[-1]["epoch"] >= settings.epochs
    return Check(
        name=name,
        verdict="warn" if cut else "ok",
        evidence=f"{score} was best in epoch {best['epoch']:.0f} of {judged[-1]['epoch']:.0f}"
        + (", the last one allowed" if cut else ""),
        remedy=f"it may get better: --epochs {2 * settings.epochs}, or start from it with --init" if cut else "",
        numbers={"best_epoch": best["epoch"], "epochs": judged[-1]["epoch"], "allowed": settings.epochs},
    )


def _best(epochs: Epochs, score: str) -> Mapping[str, float]:
    rows = [row for row in epochs if score in row] or epochs
    choose = min if DIRECTION[score] == "min" else max
    return choose(rows, key=lambda row: row.get(score, 0.0))


def _nothing(name: str) -> Check:
    return Check(name=name, verdict="skipped", evidence="there are no epochs to compare (a probe has none)")
