"""Where a network looks: heat maps of what speaks for an answer, by captum.

Networks whose answer is made from all places of a last feature map get gradient × activation there, place by place. For
a linear head after global average pooling this is Grad-CAM (Selvaraju et al., ICCV 2017, arXiv 1610.02391) and says
exactly what each place gives to the answer; where places count differently, Grad-CAM's mean gradient can point to wrong
ones (HiResCAM: Draelos and Carin, arXiv 2011.08891). Other networks, such as vision transformers that answer from a
class token, get integrated gradients of their input (Sundararajan et al., ICML 2017, arXiv 1703.01365) from a picture
of the mean colour on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from captum.attr import IntegratedGradients, LayerGradientXActivation
from torch import nn

from petmood.bundle import Bundle, load_bundle, read_info
from petmood.crops import CropStore
from petmood.errors import UserError
from petmood.metrics.galleries import examples
from petmood.pictures import Pixels
from petmood.preprocess import Preprocessing
from petmood.workspace import Workspace, read_table, write_table

#: One row a picture (``heatmaps.parquet``).
HEAT_SCHEMA: dict[str, pl.DataType] = {
    "frame_id": pl.String(),
    "answer": pl.String(),  # what the heat speaks for
    "height": pl.Int32(),
    "width": pl.Int32(),
    "heat": pl.Binary(),  # height × width bytes, row by row: 0 says nothing for the answer, 255 most of this picture
}

#: Pictures that get a heat map at most.
MOST = 60
#: Pixels of a stored heat map's longer side: smooth when enlarged, and 60 of them are 0.2 MB.
LONGER_SIDE = 64
#: Right and wrong answers of each emotion that are shown: six emotions make 60.
EACH = 5
#: Pictures whose gradients are held in memory at once.
_AT_ONCE = 8
#: Cells of a side where gradients of the input tell: single pixels of them are noise.
_CELLS = 14
#: Steps from the mean colour to the picture, and pictures of them at once.
_STEPS, _STEPS_AT_ONCE = 16, 16

Heat = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class FeatureMap:
    """The last place in a network where a picture still has height and width."""

    module: nn.Module
    form: Literal["channels first", "channels last", "tokens"]
    """N × C × h × w, N × h × w × C, or N × (others + h·w) × C."""


def heat_maps(net: nn.Module, preprocessing: Preprocessing, squares: torch.Tensor, targets: Sequence[int]) -> Heat:
    """What speaks for a class in each picture, uint8 (n, h, w) on the grid of the network's last feature map.

    Only what speaks for it counts, from 0 to 255 for the strongest place of each picture; a picture in which nothing
    does is 0 throughout. The same input gives the same map.

    Args:
        net: in evaluation mode, batch norms not folded away.
        preprocessing: the network's own.
        squares: prepared pictures, uint8 n × 3 × size × size, on the network's device.
        targets: class number for each picture.
    """
    if not len(squares):
        return np.zeros((0, 1, 1), np.uint8)
    found = feature_map(net, preprocessing.normalise(squares[:1]))
    maps = []
    for part, classes in zip(squares.split(_AT_ONCE), torch.tensor(targets).split(_AT_ONCE), strict=True):
        # A frozen network has gradients only if its input does.
        images = preprocessing.normalise(part).requires_grad_()
        maps.append(_attribution(net, found, images, classes.to(images.device)).float().cpu())
    return _scaled(torch.cat(maps))


def feature_map(net: nn.Module, example: torch.Tensor) -> FeatureMap | None:
    """The last module that gives features of several places, if the answer is made from all of them.

    It is found by sending an example through, from the answer back, so that it does not matter how a network names its
    parts. None if there is no such module, or the answer is made from one token alone.

    Args:
        net: gives (1, classes).
        example: normalised picture, (1, 3, height, width).
    """
    seen: list[tuple[nn.Module, torch.Tensor]] = []

    def remember(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.requires_grad:
            seen.append((module, output))

    hooks = [module.register_forward_hook(remember) for module in net.modules()]
    try:
        with torch.enable_grad():
            answer = net(example.detach().requires_grad_())
            width = _width(seen)
            for module, output in reversed(seen):
                form = _form(output, width)
                if form and _matters_throughout(answer, output, form):
                    return FeatureMap(module, form)
                if form == "tokens":
                    return None
    finally:
        for hook in hooks:
            hook.remove()
    return None


def explain_run(run: Path, *, device: str = "auto") -> int:
    """Write heatmaps.parquet for the surest right and wrong answers of each emotion; returns how many were made.

    Raises:
        UserError: as `write_heat_maps`.
    """
    predictions = read_table(run / "predictions.parquet")
    chosen = examples(predictions, read_info(run).classes, EACH)
    return write_heat_maps(run, chosen, device=device)


def write_heat_maps(run: Path, chosen: pl.DataFrame, *, device: str = "auto") -> int:
    """Write heatmaps.parquet (``HEAT_SCHEMA``) for some frames of a run's data; returns how many were made.

    Each map covers the frame's crop as it is stored, whatever part of the square it fills. Frames without a crop are
    left out, and all beyond the first ``MOST``.

    Args:
        run: WORK/runs/NAME.
        chosen: columns ``frame_id`` and ``answer``, the emotion that the heat shall speak for.
        device: auto, cpu or cuda.

    Raises:
        UserError: no usable model, no workspace around it, or no cuda where it is asked for.
    """
    workspace = Workspace.of_run(run)
    crops = read_table(workspace.crops / "crops.parquet")
    wanted = chosen.select("frame_id", "answer").unique("frame_id", keep="first", maintain_order=True)
    table = wanted.join(crops, on="frame_id", how="inner", maintain_order="left").head(MOST)
    store = CropStore(workspace.crops, table)
    rows = _rows(load_bundle(run), [store.pixels(row) for row in range(len(store))], table, device)
    write_table(pl.DataFrame(rows, schema=HEAT_SCHEMA, orient="row"), run / "heatmaps.parquet")
    return len(table)


def _rows(
    bundle: Bundle, pictures: Sequence[Pixels], table: pl.DataFrame, device: str
) -> list[tuple[str, str, int, int, bytes]]:
    if not pictures:
        return []
    preprocessing, classes = bundle.info.preprocessing, bundle.info.classes
    squares = torch.from_numpy(np.stack([preprocessing.prepare(picture) for picture in pictures])).permute(0, 3, 1, 2)
    where = _device(device)
    targets = [classes.index(answer) for answer in table["answer"]]
    maps = heat_maps(bundle.net.to(where), preprocessing, squares.to(where), targets)
    rows = []
    for name, answer, heat, picture in zip(table["frame_id"], table["answer"], maps, pictures, strict=True):
        on_crop = over_crop(heat, preprocessing, picture.shape[0], picture.shape[1])
        rows.append((name, answer, *on_crop.shape, on_crop.tobytes()))
    return rows


def heat_of(bundle: Bundle, crop: Pixels, emotion: str, *, device: str = "auto") -> Heat:
    """What speaks for an emotion in one crop, uint8 (h, w) in the crop's proportions, longer side ``LONGER_SIDE``.

    Args:
        bundle: as it was loaded, batch norms not folded away.
        crop: RGB, uint8, height × width × 3.
        emotion: one of the model's classes.
        device: auto, cpu or cuda.

    Raises:
        UserError: no cuda where it is asked for.
    """
    preprocessing, where = bundle.info.preprocessing, _device(device)
    square = torch.from_numpy(preprocessing.prepare(crop)).permute(2, 0, 1)[None].to(where)
    (heat,) = heat_maps(bundle.net.to(where), preprocessing, square, [bundle.info.classes.index(emotion)])
    return over_crop(heat, preprocessing, crop.shape[0], crop.shape[1])


def over_crop(heat: Heat, preprocessing: Preprocessing, height: int, width: int) -> Heat:
    """A heat map of the square as one of the crop that fills it, its longer side ``LONGER_SIDE`` pixels.

    Args:
        heat: (h, w), over the whole square.
        preprocessing: how the crop fills the square; what of the crop lies outside of it has no heat.
        height: of the crop, in pixels.
        width: of the crop, in pixels.
    """
    size = preprocessing.image_size
    scale = LONGER_SIDE / max(height, width)
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    large = cv2.resize(heat, (size, size), interpolation=cv2.INTER_LINEAR)
    if preprocessing.fit == "crop":
        side = max(1, min(shape))
        whole = np.zeros(shape[::-1], np.uint8)
        top, left = (shape[1] - side) // 2, (shape[0] - side) // 2
        whole[top : top + side, left : left + side] = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
        return whole
    top, left, inner_height, inner_width = preprocessing.inner(height, width)
    part = large[top : top + inner_height, left : left + inner_width]
    return np.asarray(cv2.resize(part, shape, interpolation=cv2.INTER_AREA), np.uint8)


def _attribution(net: nn.Module, found: FeatureMap | None, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """What speaks for the classes, n × h × w; below 0 what speaks against them."""

    def advantage(pictures: torch.Tensor) -> torch.Tensor:
        """Logits less their mean: what all of them have in common does not change an answer."""
        logits: torch.Tensor = net(pictures)
        return logits - logits.mean(dim=1, keepdim=True)

    if found is None:
        by_input: Any = IntegratedGradients(advantage)
        given = by_input.attribute(images, target=classes, n_steps=_STEPS, internal_batch_size=_STEPS_AT_ONCE)
        by_pixel: torch.Tensor = given.detach().sum(dim=1)
        return nn.functional.adaptive_avg_pool2d(by_pixel, min(_CELLS, *by_pixel.shape[1:]))
    by_layer: Any = LayerGradientXActivation(advantage, found.module)
    by_place: torch.Tensor = by_layer.attribute(images, target=classes).detach()
    by_place = by_place.sum(dim=1 if found.form == "channels first" else -1)
    return _grid(by_place) if found.form == "tokens" else by_place


def _form(output: torch.Tensor, width: int) -> Literal["channels first", "channels last", "tokens"] | None:
    """How a module's output holds the places of a square picture, if it does; ``width`` is that of the features."""
    shape = output.shape
    if len(shape) == 4 and shape[3] == width and shape[1] == shape[2] > 1:
        return "channels last"
    # Within attention there are four dimensions too: heads × tokens × width, and heads × tokens × tokens. There are
    # fewer heads than tokens, while a deep feature map has more channels than rows.
    if len(shape) == 4 and shape[1] > shape[2] == shape[3] > 1:
        return "channels first"
    return "tokens" if len(shape) == 3 and shape[1] >= 4 and shape[2] == width else None


