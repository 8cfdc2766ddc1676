"""Whether crops show an animal, and the right one, as a detector sees it."""

from __future__ import annotations

import numpy as np
import polars as pl

from petmood.crops import CropStore
from petmood.detect import LEAST, Detector, open_detector
from petmood.doctor.clips import CHANCE, Ints, chance_of, codes, is_packed, not_packed, shuffled, skipped
from petmood.doctor.records import Check
from petmood.errors import UserError
from petmood.labels import classes_of
from petmood.workspace import Workspace, read_table, reading

#: Crops that are looked at, at most, in equal numbers of each emotion.
MOST_CROPS = 200
#: Shares of crops without a cat or dog, and with the other of the two, from which on it is worth a look. The smallest
#: detector misses 1 in 20 of well-cut photos, and takes as few for the other animal.
_WITHOUT, _OTHER = 0.2, 0.15
#: Crops of known species that show an animal, below which nothing is said of the species.
_FEWEST = 20
_DRAWS = 999


def check_animal(workspace: Workspace) -> Check:
    """Whether a sample of crops shows a cat or a dog, as often in each emotion, and of the species that it should."""
    if not is_packed(workspace):
        return not_packed("animal", workspace)
    try:
        detector = open_detector()
    except UserError as error:
        return skipped("animal", f"whether crops show an animal cannot be asked: {error.message}", error.hint)
    return animals(looked_at(workspace, detector), remedy=_remedy(workspace))


def _remedy(workspace: Workspace) -> str:
    whole = workspace.mark("index").get("settings", {}).get("kind") == "folders"
    return f"look at what was cut out: `petmood sheet {workspace.root}`" + ", or `petmood index --detect`" * whole


def looked_at(workspace: Workspace, detector: Detector, *, most: int = MOST_CROPS) -> pl.DataFrame:
    """What the detector sees in some crops: columns emotion, species (as told), found (null if no animal is seen).

    One crop a group, since crops of one animal do not count twice, and the same number of each emotion if there are.
    """
    with reading(workspace.frames):
        frames = (
            pl.scan_parquet(workspace.frames, glob=False)
            .filter("keep")
            .select("frame_id", "emotion", "species", group=pl.col("group").fill_null(pl.col("clip")))
            .collect()
        )
    crops = read_table(workspace.crops / "crops.parquet")
    rows = frames.join(crops.with_row_index("row"), on="frame_id").sample(fraction=1, shuffle=True, seed=0)
    each = max(1, most // max(1, rows["emotion"].n_unique()))
    chosen = rows.unique(["group", "emotion"], keep="first", maintain_order=True).group_by("emotion").head(each)
    chosen = chosen.sort("row")
    store = CropStore(workspace.crops, crops)
    seen = [_seen(store, row, detector) for row in chosen["row"]]
    return chosen.select("emotion", "species").with_columns(found=pl.Series(seen, dtype=pl.String))


def _seen(store: CropStore, row: int, detector: Detector) -> str | None:
    found = detector.animals(store.pixels(row), least=LEAST)
    return found[0].species if found else None


def animals(seen: pl.DataFrame, *, remedy: str) -> Check:
    """The verdict on what a detector saw in crops (`looked_at`)."""
    without = seen["found"].is_null()
    share, other, chance = _share(without), _other(seen), _chance(seen)
    by_emotion = {name: _share(without.filter(seen["emotion"] == name)) for name in classes_of(seen["emotion"])}
    numbers = {"crops": len(seen), "without": share, "by_emotion": by_emotion, "chance": chance, "other": other}
    told = [f"the detector sees no cat or dog in {share:.0%} of {len(seen)} crops"]
    if other is not None:
        told.append(f"in {other:.0%} of those that are told to show a cat or a dog it sees the other")
    problems = []
    if share > _WITHOUT:
        problems.append("the network would learn from what stands around the animal")
    if chance < CHANCE:
        each = ", ".join(f"{name} {value:.0%}" for name, value in by_emotion.items())
        problems.append(f"emotions differ in that ({each}): how the photos were taken or changed may tell the emotion")
    if other is not None and other > _OTHER:
        problems.append("what the source says of the species is doubtful")
    evidence = f"{', and '.join(told)}" + (f": {'; '.join(problems)}" if problems else "") + "."
    if not problems:
        return Check(name="animal", verdict="ok", evidence=evidence, numbers=numbers)
    return Check(name="animal", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)


def _share(values: pl.Series) -> float:
    return float(values.to_numpy().mean()) if len(values) else 0.0


def _other(seen: pl.DataFrame) -> float | None:
    """Share of the crops that show another animal than they are told to; None if too few are told and show any."""
    told = seen.filter(pl.col("found").is_not_null(), pl.col("species").is_in(["cat", "dog"]))
    return _share(told["found"] != told["species"]) if len(told) >= _FEWEST else None


def _chance(seen: pl.DataFrame) -> float:
    """How often chance alone makes the emotions differ as much in their share without an animal, 0 to 1."""
    without = seen["found"].is_null().to_numpy().astype(np.float64)
    emotions = codes(seen["emotion"])
    if len(set(emotions)) < 2 or not 0 < without.sum() < len(without):
        return 1.0
    sizes = np.bincount(emotions)

    def spread(order: Ints) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        shares = np.bincount(order, weights=without) / sizes
        return np.array([float((sizes * (shares - without.mean()) ** 2).sum())])

    drawn = shuffled(emotions, spread, draws=_DRAWS)
    return chance_of(float(spread(emotions)[0]), drawn[:, 0])
