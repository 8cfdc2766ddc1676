"""How well the emotion can be told without a look at the animal: short cuts that a network would take too."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.tree import DecisionTreeClassifier

from petmood.bootstrap import drawn_counts, group_counts, score_of
from petmood.doctor.clips import Ints, codes, skipped
from petmood.doctor.records import Check
from petmood.labels import EMOTIONS
from petmood.workspace import Workspace, reading

#: What is tried → the columns of `clues` that it knows.
TRIED: Mapping[str, tuple[str, ...]] = {
    "species": ("species",),
    "action": ("action",),
    "species and action": ("species", "action"),
    "box position and size": ("centre_x", "centre_y", "box_width", "box_height", "box_shape"),
    "picture size and shape": ("image_width", "image_height", "image_shape"),
    "day and length of the clip": ("day", "length", "listed"),
}
_WORDS = ("species", "action")
#: What each of them means for a run.
_ADVICE: Mapping[str, str] = {
    "species": "read the scores of each species and compare with the species-only baseline of the report",
    "action": "compare with the action-only baseline of the report",
    "species and action": "compare with the baseline of the report that knows both",
    "box position and size": "crops hide where the box stood; its shape may be posture, which is no short cut; look at "
    "heat maps",
    "picture size and shape": "another camera for one class: crops of small pictures are blurred; mix sources",
    "day and length of the clip": "classes were filmed on other days, so rooms and light tell them; judge on new days",
}
#: Clips looked at, at most; by whole groups.
MOST_CLIPS = 20_000
_FOLDS = 5
#: With fewer groups an interval is too narrow to be trusted six times.
_FEWEST_GROUPS = 40
#: How far the lower end of the interval must lie above guessing. Of 60 made-up data sets each of 40 and of 100 groups,
#: 2 and 6 classes, whose emotions were dealt to the groups at random, 1 to 3 have any short cut that passes.
MARGIN = 0.03
#: Ends of the 99 % interval: wider than elsewhere, because several short cuts are tried at once.
_ENDS = (0.005, 0.995)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Guess:
    """How well one short cut tells the emotion of clips of groups that it has not seen."""

    what: str
    balanced_accuracy: float
    """Mean recall of the classes, 0 to 1."""
    low: float
    """Lower end of the 99 % interval, drawn by group."""
    high: float
    chance: float
    """What guessing scores: 1 / classes."""
    macro_f1: float

    @property
    def clear(self) -> bool:
        """Whether it is clearly better than guessing."""
        return self.low > self.chance + MARGIN


def clues(workspace: Workspace) -> pl.DataFrame:
    """One row a clip with kept frames: group, emotion, and the columns of ``TRIED``; null where nobody knows.

    Boxes are means over the kept frames, as shares of the picture; shapes are logarithms of width over height.
    """
    box = {
        "centre_x": (pl.col("x") + pl.col("width") / 2) / pl.col("image_width"),
        "centre_y": (pl.col("y") + pl.col("height") / 2) / pl.col("image_height"),
        "box_width": pl.col("width") / pl.col("image_width"),
        "box_height": pl.col("height") / pl.col("image_height"),
        "box_shape": (pl.col("width") / pl.col("height")).log(),
    }
    kept = pl.col("keep")
    means = {name: value.filter(kept).mean() for name, value in box.items()}
    first = {name: pl.col(name).filter(kept).first() for name in ("emotion", "species", "action", "image_width")}
    with reading(workspace.frames):
        rows = (
            pl.scan_parquet(workspace.frames, glob=False)
            .group_by("clip", maintain_order=True)
            .agg(
                group=pl.col("group").first(),
                image_height=pl.col("image_height").filter(kept).first(),
                length=pl.col("timestamp_ms").max(),
                listed=pl.len(),
                kept=kept.sum(),
                **first,
                **means,
            )
            .filter(pl.col("kept") > 0)
            .collect()
        )
    day = pl.col("clip").str.extract(r"^(20\d{6})_").str.to_date("%Y%m%d", strict=False)
    return rows.with_columns(
        pl.col("group").fill_null(pl.col("clip")),
        image_shape=(pl.col("image_width") / pl.col("image_height")).log(),
        day=day.to_physical(),
    )


def check_shortcuts(workspace: Workspace) -> Check:
    """How well species, action, box, picture size or day alone tell the emotion, against guessing."""
    clips, left_out = comparable(clues(workspace))
    classes = clips["emotion"].n_unique()
    if classes < 2 or clips["group"].n_unique() < _FEWEST_GROUPS:
        why = f"{clips['group'].n_unique()} groups of {classes} classes with clips of {_FOLDS} groups: too few to tell."
        return skipped("shortcuts", why)
    told_of = f"{len(clips):,} clips"
    if clips["group"].n_unique() > 2 and len(clips) > MOST_CLIPS:
        clips = by_whole_groups(clips, MOST_CLIPS)
        told_of = f"a sample of {len(clips):,} clips"
    guesses = guessed(clips)
    numbers = {guess.what: dataclasses.asdict(guess) for guess in guesses}
    if not guesses:
        return skipped("shortcuts", "species, action, boxes, picture sizes and days are all the same or unknown.")
    clear = sorted((guess for guess in guesses if guess.clear), key=lambda guess: -guess.balanced_accuracy)
    without = f"; without {', '.join(left_out)} (clips of fewer than {_FOLDS} groups)" if left_out else ""
    chance = f"balanced accuracy over {told_of}; guessing gives {guesses[0].chance:.2f}{without}"
    if not clear:
        best = max(guesses, key=lambda guess: guess.balanced_accuracy)
        evidence = (
            f"none of {len(guesses)} short cuts is clearly better than guessing; best is {_told(best)} ({chance})."
        )
        return Check(name="shortcuts", verdict="ok", evidence=evidence, numbers=numbers)
    evidence = f"without a look at the animal, {'; '.join(map(_told, clear))} ({chance})."
    remedy = "; ".join(f"{guess.what}: {_ADVICE[guess.what]}" for guess in clear[:3])
    return Check(name="shortcuts", verdict="warn", evidence=evidence, remedy=remedy, numbers=numbers)


def _told(guess: Guess) -> str:
    return f"{guess.what} {guess.balanced_accuracy:.2f} ({guess.low:.2f} to {guess.high:.2f})"


def comparable(clips: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Clips of the classes that have clips of ``_FOLDS`` groups or more, and the classes that have not."""
    groups = dict(clips.group_by("emotion").agg(pl.col("group").n_unique()).iter_rows())
    enough = [name for name in EMOTIONS if groups.get(name, 0) >= _FOLDS]
    left_out = [name for name in EMOTIONS if 0 < groups.get(name, 0) < _FOLDS]
    return clips.filter(pl.col("emotion").is_in(enough)), left_out


