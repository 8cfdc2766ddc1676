"""What a training starts from: a new network on first weights, or the network of an earlier run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import timm
from torch import nn

from petmood import labels
from petmood.bundle import BundleInfo, RunOrigin, load_bundle
from petmood.errors import UserError
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes import TrainSettings
from petmood.runfolder import origin_of
from petmood.weights import create_backbone
from petmood.workspace import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """A network before its first step."""

    net: EmotionNet
    preprocessing: Preprocessing
    origin: RunOrigin | None
    """The run that its weights come from, if any."""
    notes: tuple[str, ...] = ()
    """What the user should know about what was taken over."""


def new_start(settings: TrainSettings, classes: Sequence[str], workspace: Workspace) -> Start:
    """The network of a training that has not made a step; ``settings`` are resolved by ``runfolder.resolve_init``.

    Raises:
        UserError: weights cannot be had; the run to start from is damaged, or has other classes and keeps its head.
    """
    if not settings.init:
        return _assembled(settings, classes, pretrained=settings.pretrained)
    folder = Path(settings.init)
    bundle = load_bundle(folder)
    if not settings.new_head:
        _check_head(bundle.info, classes, folder)
    net = _net(_with_drop_path(bundle.net.backbone, settings), classes, settings)
    if not settings.new_head:
        net.norm.load_state_dict(bundle.net.norm.state_dict())
        net.classifier.load_state_dict(bundle.net.classifier.state_dict())
    left = f"{folder} answers clips by attention to some frames; this training takes the mean of all of them"
    return Start(
        net=net,
        preprocessing=bundle.info.preprocessing,
        origin=origin_of(folder, workspace),
        notes=(left,) if bundle.info.pool == "attention" else (),
    )


def empty_start(settings: TrainSettings, classes: Sequence[str], origin: RunOrigin | None) -> Start:
    """The network that a checkpoint's weights go into; the run that it once started from is not needed any more."""
    pretrained = "none" if settings.init else settings.pretrained
    return dataclasses.replace(_assembled(settings, classes, pretrained=pretrained), origin=origin)


def _assembled(settings: TrainSettings, classes: Sequence[str], *, pretrained: str) -> Start:
    backbone = create_backbone(
        settings.model, pretrained=pretrained, image_size=settings.image_size, drop_path=settings.drop_path
    )
    preprocessing = Preprocessing.of_backbone(
        timm.data.resolve_model_data_config(backbone), image_size=settings.image_size, fit=settings.fit
    )
    return Start(net=_net(backbone, classes, settings), preprocessing=preprocessing, origin=None)


def _with_drop_path(backbone: nn.Module, settings: TrainSettings) -> nn.Module:
    """The backbone of a run, so made that it leaves out blocks in training if that is asked for."""
    if not settings.drop_path:
        return backbone
    other = create_backbone(settings.model, image_size=settings.image_size, drop_path=settings.drop_path)
    other.load_state_dict(backbone.state_dict())
    return other


def _net(backbone: nn.Module, classes: Sequence[str], settings: TrainSettings) -> EmotionNet:
    return EmotionNet(
        backbone,
        classes=len(classes),
        freeze=settings.freeze,
        freeze_norms=settings.freeze_norms,
        dropout=settings.dropout,
    )


def _check_head(info: BundleInfo, classes: Sequence[str], folder: Path) -> None:
    if labels.fingerprint(classes) != info.labels:
        raise UserError(
            f"the data has the classes {', '.join(classes)}; the head of {folder} knows {', '.join(info.classes)}.",
            hint="give --new-head to take its backbone alone",
        )
