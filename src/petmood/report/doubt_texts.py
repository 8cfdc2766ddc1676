"""Every word of the list of doubtful labels, in English and Korean, and its lines for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from petmood.labels import SPECIES_KO, Language, display
from petmood.report.texts import percent

#: Word → (English, Korean). Names in braces are filled in by `word`.
WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Doubtful labels: {name}", "의심스러운 라벨: {name}"),
    "head_work": (
        "{clips} clips of {groups} groups, each judged by classifiers that saw neither it nor its group (features of "
        "{model}, {folds} parts).",
        "그룹 {groups}개의 클립 {clips}개. 각 클립은 그 클립도, 그 그룹도 보지 않은 분류기로 판정했습니다({model} "
        "특징, {folds}분할).",
    ),
    "head_run": (
        "{clips} clips of val and test, judged by the run {run}. It has seen the training clips, so those are not "
        "judged: `petmood audit WORK` judges all clips.",
        "검증·시험 클립 {clips}개를 {run} 모델로 판정했습니다. 학습 클립은 모델이 이미 보았으므로 판정하지 않습니다. "
        "모든 클립은 `petmood audit WORK`로 판정합니다.",
    ),
    "believe": (
        "The predictions know something: balanced accuracy {balanced} against {chance} by chance; {accuracy} of the "
        "clips right against {majority} by always answering “{answer}”.",
        "예측은 의미가 있습니다. 균형 정확도 {balanced}(우연 {chance}), 정답 클립 {accuracy}(항상 “{answer}”(이)라고 "
        "답하면 {majority}).",
    ),
    "disbelieve": (
        "The predictions are NO better than chance: balanced accuracy {balanced}, chance {chance} ± {margin}; "
        "{accuracy} of the clips right against {majority} by always answering “{answer}”. This ranking means little.",
        "예측이 우연보다 낫지 않습니다. 균형 정확도 {balanced}, 우연 {chance} ± {margin}, 정답 클립 {accuracy}(항상 "
        "“{answer}”(이)라고 답하면 {majority}). 이 순위는 거의 의미가 없습니다.",
    ),
    "advice_work": (
        "Take a stronger --model, or audit a trained run.",
        "더 강한 --model을 쓰거나 학습된 모델로 판정하십시오.",
    ),
    "advice_run": ("Train longer or on more data first.", "먼저 더 오래 또는 더 많은 데이터로 학습하십시오."),
    "leak": (
        "LEAK, allowed by --allow-leak: the run may have seen some of these clips.",
        "데이터 누출(--allow-leak로 허용됨): 모델이 이 클립 중 일부를 보았을 수 있습니다.",
    ),
    "started_elsewhere": (
        "The run started from one that was trained on other data: it may have seen some of these clips.",
        "이 모델은 다른 데이터로 학습된 모델에서 시작했습니다. 이 클립 중 일부를 보았을 수 있습니다.",
    ),
    "flagged_line": ("{flagged} of {clips} clips are flagged", "클립 {clips}개 중 {flagged}개가 의심됩니다"),
    "left_out": (
        "not judged: {emotion}, which has clips in {groups} groups only; {folds} are needed (--folds)",
        "판정하지 않음: {emotion} (클립이 있는 그룹 {groups}개, {folds}개 필요, --folds)",
    ),
    "owner_line": (
        "owner and label differ in {differs} of {known} clips; {flagged} of these are flagged, and in {agrees} of "
        "those the owner names what is suggested",
        "보호자와 라벨이 다른 클립: {known}개 중 {differs}개. 그중 의심되는 것은 {flagged}개, 그 가운데 보호자의 말이 "
        "제안과 같은 것은 {agrees}개",
    ),
    "verdicts_line": ("{verdicts} of these clips have a verdict already", "이미 판정을 적은 클립: {verdicts}개"),
    "most_doubtful": ("the most doubtful without a verdict", "아직 판정을 적지 않은 가장 의심스러운 클립"),
    "page_line": ("pictures: {path}", "그림: {path}"),
    "csv_line": (
        "fill in `verdict` in {path}, then: petmood prepare SOURCE {work} --verdicts {path}",
        "{path}의 `verdict` 열을 채운 뒤: petmood prepare SOURCE {work} --verdicts {path}",
    ),
    "how_head": ("What to do", "할 일"),
    "how_fill": (
        "Look at the pictures. In {csv} (Excel opens it), write into the column “verdict” of a clip:",
        "그림을 보고 {csv}(엑셀로 열 수 있음)에서 해당 클립의 “verdict” 열에 적으십시오.",
    ),
    "how_emotion": (
        "an emotion, in English or Korean ({emotions}): this is the right label",
        "감정(영어 또는 한국어: {emotions}): 올바른 라벨",
    ),
    "how_drop": ("drop: the clip is not used", "drop: 이 클립을 쓰지 않음"),
    "how_keep": (
        "keep: the label is right (the clip is not shown here again)",
        "keep: 라벨이 맞음(이 목록에 다시 나오지 않음)",
    ),
    "how_back": (
        "Then read it back; SOURCE is the data set that the work folder WORK was made from:",
        "그런 다음 다시 읽습니다. SOURCE는 작업 폴더 WORK를 만든 데이터입니다.",
    ),
    "how_again": (
        "Another audit keeps the verdicts that are filled in.",
        "다시 실행해도 적어 둔 판정은 남습니다.",
    ),
    "how_score": (
        "Fit: how probable the label is, over the mean of this among all clips of its emotion; 1 is usual, near 0 is "
        "doubtful. Flagged are those that confident learning would remove and whose fit is below 0.5. A model’s own "
        "mistakes are among them: you decide.",
        "적합도: 라벨의 확률을 같은 감정 클립들의 평균 확률로 나눈 값. 1이면 보통, 0에 가까우면 의심스럽습니다. "
        "confident learning이 걸러 내고 적합도가 0.5보다 작은 것을 의심으로 표시합니다. 모델 자신의 실수도 섞여 있으니 "
        "직접 판단하십시오.",
    ),
    "emotions_head": ("By emotion", "감정별"),
    "emotion": ("emotion", "감정"),
    "clips": ("clips", "클립"),
    "flagged": ("flagged", "의심"),
    "list_head": (
        "The {count} most doubtful clips without a verdict",
        "판정을 적지 않은 가장 의심스러운 클립 {count}개",
    ),
    "list_empty": ("No clip is left without a verdict.", "판정을 적지 않은 클립이 없습니다."),
    "label": ("label", "라벨"),
    "suggested": ("suggested", "제안"),
    "owner": ("owner", "보호자"),
    "score": ("fit", "적합도"),
    "frames": ("pictures", "그림"),
    "no_picture": ("Its pictures are no longer there.", "그림이 더 이상 없습니다."),
    "dog": ("dog", SPECIES_KO["dog"]),
    "cat": ("cat", SPECIES_KO["cat"]),
}


def word(key: str, language: Language, **values: object) -> str:
    """A word or sentence in the language asked for, its braces filled in."""
    return WORDS[key][1 if language == "ko" else 0].format(**values)


def head_line(summary: Mapping[str, Any], language: Language) -> str:
    """Which clips were judged, and by what."""
    made_by = summary["made_by"]
    return word(
        f"head_{summary['kind']}",
        language,
        clips=f"{summary['clips']:,}",
        groups=f"{summary['groups']:,}",
        model=made_by["model"],
        run=made_by.get("run", ""),
        folds=summary["settings"]["folds"],
    )


def credit_line(summary: Mapping[str, Any], language: Language) -> str:
    """How far the predictions can be believed."""
    credit = summary["credit"]
    line = word(
        "believe" if credit["better_than_chance"] else "disbelieve",
        language,
        balanced=percent(credit["balanced_accuracy"]),
        chance=percent(credit["chance"]),
        margin=percent(credit["margin"]),
        accuracy=percent(credit["accuracy"]),
        majority=percent(credit["majority_accuracy"]),
        answer=display(credit["majority"], language),
    )
    return line if credit["better_than_chance"] else f"{line} {word('advice_' + summary['kind'], language)}"


def fact_lines(summary: Mapping[str, Any], language: Language) -> Iterator[str]:
    """What else was counted, one sentence each."""
    yield from (word(note, language) for note in summary["notes"])
    for emotion, groups in summary["left_out"].items():
        folds = summary["settings"]["folds"]
        yield word("left_out", language, emotion=display(emotion, language), groups=groups, folds=folds)
    if summary["owner"]["known"]:
        yield word("owner_line", language, **{name: f"{count:,}" for name, count in summary["owner"].items()})
    if summary["verdicts"]:
        yield word("verdicts_line", language, verdicts=f"{summary['verdicts']:,}")


def flagged_line(summary: Mapping[str, Any], language: Language) -> str:
    """How many clips are flagged, of each emotion."""
    each = ", ".join(
        f"{display(name, language)} {counts['flagged']:,}/{counts['clips']:,}"
        for name, counts in summary["emotions"].items()
    )
    flagged = sum(counts["flagged"] for counts in summary["emotions"].values())
    line = word("flagged_line", language, flagged=f"{flagged:,}", clips=f"{summary['clips']:,}")
    return f"{line}: {each}"


def row_lines(rows: Sequence[Mapping[str, Any]], language: Language) -> Iterator[str]:
    """One line a doubtful clip."""
    for row in rows:
        owner = (
            f" · {word('owner', language)} {display(row['owner_emotion'], language)}" if row["owner_emotion"] else ""
        )
        mark = "!" if row["flagged"] else " "
        yield (
            f"{mark} {row['clip']}: {display(row['emotion'], language)} → {display(row['suggested'], language)} "
            f"{percent(row['confidence'])} · {word('score', language)} {row['score']:.2f}{owner}"
        )
