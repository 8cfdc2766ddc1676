"""Whether a run's model is whole, means what its data means, and sees what it was trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import timm
import torch

from petmood import places
from petmood.bundle import data_fingerprints, geometry_of
from petmood.crops import CropStore
from petmood.doctor.inputs import judge_input
from petmood.doctor.records import Check
from petmood.doctor.run import Run
from petmood.errors import UserError
from petmood.geometry import Box, CropGeometry
from petmood.loading import data_classes
from petmood.look import Looker
from petmood.pictures import BadPictureError, Pixels
from petmood.settings import to_plain

#: Photos that are sent both ways, and pictures whose input is measured.
_PHOTOS, _PICTURES = 8, 32
#: Median of the largest differences of probabilities that a crop's JPEG may make.
_DIFFERENCE = 0.15
#: Difference of accuracies that rounding may make, and deviations that chance may.
_ROUNDING, _DEVIATIONS = 0.02, 3.5


def check_bundle(run: Run) -> Check:
    """Whether the model opens, answers as when it was saved, and numbers its classes as all else does."""
    info = run.info
    faults = list(_class_faults(run))
    return Check(
        name="bundle",
        verdict="fail" if faults else "ok",
        evidence="; ".join(faults)
        or f"{info.model} of epoch {info.epoch} answers its test picture as when it was saved; classes are "
        f"{', '.join(info.classes)} everywhere",
        remedy="evaluate or train again with this work folder: class numbers must mean the same everywhere"
        if faults
        else "",
        numbers={"model": info.model, "classes": list(info.classes), "faults": faults},
    )


def _class_faults(run: Run) -> Iterator[str]:
    info, predictions = run.info, run.predictions
    try:
        classes = data_classes(run.workspace)
    except UserError:
        classes = info.classes  # a run outside of a work folder has nothing to be compared with
    if classes != info.classes:
        yield f"the work folder has the classes {', '.join(classes)}; the model {', '.join(info.classes)}"
    if predictions is not None:
        columns = tuple(name.removeprefix("p_") for name in predictions.columns if name.startswith("p_"))
        if columns != info.classes:
            yield f"predictions.parquet has the classes {', '.join(columns)}; the model {', '.join(info.classes)}"
    if info.settings and dict(info.settings) != to_plain(run.settings):
        asked = to_plain(run.settings)
        other = sorted(name for name in asked if name in info.settings and info.settings[name] != asked[name])
        if other:
            yield f"the model was trained with another {' and '.join(other[:3])} than config.yaml says"


def check_run_input(run: Run) -> Check:
    """Whether the model's own preprocessing is what its backbone was trained with."""
    predictor, samples = run.predictor, run.validation
    rows = np.arange(min(_PICTURES, len(samples)))
    preprocessing = predictor.info.preprocessing
    backbone = timm.create_model(predictor.info.model, pretrained=False, num_classes=0)
    pixels = [preprocessing.prepare(samples.store.pixels(int(row))) for row in rows]
    batch = _batch(pixels)
    images = preprocessing.normalise(batch).numpy()
    config = timm.data.resolve_model_data_config(backbone)
    first = run.settings.pretrained != "none" or bool(run.settings.init)
    return judge_input(images, samples, rows, preprocessing, config, has_first_weights=first)


class Compared(NamedTuple):
    """Answers for photos by the way of prediction, beside those for their crops."""

    photos: int
    boxed: float
    """Median over the photos of the largest difference of a probability, if prediction is given the box."""
    whole: float
    """The same if it is not."""
    changed: int
    """Photos whose answer is another without the box."""


def check_same_input(run: Run) -> Check:
    """Whether prediction cuts and scales a photo as packing did: the same answers for a photo and for its crop."""
    trained, packed = run.info.geometry, geometry_of(run.workspace)
    if trained != packed:
        return Check(
            name="same-input",
            verdict="fail",
            evidence=f"the model's pictures were cut with {_told(trained)}; the work folder's with {_told(packed)}",
            remedy="pack with the model's settings (`petmood pack WORK --margin … --shorter-side …`), or train again",
            numbers={"model": dataclasses.asdict(trained), "packed": dataclasses.asdict(packed)},
        )
    found = _compared(run)
    if found is None:
        return Check(name="same-input", verdict="skipped", evidence="the pictures that were packed are not there now")
    return judge_same_input(found)


def judge_same_input(found: Compared) -> Check:
    """The verdict on answers for photos beside those for their crops."""
    differs = found.boxed > _DIFFERENCE
    without = (
        f"; without the box {found.changed} of them get another answer (median difference {found.whole:.2f})"
        if found.whole > max(0.05, 2 * found.boxed)
        else ""
    )
    return Check(
        name="same-input",
        verdict="fail" if differs else "ok",
        evidence=f"{found.photos} photos with their box and their packed crops: probabilities differ by "
        f"{found.boxed:.3f} (median of the largest){without}",
        remedy="the photos, boxes or the way of cutting have changed since packing: `petmood pack WORK --force`, then "
        "train again"
        if differs
        else "give prediction the animal's place (`petmood predict RUN PHOTO --box …`): the model has seen crops only"
        if without
        else "",
        numbers=found._asdict(),
    )


