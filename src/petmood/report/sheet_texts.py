"""Every word of the contact sheet, in English and Korean."""

from __future__ import annotations

from collections.abc import Mapping

from petmood.labels import SPECIES_KO, Language

#: Word → (English, Korean). Names in braces are filled in by `word`.
WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("Contact sheet of {work}", "{work} 프레임 모아보기"),
    "lead": (
        "{kept} of {frames} good frames are in use ({share}), from {clips} clips.",
        "클립 {clips}개의 올바른 프레임 {frames}개 중 {kept}개({share})를 씁니다.",
    ),
    "lead_open": (
        "{frames} good frames of {clips} clips. None are chosen yet: `petmood curate` does that.",
        "클립 {clips}개에 올바른 프레임이 {frames}개 있습니다. 아직 고르지 않았습니다. `petmood curate`로 고르세요.",
    ),
    "how_head": ("How they were chosen", "고른 방법"),
    "pose": (
        "From each clip at most {per_clip} frames whose poses differ most and which are spread over its time (pose).",
        "클립마다 자세가 가장 다르고 시간에 고루 퍼진 프레임을 최대 {per_clip}개 골랐습니다(pose).",
    ),
    "pose_box": (
        "From each clip at most {per_clip} frames whose boxes differ most and which are spread over its time "
        "(pose, for labels without keypoints).",
        "클립마다 상자가 가장 다르고 시간에 고루 퍼진 프레임을 최대 {per_clip}개 골랐습니다"
        "(pose, 라벨에 키포인트 없음).",
    ),
    "time": (
        "From each clip at most {per_clip} frames, evenly spread over its time (time).",
        "클립마다 시간에 고루 퍼진 프레임을 최대 {per_clip}개 골랐습니다(time).",
    ),
    "random": (
        "A random share of all frames, whatever their clip: {share} (random).",
        "클립과 상관없이 전체 프레임에서 무작위로 골랐습니다. 비율: {share}(random).",
    ),
    "all": ("All good frames (all).", "올바른 프레임을 모두 씁니다(all)."),
    "whole_clips": (
        "All frames of each clip ({method}; --per-clip 0).",
        "클립의 모든 프레임을 씁니다({method}, --per-clip 0).",
    ),
    "rare_all": (
        "All frames of rare emotions: {rare} (--rare all).",
        "드문 감정({rare})은 모든 프레임을 씁니다(--rare all).",
    ),
    "min_box": (
        "Frames whose box is shorter than {min_box} pixels on one side are refused: {count}.",
        "상자의 한 변이 {min_box}픽셀보다 짧은 프레임은 제외합니다: {count}개.",
    ),
    "settings": ("All settings", "모든 설정"),
    "stages": ("Stages done", "끝난 단계"),
    "done": ("done", "완료"),
    "not_yet": ("not yet", "아직"),
    "whole_head": ("The whole work folder", "작업 폴더 전체"),
    "per_emotion": ("Per emotion", "감정별"),
    "emotion": ("Emotion", "감정"),
    "clips": ("Clips", "클립"),
    "frames": ("Good frames", "올바른 프레임"),
    "kept_frames": ("In use", "쓰는 프레임"),
    "refused_head": ("What was refused", "제외된 것"),
    "rows": ("Rows", "행"),
    "reason": ("Reason", "이유"),
    "legend_head": ("How to read it", "읽는 법"),
    "kept": ("kept", "선택"),
    "kept_long": ("in use; below it its time and its weight in training", "쓰는 프레임. 아래는 시각과 학습 가중치"),
    "left": ("not chosen", "선택 안 됨"),
    "left_long": ("a good frame that is not in use; faded", "올바르지만 쓰지 않는 프레임. 흐리게 표시"),
    "refused": ("refused", "제외"),
    "refused_long": ("refused, with the reason word", "제외된 프레임. 아래는 이유"),
    "open": ("not decided", "미정"),
    "missing": ("not there", "없음"),
    "gap_long": (
        "a hole: time without pictures, pictures that are not there",
        "빈 곳: 사진이 없는 시간, 없는 사진",
    ),
    "thinned_long": ("frames left out of this page to keep it short", "페이지를 줄이려고 생략한 프레임"),
    "timeline": (
        "The bar above a clip is its time: tall strokes are kept frames, short ones not chosen, low ones refused, dots "
        "pictures that are not there.",
        "클립 위의 막대는 시간입니다. 긴 선은 선택, 짧은 선은 선택 안 됨, 아래쪽 선은 제외, 점은 없는 사진입니다.",
    ),
    "clip_counts": ("{kept} of {there} frames in use", "프레임 {there}개 중 {kept}개 사용"),
    "clip_counts_open": ("{there} frames", "프레임 {there}개"),
    "clip_refused": ("{count} refused", "{count}개 제외"),
    "clip_missing": ("{count} pictures not there", "사진 {count}개 없음"),
    "cut_short": (
        "Cut short: only the first pictures in string order are there, so its time has holes.",
        "잘린 클립: 이름순으로 앞의 사진만 있어 시간이 군데군데 비어 있습니다.",
    ),
    "joined": (
        "Joined: it shares near-copies with clips of another group, and stays on their side of the split.",
        "묶인 클립: 다른 그룹의 클립과 거의 같은 사진이 있어 항상 같은 분할에 둡니다.",
    ),
    "owner": ("owner says {emotion}", "보호자: {emotion}"),
    "other": ("Also refused:", "그 밖에 제외:"),
    "all_refused": ("Every frame of this clip is refused.", "이 클립의 모든 프레임이 제외되었습니다."),
    "no_picture": ("no picture", "사진 없음"),
    "thinned": ("frames not shown here: {count}", "여기서 생략한 프레임: {count}개"),
    "gap_missing": ("{count} not there", "{count}개 없음"),
    "seconds": ("{seconds} s", "{seconds}초"),
    "weight": ("weight {weight}", "가중치 {weight}"),
    "unknown": ("species unknown", "종 미상"),
    "no_emotion": ("no emotion", "감정 없음"),
    "cat": ("cat", SPECIES_KO["cat"]),
    "dog": ("dog", SPECIES_KO["dog"]),
    "train": ("training", "학습"),
    "val": ("validation", "검증"),
    "test": ("test", "시험"),
    "drawn": (
        "{shown} clips, drawn at random so that each emotion and species appears (seed {seed}).",
        "감정과 종이 고루 나오도록 무작위로 뽑은 클립 {shown}개입니다(seed {seed}).",
    ),
    "named": ("{shown} clips, as asked for.", "지정한 클립 {shown}개입니다."),
    "left_out": (
        "{count} further clips are left out: the pictures would take more than {max_mb} MB (--max-mb).",
        "사진이 {max_mb}MB를 넘어 클립 {count}개를 뺐습니다(--max-mb).",
    ),
    "size": ("Pictures on this page: {count}, {mb} MB.", "이 페이지의 사진: {count}개, {mb}MB."),
}


def word(key: str, language: Language, **fields: object) -> str:
    """One text of the table in the language asked for, with its fields filled in."""
    return WORDS[key][language == "ko"].format_map(fields)
