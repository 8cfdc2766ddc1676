"""The words of AI Hub data set 59: actions in both wordings, situations, breeds, and how often each occurs.

Counts and spellings, trailing spaces and typing errors included, are those found in published copies of the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from petmood.labels import Species


class Action(NamedTuple):
    """One action: its slug in file names, how many clips show it, and its wordings (old noun style, then new)."""

    slug: str
    clips: int
    old: str
    new: str


#: Most frequent first; a small set uses the first few.
ACTIONS: Mapping[Species, tuple[Action, ...]] = {
    "cat": (
        Action("grooming", 5184, "그루밍함", "그루밍하는 동작"),
        Action("tailing", 3106, "꼬리를 흔든다", "꼬리를 흔드는 동작"),
        Action("armstretch", 2948, "팔을 뻗어 휘적거림", "앞발을 뻗어 휘적거리는 동작"),
        Action("walkrun", 2576, "걷거나 뜀", "걷거나 달리는 동작"),
        Action("laydown", 1734, "옆으로 누워 있음", "옆으로 눕는 동작"),
        Action("sitdown", 1470, "발을 숨기고 웅크리고 앉음", "발을 숨기고 웅크리고 앉는 동작"),
        Action("getdown", 1105, "납작 엎드림", "납작 엎드리는 동작"),
        Action("lying", 940, "배를 보임", "배를 보이는 동작"),
        Action("heading", 865, "머리를 들이댐", "머리를 들이대는 동작"),
        Action("footpush", 770, "앞발로 꾹꾹 누름", "앞발로 꾹꾹 누르는 동작"),
        Action("roll", 666, "좌우로 뒹굴음", "좌우로 뒹구는 동작"),
        Action("arch", 180, "허리를 아치로 세움", "허리를 아치로 세우는 동작"),
    ),
    "dog": (
        Action("walkrun", 6836, "걷거나 뜀", "걷거나 뛰는 동작"),
        Action("bodylower", 5822, "엎드리기(몸체를 낮게 유지)", "엎드리는 동작(몸체를 낮게 유지)"),
        Action("sit", 5736, "앉기", "앉는 동작"),
        Action("footup", 3764, "앞발 하나를 들어 올림", "앞발 하나를 들어 올리는 동작"),
        Action("tailing", 2664, "꼬리를 위로 올리고 흔듦", "꼬리를 흔드는 동작"),
        Action("feetup", 2498, "두 앞발을 들어 올림", "두 앞발을 들어 올리는 동작"),
        Action("turn", 1573, "빙글빙들 돈다", "빙글빙글 도는 동작"),
        Action("bodyshake", 1207, "몸을 턴다", "몸을 터는 동작"),
        Action("heading", 1000, "머리를 앞으로 들이댐", "머리를 들이대는 동작"),
        Action("lying", 1000, "배와 목을 보여주며 누움", "배와 목을 보여주며 눕는 동작"),
        Action("bodyscratch", 800, "몸을 긁음", "몸을 긁는 동작"),
        Action("taillow", 620, "꼬리가 아래로 향함", "꼬리를 아래로 내리는 동작"),
        Action("mounting", 378, "마운팅", "마운팅하는 동작"),
    ),
}

SITUATIONS: tuple[str, ...] = (
    "먹을것, 장난감이 앞에 있을 때",
    "기타",
    "휴식시간, 자신만의 공간에 들어갔을 때(캔넬, 소파 침대 밑 등)",
    "잠들기 전이나 같이 누워있을 때",
    "편안히 쓰다듬어 줄 때",
    "보호자가 집에 돌아왔을 때",
    "산책이나 노즈워크 중",
    "싫어하는 부위를 만질 때",
    "밥그릇, 장난감과 같은 소유물을 만질 때",
    "낯선 장소에 있거나 낯선 소리가 날 때",
    "빗질/발톱깍기/목욕 등 위생관리를 할 때",
    "보호자와 떨어질 때/혼자 남겨지거나 낯선장소에 있을 때",
    "보호자에게 혼났을 때",
    "혼날 때",
    "낯선 도구를 자신의 몸에 사용할 때(미용도구 등)",
    "낯선 도구를 자신의 몸에 사용할 때(미용도구)",
    "초인종 소리가 났을 때",
)

BREEDS: Mapping[Species, tuple[str, ...]] = {
    "cat": (
        "코리안 숏헤어",
        "러시안 블루",
        "페르시안",
        "샴",
        "스코티시 폴드",
        "브리티시 숏헤어",
        "먼치킨",
        "터키시 앙고라",
        "랙돌",
        "아비시니안",
        "노르웨이 숲",
        "믹스묘",
    ),
    "dog": (
        "말티즈",
        "푸들",
        "포메라니안",
        "시츄",
        "치와와",
        "요크셔 테리어",
        "비숑 프리제",
        "웰시 코기 (펨브록)",
        "진도견",
        "골든 리트리버",
        "비글",
        "보더 콜리",
        "시바견",
        "믹스견",
    ),
}

#: Shares of the emotions among all clips, both species and both official splits together.
REAL_SHARES: Mapping[str, float] = {
    "happy": 0.265,
    "calm": 0.63,
    "anxious": 0.037,
    "angry": 0.035,
    "fear": 0.003,
    "aggressive": 0.03,
}