def _width(seen: Sequence[tuple[nn.Module, torch.Tensor]]) -> int:
    """How many features the head is given: the width of the first output that has no places; 0 without one."""
    flat = [output.shape[1] for _, output in seen[:-1] if output.dim() == 2]
    return flat[0] if flat else 0


def _matters_throughout(answer: torch.Tensor, output: torch.Tensor, form: str) -> bool:
    """Whether the answer depends on more than one place of an output."""
    (gradient,) = torch.autograd.grad(answer.sum(), output, retain_graph=True, allow_unused=True)
    if gradient is None:
        return False
    strength = gradient.abs().sum(dim=1 if form == "channels first" else -1)
    return int(((_grid(strength) if form == "tokens" else strength) > 0).sum()) > 1


def _grid(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens, n × (others + side²), as n × side × side; class and register tokens come first in all of timm's."""
    side = math.isqrt(tokens.shape[1])
    return tokens[:, tokens.shape[1] - side * side :].unflatten(1, (side, side))


def _scaled(maps: torch.Tensor) -> Heat:
    positive = maps.clamp(min=0)
    strongest = positive.amax(dim=(1, 2), keepdim=True)
    # A map of rounding errors alone must not be blown up to a picture.
    shares = torch.where(strongest > 1e-12, positive / strongest.clamp(min=1e-12), torch.zeros_like(positive))
    return np.asarray((255 * shares).round().to(torch.uint8).numpy())


def _device(wanted: str) -> torch.device:
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        raise UserError("device cuda is not available; found is cpu.", hint="use --device auto or --device cpu")
    return torch.device("cuda" if available and wanted != "cpu" else "cpu")
