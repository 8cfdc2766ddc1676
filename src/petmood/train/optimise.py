"""Steps: the optimizer, its learning rate over time, and the device and number format that it computes in."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from torch.optim import lr_scheduler

from petmood.errors import UserError
from petmood.model import EmotionNet
from petmood.recipes import TrainSettings

Device = Literal["cpu", "cuda"]

#: Variable that names the compiler which torch.compile calls, and the ones that are tried without it.
_COMPILERS: Mapping[Device, tuple[str, tuple[str, ...]]] = {
    "cpu": ("CXX", ("clang++",) if sys.platform == "darwin" else ("g++",)),
    "cuda": ("CC", ("gcc", "clang")),
}
#: Factor of the learning rate when the score stands still.
_PLATEAU_FACTOR = 0.2


def warmup_steps(settings: TrainSettings, steps: int) -> int:
    """Steps, of ``steps`` in the whole training, in which the learning rate rises."""
    return round(settings.warmup_epochs * steps / settings.epochs)


def learning_rate_factor(settings: TrainSettings, steps: int) -> Callable[[int], float]:
    """Share of the largest learning rate, 0 to 1, at each step from 0: warm-up, then constant or a half cosine to zero.

    Args:
        settings: of the training.
        steps: of the whole training.
    """
    warmup = warmup_steps(settings, steps)

    # A plain function: of an object the scheduler would put the state into each checkpoint.
    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if settings.schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return factor


def build_plateau(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, steps: int, *, mode: Literal["min", "max"]
) -> tuple[lr_scheduler.LinearLR, lr_scheduler.ReduceLROnPlateau]:
    """The warm-up, to be asked at each step, and the reduction to a fifth, to be asked after each epoch for its score.

    Both only multiply the rates that they find, so that neither takes back what the other did. Nothing is reduced
    during the warm-up, when scores say little.

    Args:
        optimizer: whose groups' learning rates are changed.
        settings: of the training.
        steps: of the whole training.
        mode: whether smaller or larger is better of the score.
    """
    steps_up = warmup_steps(settings, steps)
    rising = lr_scheduler.LinearLR(optimizer, start_factor=1 / (steps_up + 1), total_iters=steps_up)
    falling = lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode=mode,
        factor=_PLATEAU_FACTOR,
        patience=max(1, settings.patience // 2) - 1,  # of epochs that may pass before the one that reduces
        threshold=0.0,
        threshold_mode="abs",
        eps=0.0,
    )
    falling.cooldown_counter = math.ceil(settings.warmup_epochs)
    return rising, falling


def build_optimizer(net: EmotionNet, settings: TrainSettings, *, precision: str = "32-true") -> torch.optim.Optimizer:
    """Adam or AdamW over the trainable parameters; biases and norms are not pulled towards zero.

    All parameters of a step are updated by one fused kernel, on a GPU and on a processor. Only together with limited
    gradients in 16 bits this is not possible: the kernel would undo the loss scale after the limit was applied.

    Args:
        net: on the device on which it will be trained.
        settings: of the training.
        precision: Lightning's name of the number format.
    """
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    fused = not (settings.clip_gradient and precision == "16-mixed")
    return kind(_groups(net, settings), lr=settings.learning_rate, fused=fused)


def _groups(net: EmotionNet, settings: TrainSettings) -> list[dict[str, Any]]:
    """Parameters by weight decay; with layer decay first those of the head, then those of the backbone by layer.

    Layer decay: Clark et al. 2020 (arXiv 2003.10555); the layers are timm's.
    """
    if settings.layer_decay == 1:
        return _by_decay(net.parameters(), settings)
    head = [p for name, p in net.named_parameters() if not name.startswith("backbone.")]
    layers = param_groups_layer_decay(
        net.backbone, weight_decay=settings.weight_decay, layer_decay=settings.layer_decay
    )
    # timm's own schedules would read the factor; torch's read each group's rate.
    slowed = [{**group, "lr": settings.learning_rate * group.pop("lr_scale")} for group in layers]
    return _by_decay(head, settings) + slowed


def _by_decay(parameters: Iterable[nn.Parameter], settings: TrainSettings) -> list[dict[str, Any]]:
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]


def compile_net(net: nn.Module, device: Device) -> None:
    """Let a network be compiled at its first call (torch.compile); it stays the same object with the same weights.

    Raises:
        UserError: there is no compiler.
    """
    if device == "cuda" and importlib.util.find_spec("triton") is None:
        raise UserError(
            "compile is asked for, but the package triton is not installed.",
            hint="install torch's build for CUDA, which brings it, or leave out --compile",
        )
    variable, usual = _COMPILERS[device]
    named = os.environ.get(variable, "").split()[:1]
    if not any(map(shutil.which, named or usual)):
        raise UserError(
            f"compile is asked for, but no compiler is found; looked for {' and '.join(named or usual)}.",
            hint=f"install one (apt install g++), name another one in the variable {variable}, or leave out --compile",
        )
    net.compile()


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
