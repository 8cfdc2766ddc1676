"""A few steps of a training as it would be, watched: what comes in, what reaches which weights, how long it takes."""

from __future__ import annotations

import copy
import dataclasses
import math
import time

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from petmood.errors import RunError, UserError
from petmood.loading import Batch
from petmood.model import EmotionNet, last_block, stem
from petmood.train.bottleneck import Waiting
from petmood.train.loop import Loop
from petmood.train.trial import out_of_memory

#: Seconds after which no further step is begun, and the steps that are made at least and at most.
_SECONDS, _LEAST, _MOST = 12.0, 3, 60
#: Steps of a brief trial, and pictures of its batches at most.
_BRIEF_STEPS, _BRIEF_BATCH = 2, 8
#: Pictures of a batch at most on a processor, where larger ones are no faster.
_SMALL_BATCH = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """What some steps of a training came to."""

    steps: int
    batch_size: int
    losses: tuple[float, ...]
    """Of each batch, before its step."""
    ignorant: float
    """What the loss of the first batch is if the network prefers no class."""
    unreached: tuple[str, ...]
    """Trainable parameters whose gradient was zero or missing in every step."""
    broken: tuple[str, ...]
    """Trainable parameters whose last gradient was infinite or not a number."""
    thawed: tuple[str, ...]
    """Parameters and norm statistics that should be frozen, and were trained or changed."""
    waiting: float
    """Share of the time in which the network waited for pictures, 0 to 1."""
    rate: float
    """Pictures a second."""
    device_share: float
    """Share of the GPU's memory that the steps took; 0 on a processor."""


def tried(loop: Loop, *, brief: bool = False) -> Trial:
    """Make some steps with a copy of the network; nothing of ``loop`` is changed.

    Raises:
        RunError: the loss was no finite number, or the memory ran out.
    """
    settings = loop.settings
    if brief or loop.device == "cpu":
        most = _BRIEF_BATCH if brief else _SMALL_BATCH
        settings = dataclasses.replace(settings, batch_size=min(most, settings.batch_size), accumulate=1)
    copied = dataclasses.replace(loop, module=copy.deepcopy(loop.module), settings=settings)
    steps = _BRIEF_STEPS if brief else _MOST
    watcher = _Watcher(copied, seconds=math.inf if brief else _SECONDS)
    try:
        copied.try_steps(steps, watcher)
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        hint = "find one that fits: `petmood find-batch-size WORK`"
        raise RunError(f"batch-size {settings.batch_size} does not fit into the memory.", hint=hint) from None
    return watcher.trial()


class _Watcher(Callback):
    """Looks at each step, and ends the training after some seconds."""

    def __init__(self, loop: Loop, *, seconds: float) -> None:
        self.loop = loop
        self.seconds = seconds
        self.waiting = Waiting()
        self.losses: list[float] = []
        self.ignorant = math.nan
        self.ends: list[tuple[float, int]] = []
        """Time and pictures at the end of each batch."""
        self.reached: set[str] = set()
        self.broken: set[str] = set()
        net = loop.module.net
        self.frozen = frozen_tensors(net)
        self.before = {name: value.detach().cpu().clone() for name, value in self.frozen.items()}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.waiting.on_train_start(trainer, pl_module)
        self.started = time.perf_counter()

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        if not self.losses:
            nothing = torch.zeros(len(batch.labels), pl_module.net.classifier.out_features, device=batch.labels.device)
            self.ignorant = float(pl_module.loss(nothing, batch.labels, batch.weights))

    def on_after_backward(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.broken.clear()
        for name, parameter in pl_module.net.named_parameters():
            if parameter.requires_grad and parameter.grad is not None:
                if not torch.isfinite(parameter.grad).all():
                    self.broken.add(name)
                elif parameter.grad.any():
                    self.reached.add(name)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: dict[str, torch.Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        self.waiting.on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        # Lightning has divided it by the number of batches of a step.
        self.losses.append(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        self.ends.append((time.perf_counter(), len(batch.labels)))
        whole_step = len(self.losses) % trainer.accumulate_grad_batches == 0
        if whole_step and len(self.losses) >= _LEAST and time.perf_counter() - self.started > self.seconds:
            trainer.should_stop = True

    def trial(self) -> Trial:
        """What was seen."""
        net = self.loop.module.net
        trainable = {name for name, parameter in net.named_parameters() if parameter.requires_grad}
        moved = {name for name, value in self.frozen.items() if not torch.equal(value.cpu(), self.before[name])}
        # 16 bits overflow at first, by design: the loss scale is found so.
        overflowing = self.loop.device == "cuda" and self.loop.settings.precision in {"auto", "16-mixed"}
        broken = self.broken - self.reached if overflowing else self.broken
        return Trial(
            steps=len(self.losses),
            batch_size=self.loop.settings.batch_size,
            losses=tuple(self.losses),
            ignorant=self.ignorant,
            unreached=tuple(sorted(trainable - self.reached - self.broken - self.frozen.keys())),
            broken=tuple(sorted(broken)),
            thawed=tuple(sorted(moved | (trainable & self.frozen.keys()))),
            waiting=self.waiting.share,
            rate=self._rate(),
            device_share=_device_share(self.loop),
        )

    def _rate(self) -> float:
        """Pictures a second, without the first steps, in which memory is got and algorithms are tried."""
        skipped = min(3, len(self.ends) // 2)
        start = self.ends[skipped - 1][0] if skipped else self.started
        return sum(count for _, count in self.ends[skipped:]) / max(1e-9, self.ends[-1][0] - start)


def frozen_tensors(net: EmotionNet) -> dict[str, torch.Tensor]:
    """Parameters and statistics of norms, by name, that must stay as they are by the network's ``freeze``."""
    names = {name for name, _ in net.backbone.named_parameters()}
    if net.freeze == "none":
        names = set()
    elif net.freeze == "all-but-last-block":
        names -= last_block(net.backbone)
    elif net.freeze == "stem":
        kept = {id(parameter) for module in stem(net.backbone) for parameter in module.parameters(recurse=False)}
        names = {name for name, parameter in net.backbone.named_parameters() if id(parameter) in kept}
    frozen: dict[str, torch.Tensor] = {f"backbone.{name}": net.backbone.get_parameter(name) for name in sorted(names)}
    for name, buffer in net.backbone.named_buffers():
        beside = f"{name.rpartition('.')[0]}.weight"
        if beside in names and not name.endswith("num_batches_tracked"):
            frozen[f"backbone.{name}"] = buffer
    return frozen


def only_last_block(net: EmotionNet) -> None:
    """Let the head and the last block be trained, and nothing else; only the head where blocks cannot be told."""
    try:
        last = last_block(net.backbone)
    except UserError:
        last = frozenset()
    for name, parameter in net.backbone.named_parameters():
        parameter.requires_grad_(name in last)


def _device_share(loop: Loop) -> float:
    if loop.device != "cuda":
        return 0.0
    _, total = torch.cuda.mem_get_info()
    return torch.cuda.max_memory_reserved() / total
