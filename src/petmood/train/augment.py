"""Random changes of a whole training batch on the device, after the loader's: colours, shapes, blanks and mixtures.

All chance comes from torch's and Python's global generators, which are seeded at each step, so that a training that
goes on within an epoch makes the same changes.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from timm.data.random_erasing import RandomErasing
from torch.nn import functional
from torchvision.transforms import v2

from petmood.loading import Batch
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings

#: Pictures that are changed by the same two operations: few enough that a batch has many, and that a GPU has work.
_ALIKE = 8
#: Operations of RandAugment on each picture, as in the paper.
_OPERATIONS = 2
#: A share of weight that counts as none.
_NONE = 1e-12


class Shown(NamedTuple):
    """What the network is shown of a batch, and what it should answer."""

    images: torch.Tensor
    """Normalised: float32, N × 3 × size × size, channels last in memory."""
    targets: torch.Tensor
    """Class numbers, int64, N; of mixed pictures the share of each class, float32, N × classes."""
    weights: torch.Tensor
    """Weight of each picture in the loss: float32, N."""


class _Upright(v2.RandAugment):
    """RandAugment whose two operations together turn a picture by 30 degrees at most: an animal stands on its feet."""

    _AUGMENTATION_SPACE: ClassVar[dict[str, Any]] = {
        **v2.RandAugment._AUGMENTATION_SPACE,
        "Rotate": (lambda number, height, width: torch.linspace(0, 30 / _OPERATIONS, number), True),
    }


class BatchAugmentation:
    """What a training changes in its batches; nothing where the settings ask for nothing.

    RandAugment: Cubuk et al. 2019 (arXiv 1909.13719), by torchvision; it mirrors nothing. Random erasing: Zhong et al.
    2017 (arXiv 1708.04896), by timm. Mixup: Zhang et al. 2017 (arXiv 1710.09412), and CutMix: Yun et al. 2019 (arXiv
    1905.04899), by torchvision.
    """

    def __init__(self, settings: TrainSettings, preprocessing: Preprocessing, *, classes: int) -> None:
        self.preprocessing = preprocessing
        self.classes = classes
        self.erased = settings.random_erasing
        self.changes = (
            _Upright(
                _OPERATIONS,
                settings.rand_augment,
                interpolation=v2.InterpolationMode.BILINEAR,
                # The border that turning leaves is as that of padding: zero to the network.
                fill=[255 * value for value in preprocessing.mean],
            )
            if settings.rand_augment
            else None
        )
        mixtures = [
            kind(alpha=alpha) for kind, alpha in ((v2.MixUp, settings.mixup), (v2.CutMix, settings.cutmix)) if alpha
        ]
        self.mixture = v2.RandomChoice(mixtures) if mixtures else None

    def __call__(self, batch: Batch) -> Shown:
        """The batch as the network is to be shown it."""
        images = self.preprocessing.normalise(self._changed(batch.pixels))
        if self.erased:
            # In place; the mean colour is zero here.
            images = RandomErasing(self.erased, mode="const", device=images.device)(images)
        targets, weights = batch.labels, batch.weights
        if self.mixture is not None:
            images, targets, weights = self._mixed(images, targets, weights)
        return Shown(images.contiguous(memory_format=torch.channels_last), targets, weights)

    def _changed(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels, uint8, after RandAugment: each group of pictures in a way of its own, each epoch in other groups."""
        if self.changes is None:
            return pixels
        return torch.cat([self.changes(part) for part in pixels.split(_ALIKE)])

    def _mixed(
        self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Each picture with its neighbour in the batch; what counts more for the loss is more of the mixed target."""
        assert self.mixture is not None
        weighted = functional.one_hot(labels, self.classes) * weights[:, None]
        images, weighted = self.mixture(images, weighted)
        weights = weighted.sum(dim=1)
        return images, weighted / weights.clamp_min(_NONE)[:, None], weights
