"""The verdict in words, for a person who was not there: one finding a question, each good, bad, or not to be told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from petmood.bootstrap import FEW_GROUPS, Interval, Score
from petmood.labels import Language, display
from petmood.metrics import Calibration, Caution, ClassScores, Evaluation, Shortcut
from petmood.metrics.records import FEW_GROUPS_OF_A_CLASS
from petmood.report.texts import caution_line, decimal, percent, text

Mark = Literal["good", "bad", "unsure"]

#: Further than this from what is right, and from what luck makes, probabilities are not to be believed.
_MUCH = 0.1
#: Up to this mean distance they are.
_LITTLE = 0.05
#: Cautions that speak of clips that the model may know.
_LEAKS = ("leak", "seen", "data_changed", "started_elsewhere", "official_split", "chosen_on")

#: Word → (English, Korean). Names in braces are filled in.
FINDINGS: Mapping[str, tuple[str, str]] = {
    "majority": ("Better than always “{answer}”?", "항상 “{answer}”보다 나은가?"),
    "majority_good": (
        "Yes: {accuracy} points more clips right and {f1} points more macro-F1. Both intervals lie above 0.",
        "예. 맞힌 클립 {accuracy}점, macro-F1 {f1}점 높습니다. 두 구간 모두 0보다 큽니다.",
    ),
    "majority_unsure": (
        "Not shown for both scores: {accuracy} points of clips right and {f1} points of macro-F1. An interval that "
        "holds "
        "0 may be luck.",
        "두 점수 모두에서 확인되지는 않습니다. 맞힌 클립 {accuracy}점, macro-F1 {f1}점. 구간에 0이 들어 있으면 우연일 "
        "수 "
        "있습니다.",
    ),
    "majority_bad": (
        "No: {accuracy} points of clips right and {f1} points of macro-F1.",
        "아니요. 맞힌 클립 {accuracy}점, macro-F1 {f1}점입니다.",
    ),
    "majority_no_range": (
        "{accuracy} points of clips right and {f1} points of macro-F1; the clips are all of one group, so no interval "
        "can be given.",
        "맞힌 클립 {accuracy}점, macro-F1 {f1}점. 모든 클립이 한 그룹이라 구간을 구할 수 없습니다.",
    ),
    "few": (
        "Only {groups} groups of clips: the intervals are narrower than they should be.",
        "클립 그룹이 {groups}개뿐이라 구간이 실제보다 좁습니다.",
    ),
    "shortcuts": ("Better than answers without a look at the picture?", "그림을 보지 않은 답보다 나은가?"),
    "shortcuts_good": (
        "Yes: macro-F1 {f1}{range}, against {short} by a table {name}.",
        "예. macro-F1 {f1}{range}, {name} 만든 표는 {short}.",
    ),
    "shortcuts_unsure": (
        "Not shown: macro-F1 {f1}{range}, against {short} by a table {name}, within the interval.",
        "확인되지 않습니다. macro-F1 {f1}{range}, {name} 만든 표는 {short}(구간 안).",
    ),
    "shortcuts_bad": (
        "No: macro-F1 {f1}{range}, against {short} by a table {name}. The model may have learnt just this.",
        "아니요. macro-F1 {f1}{range}, {name} 만든 표는 {short}. 모델이 이것만 배웠을 수 있습니다.",
    ),
    "shortcuts_none": (
        "Not known: the source says neither species nor action.",
        "알 수 없습니다. 원본에 종과 행동이 없습니다.",
    ),
    "classes": ("Where does it fail?", "어디에서 틀리는가?"),
    "worst": (
        "Of the emotions with enough clips it is worst at “{name}”: it finds {recall}{range} of these clips ({count}).",
        "클립이 충분한 감정 중 “{name}”에 가장 약합니다. 클립 {count}개 중 {recall}{range}를 찾습니다.",
    ),
    "worst_few": (
        "No emotion has clips of {least} groups, so this cannot be told; “{name}” has the lowest number: {recall} of "
        "its "
        "clips ({count}) are found.",
        "그룹이 {least}개 이상인 감정이 없어 판단할 수 없습니다. 수치가 가장 낮은 것은 “{name}”(클립 {count}개 중 "
        "{recall})"
        "입니다.",
    ),
    "too_few_list": ("Too few to tell: {names}.", "판단하기에 너무 적음: {names}."),
    "too_few_one": ("{name} ({groups} groups)", "{name}(그룹 {groups}개)"),
    "leaks": ("Is the data free of leaks?", "데이터 누출이 없는가?"),
    "leaks_good": (
        "Yes: no clip, no group of clips and no near-copied frame was found on two sides of the split.",
        "예. 분할 양쪽에 함께 있는 클립, 그룹, 거의 같은 프레임이 없습니다.",
    ),
    "leaks_unsure": (
        "No clip, group or near-copied frame was found on two sides of the split, but: {cautions}",
        "분할 양쪽에 함께 있는 클립, 그룹, 거의 같은 프레임은 없습니다. 다만: {cautions}",
    ),
    "leaks_bad": ("No: the numbers are too good.", "아니요. 모든 수치가 실제보다 높습니다."),
    "sure": ("Can its probabilities be believed?", "확률을 믿을 수 있는가?"),
    "sure_good": ("Yes. {told}", "예. {told}"),
    "sure_unsure": ("Roughly. {told}", "대체로. {told}"),
    "sure_bad": ("No. {told}", "아니요. {told}"),
    "sure_few": ("Cannot be told from {groups} groups. {told}", "그룹 {groups}개로는 알 수 없습니다. {told}"),
    "sure_told": (
        "What it says and how often it is right differ by {ece} points on average, as corrected by the stored "
        "temperature ({before} uncorrected); luck alone makes about {luck} of {count} clips.",
        "말한 확률과 맞은 비율의 차이는 저장된 온도로 조정하면 평균 {ece}점(조정 전 {before}점)입니다. 클립 "
        "{count}개에서는 "
        "우연만으로도 약 {luck}점이 나옵니다.",
    ),
    "sure_none": (
        "Not known: there were no validation clips to measure it on.",
        "알 수 없습니다. 측정할 검증 클립이 없습니다.",
    ),
    "sets_told": (
        "Its sets of answers hold the truth in {covered} of the groups' clips; {level} was promised.",
        "답 집합에 정답이 있는 비율은 {covered}입니다(약속 {level}).",
    ),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """The answer to one question."""

    key: str
    """majority, shortcuts, classes, leaks or sure."""
    mark: Mark
    question: str
    answer: str


def findings(evaluation: Evaluation, gained: Mapping[Score, Interval], language: Language) -> tuple[Finding, ...]:
    """What a person must know, in the order of importance.

    Args:
        evaluation: of the run.
        gained: what `advantage.advantage` gave.
        language: of the words.
    """
    say = _Words(language)
    answers = {
        "majority": _majority(evaluation, gained, say),
        "shortcuts": _shortcuts(evaluation, say),
        "classes": _classes(evaluation, say),
        "leaks": _leaks(evaluation, say),
        "sure": _sure(evaluation, say),
    }
    answer = display(evaluation.clips.baseline.answer, language)
    return tuple(
        Finding(key=key, mark=mark, question=say(key, answer=answer), answer=" ".join(lines))
        for key, (mark, lines) in answers.items()
    )


@dataclasses.dataclass(frozen=True)
class _Words:
    language: Language

    def __call__(self, key: str, **fields: str) -> str:
        return FINDINGS[key][self.language == "ko"].format_map(fields)

    def name(self, emotion: str) -> str:
        return display(emotion, self.language)


_Answer = tuple[Mark, list[str]]


def _majority(evaluation: Evaluation, gained: Mapping[Score, Interval], say: _Words) -> _Answer:
    clips = evaluation.clips
    if not gained:
        differences = (clips.accuracy - clips.baseline.accuracy, clips.macro_f1 - clips.baseline.macro_f1)
        accuracy, f1 = (_points(one) for one in differences)
        mark: Mark = "bad" if evaluation.verdict == "neither" else "unsure"
        return mark, [say("majority_no_range", accuracy=accuracy, f1=f1)]
    both = (gained["accuracy"], gained["macro_f1"])
    mark = "good" if all(one.low > 0 for one in both) else "unsure"
    if evaluation.verdict == "neither" or any(one.high < 0 for one in both):
        mark = "bad"
    accuracy, f1 = (f"{_points(one.estimate)} ({_points(one.low)} … {_points(one.high)})" for one in both)
    lines = [say(f"majority_{mark}", accuracy=accuracy, f1=f1)]
    if clips.groups < FEW_GROUPS:
        lines.append(say("few", groups=f"{clips.groups:,}"))
    return mark, lines


def _shortcuts(evaluation: Evaluation, say: _Words) -> _Answer:
    best = best_shortcut(evaluation)
    if best is None:
        return "unsure", [say("shortcuts_none")]
    clips, found = evaluation.clips, evaluation.clips.ranges.get("macro_f1")
    mark: Mark = "good" if clips.macro_f1 > best.scores.macro_f1 else "bad"
    if mark == "good" and (found is None or found.low <= best.scores.macro_f1):
        mark = "unsure"
    name = text(f"shortcut_{best.kind}", say.language)
    shown = f" ({decimal(found.low)} … {decimal(found.high)})" if found else ""
    short = decimal(best.scores.macro_f1)
    return mark, [say(f"shortcuts_{mark}", f1=decimal(clips.macro_f1), range=shown, short=short, name=name)]


def best_shortcut(evaluation: Evaluation) -> Shortcut | None:
    """The table of species or action with the best macro-F1; None if the source says neither."""
    tables = [one for one in evaluation.shortcuts if one.kind in ("species", "action", "species_action")]
    return max(tables, key=lambda one: one.scores.macro_f1, default=None)


def _classes(evaluation: Evaluation, say: _Words) -> _Answer:
    occurring = [one for one in evaluation.clips.classes if one.recall is not None]
    enough = [one for one in occurring if not one.too_few]
    few = [one for one in occurring if one.too_few]
    absent = [one for one in evaluation.clips.classes if one.recall is None]
    worst = min(enough or occurring, key=lambda one: one.recall or 0.0)
    found = worst.recall_range
    shown = f" ({percent(found.low)} … {percent(found.high)})" if found else ""
    lines = [
        say(
            "worst" if enough else "worst_few",
            name=say.name(worst.name),
            recall=percent(worst.recall),
            range=shown,
            count=f"{worst.support:,}",
            least=f"{FEW_GROUPS_OF_A_CLASS}",
        )
    ]
    if enough and (few or absent):
        lines.append(say("too_few_list", names=_listed([*few, *absent], say)))
    mark: Mark = "unsure" if few or absent else "good"
    if enough and (worst.recall or 0.0) < 0.5:
        mark = "bad"
    return mark, lines


def _points(found: float) -> str:
    """A difference of shares in points, with its sign."""
    return f"{100 * found:+.1f}".replace("-", "−")


def _listed(classes: Sequence[ClassScores], say: _Words) -> str:
    return ", ".join(say("too_few_one", name=say.name(one.name), groups=f"{one.groups:,}") for one in classes)


def _leaks(evaluation: Evaluation, say: _Words) -> _Answer:
    named = [one for one in evaluation.cautions if one.kind in _LEAKS]
    if any(_is_certain(one) for one in named):
        return "bad", [say("leaks_bad"), *(caution_line(one, say.language) for one in named if _is_certain(one))]
    if named:
        return "unsure", [say("leaks_unsure", cautions=" ".join(caution_line(one, say.language) for one in named))]
    return "good", [say("leaks_good")]


def _is_certain(caution: Caution) -> bool:
    """Whether the model has seen what judges it, for sure."""
    return caution.kind in ("leak", "seen") or (caution.kind == "chosen_on" and caution.detail == "train")


def _sure(evaluation: Evaluation, say: _Words) -> _Answer:
    found = evaluation.sureness.get("clips")
    if found is None:
        return "unsure", [say("sure_none")]
    ece, luck = found.after.ece, luck_of(found.after)
    mark: Mark = "good" if ece <= _LITTLE else "unsure" if ece - luck <= _MUCH else "bad"
    few = evaluation.clips.groups < FEW_GROUPS
    points = {"ece": ece, "before": found.before.ece, "luck": luck}
    told = say(
        "sure_told",
        count=f"{evaluation.clips.count:,}",
        **{name: f"{100 * value:.1f}" for name, value in points.items()},
    )
    lines = [say("sure_few" if few else f"sure_{mark}", told=told, groups=f"{evaluation.clips.groups:,}")]
    mark = "unsure" if few else mark
    sets, fitted = found.sets, evaluation.certainty
    if fitted is None or fitted.clips.threshold > 0:
        lines.append(say("sets_told", covered=percent(sets.covered), level=percent(sets.level)))
        if sets.covered_range and sets.covered_range.high < sets.level:
            mark = "bad"
    else:
        lines.append(text("sets_none", say.language))
    return mark, lines


def luck_of(calibration: Calibration) -> float:
    """The calibration error that a model whose probabilities are true would show on so few answers, 0 to 1.

    The share of right answers in a bin of n strays from its probability p by sqrt(2 p (1 - p) / (π n)) on average (mean
    deviation of the binomial). Clips of one animal are alike, so it is rather more.
    """
    total = sum(one.count for one in calibration.bins)
    strayed = (
        one.count / total * math.sqrt(2 * one.confidence * (1 - one.confidence) / (math.pi * one.count))
        for one in calibration.bins
    )
    return sum(strayed)
