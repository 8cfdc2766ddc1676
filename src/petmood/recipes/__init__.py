"""Every setting of training, declared once, and the recipes that ship with petmood: one YAML file each.

The settings stand apart from ``train`` so that the command line can show them without importing torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from petmood.errors import UserError
from petmood.settings import SETTINGS, build, load_yaml

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class TrainSettings:
    """Settings of ``petmood train``; the defaults are those of the recipe ``default``."""

    method: Literal["fine-tune", "probe"] = "fine-tune"
    """Train by gradient steps through the network, or only fit the classifier to the features of the backbone as it is,
    which takes seconds once these are computed."""
    pool: Literal["frames", "clip"] = "frames"
    """Probe: judge each frame and take the mean of a clip, or learn which frames of it to look at (attention)."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Probe: parts of the training clips, divided by group, on which the strength of its regularisation is chosen."""
    model: str = "efficientnet_b0"
    """Backbone: any timm model name."""
    image_size: Count = 0
    """Pixels of the square that the network sees; 0 takes the backbone's own size."""
    fit: Literal["pad", "squash", "crop"] = "pad"
    """How a crop fills that square: pad keeps the whole body and its proportions, squash only the whole body, crop only
    the proportions."""
    pretrained: str = "hub"
    """First weights of the backbone: hub (timm's), offline (a package), none, or the path of a .safetensors or .pth."""
    init: str = ""
    """Folder of a run to start from, instead of first weights: its backbone and its head. Network, size and fit are
    those of that run."""
    new_head: bool = False
    """With --init: take the backbone alone and train a new head."""
    freeze: Literal["none", "stem", "all-but-last-block", "backbone"] = "none"
    """Parts of the backbone that keep their first weights; stem is all stages before an eighth of the picture's size is
    left: two thirds of the memory traffic of a step, a fiftieth of the weights."""
    freeze_norms: bool = False
    """Batch norms, that of the head too, keep the statistics that they have: for small batches, after a probe."""
    epochs: Positive = 15
    """Most passes over the training pictures; training may stop earlier, see patience."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Pictures of one batch, over all devices together."""
    accumulate: Positive = 1
    """Batches whose gradients are added up before a step, for larger steps than fit into memory."""
    clip_gradient: Annotated[float, Field(ge=0)] = 0.0
    """Largest norm of the gradient; 0 does not limit it."""
    optimizer: Literal["adam", "adamw"] = "adamw"
    """Rule of the step."""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    """Largest learning rate."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of the learning rate from each block of the backbone to the one before it; the head has the full rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    """Pull of the weights towards zero; biases and norms are left out."""
    schedule: Literal["constant", "cosine", "plateau"] = "cosine"
    """Learning rate after the warm-up: unchanged, falling to zero along a cosine (anew at each step), or a fifth of it
    whenever `stop_on` has not improved for half of `patience` epochs."""
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    """Epochs in which the learning rate rises from zero; parts of an epoch are allowed."""
    ema: Share = 0.0
    """Share of the past in a running mean of the weights, per step; the mean is judged and kept. 0 keeps no mean."""
    label_smoothing: Share = 0.1
    """Share of the target that is spread over all classes: evenly, but with balanced softmax by their shares, because
    even parts would make far too much of the rare emotions there."""
    frames_per_clip: Count = 2
    """Frames of each clip that an epoch shows, other ones each time; 0 shows all chosen frames in every epoch."""
    sampling: Literal["natural", "sqrt", "balanced"] = "natural"
    """How often clips of an emotion are shown: each once an epoch, by the square root of how many there are, or all
    emotions equally often."""
    loss: Literal["cross_entropy", "balanced_softmax", "focal"] = "balanced_softmax"
    """Balanced softmax corrects for rare emotions by their number of clips; focal looks at the hard pictures."""
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
    """How strongly the focal loss passes over easy pictures; 0 is cross entropy."""
    class_weights: Literal["none", "balanced", "sqrt", "effective"] = "none"
    """Weight of an emotion in the loss: by inverse frequency (as the notes did), its square root, or the effective
    number of clips."""
    dropout: Share = 0.0
    """Share of the features that is left out at random before the last layer."""
    drop_path: Share = 0.0
    """Stochastic depth: share of pictures for which the last block is left out at random; less for those before it."""
    horizontal_flip: bool = True
    """Mirror every second training picture, left to right."""
    min_scale: Annotated[float, Field(gt=0, le=1)] = 0.7
    """Smallest share of the picture's area that random cropping keeps; 1 crops nothing."""
    rand_augment: Annotated[int, Field(ge=0, le=30)] = 0
    """RandAugment: magnitude of two random changes of colour or shape of each picture; 0 makes none."""
    random_erasing: Share = 0.0
    """Share of pictures in which a random rectangle is blanked."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Mixup: how evenly pictures are blended in pairs (the alpha of its beta distribution, such as 0.2); 0 does not."""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """CutMix: the same for pasting a rectangle of another picture; with both, each batch has one of them."""
    small_size: Count = 0
    """Pixels of the square in the first epochs, such as 160, for faster steps; 0 takes the full size from the start."""
    small_epochs: Annotated[float, Field(gt=0, lt=1)] = 0.6
    """Share of the epochs that see the small square."""
    stop_on: Literal["val_loss", "val_clip_macro_f1"] = "val_clip_macro_f1"
    """Score that must improve within `patience` epochs."""
    checkpoint_on: Literal["val_accuracy", "val_clip_macro_f1", "val_loss"] = "val_clip_macro_f1"
    """Score whose best epoch becomes the model."""
    patience: Positive = 5
    """Epochs without improvement after which training stops."""
    seed: Count = 0
    """Decides first weights, order and augmentation."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 5.0
    """Minutes between checkpoints within an epoch; there is one at the end of each epoch, too."""
    track: Literal["none", "mlflow", "wandb"] = "none"
    """Tracker that is told beside TensorBoard and metrics.csv (extras mlflow and wandb)."""
    limit: Count = 0
    """At most this many pictures of each split, drawn evenly over the clips, for a quick try; 0 takes all."""
    precision: Literal["auto", "32", "bf16-mixed", "16-mixed"] = "auto"
    """Number format of the computation; auto is bfloat16 or 16 bits on a GPU that has it, else 32 bits."""
    channels_last: bool = True
    """Memory order of the pictures that is faster on GPUs and most processors."""
    compile: bool = False
    """Compile the network first (torch.compile): a minute or two at the start, faster steps on a GPU."""
    threads: Count = 0
    """Threads that decode pictures; 0 means as many as there are cores."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes a CUDA GPU if there is one."""
    devices: Count = 1
    """Devices of each machine; 0 takes all GPUs. Under torchrun or SLURM, the processes that it starts per machine."""
    nodes: Positive = 1
    """Machines, under torchrun or SLURM."""


