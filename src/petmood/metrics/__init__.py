"""How good answers are: pure functions over arrays, and the records that hold their results.

Everything is judged twice, on frames and on clips: the frames of a clip are nearly alike and carry one label, so that a
clip is what counts as one observation. Class numbers are positions in the data set's class list (``labels.py``). Each
result stands beside the majority baseline, because 0 is not the score to beat.

One module a question: ``scores`` (how many are right), ``ranges`` (is that luck), ``clips`` (what frames say together),
``calibration``, ``conformal``, ``selective`` and ``certainty`` (can a probability be believed), ``shortcuts`` (what
would answers without a look score), ``galleries`` (which pictures show it), ``records`` (what goes into
``metrics.json``).
"""

from petmood.metrics.calibration import fit_temperature
from petmood.metrics.certainty import cross_fitted, fit_certainty, sureness
from petmood.metrics.clips import clip_means, clip_medians
from petmood.metrics.conformal import fit_threshold, judge_sets
from petmood.metrics.records import (
    FEW_GROUPS_OF_A_CLASS,
    FORMAT,
    Answers,
    AnswerSets,
    Baseline,
    BaselineKind,
    Bin,
    Calibration,
    Caution,
    CautionKind,
    ClassScores,
    ClipScores,
    Evaluation,
    Floats,
    Ints,
    Judgement,
    Range,
    Selective,
    Shortcut,
    ShortScores,
    SpeciesJudgement,
    Speed,
    Sureness,
    VerdictKind,
)
from petmood.metrics.scores import (
    accuracy,
    average_precisions,
    balanced_accuracy,
    by_group,
    class_scores,
    confusion,
    judge,
    kappa,
    likeliest,
    macro_f1,
    majority,
    scores_of,
    short_scores,
    top2,
    verdict,
)
from petmood.metrics.selective import risk_coverage
from petmood.probabilities import answer_sets, tempered

__all__ = [
    "FEW_GROUPS_OF_A_CLASS",
    "FORMAT",
    "AnswerSets",
    "Answers",
    "Baseline",
    "BaselineKind",
    "Bin",
    "Calibration",
    "Caution",
    "CautionKind",
    "ClassScores",
    "ClipScores",
    "Evaluation",
    "Floats",
    "Ints",
    "Judgement",
    "Range",
    "Selective",
    "ShortScores",
    "Shortcut",
    "SpeciesJudgement",
    "Speed",
    "Sureness",
    "VerdictKind",
    "accuracy",
    "answer_sets",
    "average_precisions",
    "balanced_accuracy",
    "by_group",
    "class_scores",
    "clip_means",
    "clip_medians",
    "confusion",
    "cross_fitted",
    "fit_certainty",
    "fit_temperature",
    "fit_threshold",
    "judge",
    "judge_sets",
    "kappa",
    "likeliest",
    "macro_f1",
    "majority",
    "risk_coverage",
    "scores_of",
    "short_scores",
    "sureness",
    "tempered",
    "top2",
    "verdict",
]
