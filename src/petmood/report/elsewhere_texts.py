"""What is said of a run on another source than its own, in English and Korean: lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from petmood.labels import EMOTIONS, Language, display
from petmood.metrics.transfer import Change, Elsewhere, Side
from petmood.report.texts import caution_line, percent, verdict_line

#: Word → (English, Korean). Names in braces are filled in by `word`.
WORDS: Mapping[str, tuple[str, str]] = {
    "head": (
        "{name}: {clips} clips of {groups} groups, {frames} frames.",
        "{name}: 클립 {clips}개, 그룹 {groups}개, 프레임 {frames}개.",
    ),
    "left_out": ("Left out by the map (pictures): {words}.", "단어표로 제외한 단어(사진 수): {words}."),
    "seen_left_out": (
        "Left out, because the model was trained or chosen on them: {clips} clips.",
        "모델의 학습이나 선택에 쓰여서 제외한 클립: {clips}개.",
    ),
    "seen_hint": (
        "To judge on the rest alone: --drop-seen.",
        "나머지만으로 평가하려면 --drop-seen을 쓰세요.",
    ),
    "unknown": (
        "Not judged, because the model does not know them (clips): {words}.",
        "모델이 배우지 않아 평가하지 않은 감정(클립 수): {words}.",
    ),
    "lacking": (
        "The source has none of these, which the model knows: {words}.",
        "모델은 알지만 이 데이터에는 없는 감정: {words}.",
    ),
    "not_own": (
        "Judged there but not compared, because the run's own clips have none: {words}.",
        "이 데이터에서는 평가했지만 원래 데이터에 클립이 없어 비교하지 않은 감정: {words}.",
    ),
    "compared": (
        "On clips of {classes}: own {split} ({own} clips) → there ({there} clips), with 95 % intervals by group:",
        "{classes} 클립 기준: 원래 데이터의 {split}(클립 {own}개) → 이 데이터(클립 {there}개), 그룹 단위 95 % 구간:",
    ),
    "nothing": (
        "No emotion stands both there and in the run's own {split} clips: nothing can be compared.",
        "원래 데이터의 {split} 클립과 이 데이터에 함께 있는 감정이 없어 비교할 수 없습니다.",
    ),
    "accuracy": ("Accuracy", "정확도"),
    "balanced_accuracy": ("Balanced accuracy", "균형 정확도"),
    "macro_f1": ("Macro-F1", "Macro-F1"),
    "recall": ("Recall of {emotion}", "{emotion} 재현율"),
    "worse": ("worse there", "여기서 더 나쁨"),
    "better": ("better there", "여기서 더 좋음"),
    "no_difference": ("no difference shown", "차이가 확인되지 않음"),
    "no_interval": ("too few groups for an interval", "그룹이 적어 구간을 구할 수 없음"),
    "too_few": ("too few to tell: {own} and {there} groups", "판단하기에 너무 적음: 그룹 {own}개와 {there}개"),
    "sets": (
        "Sets of answers hold the truth for {covered} of the clips there; {level} were promised on its own data.",
        "답의 집합이 정답을 포함한 클립은 {covered}입니다. 원래 데이터에서는 {level}로 맞춰져 있습니다.",
    ),
    "calibration": (
        "Probabilities are off by {ece} on average there (expected calibration error, after temperature scaling).",
        "이 데이터에서 확률은 평균 {ece} 어긋납니다(온도 보정 후 기대 보정 오차, ECE).",
    ),
    "train": ("training", "학습"),
    "val": ("validation", "검증"),
    "test": ("test", "시험"),
}


def word(key: str, language: Language, **fields: str) -> str:
    """A word or sentence in the language asked for, its fields filled in."""
    return WORDS[key][1 if language == "ko" else 0].format(**fields)


def elsewhere_lines(found: Elsewhere, language: Language) -> Iterator[str]:
    """Lines for the terminal: what the model has seen before all else, the verdict, what was judged, the drop."""
    cautions = found.evaluation.cautions
    for caution in cautions:
        if caution.kind == "seen":
            yield f"{caution_line(caution, language)} {word('seen_hint', language)}"
    yield verdict_line(found.evaluation, language)
    yield from (caution_line(caution, language) for caution in cautions if caution.kind != "seen")
    yield from _judged(found, language)
    yield from _compared(found, language)
    yield from _sureness(found, language)


def _judged(found: Elsewhere, language: Language) -> Iterator[str]:
    """What the source holds, and what of it counts."""
    clips, frames = found.evaluation.clips, found.evaluation.frames
    numbers = {"clips": f"{clips.count:,}", "groups": f"{clips.groups:,}", "frames": f"{frames.count:,}"}
    yield word("head", language, name=found.name, **numbers)
    for key, counts in (("left_out", found.left_out), ("unknown", found.unknown)):
        if counts:
            told = (f"{display(name, language)} {number:,}" for name, number in counts.items())
            yield word(key, language, words=", ".join(told))
    if found.seen_left_out:
        yield word("seen_left_out", language, clips=f"{found.seen_left_out:,}")
    for key, names in (("lacking", found.lacking), ("not_own", found.not_own)):
        if names:
            yield word(key, language, words=", ".join(display(name, language) for name in names))


def _compared(found: Elsewhere, language: Language) -> Iterator[str]:
    """Each score on both sides."""
    split = word(found.own_split, language)
    if not found.scores:
        yield word("nothing", language, split=split)
        return
    names = ", ".join(display(one.name, language) for one in found.classes)
    own, there = (f"{side.clips:,}" for side in (found.scores[0].own, found.scores[0].there))
    yield word("compared", language, classes=names, split=split, own=own, there=there)
    for one in (*found.scores, *found.classes):
        yield f"  {change_line(one, language)}"


def change_line(change: Change, language: Language) -> str:
    """One score on both sides, how much it changes, and whether that is shown."""
    is_class = change.name in EMOTIONS
    name = word("recall", language, emotion=display(change.name, language)) if is_class else word(change.name, language)
    difference = change.difference
    if difference is None:
        told = word("no_interval", language)
    else:
        points = [f"{100 * value:+.1f}" for value in (difference.estimate, difference.low, difference.high)]
        shown = "no_difference" if not difference.shown else "worse" if difference.estimate < 0 else "better"
        told = f"{points[0]} ({points[1]} … {points[2]}), {word(shown, language)}"
    few = {"own": f"{change.own.groups:,}", "there": f"{change.there.groups:,}"}
    warning = f" [{word('too_few', language, **few)}]" if change.too_few else ""
    return f"{name}: {_side(change.own)} → {_side(change.there)}: {told}{warning}"


def _side(side: Side) -> str:
    if side.range is None:
        return percent(side.score)
    return f"{percent(side.score)} ({100 * side.range.low:.1f}–{100 * side.range.high:.1f})"


def _sureness(found: Elsewhere, language: Language) -> Iterator[str]:
    """How far the model's doubts hold there."""
    sure = found.evaluation.sureness.get("clips")
    if sure is None:
        return
    yield word("calibration", language, ece=percent(sure.after.ece))
    yield word("sets", language, covered=percent(sure.sets.covered), level=percent(sure.sets.level))
