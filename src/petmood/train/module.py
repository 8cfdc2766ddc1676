"""What Lightning needs to know: loss, scores and optimizer around the network, and nothing else."""

from __future__ import annotations

import math
import random
from typing import Any, NoReturn

import lightning
import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from petmood.errors import RunError
from petmood.loading import Batch, Samples
from petmood.losses import EmotionLoss
from petmood.metrics import clip_means, macro_f1
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.train.optimise import build_optimizer, learning_rate_factor

#: Reading the loss back makes a GPU wait, so that only every so many steps it is looked at.
_LOOK_EVERY = 20


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

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Logits, N × classes, of prepared squares, uint8 N × 3 × size × size."""
        images = self.preprocessing.normalise(pixels)
        logits: torch.Tensor = self.net(images if self.settings.channels_last else images.contiguous())
        return logits

    def on_train_batch_start(self, batch: Batch, index: int) -> None:
        """Let all that is random in a step follow from the step's number alone: a resumed training repeats it exactly."""
        state = np.random.SeedSequence((self.settings.seed, self.current_epoch, index, self.global_rank))
        seed = int(state.generate_state(1)[0])
        torch.manual_seed(seed)
        random.seed(seed)

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """Loss of one batch, scaled so that its mean over the processes is that over all pictures of the step.

        Raises:
            RunError: it is infinite or not a number.
        """
        loss: torch.Tensor = self.loss(self(batch.pixels), batch.labels, batch.weights)
        if index % _LOOK_EVERY == 0 and not torch.isfinite(loss):
            _diverged(self.settings, f"training loss {loss.item()}", self.current_epoch)
        count = len(batch.labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=count, sync_dist=True)
        return loss * (count * self.trainer.world_size / batch.total)

    def validation_step(self, batch: Batch) -> None:
        """Keep the logits of this process's part of the pictures."""
        self.val_answers.append((batch.rows.cpu(), self(batch.pixels).float().cpu()))

    def on_validation_epoch_end(self) -> None:
        """Scores of the whole validation split."""
        logits = _in_order(self.val_answers, self.trainer.world_size)
        self.val_answers.clear()
        scores = validation_scores(logits, self.val_labels, self.val_clips)
        if not math.isfinite(scores["val_loss"]):
            _diverged(self.settings, f"validation loss {scores['val_loss']}", self.current_epoch)
        self.log_dict(scores, prog_bar=True, batch_size=len(logits))

    def configure_optimizers(self) -> dict[str, Any]:
        """Optimizer over what is not frozen, with the schedule per step."""
        optimizer = build_optimizer(self.net, self.settings)
        factor = learning_rate_factor(self.settings, self.steps)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _in_order(answers: list[tuple[torch.Tensor, torch.Tensor]], world: int) -> torch.Tensor:
    """Logits of all pictures of the split, by row, from those of every process."""
    if world > 1:
        parts: list[Any] = [None] * world
        torch.distributed.all_gather_object(parts, answers)
        answers = [answer for part in parts for answer in part]
    rows = torch.cat([rows for rows, _ in answers])
    return torch.cat([logits for _, logits in answers])[rows.argsort()]


def validation_scores(logits: torch.Tensor, labels: npt.NDArray[np.int64], clips: list[str]) -> dict[str, float]:
    """The three scores by which training is steered.

    Args:
        logits: N × classes, float32.
        labels: N class numbers.
        clips: clip of each of the N frames.

    Returns:
        val_loss: cross entropy of the probabilities that prediction will use, without weights or smoothing (as in the
        notes; lower is better); val_accuracy over frames; val_clip_macro_f1 over clips (both 0 to 1, higher is better).
    """
    truth = torch.from_numpy(labels)
    probabilities = logits.softmax(dim=1).numpy()
    gathered = clip_means(clips, probabilities, labels)
    answers = gathered.probabilities.argmax(axis=1)
    return {
        "val_loss": float(functional.cross_entropy(logits, truth)),
        "val_accuracy": float((logits.argmax(dim=1) == truth).float().mean()),
        "val_clip_macro_f1": macro_f1(gathered.labels, answers, logits.shape[1]),
    }


def _diverged(settings: TrainSettings, what: str, epoch: int) -> NoReturn:
    shorter = " or --precision 32" if settings.precision in {"auto", "16-mixed"} else ""
    raise RunError(
        f"{what} in epoch {epoch + 1} is no finite number: training has diverged.",
        hint=f"try --learning-rate {settings.learning_rate / 5:.1g}, a longer --warmup-epochs{shorter}",
    )