def recipe_names() -> list[str]:
    """Names of the recipes that ship with petmood."""
    return sorted(entry.name.removesuffix(".yaml") for entry in _folder().iterdir() if entry.name.endswith(".yaml"))


def load_recipe(recipe: str) -> Mapping[str, Any]:
    """Settings by name, as a shipped recipe or a YAML file has them; keys may use - or _.

    Raises:
        UserError: no such recipe or file, unreadable YAML, or a key that is no setting of training.
    """
    path = _path_of(recipe)
    values = {str(key).replace("-", "_"): value for key, value in load_yaml(path).items()}
    known = list(TrainSettings.__dataclass_fields__)
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=2)
            meant = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(known)}"
            raise UserError(f"recipe {path} has the unknown setting {key!r}; {meant}")
    return values


def recipe_settings(recipe: str) -> TrainSettings:
    """The settings of a shipped recipe or a YAML file; what it leaves out has its default.

    Raises:
        UserError: as ``load_recipe``, or a value that is not allowed.
    """
    return build(TrainSettings, load_recipe(recipe), where=f"recipe {recipe}")


def _path_of(recipe: str) -> Path:
    if recipe in recipe_names():
        return Path(str(_folder() / f"{recipe}.yaml"))
    path = Path(recipe)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path
    raise UserError(
        f"recipe {recipe!r} does not exist; shipped are {', '.join(recipe_names())}.",
        hint="give one of these names or the path of a .yaml file",
    )


def _folder() -> Any:  # noqa: ANN401 - Traversable moves between modules across the Python versions that we support
    return resources.files("petmood.recipes")
