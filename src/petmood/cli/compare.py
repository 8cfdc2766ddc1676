"""`petmood compare`."""

from __future__ import annotations

import dataclasses
import json as json_module
from collections.abc import Iterator, Mapping
from typing import Annotated

from cyclopts import Parameter

from petmood.bootstrap import FEW_GROUPS, Interval
from petmood.cli.common import Json
from petmood.cli.folders import Run
from petmood.labels import Language, display
from petmood.report.texts import caution_line, percent
from petmood.report.texts import text as report_text
from petmood.runs import Comparison, EmotionDifference, compare_runs

#: Word → (English, Korean). Names in braces are filled in.
TEXTS: Mapping[str, tuple[str, str]] = {
    "better": (
        "{second} is better than {first}: {difference} points of macro-F1 ({low} to {high}), on {clips} clips of "
        "{split} in {groups} groups.",
        "{second}이(가) {first}보다 낫습니다: macro-F1 {difference}점({low} ~ {high}), {split} 클립 {clips}개, 그룹 "
        "{groups}개 기준.",
    ),
    "worse": (
        "{second} is worse than {first}: {difference} points of macro-F1 ({low} to {high}), on {clips} clips of "
        "{split} in {groups} groups.",
        "{second}이(가) {first}보다 못합니다: macro-F1 {difference}점({low} ~ {high}), {split} 클립 {clips}개, 그룹 "
        "{groups}개 기준.",
    ),
    "neither": (
        "No difference shown between {first} and {second}: {second} has {difference} points of macro-F1 ({low} to "
        "{high}), on {clips} clips of {split} in {groups} groups.",
        "{first}와(과) {second}의 차이가 확인되지 않습니다: {second}의 macro-F1은 {difference}점({low} ~ {high}), "
        "{split} 클립 {clips}개, 그룹 {groups}개 기준.",
    ),
    "few": (
        "CAUTION: {groups} groups are few; below {least} these intervals are too narrow. Judge on more animals before "
        "you decide.",
        "주의: 그룹이 {groups}개뿐입니다. {least}개보다 적으면 구간이 실제보다 좁게 나옵니다. 더 많은 동물로 평가한 뒤 "
        "결정하세요.",
    ),
    "other_frames": (
        "Both judged the same clips, but by other frames of them.",
        "같은 클립을 서로 다른 프레임으로 평가했습니다.",
    ),
    "same_answers": (
        "The two give the same answer for {same} of {clips} clips.",
        "두 모델의 답은 클립 {clips}개 중 {same}개에서 같습니다.",
    ),
    "method": (
        "In brackets: 95 % of {draws} draws of the groups (paired bootstrap). The luck of a training's seed is not in "
        "them.",
        "괄호 안: 그룹을 {draws}번 다시 뽑았을 때의 95 % 구간(paired bootstrap). 학습 시드에 따른 차이는 들어 있지 "
        "않습니다.",
    ),
    "above": ("{second} better in {share} of the draws", "{second}이(가) 나은 경우 {share}"),
    "recall_head": ("Share of each emotion that is found:", "감정별로 찾아낸 비율:"),
    "few_of_emotion": ("few groups", "그룹이 적음"),
    "points": ("points", "점"),
    "counts": ("{clips} clips in {groups} groups", "클립 {clips}개, 그룹 {groups}개"),
}

#: Groups of an emotion below which its line is marked.
_FEW_OF_EMOTION = 10


def compare(
    first: Run,
    second: Run,
    *,
    lang: Annotated[Language, Parameter(help="Language of what is printed.")] = "en",
    json: Json = False,
) -> None:
    """Whether the run SECOND is really better than FIRST, or only luckier in the clips that judge.

    Parameters
    ----------
    first
        A run folder that `petmood evaluate` has judged: WORK/runs/NAME.
    second
        Another one, judged on the same clips.
    """
    comparison = compare_runs(first, second)
    if json:
        print(json_module.dumps(dataclasses.asdict(comparison), ensure_ascii=False, indent=2))
        return
    for line in comparison_lines(comparison, lang):
        print(line)


def comparison_lines(found: Comparison, lang: Language) -> Iterator[str]:
    """The comparison for people: the verdict first, what weakens it, then the numbers."""
    yield _verdict(found, lang)
    if found.groups < FEW_GROUPS:
        yield _text("few", lang, groups=f"{found.groups}", least=f"{FEW_GROUPS}")
    if not found.same_frames:
        yield _text("other_frames", lang)
    yield from _cautions(found, lang)
    second = _names(found)[1]
    for score, difference in found.differences.items():
        each = " → ".join(f"{side.scores[score].estimate:.3f}" for side in (found.first, found.second))
        above = _text("above", lang, second=second, share=percent(difference.above))
        title = report_text({"balanced_accuracy": "balanced"}.get(score, score), lang)
        yield f"  {title}: {each} · {_points(difference, lang)} · {above}"
    yield _text("recall_head", lang)
    for emotion in found.emotions:
        yield f"  {_emotion(emotion, lang)}"
    yield _text("same_answers", lang, same=f"{found.same_answers:,}", clips=f"{found.clips:,}")
    yield _text("method", lang, draws=f"{found.draws:,}")


def _verdict(found: Comparison, lang: Language) -> str:
    difference = found.differences["macro_f1"]
    first, second = _names(found)
    key = "neither" if not difference.shown else "better" if difference.estimate > 0 else "worse"
    low, high = (f"{100 * value:+.1f}" for value in (difference.low, difference.high))
    return _text(
        key,
        lang,
        first=first,
        second=second,
        difference=f"{100 * difference.estimate:+.1f}",
        low=low,
        high=high,
        clips=f"{found.clips:,}",
        groups=f"{found.groups:,}",
        split=report_text(found.split, lang),
    )


def _cautions(found: Comparison, lang: Language) -> Iterator[str]:
    """What the evaluations warned of; what both warn of is said once."""
    both = [caution for caution in found.first.cautions if caution in found.second.cautions]
    yield from (caution_line(caution, lang) for caution in both)
    for name, side in zip(_names(found), (found.first, found.second), strict=True):
        yield from (f"{name}: {caution_line(caution, lang)}" for caution in side.cautions if caution not in both)


def _emotion(emotion: EmotionDifference, lang: Language) -> str:
    recall = " → ".join(percent(share) for share in emotion.recall)
    few = f" · {_text('few_of_emotion', lang)}" if emotion.groups < _FEW_OF_EMOTION else ""
    counts = _text("counts", lang, clips=f"{emotion.clips:,}", groups=f"{emotion.groups:,}")
    return f"{display(emotion.name, lang)}: {recall} · {_points(emotion.difference, lang)} · {counts}{few}"


def _points(difference: Interval, lang: Language) -> str:
    low, high = (f"{100 * value:+.1f}" for value in (difference.low, difference.high))
    return f"{100 * difference.estimate:+.1f} {_text('points', lang)} ({low} … {high})"


def _names(found: Comparison) -> tuple[str, str]:
    """What the runs are called: by their folders' names, or by their paths if these are the same."""
    first, second = found.first, found.second
    return (first.run, second.run) if first.name == second.name else (first.name, second.name)


def _text(key: str, lang: Language, **fields: str) -> str:
    return TEXTS[key][lang == "ko"].format_map(fields)
