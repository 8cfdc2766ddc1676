"""Steps: the optimizer, its learning rate over time, and the device and number format that it computes in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from petmood.errors import UserError
from petmood.recipes import TrainSettings

Device = Literal["cpu", "cuda"]


def learning_rate_factor(settings: TrainSettings, steps: int) -> Callable[[int], float]:
    """Share of the largest learning rate, 0 to 1, at each step from 0: warm-up, then constant or a half cosine to zero.

    Args:
        settings: of the training.
        steps: of the whole training.
    """
    warmup = round(settings.warmup_epochs * steps / settings.epochs)

    # A plain function: of an object the scheduler would put the state into each checkpoint.
    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return factor


def build_optimizer(net: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Adam or AdamW over the trainable parameters; biases and norms are not pulled towards zero."""
    trainable = [parameter for parameter in net.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.learning_rate)


def choose_device(device: str) -> Device:
    """The device asked for; ``auto`` is a CUDA GPU if there is one.

    Raises:
        UserError: cuda is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise UserError("device cuda is not available; found is cpu.", hint="use --device auto or --device cpu")
    return "cuda" if available and device != "cpu" else "cpu"


def choose_precision(precision: str, device: Device) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    """Lightning's name of the number format; never a short one on a processor, where it is slower.

    Raises:
        UserError: a short format is asked for on a processor.
    """
    if device == "cpu":
        if precision in {"bf16-mixed", "16-mixed"}:
            raise UserError(f"precision {precision} needs a GPU; the device is cpu, which allows auto and 32.")
        return "32-true"
    if precision == "auto":
        # Older GPUs emulate bfloat16, at a loss.
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    return "32-true" if precision == "32" else "bf16-mixed" if precision == "bf16-mixed" else "16-mixed"
