"""The loss that training minimises, and the class frequencies that it takes into account."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional


def clip_counts(clips: Sequence[str], labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.int64]:
    """Number of different clips of each class.

    A clip's frames are nearly the same picture, so that clips, not frames, say how often an emotion was seen.
    """
    first_frames = np.unique(np.asarray(clips), return_index=True)[1]
    return np.bincount(labels[first_frames], minlength=classes).astype(np.int64)


def balanced_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Inverse-frequency class weights ``n / (classes * n_c)``, as scikit-learn's ``balanced`` (the notes' choice).

    Their mean over the frames is 1. A class without frames gets 0: it takes no part in training.
    """
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 0).astype(np.float32)


class EmotionLoss(nn.Module):
    """Cross entropy over emotions, with the corrections for rare ones that were asked for.

    With ``clip_counts`` it is the balanced softmax of Ren et al. 2020 (arXiv 2007.10740): the logarithm of each class's
    frequency is added to its logit in training only, so that the network itself learns scores as if all classes were
    equally frequent. With ``class_weights`` each sample's loss is multiplied by its class's weight.
    """

    log_prior: torch.Tensor | None
    class_weights: torch.Tensor | None

    def __init__(
        self,
        *,
        label_smoothing: float = 0.0,
        clip_counts: npt.NDArray[np.int64] | None = None,
        class_weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Take class frequencies as arrays with one entry a class; None leaves that correction out."""
        super().__init__()
        self.label_smoothing = label_smoothing
        prior = None
        if clip_counts is not None:
            # A class that was never seen counts as one clip: log 0 would make its logit useless for ever.
            seen = torch.as_tensor(np.maximum(clip_counts, 1), dtype=torch.float32)
            prior = (seen / seen.sum()).log()
        weights = None if class_weights is None else torch.as_tensor(class_weights, dtype=torch.float32)
        self.register_buffer("log_prior", prior, persistent=False)
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, logits: torch.Tensor, labels: torch.Tensor, sample_weights: torch.Tensor) -> torch.Tensor:
        """Mean loss of a batch: a scalar ≥ 0, lower is better.

        Args:
            logits: N × classes, any floating type (computed in float32).
            labels: N class numbers, int64.
            sample_weights: N factors, float32; the mean is over N, so that a weight means the same in every batch.
        """
        scores = logits.float()
        if self.log_prior is not None:
            scores = scores + self.log_prior
        losses = functional.cross_entropy(scores, labels, reduction="none", label_smoothing=self.label_smoothing)
        if self.class_weights is not None:
            losses = losses * self.class_weights[labels]
        return (losses * sample_weights).mean()
