"""The records of an evaluation (``metrics.json``), and the arrays that they are made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pydantic

from petmood.records import Certainty, Pool

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]

#: A class with clips of fewer groups than this is too few to tell: its interval spans most of what is possible.
FEW_GROUPS_OF_A_CLASS = 20

#: Version of ``metrics.json``; others are not read.
FORMAT = 2

VerdictKind = Literal["beats", "f1_only", "accuracy_only", "neither"]
CautionKind = Literal["leak", "seen", "official_split", "chosen_on", "data_changed", "started_elsewhere", "adjusted"]


@dataclasses.dataclass(frozen=True)
class ClipScores:
    """One row a clip, in order of first appearance."""

    clips: tuple[str, ...]
    probabilities: npt.NDArray[np.float64]
    """(clips, classes): what the frames say together, by mean or attention."""
    labels: npt.NDArray[np.int64]
    """(clips,): class numbers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model says of n frames, or of n clips, with the truth."""

    labels: Ints
    """(n,): class numbers."""
    probabilities: Floats
    """(n, classes): as the network gives them."""
    clips: Sequence[str]
    """Clip of each row, (n,)."""
    groups: Sequence[str]
    """Group of each row's clip, (n,)."""

    def where(self, rows: npt.NDArray[np.bool_]) -> Answers:
        """The rows that are true in ``rows``, (n,)."""
        return Answers(
            labels=self.labels[rows],
            probabilities=self.probabilities[rows],
            clips=[clip for clip, wanted in zip(self.clips, rows, strict=True) if wanted],
            groups=[group for group, wanted in zip(self.groups, rows, strict=True) if wanted],
        )


@dataclasses.dataclass(frozen=True)
class Range:
    """Where 95 % of the draws of a score lie, when groups of clips are drawn again (``bootstrap``)."""

    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassScores:
    """How one class fares. Shares are 0 to 1, higher is better; None where there is nothing to divide by."""

    name: str
    support: int
    """Frames or clips of this class."""
    predicted: int
    """Answers that name this class, right or wrong."""
    precision: float | None
    """Share of those answers that are right; None if it was never answered."""
    recall: float | None
    """Share of the class that was found; None if the class does not occur."""
    f1: float | None
    """Harmonic mean of both, 0 if nothing was found; None if the class does not occur."""
    average_precision: float | None = None
    """Area under the precision-recall curve of this class against the rest; None if it, or all else, does not occur."""
    groups: int = 0
    """Groups that its frames or clips are of."""
    recall_range: Range | None = None
    f1_range: Range | None = None
    """Drawn by group, for clips alone; None where nothing could be drawn."""

    @property
    def too_few(self) -> bool:
        """Whether there are too few groups to tell how the class fares."""
        return self.groups < FEW_GROUPS_OF_A_CLASS


@dataclasses.dataclass(frozen=True, kw_only=True)
class Baseline:
    """What always giving the same answer would score on the same frames or clips."""

    answer: str
    """The most frequent class among the clips of the training split."""
    accuracy: float
    macro_f1: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShortScores:
    """The scores that fit into a row; shares are 0 to 1, higher is better."""

    accuracy: float
    balanced_accuracy: float
    macro_f1: float


BaselineKind = Literal["majority", "prior", "species", "action", "species_action"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shortcut:
    """What answers that look at no picture score on the same clips.

    ``majority`` always gives the answer most frequent in training. ``prior`` answers at random, as often as each class
    occurs there; its scores are means. The others look up the species, the action, or both in a table of the training
    clips and give the most frequent emotion there.
    """

    kind: BaselineKind
    scores: ShortScores
    answers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Value looked up (``cat``, ``walkrun``, ``cat/walkrun``) → emotion; empty for majority and prior."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judgement:
    """All scores of one set of frames or clips; shares are 0 to 1, higher is better."""

    count: int
    """Frames or clips judged."""
    right: int
    accuracy: float
    balanced_accuracy: float
    """Mean recall of the classes that occur."""
    macro_f1: float
    """Mean F1 of the classes that occur."""
    baseline: Baseline
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows are the true classes, columns the answers."""
    kappa: float | None = None
    """Cohen's kappa: agreement beyond chance, at most 1, 0 is chance; None if there is but one class."""
    top2: float | None = None
    """Share whose true class is one of the two likeliest; None with fewer than three classes."""
    macro_ap: float | None = None
    """Mean average precision of the classes that have one."""
    groups: int = 0
    """Groups that the frames or clips are of."""
    ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)
    """accuracy, balanced_accuracy, macro_f1 → where 95 % of the draws lie; for clips alone, of at least two groups."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeciesJudgement:
    """The same scores for one species alone; the baseline's answer is that of the whole training split."""

    species: str
    """dog, cat, or unknown where the source does not say."""
    frames: Judgement
    clips: Judgement


