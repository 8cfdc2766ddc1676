"""What the doctor's questions about the data have in common: one row a clip, and how far chance alone goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from petmood.doctor.records import Check
from petmood.workspace import Workspace, reading

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]

#: A difference that chance reaches more often than this is not spoken of.
CHANCE = 0.01


def clip_rows(workspace: Workspace) -> pl.DataFrame:
    """One row a clip that has kept frames, in the order of the index.

    Columns: clip, group, species, action, emotion, split, official_split (of its first kept frame; a clip without a
    group is a group of its own, a species that nobody told is ``unknown``), frames (kept ones), weight (sum over them).
    """
    told = ("action", "emotion", "split", "official_split")
    first = {name: pl.col(name).first() for name in told}
    with reading(workspace.frames):
        return (
            pl.scan_parquet(workspace.frames, glob=False)
            .filter("keep")
            .group_by("clip", maintain_order=True)
            .agg(
                group=pl.col("group").first(),
                species=pl.col("species").first().fill_null("unknown"),
                frames=pl.len(),
                weight=pl.col("weight").cast(pl.Float64).sum(),
                **first,
            )
            .with_columns(pl.col("group").fill_null(pl.col("clip")))
            .collect()
        )


def codes(values: pl.Series) -> Ints:
    """Number of each value, (n,): equal ones share a number, from 0 on in alphabetical order."""
    return np.asarray((values.cast(pl.String).rank("dense") - 1).cast(pl.Int64).to_numpy(), np.int64)


def chance_of(observed: float, drawn: Floats) -> float:
    """How often chance alone gives as much, 0 to 1, never 0: (draws as large + 1) / (draws + 1).

    Phipson and Smyth, Permutation P-values Should Never Be Zero, 2010.

    Args:
        observed: the number; larger is more surprising.
        drawn: the same number with the labels shuffled, (draws,).
    """
    return float((1 + np.sum(drawn >= observed)) / (1 + len(drawn)))


def shuffled(
    labels: Ints, statistic: Callable[[Ints], npt.NDArray[np.float64]], *, draws: int, seed: int = 0
) -> npt.NDArray[np.float64]:
    """The statistic of shuffled labels, (draws, numbers).

    Args:
        labels: of the units that may change places, (units,); whole groups of clips, because clips of one animal are
            not independent.
        statistic: labels (units,) → numbers.
        draws: how many.
        seed: the same seed gives the same draws.
    """
    generator = np.random.default_rng(seed)
    return np.stack([statistic(generator.permutation(labels)) for _ in range(draws)])


def skipped(name: str, why: str, remedy: str = "", numbers: Mapping[str, Any] | None = None) -> Check:
    """The answer to a question that cannot be asked here."""
    return Check(name=name, verdict="skipped", evidence=why, remedy=remedy, numbers=numbers or {})


def not_split(name: str, workspace: Workspace) -> Check:
    """The answer to a question about the sides of a split that has not been made."""
    return skipped(name, "the clips are not yet divided into train, val and test.", f"`petmood split {workspace.root}`")


def not_packed(name: str, workspace: Workspace) -> Check:
    """The answer to a question about crops that have not been made."""
    return skipped(name, "the crops are not yet made.", f"`petmood pack {workspace.root}`")


def is_split(clips: pl.DataFrame) -> bool:
    """Whether any clip stands on a side."""
    return bool(clips["split"].is_not_null().any())


def is_packed(workspace: Workspace) -> bool:
    """Whether there are crops."""
    return (workspace.crops / "crops.parquet").is_file()
