"""What enters the network: pixel values as its first weights expect them, and animals that stand on their feet."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import timm
import torch
from PIL import Image

from petmood.crops import CropStore, writing_part
from petmood.doctor.records import Check
from petmood.doctor.work import Work, some_rows, squares
from petmood.loading import Batch, CropBatches, Samples
from petmood.media import encode
from petmood.preprocess import Augmentation, Preprocessing
from petmood.recipes import TrainSettings
from petmood.sampling import Numbers
from petmood.train.augment import BatchAugmentation

Floats = npt.NDArray[np.float64]
Images = npt.NDArray[np.floating[Any]]

#: Crops that are looked at.
_CROPS, _BRIEF_CROPS = 64, 24
#: Largest difference of a channel's mean, and factor of its deviation, that decoders may make.
_MEAN, _FACTOR = 0.1, 1.15
#: Deviations smaller or larger than expected by this factor: the scale itself is wrong.
_SCALE = 20.0
#: Pictures that are changed to see whether they stand upright, pixels of their side, waves in it, and the share that
#: may be turned: RandAugment at its strongest looks so in a few, a flip turns half of them.
_WAVES, _SIDE, _PERIODS, _TURNED = 256, 128, 4, 0.35
#: A crop whose shorter side is this many times the network's costs time to decode and shows nothing more.
_WASTEFUL = 3.0


class Channels(NamedTuple):
    """Mean and standard deviation of red, green and blue over some pictures."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, images: Images) -> Channels:
        """Those of N × 3 × height × width values."""
        values = images.astype(np.float64)
        return cls(values.mean(axis=(0, 2, 3)), values.std(axis=(0, 2, 3)))

    def __str__(self) -> str:
        return f"mean {_told(self.mean)}, deviation {_told(self.deviation)}"


def input_fault(found: Images, expected: Images) -> str:
    """What is wrong with a network's input in one clause; empty if it is as expected.

    Args:
        found: what enters the network, N × 3 × size × size.
        expected: the same pictures as its first weights were trained on such.
    """
    channels, wanted = Channels.of(found), Channels.of(expected)
    ratio = float(channels.deviation.mean() / max(1e-9, wanted.deviation.mean()))
    if ratio < 1 / _SCALE:
        return "pixels are scaled twice: they were divided by 255 (or the like) before"
    if ratio > _SCALE:
        return "pixels are not scaled: values from 0 to 255 enter as they are"
    if _exchanged(found, expected):
        return "red and blue are exchanged (BGR instead of RGB)"
    return "" if _alike(channels, wanted) else "mean and deviation are not those of the first weights' training"


def _exchanged(found: Images, expected: Images) -> bool:
    """Whether what is redder than blue there is bluer than red here, pixel by pixel."""
    here, there = ((images[:, 0] - images[:, 2]).astype(np.float64).ravel() for images in (found, expected))
    here, there = here - here.mean(), there - there.mean()
    return bool((here * there).sum() < -0.5 * np.sqrt((here**2).sum() * (there**2).sum()))


def _alike(one: Channels, other: Channels) -> bool:
    factor = np.maximum(one.deviation, 1e-6) / np.maximum(other.deviation, 1e-6)
    return bool((np.abs(one.mean - other.mean) <= _MEAN).all() and (np.abs(np.log(factor)) <= np.log(_FACTOR)).all())


def check_input_range(work: Work) -> Check:
    """Whether real crops enter the network as the backbone's own description asks for."""
    loop = work.loop
    rows = some_rows(loop.train, _BRIEF_CROPS if work.brief else _CROPS)
    images = loop.preprocessing.normalise(squares(loop, loop.train, rows)).numpy()
    config = timm.data.resolve_model_data_config(loop.module.net.backbone)
    first = work.settings.pretrained != "none" or bool(work.settings.init)
    return judge_input(images, loop.train, rows, loop.preprocessing, config, has_first_weights=first)


def judge_input(
    images: Images,
    samples: Samples,
    rows: Numbers,
    preprocessing: Preprocessing,
    config: Mapping[str, Any],
    *,
    has_first_weights: bool,
) -> Check:
    """The verdict on what enters the network.

    The same crops are decoded a second time by Pillow and scaled as timm's description of the backbone says.

    Args:
        images: what enters the network, N × 3 × size × size.
        samples: of which ``rows`` are those pictures.
        rows: N rows.
        preprocessing: says how a crop fills the square.
        config: timm's description of the backbone.
        has_first_weights: a network from nothing gets used to any input of a sensible size.
    """
    wanted = _expected(samples, rows, preprocessing, config)
    fault = input_fault(images, wanted)
    found, expected = Channels.of(images), Channels.of(wanted)
    own_size = int(config["input_size"][-1])
    small = has_first_weights and preprocessing.image_size * 2 < own_size
    remedy = ""
    if fault:
        remedy = "let petmood.preprocess do all scaling, once: hand it uint8 RGB, and change nothing after it"
    elif small:
        remedy = "its first weights know larger pictures: leave out --image-size, or expect less"
    size = f"{preprocessing.image_size} px (the backbone's own: {own_size})"
    return Check(
        name="input-range",
        verdict="fail" if fault else "warn" if small else "ok",
        evidence=f"{fault}: " * bool(fault) + f"{len(rows)} crops enter at {size} with {found}; expected {expected}",
        remedy=remedy,
        numbers={
            "mean": found.mean.tolist(),
            "deviation": found.deviation.tolist(),
            "expected_mean": expected.mean.tolist(),
            "expected_deviation": expected.deviation.tolist(),
            "image_size": preprocessing.image_size,
            "backbone_size": own_size,
        },
    )


