"""How a model fares on another source than its own: each score on both, and the change with its interval."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic

from petmood.bootstrap import SCORES, Interval, drawn_counts, group_counts, interval, recall_of, score_of
from petmood.metrics.records import FEW_GROUPS_OF_A_CLASS, Answers, Evaluation, Floats, Range


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One score on the clips of one source."""

    clips: int
    """That it is made of: of all classes, or of one."""
    groups: int
    """That they are of."""
    score: float
    """0 to 1, higher is better."""
    range: Range | None
    """Where 95 % of the draws by group lie; None where nothing can be drawn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """One score on a run's own clips and on those of another source."""

    name: str
    """``accuracy``, ``balanced_accuracy`` or ``macro_f1``; or an emotion, whose score is its recall."""
    own: Side
    there: Side
    difference: Interval | None
    """There less own: below 0 the model is worse there. The groups of each source are drawn by themselves (unpaired);
    None where nothing can be drawn."""

    @property
    def too_few(self) -> bool:
        """Whether one of the sources has too few groups to tell."""
        return min(self.own.groups, self.there.groups) < FEW_GROUPS_OF_A_CLASS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What ``evaluate --source`` found (``RUN/elsewhere/NAME/metrics.json``)."""

    format: int = 1
    name: str
    source: str
    """Its path."""
    kind: str
    """aihub, folders or table."""
    settings: Mapping[str, Any]
    """How it was read (``ElsewhereSettings``)."""
    own_split: str
    """The split of the run's own data that it is compared with."""
    scores: tuple[Change, ...]
    """Accuracy, balanced accuracy, macro-F1, on clips of the classes that both have; answers may be any class."""
    classes: tuple[Change, ...]
    """The recall of each class that both have."""
    left_out: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Words that the table of words leaves out → pictures."""
    unknown: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Emotions that the model does not know → clips; not judged."""
    seen_left_out: int = 0
    """Clips that were not judged because the model has seen them (``drop_seen``)."""
    lacking: tuple[str, ...] = ()
    """Emotions that the model knows and the source lacks."""
    not_own: tuple[str, ...] = ()
    """Emotions that the own split has no clips of: judged there, but not compared."""
    evaluation: Evaluation
    """Of the clips there whose emotion the model knows."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Elsewhere:
        """What `to_dict` wrote.

        Raises:
            ValueError: ``content`` is not that.
        """
        found: Elsewhere = pydantic.TypeAdapter(cls).validate_python(dict(content))
        return found


def changes(
    own: Answers, there: Answers, classes: Sequence[str], *, draws: int = 10_000
) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """The scores, and the recall of each class that both sources have, in the order of the classes.

    Clips of other classes are left out on both sides; answers stay as they are, so that an answer that names a class
    outside counts as wrong. Without a class in common both are empty.

    Args:
        own: clips of the run's own data.
        there: clips of the other source.
        classes: English names by class number.
        draws: of the bootstrap.
    """
    shared = np.intersect1d(own.labels, there.labels)
    if not len(shared):
        return (), ()
    sides = [
        _Drawn(answers.where(np.isin(answers.labels, shared)), len(classes), draws, seed)
        for seed, answers in enumerate((own, there))
    ]
    overall = [_change(name, *(side.score(place) for side in sides)) for place, name in enumerate(SCORES)]
    single = [_change(classes[number], *(side.recall(int(number)) for side in sides)) for number in shared]
    return tuple(overall), tuple(single)


@dataclasses.dataclass(frozen=True)
class _Scored:
    side: Side
    drawn: Floats | None
    """The score in each draw, NaN where the draw has nothing of it."""


class _Drawn:
    """Scores of one side, as it is and drawn again by group."""

    def __init__(self, answers: Answers, classes: int, draws: int, seed: int) -> None:
        counts = group_counts(answers.labels, answers.probabilities.argmax(axis=1), answers.groups, classes)
        self._total = counts.sum(axis=0)
        self._groups_of = (counts.sum(axis=2) > 0).sum(axis=0)
        self._groups = len(counts)
        self._drawn = drawn_counts(counts[None], draws=draws, seed=seed)[0] if len(counts) > 1 else None

    def score(self, place: int) -> _Scored:
        """One of ``SCORES``."""
        drawn = None if self._drawn is None else score_of(self._drawn, SCORES[place])
        clips = int(self._total.sum())
        return self._scored(clips, self._groups, float(score_of(self._total, SCORES[place])), drawn)

    def recall(self, number: int) -> _Scored:
        """The recall of a class. One group alone would be drawn again and again, as if there were no doubt."""
        groups = int(self._groups_of[number])
        drawn = recall_of(self._drawn)[:, number] if self._drawn is not None and groups > 1 else None
        clips = int(self._total[number].sum())
        return self._scored(clips, groups, float(recall_of(self._total)[number]), drawn)

    @staticmethod
    def _scored(clips: int, groups: int, score: float, drawn: npt.NDArray[np.float64] | None) -> _Scored:
        found = None if drawn is None else interval(score, drawn)
        spread = None if found is None else Range(found.low, found.high)
        return _Scored(Side(clips=clips, groups=groups, score=score, range=spread), drawn)


def _change(name: str, own: _Scored, there: _Scored) -> Change:
    difference = None
    if own.drawn is not None and there.drawn is not None:
        difference = interval(there.side.score - own.side.score, there.drawn - own.drawn)
    return Change(name=name, own=own.side, there=there.side, difference=difference)