def by_whole_groups(clips: pl.DataFrame, most: int, *, seed: int = 0) -> pl.DataFrame:
    """About ``most`` of the clips at most, by whole groups in random order; rows keep their order."""
    sizes = clips.group_by("group", maintain_order=True).len().sample(fraction=1, shuffle=True, seed=seed)
    chosen = sizes.filter(pl.col("len").cum_sum() <= most)["group"]
    return clips.filter(pl.col("group").is_in(chosen.implode()))


def guessed(clips: pl.DataFrame, *, draws: int = 1000, seed: int = 0) -> list[Guess]:
    """How well each short cut tells the emotion; those that are the same for all clips, or unknown, are left out.

    Args:
        clips: columns group, emotion and those of ``TRIED``.
        draws: of the bootstrap over groups.
        seed: the same seed, the same folds and draws.
    """
    labels, groups = codes(clips["emotion"]), codes(clips["group"])
    folds = _folds(labels, groups, seed)
    found = []
    for what, columns in TRIED.items():
        known = [name for name in columns if clips[name].drop_nulls().n_unique() > 1]
        one_word = what == "species and action" and len(known) < 2  # already tried alone
        if known and not one_word and known != ["box_shape"]:  # boxes that are whole pictures have the picture's shape
            predicted = _predicted(_matrix(clips.select(known)), labels, folds, seed)
            found.append(_judged(what, labels, predicted, groups, draws, seed))
    return found


def _folds(labels: Ints, groups: Ints, seed: int) -> list[tuple[Ints, Ints]]:
    """Rows to learn from and rows to judge, five times; groups stay whole."""
    kfold = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes with few clips, which `comparable` has looked at
        return list(kfold.split(np.zeros(len(labels)), labels, groups))


def _matrix(table: pl.DataFrame) -> npt.NDArray[np.float32]:
    """Features (clips, columns): words as one column a word (the forty most frequent), numbers as they are or NaN."""
    parts = [_words(column) if column.name in _WORDS else _numbers(column) for column in table]
    return np.concatenate(parts, axis=1)


def _words(column: pl.Series) -> npt.NDArray[np.float32]:
    frequent: Sequence[str] = column.drop_nulls().value_counts(sort=True)[column.name].head(40).to_list()
    return np.stack([(column == word).fill_null(value=False).to_numpy() for word in frequent], axis=1).astype(
        np.float32
    )


def _numbers(column: pl.Series) -> npt.NDArray[np.float32]:
    return np.asarray(column.cast(pl.Float32).fill_null(float("nan")).to_numpy(), np.float32)[:, None]


def _predicted(features: npt.NDArray[np.float32], labels: Ints, folds: Sequence[tuple[Ints, Ints]], seed: int) -> Ints:
    """Answers for all rows, each from a small tree that has not seen the row's group."""
    predicted = np.zeros(len(labels), np.int64)
    for learnt, judged in folds:
        tree = DecisionTreeClassifier(
            max_depth=6, min_weight_fraction_leaf=0.01, class_weight="balanced", random_state=seed
        )
        predicted[judged] = tree.fit(features[learnt], labels[learnt]).predict(features[judged])
    return predicted


def _judged(what: str, labels: Ints, predicted: Ints, groups: Ints, draws: int, seed: int) -> Guess:
    classes = int(labels.max()) + 1
    counts = group_counts(labels, predicted, groups.tolist(), classes)
    whole = counts.sum(axis=0)
    drawn = score_of(drawn_counts(counts[None], draws=draws, seed=seed)[0], "balanced_accuracy")
    low, high = np.quantile(drawn, _ENDS)
    return Guess(
        what=what,
        balanced_accuracy=float(score_of(whole, "balanced_accuracy")),
        low=float(low),
        high=float(high),
        chance=1 / classes,
        macro_f1=float(score_of(whole, "macro_f1")),
    )
