"""From validation answers to what a model knows of its own sureness, and how that holds elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from petmood.metrics.calibration import calibration, fit_temperature
from petmood.metrics.conformal import fit_threshold, judge_sets
from petmood.metrics.records import Answers, Floats, Sureness
from petmood.metrics.scores import likeliest
from petmood.metrics.selective import risk_coverage
from petmood.probabilities import answer_sets, tempered
from petmood.records import Calibrated, Certainty

#: Parts of the groups, each judged with what was fitted on the others.
FOLDS = 5


def fit_certainty(frames: Answers, clips: Answers, *, level: float = 0.9) -> Certainty:
    """Temperatures and thresholds of frames and of clips, fitted on data that the network was not trained on.

    Frames weigh so that every clip counts the same, however many frames of it there are. One number, the temperature,
    is fitted on the same answers as the threshold; strictly, the promise of `fit_threshold` holds without it.

    Args:
        frames: the frames, each for itself.
        clips: what the frames of each clip say together.
        level: share of the sets of answers that shall hold the truth.

    Raises:
        ValueError: nothing to fit on, or ``level`` is no share.
    """
    return Certainty(level=level, frames=_fitted(frames, level), clips=_fitted(clips, level))


def sureness(answers: Answers, calibrated: Calibrated, names: Sequence[str], *, level: float) -> Sureness:
    """How far the probabilities can be believed, before and after the temperature, and what the sets are worth.

    Args:
        answers: frames or clips that ``calibrated`` was *not* fitted on; else use `cross_fitted`.
        calibrated: of the same kind, frames or clips.
        names: the data set's classes, in order.
        level: share of the sets that was promised to hold the truth.

    Raises:
        ValueError: nothing to judge, or lengths differ.
    """
    after = tempered(answers.probabilities, calibrated.temperature)
    return _judged(answers, after, answer_sets(after, calibrated.threshold), names, level)


def cross_fitted(
    answers: Answers, names: Sequence[str], *, level: float = 0.9, folds: int = FOLDS, seed: int = 0
) -> Sureness:
    """How far the probabilities of validation data itself can be believed.

    The groups are parted by chance; the temperature and the threshold for each part are fitted on the others. With
    fewer groups than ``folds`` each group is a part. A single group is judged with what is fitted on itself.

    Args:
        answers: the frames or clips that are also fitted on.
        names: the data set's classes, in order.
        level: share of the sets that shall hold the truth.
        folds: how many parts.
        seed: decides which group goes where; the same for frames and clips of the same groups.

    Raises:
        ValueError: nothing to judge, or lengths differ.
    """
    likeliest(answers.labels, answers.probabilities, len(names))
    fold_of = _folds(answers.groups, folds, seed)
    after = np.empty(answers.probabilities.shape, np.float64)
    sets = np.empty(answers.probabilities.shape, np.bool_)
    for fold in range(fold_of.max() + 1):
        rows = fold_of == fold
        found = _fitted(answers if rows.all() else answers.where(~rows), level)
        after[rows] = tempered(answers.probabilities[rows], found.temperature)
        sets[rows] = answer_sets(after[rows], found.threshold)
    return _judged(answers, after, sets, names, level)


def _fitted(answers: Answers, level: float) -> Calibrated:
    weights, groups = _clip_weights(answers), len(set(answers.groups))
    # Clips of a group are alike: the independent observations are as many as the groups.
    masses = weights * groups / weights.sum()
    temperature = fit_temperature(answers.labels, answers.probabilities, weights=masses)
    after = tempered(answers.probabilities, temperature)
    return Calibrated(
        temperature=temperature,
        threshold=fit_threshold(answers.labels, after, answers.groups, level=level, weights=weights),
        clips=len(set(answers.clips)),
        groups=groups,
    )


def _judged(
    answers: Answers, after: Floats, sets: npt.NDArray[np.bool_], names: Sequence[str], level: float
) -> Sureness:
    weights = _clip_weights(answers)
    return Sureness(
        before=calibration(answers.labels, answers.probabilities, weights=weights),
        after=calibration(answers.labels, after, weights=weights),
        selective=risk_coverage(answers.labels, after),
        sets=judge_sets(answers.labels, sets, answers.groups, names, level=level, weights=weights),
    )


def _clip_weights(answers: Answers) -> npt.NDArray[np.float64]:
    """One over the rows of each row's clip, (n,)."""
    _, rows, counts = np.unique(np.asarray(answers.clips, np.str_), return_inverse=True, return_counts=True)
    return np.asarray(1 / counts[rows])


def _folds(groups: Sequence[str], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Part of each row, (n,); the parts differ by at most one group."""
    names, rows = np.unique(np.asarray(groups, np.str_), return_inverse=True)
    parts = np.arange(len(names)) % min(folds, len(names))
    return np.asarray(np.random.default_rng(seed).permutation(parts)[rows], np.int64)
