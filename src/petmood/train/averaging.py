"""A running mean of the weights, which is what is judged and kept."""

from __future__ import annotations

from lightning.pytorch.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from petmood.train.optimise import Device


def averaging(decay: float, device: Device) -> WeightAveraging:
    """The callback that keeps ``decay`` of the mean at each step and adds the rest from the new weights.

    It starts as the weights after the first step, and holds the statistics of batch norms too. Validation, checkpoints
    and the weights at the end are the mean's.

    Two things are not as in Lightning's own callback for this. It puts the mean where the network is when a training is
    set up, which is before it is moved to the GPU; every step would then copy all weights to main memory. And it adds
    two products, so that weights that never change (frozen ones) would drift by rounding; this one moves the mean by
    a part of the difference.
    """
    return WeightAveraging(
        device="cuda" if device == "cuda" else None, use_buffers=True, multi_avg_fn=get_ema_multi_avg_fn(decay)
    )
