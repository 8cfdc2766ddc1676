"""The model card: what a model is for and not for, what it was trained on, and what its owner must check.

After Mitchell et al., Model Cards for Model Reporting, FAT* 2019 (arXiv 1810.03993).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from petmood.labels import Language, display
from petmood.report.page import Page
from petmood.report.texts import text

#: Word → (English, Korean). Names in braces are filled in.
CARD: Mapping[str, tuple[str, str]] = {
    "what": ("What it is", "무엇인가"),
    "what_body": (
        "A classifier of pictures of one dog or cat, cut out by its box, into {emotions}. Network {model}, made by "
        "petmood {version}.",
        "상자로 잘라 낸 개나 고양이 한 마리의 그림을 {emotions}(으)로 나누는 분류기. 신경망 {model}, petmood "
        "{version}로 "
        "만들었습니다.",
    ),
    "for": ("What it is for", "어디에 쓰는가"),
    "for_body": (
        "Sorting pictures and clips that look like those it was trained on, where a person looks at what matters. Take "
        "the answers of whole clips, and “not sure” seriously.",
        "학습 데이터와 비슷한 사진과 영상을 분류하는 데 씁니다. 중요한 것은 사람이 확인해야 합니다. 클립 전체의 답을 "
        "쓰고, “확실하지 않음”을 진지하게 받아들이세요.",
    ),
    "not_for": ("What it is not for", "쓰면 안 되는 곳"),
    "not_for_body": (
        "It is no diagnosis and says nothing about pain or illness. It does not know what an animal feels: it repeats "
        "how people judged such clips. It must not decide alone whether an animal is safe to approach. Other species, "
        "drawings, and pictures without a box are outside of what it has seen.",
        "진단이 아니며 통증이나 질병에 대해 아무것도 말하지 않습니다. 동물의 실제 감정을 아는 것이 아니라 사람들이 "
        "그런 "
        "영상을 어떻게 판단했는지를 따라 합니다. 동물에게 다가가도 안전한지를 혼자 결정하게 해서는 안 됩니다. 다른 종, "
        "그림, 상자 없는 사진은 본 적이 없습니다.",
    ),
    "trained": ("What it was trained on", "무엇으로 학습했는가"),
    "trained_body": ("{clips} clips: {classes}.", "클립 {clips}개: {classes}."),
    "trained_label": (
        "Each clip has one label, given by people who watched it, and every frame of the clip carries it; frames that "
        "show something else are not marked.",
        "클립마다 사람이 보고 매긴 라벨이 하나 있고, 모든 프레임이 그 라벨을 갖습니다. 다른 모습이 보이는 프레임은 "
        "따로 "
        "표시되지 않습니다.",
    ),
    "judged": ("How it was judged", "어떻게 평가했는가"),
    "judged_body": (
        "On {count} clips in {groups} groups of the {split} split; intervals by drawing groups again. The verdict "
        "stands "
        "at the top of this page.",
        "{split} 분할의 클립 {count}개(그룹 {groups}개)로 평가했고, 구간은 그룹을 다시 뽑아 구했습니다. 결론은 이 "
        "페이지 "
        "맨 위에 있습니다.",
    ),
    "limits": ("Known limits", "알려진 한계"),
    "limits_body": (
        "Rare emotions rest on few clips. Which clips show the same animal can only be guessed. Numbers hold for data "
        "like this; `petmood evaluate RUN --source PATH` measures the drop on other data.",
        "드문 감정은 적은 클립에 근거합니다. 어느 클립이 같은 동물인지는 추측할 수밖에 없습니다. 수치는 이와 비슷한 "
        "데이터에만 해당합니다. 다른 데이터에서의 하락은 `petmood evaluate RUN --source PATH`로 잴 수 있습니다.",
    ),
    "licence": ("Licences", "라이선스"),
    "licence_body": (
        "petmood does not know the licences of your data and of the pretrained weights: check both before you pass on "
        "this model, or this page with its pictures.",
        "petmood는 데이터와 사전 학습 가중치의 라이선스를 알지 못합니다. 이 모델이나 그림이 든 이 페이지를 다른 "
        "사람에게 "
        "전하기 전에 둘 다 확인하세요.",
    ),
}


@dataclasses.dataclass(frozen=True)
class Entry:
    """One heading of the card with its text."""

    head: str
    body: str


def card(page: Page, language: Language) -> tuple[Entry, ...]:
    """The model card of a run."""
    return tuple(_entries(page, language))


def _entries(page: Page, language: Language) -> Iterator[Entry]:
    judged = page.evaluation

    def say(key: str, **fields: str) -> str:
        return CARD[key][language == "ko"].format_map(fields)

    names = ", ".join(display(name, language) for name in judged.classes)
    version = judged.versions.get("petmood", "")
    clips = page.training_clips or judged.training_clips
    classes = ", ".join(f"{display(name, language)} {number:,}" for name, number in clips.items())
    yield Entry(say("what"), say("what_body", emotions=names, model=page.model, version=version))
    yield Entry(say("for"), say("for_body"))
    yield Entry(say("not_for"), say("not_for_body"))
    trained = say("trained_body", clips=f"{sum(clips.values()):,}", classes=classes)
    yield Entry(say("trained"), f"{trained} {say('trained_label')}")
    counts = {"count": f"{judged.clips.count:,}", "groups": f"{judged.clips.groups:,}"}
    yield Entry(say("judged"), say("judged_body", **counts, split=text(judged.split, language)))
    yield Entry(say("limits"), say("limits_body"))
    yield Entry(say("licence"), say("licence_body"))
