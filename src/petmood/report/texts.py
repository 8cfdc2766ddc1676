"""Sentences of the report about a run, in English and Korean; together with `words` all that it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from petmood.labels import Language, display
from petmood.report.words import WORDS

if TYPE_CHECKING:  # metrics loads scikit-learn, which a page of pictures does not need
    from petmood.metrics import Caution, Evaluation, Judgement

#: Word → (English, Korean). Names in braces are filled in by `text`.
TEXTS: Mapping[str, tuple[str, str]] = {
    "beats": (
        "This model beats always answering “{answer}”: {accuracy} of {count} clips right against {base_accuracy}, "
        "macro-F1 {f1} against {base_f1}.",
        "이 모델은 항상 “{answer}”(으)로만 답하는 것보다 낫습니다: 클립 {count}개 중 {accuracy} 정답"
        "(기준 {base_accuracy}), macro-F1 {f1}(기준 {base_f1}).",
    ),
    "f1_only": (
        "This model has a better macro-F1 than always answering “{answer}” ({f1} against {base_f1}), but NOT more "
        "clips right: {accuracy} of {count} against {base_accuracy}.",
        "이 모델은 항상 “{answer}”(으)로만 답하는 것보다 macro-F1은 높지만({f1}, 기준 {base_f1}) 맞힌 클립은 더 많지 "
        "않습니다: {count}개 중 {accuracy}(기준 {base_accuracy}).",
    ),
    "accuracy_only": (
        "This model has more clips right than always answering “{answer}” ({accuracy} of {count} against "
        "{base_accuracy}), but NOT a better macro-F1: {f1} against {base_f1}.",
        "이 모델은 항상 “{answer}”(으)로만 답하는 것보다 맞힌 클립은 많지만({count}개 중 {accuracy}, 기준 "
        "{base_accuracy}) macro-F1은 더 높지 않습니다: {f1}(기준 {base_f1}).",
    ),
    "neither": (
        "This model does NOT beat always answering “{answer}”: {accuracy} of {count} clips right against "
        "{base_accuracy}, macro-F1 {f1} against {base_f1}.",
        "이 모델은 항상 “{answer}”(으)로만 답하는 것보다 낫지 않습니다: 클립 {count}개 중 {accuracy} 정답(기준 "
        "{base_accuracy}), macro-F1 {f1}(기준 {base_f1}).",
    ),
    "leak": (
        "LEAK, allowed by --allow-leak: {clips} clips, {groups} groups and {frames} pairs of near-copied frames stand "
        "on two sides of the split; every number here is too good.",
        "데이터 누출(--allow-leak로 허용됨): 클립 {clips}개, 그룹 {groups}개, 거의 같은 사진 {frames}쌍이 학습과 평가 "
        "양쪽에 있습니다. "
        "여기의 모든 수치는 실제보다 높습니다.",
    ),
    "seen": (
        "SEEN: {clips} of these clips ({frames} frames) show what the model was trained or chosen on: the same clips "
        "or "
        "nearly the same pictures; every number here is too good.",
        "이미 본 데이터: 이 클립 중 {clips}개(프레임 {frames}개)는 모델의 학습이나 선택에 쓰인 것과 같은 클립이거나 "
        "거의 "
        "같은 사진입니다. 여기의 모든 수치는 실제보다 높습니다.",
    ),
    "no_leak": (
        "No clip and no group of clips stands on two sides of the split.",
        "학습과 평가 양쪽에 함께 있는 클립이나 그룹은 없습니다.",
    ),
    "data_changed": (
        "The data has changed since training ({detail} ran again): some of these clips may have been trained on.",
        "학습 이후 데이터가 바뀌었습니다({detail} 재실행). 이 클립 중 일부로 학습했을 수 있습니다.",
    ),
    "chosen_on_val": (
        "Chosen on these clips: optimistic. The best epoch was picked by this validation split; only a "
        "test split is unseen.",
        "이 클립들로 모델을 골랐으므로 낙관적인 수치입니다. 한 번도 쓰지 않은 것은 시험(test) 분할뿐입니다.",
    ),
    "chosen_on_train": (
        "Trained on these clips: the numbers say how well they were learnt, not how good the model is.",
        "바로 이 클립들로 학습했습니다. 모델의 성능이 아니라 얼마나 외웠는지를 보여 줍니다.",
    ),
    "official_split": (
        "AI Hub's own split is not made by animal: the same animal may stand on both sides.",
        "AI Hub의 공식 분할은 동물 단위가 아니므로 같은 동물이 양쪽에 있을 수 있습니다.",
    ),
    "started_elsewhere": (
        "Training started from {detail}, which was trained on other data or another split: it may have seen some of "
        "these clips.",
        "이 학습은 {detail}에서 시작했습니다. 그 모델은 다른 데이터나 다른 분할로 학습했으므로 이 클립 중 일부를 이미 "
        "보았을 수 있습니다.",
    ),
    "adjusted": (
        "Adjusted after training: the answers expect these shares of the emotions: {detail}.",
        "학습 후 조정됨: 모델의 답은 다음 감정 비율을 가정합니다: {detail}.",
    ),
    "split_made": (
        "Judged on the {split} split, made by {by}.",
        "{split} 분할로 평가했습니다. 분할 기준: {by}.",
    ),
    **WORDS,
}

#: Reason word → Korean; the English is `records.REASONS`.
REASONS_KO: Mapping[str, str] = {
    "unreadable_label": "라벨 파일이 비었거나 JSON이 아니거나 필요한 항목이 없음",
    "duplicate_label": "같은 이름의 라벨 파일을 이미 읽음",
    "no_label": "라벨이 없는 사진",
    "no_image": "사진이 없는 라벨",
    "no_box": "라벨에 상자가 없음",
    "negative_box": "상자에 음수가 있음",
    "empty_box": "상자의 너비나 높이가 0",
    "box_outside_image": "상자가 사진 밖으로 나감",
    "unknown_emotion": "여섯 감정에 속하지 않음",
    "labels_disagree": "보호자와 검수자의 감정이 다름 (--label agree)",
    "other_species": "선택하지 않은 종 (--species)",
    "user_verdict": "사용자가 이 클립을 빼기로 함 (--verdicts)",
    "small_box": "상자가 너무 작아 행동을 알아볼 수 없음",
    "empty_image": "빈 사진 파일",
    "unreadable_image": "읽을 수 없는 사진 파일",
    "truncated_image": "중간에 끊긴 사진 파일",
    "size_differs": "사진 크기가 라벨과 다름",
    "blank": "한 가지 색뿐인 빈 그림",
    "blurred": "너무 흐려서 행동을 알아볼 수 없음",
    "no_animal": "동물을 찾지 못함",
    "unreadable_video": "읽을 수 없는 영상 파일",
    "near_copy": "같은 클립에서 이미 고른 사진과 거의 같음",
}


def text(key: str, language: Language, **fields: str) -> str:
    """One text of the table in the language asked for, with its fields filled in."""
    return TEXTS[key][language == "ko"].format_map(fields)


def percent(share: float | None) -> str:
    r"""A share as per cent with one decimal; – if there is none.

    >>> percent(0.4983)
    '49.8\xa0%'
    """
    return "–" if share is None else f"{100 * share:.1f}\u00a0%"


def decimal(share: float | None) -> str:
    """A share with two decimals; – if there is none."""
    return "–" if share is None else f"{share:.2f}"


def verdict_line(evaluation: Evaluation, language: Language) -> str:
    """Whether the model beats the majority answer on clips, in one sentence."""
    clips = evaluation.clips
    return text(
        evaluation.verdict,
        language,
        answer=display(clips.baseline.answer, language),
        count=f"{clips.count:,}",
        accuracy=percent(clips.accuracy),
        base_accuracy=percent(clips.baseline.accuracy),
        f1=decimal(clips.macro_f1),
        base_f1=decimal(clips.baseline.macro_f1),
    )


def caution_line(caution: Caution, language: Language) -> str:
    """What a reader must know, in one sentence."""
    key = f"chosen_on_{caution.detail}" if caution.kind == "chosen_on" else caution.kind
    numbers = {name: f"{getattr(caution, name):,}" for name in ("clips", "groups", "frames")}
    return text(key, language, **numbers, detail=caution.detail)


def summary_lines(evaluation: Evaluation, language: Language) -> Iterator[str]:
    """Lines for the terminal: an allowed leak before all else, the verdict, the other cautions, the numbers."""
    leaks = [caution for caution in evaluation.cautions if caution.kind == "leak"]
    yield from (caution_line(caution, language) for caution in leaks)
    yield verdict_line(evaluation, language)
    yield from (caution_line(caution, language) for caution in evaluation.cautions if caution.kind != "leak")
    for unit, judged in (("clips", evaluation.clips), ("frames", evaluation.frames)):
        yield f"{text(unit, language)} ({text(evaluation.split, language)}): {_numbers(judged, language)}"
    for one in evaluation.clips.classes:
        yield (
            f"  {display(one.name, language)}: {text('f1', language)} {decimal(one.f1)} · "
            f"{text('precision', language)} {percent(one.precision)} · {text('recall', language)} "
            f"{percent(one.recall)} · {text('clips', language)} {one.support:,}"
        )


def _numbers(judged: Judgement, language: Language) -> str:
    always = text("always", language, answer=display(judged.baseline.answer, language))
    scores = (
        f"{text('accuracy', language)} {percent(judged.accuracy)} ({always} {percent(judged.baseline.accuracy)})",
        f"{text('macro_f1', language)} {judged.macro_f1:.3f} ({always} {judged.baseline.macro_f1:.3f})",
        f"{text('balanced', language)} {percent(judged.balanced_accuracy)}",
        f"{text('count', language)} {judged.count:,}",
    )
    return " · ".join(scores)
