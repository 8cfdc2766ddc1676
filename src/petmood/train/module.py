"""What Lightning needs to know: loss, scores and optimizer around the network, and nothing else."""

from __future__ import annotations

import math
import random
from typing import Any, NoReturn

import lightning
import numpy as np
import torch
from torch.optim import lr_scheduler

from petmood.errors import RunError
from petmood.loading import Batch, Samples
from petmood.losses import EmotionLoss, validation_scores
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.train.augment import BatchAugmentation
from petmood.train.epochs import DIRECTION
from petmood.train.optimise import (
    build_optimizer,
    build_plateau,
    choose_device,
    compile_net,
    learning_rate_factor,
)

#: Reading the loss back makes a GPU wait, so that only every so many steps it is looked at.
_LOOK_EVERY = 20
#: Looks in a row that must find no finite loss in 16 bits: a step that overflows is passed over there, by design.
_OVERFLOWS = 3


class EmotionModule(lightning.LightningModule):
    """Loss, scores and optimizer around a network; the loop is Lightning's."""

    def __init__(
        self, net: EmotionNet, loss: EmotionLoss, preprocessing: Preprocessing, settings: TrainSettings, val: Samples
    ) -> None:
        super().__init__()
        self.net = net
        self.loss = loss
        self.preprocessing = preprocessing
        self.settings = settings
        #: Of the whole training; told by the loop. Lightning's own estimate would make it forget where in an epoch a
        #: checkpoint stands (Lightning-AI/pytorch-lightning#20550).
        self.steps = 0
        self.val_clips, self.val_labels = val.clips, val.labels
        self.val_answers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.augmentation = BatchAugmentation(settings, preprocessing, classes=net.classifier.out_features)
        self._overflows = 0
        self._plateau: lr_scheduler.ReduceLROnPlateau | None = None
        self._index = 0
        if settings.compile:
            compile_net(net, choose_device(settings.device))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits, N × classes, of prepared squares, uint8 N × 3 × size × size; never by the compiled network.

        Validation is short beside training, and batches of other sizes would each be compiled anew.
        """
        return self.net.forward(self._arranged(self.preprocessing.normalise(pixels)))

    def _arranged(self, images: torch.Tensor) -> torch.Tensor:
        return images if self.settings.channels_last else images.contiguous()

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Let all that is random in a step follow from its number alone: a resumed training repeats it exactly."""
        state = np.random.SeedSequence((self.settings.seed, self.current_epoch, index, self.global_rank))
        seed = int(state.generate_state(1)[0])
        torch.manual_seed(seed)
        random.seed(seed)

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """Loss of one batch, scaled so that its mean over the processes is that over all pictures of the step.

        Raises:
            RunError: it is infinite or not a number, or the network could not be compiled.
        """
        self._index = index
        shown = self.augmentation(batch)
        loss: torch.Tensor = self.loss(self._trained(self._arranged(shown.images)), shown.targets, shown.weights)
        if index % _LOOK_EVERY == 0:
            self._look_at(loss)
        count = len(batch.labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=count, sync_dist=True)
        return loss * (count * self.trainer.world_size / batch.total)

    def _trained(self, images: torch.Tensor) -> torch.Tensor:
        """Logits by the network as it is trained, compiled if that was asked for."""
        if not self.settings.compile:
            logits: torch.Tensor = self.net(images)
            return logits
        try:
            logits = self.net(images)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise RunError(f"the network cannot be compiled: {reason[:300]}", hint="leave out --compile") from None
        return logits

    def _look_at(self, loss: torch.Tensor) -> None:
        """Stop if a loss is no finite number; in 16 bits not at the first time, because such a step is passed over."""
        if torch.isfinite(loss):
            self._overflows = 0
            return
        self._overflows += 1
        if self._overflows >= (_OVERFLOWS if self.trainer.precision == "16-mixed" else 1):
            diverged(self.settings, f"training loss {loss.item()}", self.current_epoch)

    def backward(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - Lightning's signature
        """Gradients, so that those of a step are of the mean of its batches also where an epoch has too few for it."""
        size, number = self.settings.accumulate, self.trainer.num_training_batches
        whole = math.isinf(number) or self._index < number - number % size
        super().backward(loss if whole else loss * (size / (number % size)), *args, **kwargs)

    def validation_step(self, batch: Batch) -> None:
        """Keep the logits of this process's part of the pictures."""
        self.val_answers.append((batch.rows.cpu(), self(batch.pixels).float().cpu()))

    def on_validation_epoch_end(self) -> None:
        """Scores of the whole validation split."""
        logits = _in_order(self.val_answers, self.trainer.world_size)
        self.val_answers.clear()
        scores = validation_scores(logits, self.val_labels, self.val_clips)
        if not math.isfinite(scores["val_loss"]):
            diverged(self.settings, f"validation loss {scores['val_loss']}", self.current_epoch)
        self.log_dict(scores, prog_bar=True, batch_size=len(logits))
        if self._plateau:
            # Here, not where Lightning would: its turn comes after the checkpoint of the epoch's end was written.
            self._plateau.step(scores[self.settings.stop_on])

    def configure_optimizers(self) -> tuple[list[torch.optim.Optimizer], list[dict[str, Any]]]:
        """Optimizer over what is not frozen, with what changes its learning rate."""
        settings = self.settings
        optimizer = build_optimizer(self.net, settings, precision=str(self.trainer.precision))
        if settings.schedule == "plateau":
            rising, self._plateau = build_plateau(optimizer, settings, self.steps, mode=DIRECTION[settings.stop_on])
            # Lightning keeps the state of both; when the second has its turn is decided here.
            told = {"scheduler": self._plateau, "interval": "epoch", "reduce_on_plateau": False}
            return [optimizer], [{"scheduler": rising, "interval": "step"}, told]
        schedule = lr_scheduler.LambdaLR(optimizer, learning_rate_factor(settings, self.steps))
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    def lr_scheduler_step(self, scheduler: Any, metric: object) -> None:  # noqa: ANN401 - torch's have no common type
        """Let a schedule make its step, unless it is one that has made it already, after the validation."""
        if scheduler is not self._plateau:
            scheduler.step()


def _in_order(answers: list[tuple[torch.Tensor, torch.Tensor]], world: int) -> torch.Tensor:
    """Logits of all pictures of the split, by row, from those of every process."""
    if world > 1:
        parts: list[Any] = [None] * world
        torch.distributed.all_gather_object(parts, answers)
        answers = [answer for part in parts for answer in part]
    rows = torch.cat([rows for rows, _ in answers])
    return torch.cat([logits for _, logits in answers])[rows.argsort()]


def diverged(settings: TrainSettings, what: str, epoch: int) -> NoReturn:
    """Stop a training whose numbers have run away.

    Raises:
        RunError: always; it names what is no finite number (``what``) in which epoch (from 0), and what to try.
    """
    shorter = " or --precision 32" if settings.precision in {"auto", "16-mixed"} else ""
    raise RunError(
        f"{what} in epoch {epoch + 1} is no finite number: training has diverged.",
        hint=f"try --learning-rate {settings.learning_rate / 5:.1g}, a longer --warmup-epochs{shorter}",
    )
