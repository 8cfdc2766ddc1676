"""What is done about rare emotions in one training: each correction takes only what those before it left."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from petmood.losses import EmotionLoss, Shares, class_weights, filled
from petmood.recipes import TrainSettings

#: Shares (or weights) whose largest is at most this many times the smallest are told to be equal.
_EVEN = 1.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class Balance:
    """The classes' shares on their way from the clips to what the answers expect; arrays have one entry a class."""

    settings: TrainSettings
    clips: npt.NDArray[np.int64]
    """Clips of the training split."""
    shown: Shares
    """Shares of what an epoch shows, after sampling; they sum to 1."""
    weights: npt.NDArray[np.float32]
    """Class weights for what is shown; all 1 without them."""

    @property
    def left(self) -> Shares:
        """Shares that the loss still meets: what is shown times its weight. All above 0, they sum to 1."""
        return filled(self.shown * self.weights)

    @property
    def expected(self) -> Shares:
        """How often the trained network's answers expect each class (with the focal loss only about so)."""
        if self.settings.loss == "balanced_softmax":
            return np.full(len(self.shown), 1 / len(self.shown))
        return self.left

    def loss(self) -> EmotionLoss:
        """The loss of this training."""
        kind = self.settings.loss
        return EmotionLoss(
            label_smoothing=self.settings.label_smoothing,
            shares=self.left if kind == "balanced_softmax" else None,
            class_weights=None if self.settings.class_weights == "none" else self.weights,
            focal_gamma=self.settings.focal_gamma if kind == "focal" else 0.0,
        )


def balance(settings: TrainSettings, clips: npt.NDArray[np.int64], shown: Shares) -> Balance:
    """The corrections that ``settings`` ask for.

    Args:
        settings: of the training; ``loss``, ``class_weights`` and what goes with them.
        clips: of each class in the training split.
        shown: share of each class in what an epoch shows, which already holds what sampling corrects.
    """
    weights = class_weights(settings.class_weights, shown, clips=int(clips.sum()))
    return Balance(settings=settings, clips=clips, shown=shown, weights=weights)


def balance_notes(made: Balance, classes: Sequence[str]) -> Iterator[str]:
    """What the user should know: emotions that cannot be learnt, and what several corrections come to together."""
    for name, count in zip(classes, made.clips, strict=True):
        if not count:
            yield f"the training split has no picture of {name}: the model cannot learn it"
    chosen = _corrections(made.settings)
    if len(chosen) > 1:
        yield (
            f"{len(chosen)} corrections for rare emotions are chosen ({', '.join(chosen)}); each corrects only what "
            f"those before it leave: {'; '.join(_amounts(made))}. One of them is usually enough"
        )


def _corrections(settings: TrainSettings) -> list[str]:
    named = {
        f"{settings.sampling} sampling": settings.sampling != "natural",
        f"{settings.class_weights} class weights": settings.class_weights != "none",
        "focal loss": settings.loss == "focal",
        "balanced softmax": settings.loss == "balanced_softmax",
    }
    return [name for name, wanted in named.items() if wanted]


def _amounts(made: Balance) -> Iterator[str]:
    """What each step comes to, in the order in which they work."""
    seen = made.shown > 0
    settings = made.settings
    yield f"an epoch shows {_range(made.shown[seen])}"
    if settings.class_weights != "none":
        weights = made.weights[seen]
        yield (
            "all class weights are 1 then, and change nothing"
            if _even(weights)
            else f"class weights of {weights.min():.2g} to {weights.max():.2g} make that {_range(made.left[seen])}"
        )
    if settings.loss == "balanced_softmax":
        even = _even(made.left[seen])
        yield "balanced softmax then is plain cross entropy" if even else "balanced softmax takes the rest"
    if settings.loss == "focal":
        yield "the focal loss raises what is hard, often the rare emotions, on top of that"


def _even(values: npt.NDArray[np.floating]) -> bool:
    return bool(values.max() <= _EVEN * values.min())


def _range(shares: Shares) -> str:
    if _even(shares):
        return "all emotions equally often"
    return f"emotions in shares of {100 * shares.min():.2g} to {100 * shares.max():.2g} %"
