"""The network: a timm backbone, batch norm and one linear layer, with the parts frozen that shall stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import torch
from timm.models import group_parameters
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from petmood.errors import UserError

Freeze = Literal["none", "stem", "all-but-last-block", "backbone"]

#: Hidden width of the attention over a clip's frames.
_ATTENTION_WIDTH = 64
#: The stem ends with the stage whose output has this share of the picture's height and width.
_STEM_REDUCTION = 8


class Answers(NamedTuple):
    """What the network says of N pictures."""

    logits: torch.Tensor
    """One score an emotion: N × classes."""
    attention: torch.Tensor | None
    """How much a clip's answer should look at each picture, N scores before a softmax over the clip's frames; None if
    all count the same."""


class FrameAttention(nn.Module):
    """Which frames of a clip tell its emotion: the gated attention of Ilse et al. 2018 (arXiv 1802.04712)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.content = nn.Linear(features, _ATTENTION_WIDTH)
        self.gate = nn.Linear(features, _ATTENTION_WIDTH)
        self.score = nn.Linear(_ATTENTION_WIDTH, 1, bias=False)  # a bias would not change the softmax

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Scores, N, of normalised features, N × features."""
        gated = self.content(features).tanh() * self.gate(features).sigmoid()
        scores: torch.Tensor = self.score(gated).squeeze(1)
        return scores


class EmotionNet(nn.Module):
    """Pictures → one score (logit) an emotion.

    The backbone pools globally (whole-body shape, not local texture), as in the notes: pooling → batch norm → linear.
    Frozen parameters need no gradient; frozen batch norms keep their statistics, whatever ``train()`` says. With
    ``freeze_norms`` those are all batch norms, whose weight and bias may still be trained.

    With attention it also says which frames of a clip to look at. As the head is linear, the attention-weighted mean of
    the frames' features gives the same answer as that of their logits, so that single pictures need no other path.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        classes: int,
        freeze: Freeze = "none",
        freeze_norms: bool = False,
        dropout: float = 0.0,
        attention: bool = False,
    ) -> None:
        """Put a head for ``classes`` emotions on a backbone whose output is N × ``head_hidden_size``.

        Raises:
            UserError: the stem or the last block is asked for and the backbone does not say what its blocks are.
        """
        super().__init__()
        features = feature_count(backbone)
        self.backbone = backbone
        self.norm = nn.BatchNorm1d(features)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(features, classes)
        self.attention = FrameAttention(features) if attention else None
        self.freeze: Freeze = freeze
        self.freeze_norms = freeze_norms
        for parameter in self._frozen_parameters():
            parameter.requires_grad_(False)
        # Lightning keeps the mode in which it finds each module, so that frozen norms must be in theirs from the start.
        self.train()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits, N × classes, of normalised images, float N × 3 × height × width."""
        logits: torch.Tensor = self.classifier(self.dropout(self.norm(self.backbone(images))))
        return logits

    def answers(self, images: torch.Tensor) -> Answers:
        """Logits and attention of normalised images, float N × 3 × height × width."""
        features = self.norm(self.backbone(images))
        attention = self.attention(features) if self.attention is not None else None
        return Answers(self.classifier(self.dropout(features)), attention)

    def train(self, mode: bool = True) -> EmotionNet:
        """Switch to training (or evaluation) mode, except for the frozen parts."""
        super().train(mode)
        for module in self._kept_in_evaluation():
            module.training = False
        return self

    def _kept_in_evaluation(self) -> Iterator[nn.Module]:
        """Modules that must not notice that training goes on: frozen norms, and all else that is random in there."""
        if self.freeze == "backbone":
            yield from self.backbone.modules()
        elif self.freeze == "stem":
            yield from stem(self.backbone)
        elif self.freeze == "all-but-last-block":
            for module in self.backbone.modules():
                own = list(module.parameters(recurse=False))
                if isinstance(module, _BatchNorm) and own and not any(p.requires_grad for p in own):
                    yield module
        if self.freeze_norms:
            # Looked for each time: several GPUs have other modules in their place.
            yield from (module for module in self.modules() if isinstance(module, _BatchNorm))

    def _frozen_parameters(self) -> Iterable[nn.Parameter]:
        if self.freeze == "none":
            return []
        if self.freeze == "backbone":
            return self.backbone.parameters()
        if self.freeze == "stem":
            return [parameter for module in stem(self.backbone) for parameter in module.parameters(recurse=False)]
        last = last_block(self.backbone)
        return (parameter for name, parameter in self.backbone.named_parameters() if name not in last)


def feature_count(backbone: nn.Module) -> int:
    """Width of what a timm backbone without classifier gives; for some families it is not that of the last block."""
    width = getattr(backbone, "head_hidden_size", None) or getattr(backbone, "num_features", None)
    assert isinstance(width, int), "every timm model has num_features"
    return width


def stem(backbone: nn.Module) -> list[nn.Module]:
    """Modules of a timm backbone, each by itself, from the input to the end of the stage that leaves an eighth.

    These are ``blocks.2`` and all before it in an EfficientNet, ``layer2`` in a ResNet, ``stages.1`` in a ConvNeXt.
    None of them depends on a module after them, so that without gradients they need no memory for a backward pass.

    Raises:
        UserError: the backbone has no such stage, as a vision transformer, which starts at a sixteenth.
    """
    last = _last_of_stem(backbone)
    if last is None:
        raise UserError(
            f"freeze 'stem' is not possible with {type(backbone).__name__}, which has no stage at an eighth of the "
            "picture's size; allowed are none, all-but-last-block and backbone.",
            hint="use --freeze none or --freeze all-but-last-block",
        )
    found: list[nn.Module] = []
    reached = False
    for name, module in backbone.named_modules():  # in the order in which timm builds a network, from its input on
        within = name == last or name.startswith(f"{last}.")
        if reached and not within:
            break
        reached = within
        around = name == "" or last.startswith(f"{name}.")
        if within or not around:
            found.append(module)
    return found


def _last_of_stem(backbone: nn.Module) -> str | None:
    """Name of the module after which an eighth of the picture's size is left, if the backbone says it."""
    described = getattr(backbone, "feature_info", None) or ()
    names = [stage["module"] for stage in described if stage["reduction"] == _STEM_REDUCTION]
    return names[-1] if names and names[-1] in dict(backbone.named_modules()) else None


def last_block(backbone: nn.Module) -> frozenset[str]:
    """Names of the parameters of a timm backbone's last stage and of all that follows it.

    Raises:
        UserError: the backbone does not say what its blocks are.
    """
    describe = getattr(backbone, "group_matcher", None)
    matcher = describe(coarse=True) if callable(describe) else None
    groups = group_parameters(backbone, matcher) if matcher else {}
    if len(groups) < 2:
        raise UserError(
            f"freeze 'all-but-last-block' is not possible with {type(backbone).__name__}, which names no blocks; "
            "allowed are none and backbone.",
            hint="use --freeze none or --freeze backbone",
        )
    order = sorted(groups)
    last = list(groups[order[-1]])
    # timm puts what no pattern matches (a convolution after the blocks) into a group of its own, behind all others.
    if not any(_is_matched(matcher, name) for name in last):
        last += groups[order[-2]]
    return frozenset(last)


def _is_matched(matcher: object, name: str) -> bool:
    if not isinstance(matcher, dict):
        return True
    for pattern in matcher.values():
        patterns = [pattern] if isinstance(pattern, str) else [entry[0] for entry in pattern or ()]
        if any(re.match(text, name) for text in patterns):
            return True
    return False
