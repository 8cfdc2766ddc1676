"""A trained model as a folder that describes itself: ``bundle.json`` and ``model.safetensors``.

Whoever opens it needs no other setting: the network's name, its classes, the preprocessing, how animals were cut out,
what it was trained on. Nothing in it is executed. On opening, a drawn picture is sent through everything and must give
the scores that it gave when the bundle was saved: changed preprocessing, weights or libraries cannot go unnoticed.

How often each emotion is expected can be told to a trained model (``assume_shares``). The weights on the disk stay
those of training; on opening, the logarithm of the changed shares goes into the bias of the last layer. So the change
is one atomic write, it can be taken back exactly, and whoever opens the bundle gets the same answers.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

import petmood
from petmood import labels
from petmood.errors import UserError
from petmood.geometry import CropGeometry
from petmood.model import EmotionNet
from petmood.pictures import Pixels
from petmood.preprocess import Preprocessing
from petmood.records import Certainty, Pool
from petmood.settings import SETTINGS, build, to_plain
from petmood.weights import create_backbone
from petmood.workspace import Stage, Workspace, drop, read_json, replacing, write_json

#: Raised whenever an older petmood could misread a newer bundle.
FORMAT = 1
INFO_FILE = "bundle.json"
WEIGHTS_FILE = "model.safetensors"

#: Largest difference of the self-check's logits, as a share of their size. It is computed in 32 bits, where processors
#: and releases of torch differ by about a ten-thousandth.
_TOLERANCE = 0.002

#: What `petmood evaluate` leaves in a run; it speaks of the model as it was then.
RESULTS = ("metrics.json", "predictions.parquet", "heatmaps.parquet", "report.html", "report.pdf")

Share = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class RunOrigin:
    """The run that a training started from."""

    run: str
    """Its folder."""
    weights: str
    """``weights_digest`` of it."""
    same_data: bool
    """Whether it was trained on the same data and split; if not, it may have seen what judges now."""


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class BundleInfo:
    """All that ``bundle.json`` says."""

    format: int
    petmood: str
    """Version that made it."""
    model: str
    """timm name of the backbone."""
    classes: tuple[str, ...]
    """English names of the emotions; the position is the class number."""
    labels: str
    """Fingerprint of ``classes`` (``labels.fingerprint``)."""
    preprocessing: Preprocessing
    geometry: CropGeometry
    """How the animals of the training pictures were cut out."""
    data: Mapping[str, str]
    """Fingerprints of the data: stage → what it was made from (index, pack, split)."""
    settings: Mapping[str, Any]
    """The settings of training."""
    epoch: int
    """The epoch whose weights these are, from 1."""
    scores: Mapping[str, float]
    """Validation scores of that epoch."""
    check: tuple[float, ...]
    """Logits of the drawn picture of the self-check, then its attention score if there is one."""
    shares: Mapping[str, Share] = dataclasses.field(default_factory=dict)
    """Emotion → how often the answers expect it, above 0 and in sum 1; empty in bundles that do not say it."""
    trained_shares: Mapping[str, Share] = dataclasses.field(default_factory=dict)
    """The same as it came out of training."""
    training_clips: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Emotion → clips that it was trained on."""
    init: RunOrigin | None = None
    """The run that training started from, if it was one."""
    pool: Pool = "mean"
    """How the frames of a clip become its answer (``metrics.clip_means``); of single pictures it says nothing."""
    certainty: Certainty | None = None
    """How probabilities are to be read, and when an answer is not sure; None until `petmood evaluate` has fitted it."""


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A model that is ready for use: in evaluation mode, on the processor."""

    info: BundleInfo
    net: EmotionNet


def data_fingerprints(workspace: Workspace) -> dict[str, str]:
    """What the pictures, their labels and their split were made from, as stored with a model."""
    stages: tuple[Stage, ...] = ("index", "pack", "split")
    return {stage: str(workspace.require(stage)["made_from"]) for stage in stages}


def geometry_of(workspace: Workspace) -> CropGeometry:
    """How the crops of a workspace were cut."""
    settings = workspace.require("pack")["settings"]
    known = {field.name for field in dataclasses.fields(CropGeometry)}
    return CropGeometry(**{name: value for name, value in settings.items() if name in known})


def save_bundle(
    folder: Path,
    net: EmotionNet,
    workspace: Workspace,
    *,
    model: str,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    settings: Mapping[str, Any],
    epoch: int,
    scores: Mapping[str, float],
    shares: Mapping[str, float] | None = None,
    training_clips: Mapping[str, int] | None = None,
    init: RunOrigin | None = None,
    certainty: Callable[[tuple[float, ...]], Certainty] | None = None,
) -> BundleInfo:
    """Write a bundle: each file atomically, the description last. The network is left in evaluation mode.

    ``shares`` are those that the answers of ``net`` expect; ``certainty`` tells, from the bundle's check, how its
    probabilities are to be read. Results of an earlier evaluation are removed.
    """
    net = net.cpu().eval()
    check = check_answers(net, preprocessing)
    info = BundleInfo(
        format=FORMAT,
        petmood=petmood.__version__,
        model=model,
        classes=tuple(classes),
        labels=labels.fingerprint(classes),
        preprocessing=preprocessing,
        geometry=geometry_of(workspace),
        data=data_fingerprints(workspace),
        settings=dict(settings),
        epoch=epoch,
        scores=dict(scores),
        check=check,
        certainty=certainty(check) if certainty else None,
        shares=dict(shares or {}),
        trained_shares=dict(shares or {}),
        training_clips=dict(training_clips or {}),
        init=init,
        pool="mean" if net.attention is None else "attention",
    )
    tensors = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
    # A bundle whose two files do not belong together must not exist: without its description it is none.
    drop(folder / INFO_FILE)
    forget_results(folder)
    with replacing(folder / WEIGHTS_FILE) as temporary:
        safetensors.torch.save_file(tensors, temporary)
    write_json(folder / INFO_FILE, to_plain(info))
    return info


def read_info(folder: Path) -> BundleInfo:
    """The description of a bundle, without its weights.

    Raises:
        UserError: no bundle, a damaged one, or one of another format.
    """
    path = folder / INFO_FILE
    if not path.is_file():
        hint = "give a folder WORK/runs/NAME of `petmood train`; a training that was stopped goes on with --resume"
        raise UserError(f"run folder {folder} holds no model ({INFO_FILE} is missing).", hint=hint)
    content = read_json(path)
    found = content.get("format")
    if found != FORMAT:
        raise UserError(
            f"model {folder} has format {found}; this petmood ({petmood.__version__}) reads format {FORMAT}.",
            hint="train it again, or use the petmood version that made it",
        )
    info = build(BundleInfo, content, where=str(path))
    for shares in (info.shares, info.trained_shares):
        if set(shares) not in (set(), set(info.classes)) or bool(shares) != bool(info.shares):
            raise UserError(f"{path} is damaged: its shares do not name the model's classes.", hint="train again")
    unknown = [name for name in info.classes if name not in labels.EMOTIONS]
    if unknown or info.labels != labels.fingerprint(info.classes):
        raise UserError(
            f"model {folder} names the classes {', '.join(info.classes)}, which are not the ones it was saved with.",
            hint=f"{INFO_FILE} was changed; take the original, or train again",
        )
    return info


def load_bundle(folder: Path) -> Bundle:
    """Open a bundle and check that it still answers as when it was saved.

    Raises:
        UserError: a file is missing or damaged, another format, or other answers than when it was saved.
    """
    info = read_info(folder)
    path = folder / WEIGHTS_FILE
    hint = "copy the whole run folder again, or train again"
    if not path.is_file():
        raise UserError(f"run folder {folder} lacks {WEIGHTS_FILE}.", hint=hint)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise UserError(f"weights {path} are damaged: {error}.", hint=hint) from None
    backbone = create_backbone(info.model, image_size=info.preprocessing.image_size)
    net = EmotionNet(backbone, classes=len(info.classes), attention=info.pool == "attention")
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        problem = " ".join(str(error).split())[:160]
        raise UserError(f"weights {path} do not belong to {info.model}: {problem}.", hint=hint) from None
    net.eval()
    _expect(net, info, before=info.trained_shares, now=info.shares)
    _compare(folder, info.check, check_answers(net, info.preprocessing))
    return Bundle(info, net)


def assume_shares(folder: Path, shares: Mapping[str, float]) -> BundleInfo:
    """Let a bundle's answers expect each emotion as often as ``shares`` say (logit adjustment, arXiv 2007.07314).

    The logit of class c rises by ``log(shares[c] / shares before)``, so that its probabilities become
    ``p * shares / shares before``, made to sum to 1. One atomic write; results of an earlier evaluation are removed.

    Args:
        folder: of a bundle that says which shares it expects.
        shares: emotion → share above 0, for each class; in sum 1.

    Raises:
        UserError: no usable bundle.
    """
    bundle = load_bundle(folder)
    info, net = bundle.info, bundle.net
    _expect(net, info, before=info.shares, now=shares)
    ordered = {name: float(shares[name]) for name in info.classes}
    # What was fitted on answers with other expectations does not hold for these.
    changed = dataclasses.replace(info, shares=ordered, check=check_answers(net, info.preprocessing), certainty=None)
    forget_results(folder)
    write_json(folder / INFO_FILE, to_plain(changed))
    return changed


def keep_certainty(folder: Path, certainty: Certainty | None) -> BundleInfo:
    """Write into a bundle how its probabilities are to be read (None: not known); one atomic write.

    Raises:
        UserError: no usable bundle.
    """
    changed = dataclasses.replace(read_info(folder), certainty=certainty)
    write_json(folder / INFO_FILE, to_plain(changed))
    return changed


def forget_results(folder: Path) -> None:
    """Remove what an evaluation of an earlier model left in a run folder, also what it said of other sources."""
    for place in (folder, *folder.glob("elsewhere/*/")):
        drop(*(place / name for name in RESULTS))


def weights_digest(folder: Path) -> str:
    """Sixteen hex digits that two bundles share only if their weights are the same.

    Raises:
        UserError: the folder has no weights.
    """
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise UserError(f"run folder {folder} lacks {WEIGHTS_FILE}.", hint="copy the whole run folder again")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def check_same_classes(info: BundleInfo, classes: Sequence[str], *, where: str) -> None:
    """Refuse data whose class numbers mean something else than the model's.

    Raises:
        UserError: with both lists.
    """
    if labels.fingerprint(classes) != info.labels:
        raise UserError(
            f"{where} has the classes {', '.join(classes)}; the model knows {', '.join(info.classes)}.",
            hint="index the data with the same --merge and --species as the training data, or train on this data",
        )


def check_answers(net: EmotionNet, preprocessing: Preprocessing) -> tuple[float, ...]:
    """What a network in evaluation mode on the processor says of the drawn picture: logits, then attention if any."""
    prepared = torch.from_numpy(preprocessing.prepare(_drawn_picture())).permute(2, 0, 1)[None]
    with torch.inference_mode():
        logits, attention = net.answers(preprocessing.normalise(prepared))
    values = logits[0] if attention is None else torch.cat([logits[0], attention])
    return tuple(round(float(value), 5) for value in values)


def _drawn_picture() -> Pixels:
    """A fixed picture of 200 × 256 pixels: a ramp in each colour and a checkerboard, the same on every machine."""
    rows, columns = np.mgrid[0:200, 0:256]
    board = ((rows // 16 + columns // 16) % 2) * 60
    channels = (columns * 195 // 255, rows * 195 // 199, (rows + columns) * 195 // 454)
    return np.stack([channel + board for channel in channels], axis=-1).astype(np.uint8)


def _expect(net: EmotionNet, info: BundleInfo, *, before: Mapping[str, float], now: Mapping[str, float]) -> None:
    """Move the bias of the last layer from one expectation of the classes' shares to another."""
    if dict(before) == dict(now):
        return
    ratio = torch.tensor([now[name] / before[name] for name in info.classes], dtype=torch.float64)
    with torch.no_grad():
        net.classifier.bias.add_(ratio.log())


def _compare(folder: Path, saved: Sequence[float], now: Sequence[float]) -> None:
    allowed = _TOLERANCE * max(1.0, *(abs(value) for value in saved))
    worst = max(abs(a - b) for a, b in zip(saved, now, strict=True)) if len(saved) == len(now) else float("inf")
    # Written so that a score that is no number fails too.
    if not worst <= allowed:
        raise UserError(
            f"model {folder} answers its test picture differently than when it was saved: scores differ by "
            f"{worst:.3g}; allowed is {allowed:.3g}.",
            hint="its preprocessing or weights were changed, or timm changed the network: take the original folder, or "
            "install the versions it was trained with",
        )
