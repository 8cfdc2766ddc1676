"""The loss that training minimises, and the weights by which it takes rare emotions into account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from petmood.metrics import clip_means, macro_f1

ClassWeights = Literal["none", "balanced", "sqrt", "effective"]
Shares = npt.NDArray[np.float64]


def clip_counts(clips: Sequence[str], labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Number of different clips of each class.

    A clip's frames are nearly the same picture, so that clips, not frames, say how often an emotion was seen.
    """
    first_frames = np.unique(np.asarray(clips), return_index=True)[1]
    return np.bincount(labels[first_frames], minlength=classes).astype(np.int64)


def class_weights(kind: ClassWeights, shares: Shares, *, clips: int) -> npt.NDArray[np.float32]:
    """Weight of each class in the loss: mean 1 over what is shown, 0 for a class that is never shown.

    Args:
        kind: ``balanced`` is the inverse frequency ``1 / s`` (scikit-learn's, the notes' choice); ``sqrt`` its square
            root; ``effective`` the inverse of ``effective_numbers``; ``none`` is 1 for all.
        shares: of the classes in what an epoch shows, ``s``; sums to 1.
        clips: all clips of the training split; only ``effective`` depends on it.
    """
    seen = shares > 0
    frequency = {
        "none": np.ones_like(shares),
        "balanced": shares,
        "sqrt": np.sqrt(shares),
        "effective": effective_numbers(shares * clips, clips=clips),
    }[kind]
    weights = np.where(seen, 1 / np.where(seen, frequency, 1), 0)
    return (weights / (shares * weights).sum()).astype(np.float32)


def effective_numbers(counts: Shares, *, clips: int) -> Shares:
    """How many different things ``counts`` clips of each class show: ``(1 - b^n) / (1 - b)`` of Cui et al. 2019.

    The more clips, the likelier another one shows what was seen before (arXiv 1901.05555). Their rule for ``b`` is
    ``(N - 1) / N``, where N is the number of different things that there are to see. Nobody knows it; taken is the
    number of all training clips, as in their long-tailed sets (0.9999 for about 12,000 pictures). A rare class then
    counts nearly in full, one that holds all clips as 0.63 of them.
    """
    volume = max(clips, 2)
    numbers: Shares = -np.expm1(counts * np.log1p(-1 / volume)) * volume
    return numbers


def filled(shares: Shares) -> Shares:
    """Shares above 0 that sum to 1: a class that is never shown counts as the rarest that is.

    With log 0 its logit would be useless for ever.
    """
    positive = np.where(shares > 0, shares, shares[shares > 0].min())
    full: Shares = positive / positive.sum()
    return full


def validation_scores(
    logits: torch.Tensor,
    labels: npt.NDArray[np.int64],
    clips: Sequence[str],
    attention: npt.NDArray[np.float32] | None = None,
) -> dict[str, float]:
    """The three scores by which training is steered.

    Args:
        logits: N × classes, float32.
        labels: N class numbers.
        clips: clip of each of the N frames.
        attention: score of each frame, N; None if all frames of a clip count the same.

    Returns:
        val_loss: cross entropy of the probabilities that prediction will use, without weights or smoothing (as in the
        notes; lower is better); val_accuracy over frames; val_clip_macro_f1 over clips (both 0 to 1, higher is better).
    """
    truth = torch.from_numpy(labels)
    gathered = clip_means(clips, logits.softmax(dim=1).numpy(), labels, attention)
    answers = gathered.probabilities.argmax(axis=1)
    return {
        "val_loss": float(functional.cross_entropy(logits, truth)),
        "val_accuracy": float((logits.argmax(dim=1) == truth).float().mean()),
        "val_clip_macro_f1": macro_f1(gathered.labels, answers, logits.shape[1]),
    }


class EmotionLoss(nn.Module):
    """Cross entropy over emotions, with the corrections for rare ones that were asked for.

    With ``shares`` it is the balanced softmax of Ren et al. 2020 (arXiv 2007.10740): the logarithm of each class's
    share is added to its logit in training only, so that the network itself learns scores as if all classes were
    equally frequent. With ``class_weights`` each sample's loss is multiplied by its class's weight. With
    ``focal_gamma`` it is the focal loss of Lin et al. 2017 (arXiv 1708.02002): what is already answered well counts
    less.
    """

    log_prior: torch.Tensor | None
    class_weights: torch.Tensor | None
    spread: torch.Tensor | None

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        shares: Shares | None = None,
        class_weights: npt.NDArray[np.float32] | None = None,
        focal_gamma: float = 0.0,
    ) -> None:
        """Take one entry a class; None (or a gamma of 0) leaves that correction out.

        ``shares`` are those that are left to correct for: what an epoch shows times the class weights.
        """
        super().__init__()
        self.label_smoothing = label_smoothing
        self.focal_gamma = focal_gamma
        prior = None if shares is None else torch.as_tensor(filled(np.asarray(shares, np.float64)), dtype=torch.float32)
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("log_prior", None if prior is None else prior.log(), persistent=False)
        self.register_buffer("class_weights", weights, persistent=False)
        self.register_buffer("spread", prior, persistent=False)

    def forward(self, logits: torch.Tensor, targets: torch.Tensor, sample_weights: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch: a scalar ≥ 0, lower is better.

        Args:
            logits: N × classes, any floating type (computed in float32).
            targets: N class numbers, int64; or, for mixed pictures, the share of each class, N × classes, float32. The
                loss of a mixed picture is the mean of those of its classes, by their shares.
            sample_weights: N factors, float32; the mean is over N, so that a weight means the same in every batch.
        """
        scores = logits.float()
        if self.log_prior is not None:
            scores = scores + self.log_prior
        logs = scores.log_softmax(dim=1)
        if self.focal_gamma:
            # Clamped, because the slope of 0 ** gamma is infinite for a gamma below 1.
            logs = logs * (1 - logs.exp()).clamp_min(1e-6) ** self.focal_gamma
        losses = self._of_mixed(logs, targets) if targets.is_floating_point() else self._of_classes(logs, targets)
        return (losses * sample_weights).mean()

    def _of_classes(self, logs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = functional.nll_loss(logs, labels, reduction="none")
        if self.label_smoothing:
            losses = (1 - self.label_smoothing) * losses - self.label_smoothing * self._spread_over(logs)
        if self.class_weights is not None:
            losses = losses * self.class_weights[labels]
        return losses

    def _of_mixed(self, logs: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        if self.class_weights is not None:
            shares = shares * self.class_weights
        losses = -(logs * shares).sum(dim=1)
        if self.label_smoothing:
            spread = self._spread_over(logs) * shares.sum(dim=1)
            losses = (1 - self.label_smoothing) * losses - self.label_smoothing * spread
        return losses

    def _spread_over(self, logs: torch.Tensor) -> torch.Tensor:
        """Mean over the classes, N, of what label smoothing spreads a part of the target over.

        Cross entropy spreads it evenly. Balanced softmax spreads it by the shares, which is even in its own scores. An
        even spread would ask of every clear picture of calm that fear, of which there are 300 times fewer, be a
        sixtieth, and the network, judged without the shares, would answer fear: rarity corrected twice.
        """
        return logs.mean(dim=1) if self.spread is None else logs @ self.spread
