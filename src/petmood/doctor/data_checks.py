"""The doctor's questions about a work folder's data, in the order in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from petmood.doctor.animals import check_animal
from petmood.doctor.boxes import check_boxes
from petmood.doctor.corners import check_corners
from petmood.doctor.data import (
    check_crops,
    check_frames_per_clip,
    check_labels,
    check_leakage,
    check_official_split,
    check_refused,
)
from petmood.doctor.records import Check
from petmood.doctor.shortcuts import check_shortcuts
from petmood.doctor.sides import check_baseline, check_imbalance, check_shares, check_sides
from petmood.workspace import Workspace

#: Name of each check and the function that makes it.
DATA_CHECKS: Sequence[tuple[str, Callable[[Workspace], Check]]] = (
    ("labels", check_labels),
    ("leakage", check_leakage),
    ("official-split", check_official_split),
    ("sides", check_sides),
    ("baseline", check_baseline),
    ("imbalance", check_imbalance),
    ("shares", check_shares),
    ("shortcuts", check_shortcuts),
    ("corners", check_corners),
    ("boxes", check_boxes),
    ("refused", check_refused),
    ("crops", check_crops),
    ("animal", check_animal),
    ("frames-per-clip", check_frames_per_clip),
)