def _expected(samples: Samples, rows: Numbers, preprocessing: Preprocessing, config: Mapping[str, Any]) -> Images:
    """The same crops by another way: decoded by Pillow, scaled as timm says."""
    prepared = []
    for row in rows.tolist():
        with Image.open(io.BytesIO(samples.store.jpeg(row))) as picture:
            prepared.append(preprocessing.prepare(np.asarray(picture.convert("RGB"))))
    scaled = np.stack(prepared).transpose(0, 3, 1, 2) / 255
    mean, deviation = (np.array(config[name]).reshape(1, 3, 1, 1) for name in ("mean", "std"))
    return np.asarray((scaled - mean) / deviation)


def check_augmentation(work: Work) -> Check:
    """Whether pictures with a known top stand upright after all random changes of training."""
    settings, loop = work.loop.settings, work.loop
    turned = upside_down(settings, loop.preprocessing, loop.module.augmentation)
    wrong = turned > _TURNED
    return Check(
        name="augmentation",
        verdict="fail" if wrong else "ok",
        evidence=f"{turned:.0%} of {_WAVES} changed pictures stand on their head" + " (up-down flips)" * wrong,
        remedy="leave out up-down flips: animals stand on their feet, and posture is what the label speaks of"
        if wrong
        else "",
        numbers={"upside_down": turned, "pictures": _WAVES},
    )


def upside_down(
    settings: TrainSettings, preprocessing: Preprocessing, change: BatchAugmentation | Callable[[Batch], Any]
) -> float:
    """Share of pictures, 0 to 1, whose top is at the bottom after loader and ``change``.

    The pictures have a top that changes of colour do not hide; they go through the loader as crops do.
    """
    with tempfile.TemporaryDirectory(prefix="petmood-doctor-") as folder:
        store = _waves(Path(folder))
        batches = CropBatches(
            store,
            preprocessing,
            batch_size=_WAVES // 2,
            augmentation=Augmentation(horizontal_flip=settings.horizontal_flip, min_scale=settings.min_scale),
            seed=settings.seed,
            threads=settings.threads,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            shown = [change(batch).images for batch in batches]
    images = torch.cat(shown).float()
    # Of each row of each picture: how steep its waves are. Neither other colours nor blanked parts change which end of
    # a picture has the higher ones.
    waves = images.diff(dim=3).abs().median(dim=3).values.mean(dim=1)
    falling = torch.linspace(1, -1, waves.shape[1])
    return float((waves @ falling < 0).float().mean())


def _waves(folder: Path) -> CropStore:
    """Crops whose upright waves are high at the top and fade to nothing, around another level in each colour.

    With one level alone, solarising would fold the waves of all colours flat.
    """
    heights = np.linspace(30, 0, _SIDE)[:, None, None]
    wave = np.sin(np.arange(_SIDE) * 2 * np.pi * _PERIODS / _SIDE)[None, :, None]
    jpeg = encode((np.array([64, 128, 190]) + heights * wave).astype(np.uint8), 90)
    with writing_part(folder / "waves.tar") as part:
        offsets = [part.add(f"{number}.jpg", jpeg) for number in range(_WAVES)]
    return CropStore(folder, pl.DataFrame({"part": "waves.tar", "offset": offsets, "size": len(jpeg)}))


def check_decoding(work: Work) -> Check:
    """Whether each epoch decodes small crops, not whole pictures."""
    samples, size = work.loop.train, work.loop.preprocessing.image_size
    crops = samples.store.table
    sides = crops.select(pl.min_horizontal("width", "height")).to_series()
    of_crops = (crops["width"].cast(pl.Int64) * crops["height"]).mean()
    of_pictures = (samples.frames["image_width"].cast(pl.Int64) * samples.frames["image_height"]).mean()
    return judge_decoding(_number(sides.median()), _number(of_crops), _number(of_pictures), size)


def judge_decoding(side: float, crop: float, picture: float, image_size: int) -> Check:
    """The verdict on how much is decoded.

    Args:
        side: median of the crops' shorter sides, in pixels.
        crop: mean pixels of a crop.
        picture: mean pixels of the pictures that they were cut from; 0 if the source does not say.
        image_size: pixels of the network's square.
    """
    times = picture / crop if crop else 0.0
    wasteful = side > _WASTEFUL * image_size
    against = f", {times:.1f} times fewer pixels than the pictures" if times >= 1.5 else ""
    return Check(
        name="decoding",
        verdict="warn" if wasteful else "ok",
        evidence=f"frames are decoded once, by pack; an epoch reads crops of {side:.0f} px{against}; the network sees "
        f"{image_size} px",
        remedy=f"pack smaller crops: `petmood pack WORK --shorter-side {round(image_size * 1.15)}`" if wasteful else "",
        numbers={"crop_side": side, "crop_pixels": crop, "picture_pixels": picture, "image_size": image_size},
    )


def _number(value: object) -> float:
    """What polars gives as a mean; 0 if there was nothing."""
    return float(value) if isinstance(value, (int, float)) else 0.0


def _told(values: Sequence[float] | Floats) -> str:
    return " ".join(f"{value:.3g}" for value in values)