def _content(path: str) -> bytes | BadPictureError:
    try:
        return places.read(path)
    except OSError as error:
        return BadPictureError("unreadable_image", str(error))


def _compared(run: Run) -> Compared | None:
    """Some photos by both ways; None if none of them can be read."""
    samples = run.validation
    paths = samples.frames["path"].to_list()
    there = [row for row, path in enumerate(paths) if places.exists(path)][:: max(1, len(paths) // _PHOTOS)][:_PHOTOS]
    looker = Looker(run.predictor, None, whole=True)
    boxed, whole, kept = [], [], []
    for row in there:
        frame = samples.frames.row(row, named=True)
        box = Box(frame["x"], frame["y"], frame["width"], frame["height"])
        name, content = frame["frame_id"], _content(frame["path"])
        ((with_box,), (without,)) = looker.files([(name, content, box), (name, content, None)])
        if with_box.emotion and without.emotion:
            boxed.append(list(with_box.probabilities.values()))
            whole.append(list(without.probabilities.values()))
            kept.append(row)
    if not kept:
        return None
    crops = run.predictor.crops(CropStore(samples.store.folder, samples.store.table[kept])).probabilities
    crops = run.predictor.believed(crops)
    by_box, by_photo = np.array(boxed), np.array(whole)
    return Compared(
        photos=len(kept),
        boxed=_median_difference(by_box, crops),
        whole=_median_difference(by_photo, crops),
        changed=int((by_photo.argmax(axis=1) != crops.argmax(axis=1)).sum()),
    )


def check_same_scores(run: Run) -> Check:
    """Whether the saved model answers the validation pictures as well as training said of it."""
    info = run.info
    told = info.scores.get("val_accuracy")
    if told is None or dict(info.shares) != dict(info.trained_shares) or not _unchanged(run):
        why = "training wrote down no accuracy for this data, or the model was adjusted since"
        return Check(name="same-scores", verdict="skipped", evidence=why)
    answers = run.answers
    right = float((answers.predicted == answers.labels).mean())
    whole = len(answers.labels) == _validated(run)
    return judge_same_scores(told, right, clips=0 if whole else len(set(answers.clips)), source=answers.source)


def judge_same_scores(told: float, found: float, *, clips: int, source: str) -> Check:
    """The verdict on the accuracy of a saved model.

    Args:
        told: by training, 0 to 1.
        found: now, 0 to 1.
        clips: that were drawn for it; 0 if all pictures of the split were judged again.
        source: what was judged, in words.
    """
    chance = _DEVIATIONS * math.sqrt(max(0.01, told * (1 - told)) / clips) if clips else 0.0
    differs = abs(told - found) > _ROUNDING + chance
    return Check(
        name="same-scores",
        verdict="fail" if differs else "ok",
        evidence=f"training gave it an accuracy of {told:.3f}; its saved model has {found:.3f} on {source}",
        remedy="training and prediction see different pictures or number the classes differently: compare "
        "preprocessing and classes in bundle.json with what was trained"
        if differs
        else "",
        numbers={"told": told, "found": found, "clips": clips},
    )


def check_data_unchanged(run: Run) -> Check:
    """Whether the run was trained on the data and the split that stand in its work folder now."""
    now = data_fingerprints(run.workspace)
    changed = [stage for stage, made_from in now.items() if run.info.data.get(stage) != made_from]
    elsewhere = run.info.init is not None and not run.info.init.same_data
    told = [f"{', '.join(changed)} ran again since the training: the clips that judge it may have been trained on"]
    told = told * bool(changed)
    if elsewhere and run.info.init:
        told.append(f"it started from {run.info.init.run}, which was trained on other data or another split")
    return Check(
        name="data-unchanged",
        verdict="warn" if told else "ok",
        evidence="; ".join(told) or "index, pack and split are those that it was trained on",
        remedy="train again on this data before you believe its scores" if told else "",
        numbers={"changed": changed, "started_elsewhere": elsewhere},
    )


def _unchanged(run: Run) -> bool:
    return dict(run.info.data) == data_fingerprints(run.workspace)


def _validated(run: Run) -> int:
    """Pictures that training judged by."""
    frames = run.workspace.read_frames()
    count = frames.select((pl.col("keep") & (pl.col("split") == "val")).sum()).item()
    return min(count, run.settings.limit or count)


def _batch(squares: list[Pixels]) -> torch.Tensor:
    return torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2)


def _median_difference(one: npt.NDArray[np.float64], other: npt.NDArray[np.float32]) -> float:
    return float(np.median(np.abs(one - other).max(axis=1)))


def _told(geometry: CropGeometry) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in dataclasses.asdict(geometry).items())
