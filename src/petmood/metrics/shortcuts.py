"""What answers that look at no picture would score: a model must beat them to have seen anything."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from petmood.metrics.records import BaselineKind, Ints, Shortcut, ShortScores
from petmood.metrics.scores import majority, scores_of

#: Draws for the expected macro-F1 of random answers.
_DRAWS = 2_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of clips without a look at their pictures; three sequences of one length."""

    species: Sequence[str | None]
    actions: Sequence[str | None]
    labels: Ints
    """(clips,): class numbers."""

    def __post_init__(self) -> None:
        if not len(self.species) == len(self.actions) == len(self.labels):
            raise ValueError(
                f"{len(self.species)} species, {len(self.actions)} actions and {len(self.labels)} labels do not match"
            )

    def looked_up(self) -> Mapping[BaselineKind, list[str | None]]:
        """Kind of table → the value under which each clip is looked up; None where the source does not say."""
        both = zip(self.species, self.actions, strict=True)
        return {
            "species": list(self.species),
            "action": list(self.actions),
            "species_action": [f"{one}/{two}" if one is not None and two is not None else None for one, two in both],
        }


def shortcuts(training: Known, judged: Known, names: Sequence[str]) -> tuple[Shortcut, ...]:
    """Scores of the majority answer, of random answers, and of tables of species, action and both.

    Tables and shares are of the training clips alone. A value that those never had gets the majority answer. A table is
    left out if no clip of training, or of what is judged, has a value to look up.

    Args:
        training: the clips of the training split.
        judged: the clips to answer.
        names: the data set's classes, in order.

    Raises:
        ValueError: there are no training clips, or nothing to judge.
    """
    classes = len(names)
    usual = majority(training.labels, classes)
    constant = np.full(len(judged.labels), usual)
    found = [
        Shortcut(kind="majority", scores=scores_of(judged.labels, constant, classes)),
        Shortcut(kind="prior", scores=_at_random(training.labels, judged.labels, classes)),
    ]
    values = judged.looked_up()
    for kind, known in training.looked_up().items():
        table = _table(known, training.labels, classes)
        if table and any(value is not None for value in values[kind]):
            answers = np.array([table.get(value, usual) if value is not None else usual for value in values[kind]])
            told = {value: names[number] for value, number in sorted(table.items())}
            found.append(Shortcut(kind=kind, scores=scores_of(judged.labels, answers, classes), answers=told))
    return tuple(found)


def _table(values: Sequence[str | None], labels: Ints, classes: int) -> dict[str, int]:
    """Value → the class number most frequent with it; the first of several equals."""
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for value, label in zip(values, np.asarray(labels).tolist(), strict=True):
        if value is not None:
            counts[value][label] += 1
    return {value: max(range(classes), key=lambda number: (of[number], -number)) for value, of in counts.items()}


def _at_random(training: Ints, labels: Ints, classes: int) -> ShortScores:
    """Expected scores of answers drawn as often as each class occurs in ``training``.

    Accuracy and balanced accuracy are exact. Macro-F1 is the mean of seeded draws of the numbers of right and wrong
    answers of each class, which are binomial; expectations of sums do not care that the classes hang together.
    """
    shares = np.bincount(training, minlength=classes) / len(training)
    support = np.bincount(labels, minlength=classes)
    occurs = support > 0
    rng = np.random.default_rng(0)
    right = rng.binomial(support, shares, (_DRAWS, classes))
    wrong = rng.binomial(len(labels) - support, shares, (_DRAWS, classes))
    f1 = 2 * right[:, occurs] / (support + right + wrong)[:, occurs]
    return ShortScores(
        accuracy=float(shares @ support / len(labels)),
        balanced_accuracy=float(shares[occurs].mean()),
        macro_f1=float(f1.mean()),
    )
