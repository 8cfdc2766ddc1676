"""Headings, table heads and notes of the report, in English and Korean; whole sentences about a run are `texts`."""

from __future__ import annotations

from collections.abc import Mapping

from petmood.labels import SPECIES_KO

#: Word → (English, Korean). Names in braces are filled in by `texts.text`.
WORDS: Mapping[str, tuple[str, str]] = {
    "title": ("How good is {run}?", "{run}, 얼마나 믿을 수 있을까?"),
    "shaky": ("This may be luck of the few clips: see below.", "클립이 적어 우연일 수 있습니다. 아래를 보세요."),
    "contents": ("Contents", "차례"),
    "back": ("back to the matrix", "행렬로 돌아가기"),
    # What is counted
    "train": ("training", "학습"),
    "val": ("validation", "검증"),
    "test": ("test", "시험"),
    "group": ("group of clips", "클립 그룹"),
    "official": ("AI Hub's folders", "AI Hub 공식 폴더"),
    "split": ("Split", "분할"),
    "clips": ("Clips", "클립"),
    "frames": ("Frames", "프레임"),
    "groups": ("Groups", "그룹"),
    "count": ("Count", "개수"),
    "emotion": ("Emotion", "감정"),
    "species": ("Species", "종"),
    "unknown": ("unknown", "알 수 없음"),
    "cat": ("cat", SPECIES_KO["cat"]),
    "dog": ("dog", SPECIES_KO["dog"]),
    "score": ("Score", "점수"),
    "model": ("Model", "모델"),
    "always": ("Always “{answer}”", "항상 “{answer}”"),
    "range": ("95 % interval", "95 % 구간"),
    # Scores
    "accuracy": ("Accuracy", "정확도"),
    "balanced": ("Balanced accuracy", "균형 정확도"),
    "balanced_accuracy": ("Balanced accuracy", "균형 정확도"),
    "macro_f1": ("Macro-F1", "Macro-F1"),
    "kappa": ("Cohen's kappa", "코헨의 카파"),
    "top2": ("Among the two likeliest", "상위 2개 안에 정답"),
    "macro_ap": ("Mean average precision", "평균 정밀도의 평균"),
    "precision": ("Precision", "정밀도"),
    "recall": ("Recall", "재현율"),
    "f1": ("F1", "F1"),
    "ap": ("AP", "AP"),
    "answered": ("Answered", "답한 수"),
    "trained_on": ("Training clips", "학습 클립"),
    "too_few": ("too few to tell", "판단하기에 너무 적음"),
    "scores_meaning": ("What the scores mean", "점수의 뜻"),
    "mean_accuracy": ("share of answers that are right", "맞은 답의 비율"),
    "mean_balanced": (
        "mean of the emotions' recalls: each emotion counts the same, however rare",
        "감정별 재현율의 평균. 드문 감정도 똑같이 셉니다",
    ),
    "mean_macro_f1": (
        "mean of the emotions' F1 (harmonic mean of precision and recall)",
        "감정별 F1(정밀도와 재현율의 조화 평균)의 평균",
    ),
    "mean_kappa": ("agreement beyond chance: 0 is chance, 1 is perfect", "우연을 넘는 일치도. 0은 우연, 1은 완전 일치"),
    "mean_top2": (
        "share whose true emotion is one of the two most probable",
        "가장 가능성 높은 두 감정 안에 정답이 있는 비율",
    ),
    "mean_macro_ap": (
        "mean area under the precision-recall curves, one emotion against the rest",
        "감정별(나머지 전체와 비교한) 정밀도–재현율 곡선 아래 면적의 평균",
    ),
    "mean_precision": (
        "of the answers that name an emotion, the share that is right",
        "그 감정이라고 답한 것 중 맞은 비율",
    ),
    "mean_recall": ("of an emotion's clips, the share that is found", "그 감정의 클립 중 찾아낸 비율"),
    "mean_range": (
        "where the score lies in 95 % of the cases when groups of clips are drawn again (bootstrap): the luck of these "
        "clips, not that of training again",
        "클립 그룹을 다시 뽑았을 때 점수의 95 %가 놓이는 범위(부트스트랩). 이 클립들의 우연만 담고, 다시 학습할 때의 "
        "차이는 "
        "담지 않습니다",
    ),
    # Sections
    "data_head": ("Data and what was refused", "데이터와 제외된 것"),
    "data_source": ("Source: {source}.", "원본: {source}."),
    "labels_inspect": ("Labels: the inspector's word, one a clip.", "라벨: 검수자의 판단, 클립당 하나."),
    "labels_owner": ("Labels: the owner's word, one a clip.", "라벨: 보호자의 판단, 클립당 하나."),
    "labels_agree": (
        "Labels: only clips on which owner and inspector agree.",
        "라벨: 보호자와 검수자의 판단이 같은 클립만.",
    ),
    "step": ("Step", "단계"),
    "found": ("rows found in the source", "원본에서 찾은 행"),
    "good": ("good frames by their labels", "라벨이 올바른 프레임"),
    "chosen": ("frames chosen from the clips", "클립에서 고른 프레임"),
    "crops": ("pictures packed", "저장한 그림"),
    "used": ("pictures used, after screening", "걸러 낸 뒤 사용하는 그림"),
    "reason": ("Reason for refusal", "제외 이유"),
    "nothing_refused": ("Nothing was refused.", "제외된 것이 없습니다."),
    "imbalance_head": ("Class imbalance", "감정 불균형"),
    "imbalance_note": (
        "The most frequent emotion has {ratio} times as many frames as the rarest.",
        "가장 많은 감정의 프레임은 가장 적은 감정의 {ratio}배입니다.",
    ),
    "imbalance_chart": ("Clips and frames of the whole data set", "전체 데이터의 클립과 프레임"),
    "imbalance_species": ("Clips of each species", "종별 클립"),
    "log_axis": ("count, logarithmic axis", "개수 (로그 축)"),
    "split_head": ("Split and audit", "분할과 점검"),
    "split_clips_used": ("Clips of each emotion on each side", "감정별·분할별 클립"),
    "leak_clips": ("clips on two sides", "양쪽에 있는 클립"),
    "leak_groups": ("groups of clips on two sides", "양쪽에 있는 그룹"),
    "leak_frames": ("pairs of near-copied frames on two sides", "양쪽에 있는 거의 같은 프레임 쌍"),
    "audit": ("Looked for", "점검 항목"),
    "audit_found": ("Found", "발견"),
    "training_head": ("Training", "학습 과정"),
    "loss": ("Loss (lower is better)", "손실 (낮을수록 좋음)"),
    "scores": ("Validation scores (higher is better)", "검증 점수 (높을수록 좋음)"),
    "val_accuracy": ("accuracy of frames", "프레임 정확도"),
    "val_clip_macro_f1": ("macro-F1 of clips", "클립 macro-F1"),
    "epoch": ("epoch", "에폭"),
    "kept_epoch": ("kept", "선택"),
    "no_curves": (
        "metrics.csv was not found: there are no curves to draw.",
        "metrics.csv가 없어 곡선을 그릴 수 없습니다.",
    ),
    "no_curves_probe": (
        "A classifier was fitted on the features of a pretrained network at once, without epochs: there are no curves.",
        "사전 학습된 신경망의 특징에 분류기를 한 번에 맞추었으므로(에폭 없음) 곡선이 없습니다.",
    ),
    "started_from": ("Started from the run {run}.", "{run} 모델에서 시작했습니다."),
    "numbers_head": ("Key numbers", "핵심 수치"),
    "numbers_note": (
        "A clip's answer is the mean over its frames. The frames of a clip are nearly alike: believe the clips.",
        "클립의 답은 프레임 확률의 평균입니다. 한 클립의 프레임은 거의 같으므로 클립 기준을 믿으세요.",
    ),
    "numbers_note_attention": (
        "A clip's answer weighs its frames by attention, learnt in training. The frames of a clip are nearly alike: "
        "believe the clips.",
        "클립의 답은 학습된 어텐션으로 프레임에 가중치를 두어 구합니다. 한 클립의 프레임은 거의 같으므로 클립 기준을 "
        "믿으세요.",
    ),
    "few_groups": (
        "Only {groups} groups: below {least} these intervals are too narrow.",
        "그룹이 {groups}개뿐입니다. {least}개보다 적으면 구간이 실제보다 좁게 나옵니다.",
    ),
    "poolings": ("Clips, by how their frames are pooled", "프레임을 합치는 방법에 따른 클립 점수"),
    "pool_mean": ("mean", "평균"),
    "pool_median": ("median", "중앙값"),
    "pool_attention": ("attention", "어텐션"),
    "pool_by_group": ("every group counts the same", "그룹마다 같은 비중"),
    "pool": ("Pooling", "합치는 방법"),
    "classes_head": ("Per emotion", "감정별"),
    "dash_note": (
        "– means that there is nothing to divide by: the emotion does not occur here, or was never answered.",
        "–는 나눌 값이 없다는 뜻입니다(해당 감정이 없거나 한 번도 답하지 않음).",
    ),
    "few_note": (
        "An emotion with clips of fewer than {least} groups is marked: its numbers are mostly luck.",
        "그룹이 {least}개보다 적은 감정은 따로 표시했습니다. 그 수치는 대부분 우연입니다.",
    ),
    "species_head": ("Per species", "종별"),
    "shortcuts_head": ("Short cuts", "지름길"),
    "shortcuts_note": (
        "What can be scored without looking at a picture, by a table made from the training clips. A model that is not "
        "better may have learnt just this.",
        "그림을 보지 않고 학습 클립의 표만으로 얻을 수 있는 점수입니다. 이보다 낫지 않은 모델은 이것만 배웠을 수 "
        "있습니다.",
    ),
    "shortcut": ("Short cut", "지름길"),
    "shortcut_majority": ("always “{answer}”", "항상 “{answer}”"),
    "shortcut_prior": ("at random, as often as in training", "학습 비율대로 무작위"),
    "shortcut_species": ("from the species alone", "종만 보고"),
    "shortcut_action": ("from the action alone", "행동만 보고"),
    "shortcut_species_action": ("from species and action", "종과 행동만 보고"),
    "this_model": ("this model", "이 모델"),
    "shortcut_table": ("The table: {name}", "표: {name}"),
    "confusion_head": ("Confusion matrix", "혼동 행렬"),
    "confusion_clips": ("Clips", "클립"),
    "confusion_frames": ("Frames", "프레임"),
    "confusion_note": (
        "Rows are the truth, columns the answers. A cell's shade is its share of the row; framed cells are right. "
        "Click a cell to see the clips in it.",
        "행은 정답, 열은 모델의 답입니다. 색의 진하기는 행에서 차지하는 비율이고, 테두리 친 칸이 정답입니다. 칸을 "
        "누르면 그 "
        "클립들이 보입니다.",
    ),
    "truth": ("truth", "정답"),
    "answer": ("answer", "모델의 답"),
    "cell": ("{truth}, answered {answer}: {count} clips", "정답 {truth} → 답 {answer}: 클립 {count}개"),
    "cell_shown": ("The {shown} most confident are shown.", "가장 확신한 {shown}개를 보여 줍니다."),
    "calibration_head": ("Can the probabilities be believed?", "확률을 믿을 수 있을까?"),
    "calibration_note": (
        "If a model says 80 % it should be right in 80 of 100 such answers: dots on the diagonal. Below it the model "
        "is "
        "too sure of itself. Temperature scaling, fitted on validation clips, corrects the most of it and is stored "
        "with "
        "the model.",
        "모델이 80 %라고 하면 그런 답 100개 중 80개가 맞아야 합니다(대각선 위의 점). 대각선 아래면 지나치게 확신한 "
        "것입니다. 검증 클립으로 맞춘 온도 조정(temperature scaling)이 이를 대부분 바로잡으며, 모델과 함께 저장됩니다.",
    ),
    "cross_note": (
        "Validation clips are judged here themselves, so temperature and sets were fitted on the other groups each "
        "time.",
        "여기서는 검증 클립 자체를 평가하므로, 온도와 답 집합은 매번 다른 그룹으로 맞추었습니다.",
    ),
    "no_certainty": (
        "There were no validation clips to fit on: nothing can be said about the probabilities.",
        "맞출 검증 클립이 없어 확률에 대해 말할 수 없습니다.",
    ),
    "reliability_clips": ("Clips: said and right", "클립: 말한 확률과 맞은 비율"),
    "reliability_frames": ("Frames: said and right", "프레임: 말한 확률과 맞은 비율"),
    "said": ("probability of the answer", "답의 확률"),
    "was_right": ("share right", "맞은 비율"),
    "before": ("before", "조정 전"),
    "after": ("after", "조정 후"),
    "ideal": ("ideal", "이상"),
    "ece": ("Expected calibration error", "기대 보정 오차 (ECE)"),
    "adaptive_ece": ("Adaptive calibration error", "적응형 보정 오차"),
    "brier": ("Brier score", "브라이어 점수"),
    "nll": ("Negative log-likelihood", "음의 로그 가능도"),
    "temperature": ("Temperature", "온도"),
    "lower_note": ("Lower is better in all rows but the temperature.", "온도를 빼면 모두 낮을수록 좋습니다."),
    "certainty_head": ("When the model is not sure", "모델이 확신하지 못할 때"),
    "certainty_note": (
        "A model that may keep silent where it is least sure makes fewer mistakes (risk-coverage curve).",
        "가장 자신 없는 답을 하지 않아도 되면 실수가 줄어듭니다(위험–포괄 곡선).",
    ),
    "risk_chart": ("Wrong answers, if only the surest are given", "확신하는 답만 했을 때의 오답"),
    "share_answered": ("share answered", "답한 비율"),
    "share_wrong": ("share wrong", "틀린 비율"),
    "aurc": ("Mean risk over all coverages", "모든 포괄 비율의 평균 위험"),
    "sets_note": (
        "The model can also answer with a set (“calm or happy”) that holds the truth as often as promised. Every group "
        "of clips counts the same.",
        "모델은 정답이 약속한 비율로 들어 있는 답 집합(“편안 또는 행복”)으로도 답할 수 있습니다. 클립 그룹마다 같은 "
        "비중으로 "
        "셉니다.",
    ),
    "sets_none": (
        "Too few groups of validation clips to promise anything: every set holds all emotions.",
        "검증 클립의 그룹이 너무 적어 아무것도 약속할 수 없습니다. 모든 집합에 모든 감정이 들어 있습니다.",
    ),
    "promised": ("Promised: the set holds the truth", "약속: 집합에 정답이 있음"),
    "measured": ("Measured", "측정"),
    "single": ("One answer (sure)", "답 하나 (확신)"),
    "double": ("Two answers (“calm or happy”)", "답 둘 (“편안 또는 행복”)"),
    "unsure": ("More (“not sure”)", "그 이상 (“확실하지 않음”)"),
    "mean_size": ("Emotions in a set, on average", "집합의 평균 감정 수"),
    "sets": ("Sets of answers", "답 집합"),
    "covered": ("Set holds the truth", "집합에 정답이 있음"),
    "mistakes_head": ("Most confident mistakes", "가장 확신한 실수"),
    "mistakes_note": (
        "One frame a clip. Some of these labels may be wrong rather than the answers.",
        "클립당 한 프레임. 답이 아니라 라벨이 틀린 것도 있을 수 있습니다.",
    ),
    "no_mistakes": ("There is no mistake to show.", "보여 줄 실수가 없습니다."),
    "doubts_head": ("Most doubtful labels", "가장 의심스러운 라벨"),
    "doubts_none": (
        "The labels were not audited: `petmood audit` lists those that look wrong.",
        "라벨을 점검하지 않았습니다. `petmood audit`로 의심스러운 라벨을 찾을 수 있습니다.",
    ),
    "label": ("label", "라벨"),
    "suggested": ("suggested", "제안"),
    "owner": ("owner", "보호자"),
    "examples_head": ("Examples", "예시"),
    "examples_note": (
        "The most confident answers, one frame a clip: right and wrong ones of each true emotion.",
        "가장 확신한 답을 클립당 한 프레임씩, 정답 감정별로 맞은 것과 틀린 것으로 나누었습니다.",
    ),
    "heat_note": (
        "Bright places in the second picture (dark blue to yellow) are what the answer rests on most; each map is "
        "scaled "
        "by itself.",
        "두 번째 그림에서 밝은 곳(남색에서 노란색)이 답의 근거가 된 부분입니다. 그림마다 따로 눈금을 맞추었습니다.",
    ),
    "heat": ("what the answer rests on", "답의 근거"),
    "right": ("right", "맞음"),
    "wrong": ("wrong", "틀림"),
    "none_right": ("no right answer", "맞은 답 없음"),
    "none_wrong": ("no wrong answer", "틀린 답 없음"),
    "speed_head": ("Speed", "속도"),
    "speed_line": (
        "{images} pictures in {seconds} s on {device}: {rate} a second, decoding included.",
        "{device}에서 그림 {images}장을 {seconds}초에 처리: 초당 {rate}장(디코딩 포함).",
    ),
    "no_speed": ("It was not measured.", "측정하지 않았습니다."),
    "settings_head": ("Settings and versions", "설정과 버전"),
    "training_settings": ("Training", "학습"),
    "evaluation_settings": ("Evaluation", "평가"),
    "versions": ("Versions", "버전"),
    "backbone": ("Network", "신경망"),
    "card_head": ("Model card", "모델 카드"),
    # Several runs
    "sides_title": ("Runs side by side", "모델 나란히 보기"),
    "sides_better": (
        "{run} is better than {first}: {points} points of macro-F1 ({low} to {high}).",
        "{run}이(가) {first}보다 낫습니다: macro-F1 {points}점({low} ~ {high}).",
    ),
    "sides_worse": (
        "{run} is worse than {first}: {points} points of macro-F1 ({low} to {high}).",
        "{run}이(가) {first}보다 못합니다: macro-F1 {points}점({low} ~ {high}).",
    ),
    "sides_luck": (
        "No difference shown between {run} and {first}: {points} points of macro-F1 ({low} to {high}) may be luck.",
        "{run}와(과) {first}의 차이가 확인되지 않습니다: macro-F1 {points}점({low} ~ {high})은 우연일 수 있습니다.",
    ),
    "sides_unlike": (
        "These runs were not judged on the same clips: their numbers cannot be compared directly.",
        "서로 다른 클립으로 평가한 모델입니다. 수치를 바로 비교할 수 없습니다.",
    ),
    "sides_note": (
        "On clips. Below each number its 95 % interval; differences to {first} are in points, drawn by group for both "
        "alike, and coloured where 0 lies outside the interval.",
        "클립 기준. 각 수치 아래는 95 % 구간입니다. {first}와의 차이(점)는 두 모델에 같은 그룹을 다시 뽑아 구했고, "
        "구간에 0이 "
        "없으면 색으로 표시했습니다.",
    ),
    "sides_recall": ("Share of each emotion's clips that is found.", "감정별로 찾아낸 클립의 비율."),
    "sides_settings": ("Settings that differ", "서로 다른 설정"),
    "sides_same": ("All runs have the same settings.", "모든 모델의 설정이 같습니다."),
    "sides_cautions": ("What to know of each", "모델별 주의할 점"),
    "run": ("Run", "모델"),
    "difference": ("Difference", "차이"),
}
