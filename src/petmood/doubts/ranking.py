"""Which labels to doubt, from probabilities alone, and how far these can be believed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from cleanlab.count import get_confident_thresholds
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

from petmood.metrics import Floats, Ints, accuracy, balanced_accuracy

#: A flagged label is less than this as probable as labels of its emotion are on average.
_UNUSUAL = 0.5


@dataclasses.dataclass(frozen=True)
class Ranking:
    """One entry a clip, in the order of the clips."""

    score: npt.NDArray[np.float64]
    """Probability of the label over the mean of this among all clips of its emotion; 1 is usual, near 0 doubtful."""
    flagged: npt.NDArray[np.bool_]
    """Whether the label is likely wrong."""
    order: npt.NDArray[np.int64]
    """Clips from the most to the least doubtful: those flagged, then the others, each by score."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Credit:
    """How far the predictions can be believed; shares are 0 to 1."""

    accuracy: float
    majority: int
    """The most frequent class."""
    majority_accuracy: float
    """What always giving it comes to."""
    balanced_accuracy: float
    """Mean recall of the classes where each of them is expected equally often."""
    chance: float
    """What any answer that knows nothing comes to."""
    margin: float
    """How far above chance luck alone may come (two standard deviations, groups counted instead of clips)."""

    @property
    def better_than_chance(self) -> bool:
        """Whether the predictions know something, so that their disagreement means something."""
        return self.balanced_accuracy > self.chance + self.margin


def rank_labels(labels: Ints, probabilities: Floats) -> Ranking:
    """Clips by how little their label fits the probabilities.

    The score is the self-confidence of the label over its emotion's confident threshold (Northcutt et al. 2021, arXiv
    1911.00068). Self-confidence alone would put every clip of a rare emotion first, because few predictions name it.
    Flagged is what confident learning prunes by class and by noise rate, if it is also unusual for its emotion: a weak
    model's own mistakes are many, and a list of a third of all clips helps nobody.

    Args:
        labels: class number of each clip; every class occurs.
        probabilities: (clips, classes), each row by a model that has not seen the clip.
    """
    thresholds = np.asarray(get_confident_thresholds(labels, probabilities), np.float64)
    score = get_label_quality_scores(labels, probabilities, method="self_confidence") / thresholds[labels]
    pruned = find_label_issues(labels, probabilities, filter_by="both", n_jobs=1)
    flagged = np.asarray(pruned, bool) & (score < _UNUSUAL)
    order = np.lexsort((np.arange(len(labels)), score, ~flagged))
    return Ranking(score, flagged, order.astype(np.int64))


def credit(labels: Ints, probabilities: Floats, groups: Sequence[str]) -> Credit:
    """How good the predictions are on the labels as they are, doubtful ones included.

    Args:
        labels: class number of each clip; every class occurs.
        probabilities: (clips, classes), in which classes are expected as often as they occur.
        groups: of each clip. Clips of one group are alike, so that chance is reckoned with their number.
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    names = np.asarray(groups)
    # Which class is likelier than its share says: the best answer where all classes count the same.
    answers = (probabilities / counts).argmax(axis=1)
    answered = np.bincount(answers, minlength=classes) / len(answers)
    independent = np.array([len(set(names[labels == number])) for number in range(classes)])
    # An answer that does not depend on the label finds each class as often as it is given.
    deviation = float(np.sqrt((answered * (1 - answered) / independent).sum())) / classes
    return Credit(
        accuracy=accuracy(labels, probabilities.argmax(axis=1)),
        majority=int(counts.argmax()),
        majority_accuracy=float(counts.max() / len(labels)),
        balanced_accuracy=balanced_accuracy(labels, answers, classes),
        chance=1 / classes,
        margin=2 * deviation,
    )


def expecting(probabilities: Floats, *, before: Floats, now: Floats) -> Floats:
    """The same answers if the classes are met as often as ``now`` says instead of ``before``: float (clips, classes).

    Args:
        probabilities: (clips, classes).
        before: share of each class that they expect, above 0.
        now: share of each class that they shall expect.
    """
    changed = probabilities * (np.asarray(now) / np.asarray(before))
    return np.asarray(changed / changed.sum(axis=1, keepdims=True))
