"""Progressive resizing: small squares in the first epochs, which are faster, then the full size (arXiv 2104.00298)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from petmood.errors import UserError
from petmood.recipes import TrainSettings


def square_sizes(settings: TrainSettings, full: int) -> Callable[[int], int]:
    """Pixels of the square in each epoch (from 0) of a training.

    Args:
        settings: of the training; ``small_size`` and ``small_epochs``.
        full: pixels of the square that the model will see for ever after.
    """
    # Rounded, as 0.7 · 10 is a little more than 7.
    small = round(settings.small_epochs * settings.epochs, 6) if settings.small_size else 0.0
    return lambda epoch: settings.small_size if epoch < small else full


def check_small_size(settings: TrainSettings, full: int, backbone: nn.Module) -> None:
    """Refuse what progressive resizing cannot do.

    Raises:
        UserError: the small square is not smaller than the full one, or the network takes pictures of one size only.
    """
    if not settings.small_size:
        return
    if settings.small_size >= full:
        raise UserError(
            f"small size {settings.small_size} is not smaller than the full size; allowed is less than {full} pixels.",
            hint="give a smaller --small-size (such as 160 for 224), or 0 for the full size from the start",
        )
    described = getattr(backbone, "pretrained_cfg", None) or {}
    if described.get("fixed_input_size"):
        raise UserError(
            f"model {settings.model} takes pictures of one size only ({full} pixels); "
            f"small size {settings.small_size} is not possible with it.",
            hint="leave out --small-size, or take a convolutional --model such as efficientnet_b0",
        )