@dataclasses.dataclass(frozen=True)
class Bin:
    """Answers whose probability lies in one range of the reliability curve."""

    confidence: float
    """Mean probability of the answers, 0 to 1."""
    accuracy: float
    """Share of them that is right."""
    count: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well probabilities agree with what happens; lower is better for all numbers."""

    ece: float
    """Expected calibration error over 15 bins of equal width: mean distance of probability and share right."""
    adaptive_ece: float
    """The same over 15 bins with equally many answers."""
    brier: float
    """Mean squared distance of the probabilities of all classes from truth, 0 to 2."""
    nll: float
    """Mean negative logarithm of the probability of the true class."""
    bins: tuple[Bin, ...]
    """Of equal width; empty ones are left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selective:
    """How wrong the model is if it may keep silent where it is least sure (risk-coverage curve).

    El-Yaniv and Wiener, On the Foundations of Noise-free Selective Classification, JMLR 2010; area under the curve:
    Geifman, Uziel and El-Yaniv, ICLR 2019 (arXiv 1805.08206).
    """

    coverage: tuple[float, ...]
    """Share that is answered, rising to 1; at most 101 points."""
    risk: tuple[float, ...]
    """Share of the answered that is wrong, at each coverage."""
    aurc: float
    """Mean risk over all coverages; lower is better."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerSets:
    """Sets of answers that hold the truth as often as promised (``metrics.conformal``), measured on what is judged."""

    level: float
    """Promised share, 0 to 1."""
    covered: float
    """Share whose set holds the truth; every group counts the same."""
    covered_range: Range | None
    single: float
    """Share with one answer."""
    double: float
    """Share with two answers (“calm or happy”)."""
    unsure: float
    """Share with more (“not sure”)."""
    mean_size: float
    classes: Mapping[str, float | None]
    """Class → share of its own whose set holds it; None if it does not occur."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sureness:
    """How far probabilities can be believed, for frames or for clips.

    Calibration and coverage weigh frames so that every clip counts the same.
    """

    before: Calibration
    """Of the probabilities as the network gives them."""
    after: Calibration
    """After temperature scaling."""
    selective: Selective
    sets: AnswerSets


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """How fast the pictures of this evaluation went through the model, with decoding."""

    images: int
    seconds: float
    device: str

    @property
    def rate(self) -> float:
        """Images per second."""
        return self.images / self.seconds if self.seconds else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Caution:
    """Something that a reader must know before believing the numbers."""

    kind: CautionKind
    clips: int = 0
    """leak: clips that stand on two sides; seen: clips of another source that the model was trained on."""
    groups: int = 0
    """leak: groups of clips that stand on two sides."""
    frames: int = 0
    """leak: pairs of frames on two sides that are near-copies."""
    detail: str = ""
    """chosen_on: the split; data_changed: the stages that have run again since; started_elsewhere: the run that
    training started from; adjusted: the shares that the answers were told to expect."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What ``evaluate`` found about one run (``metrics.json``)."""

    format: int = FORMAT
    split: str
    """The split that was judged."""
    split_by: str
    """How the split was made: group or official."""
    classes: tuple[str, ...]
    verdict: VerdictKind
    """Against the majority answer, on clips; see `verdict`."""
    cautions: tuple[Caution, ...]
    frames: Judgement
    clips: Judgement
    species: tuple[SpeciesJudgement, ...]
    training_clips: Mapping[str, int]
    """Clips of each class in the training split: the baseline answers the largest."""
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    pool: Pool = "mean"
    """How the answers of clips were made; see `clip_means`."""
    poolings: Mapping[str, ShortScores] = dataclasses.field(default_factory=dict)
    """Scores of the clips if their frames are pooled by mean, median, or attention (where it was trained)."""
    by_group: ShortScores | None = None
    """Scores of the clips if every group counts the same, however many clips it has."""
    shortcuts: tuple[Shortcut, ...] = ()
    """What answers without a look at the picture score on the same clips."""
    certainty: Certainty | None = None
    """What was fitted on the validation clips and stands in the model's folder."""
    sureness: Mapping[str, Sureness] = dataclasses.field(default_factory=dict)
    """``frames`` and ``clips`` → how far the probabilities can be believed; empty without validation clips."""
    cross_fitted: bool = False
    """Whether temperature and sets were fitted on the other groups each time, because validation itself is judged."""
    speed: Speed | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Evaluation:
        """The evaluation that `to_dict` wrote.

        Raises:
            ValueError: ``content`` is not one, or one of another version.
        """
        if content.get("format") != FORMAT:
            raise ValueError(f"metrics of format {content.get('format')} cannot be read; only format {FORMAT} can")
        found: Evaluation = pydantic.TypeAdapter(cls).validate_python(dict(content))
        return found
