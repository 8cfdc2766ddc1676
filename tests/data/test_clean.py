from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from petmood.data.clean import DROP, judge, parse_merges
from petmood.errors import UserError
from petmood.labels import EMOTIONS, EMOTIONS_KO
from petmood.records import REASONS
from petmood.schemas import FRAME_SCHEMA, REJECT_SCHEMA
from petmood.sources.rows import POINTS, RAW_SCHEMA, raw_rows

GOOD = {
    "frame_id": "cat-arch-000001/frame_0_timestamp_0", "path": "/d/a.jpg", "clip": "cat-arch-000001", "group": "g",
    "species": "cat", "emotion_text": "편안/안정", "owner_text": "공포", "x": 10, "y": 20, "width": 50, "height": 40,
    "image_width": 100, "image_height": 80, "timestamp_ms": 0,
}  # fmt: skip


def rows(*changes):
    """Raw rows: a good one with each of the changes, numbered."""
    return raw_rows(
        pl.DataFrame(
            [{**GOOD, "frame_id": f"f{n}", **change} for n, change in enumerate(changes)], schema=dict(RAW_SCHEMA)
        )
    )


def reason_of(change, **choices):
    """Reason and detail of one row, or None twice if it is kept."""
    frames, rejects = judge(rows(change), **choices)
    assert len(frames) + len(rejects) == 1
    return rejects.select("reason", "detail").row(0) if len(rejects) else (None, None)


# --- each rule --------------------------------------------------------------------------------------------------------


def test_a_good_row_is_kept_with_every_column():
    frames, rejects = judge(rows({}))
    assert rejects.is_empty()
    assert frames.schema == {**FRAME_SCHEMA, "points": POINTS}
    assert rejects.schema == dict(REJECT_SCHEMA)
    row = frames.row(0, named=True)
    assert (row["emotion"], row["owner_emotion"], row["keep"], row["weight"], row["split"]) == (
        "calm",
        "fear",
        True,
        1.0,
        None,
    )
    assert (row["x"], row["y"], row["width"], row["height"]) == (10, 20, 50, 40)


@pytest.mark.parametrize("name", ["x", "y", "width", "height"])
def test_a_box_that_lacks_a_number_is_no_box(name):
    assert reason_of({name: None})[0] == "no_box"
    assert reason_of({name: None}, box="clip")[0] == "no_box"


def test_no_box_at_all_is_no_box():
    empty = dict.fromkeys(("x", "y", "width", "height"))
    assert reason_of(empty) == ("no_box", "x,y,width,height ?,?,?,? in 100×80")


@pytest.mark.parametrize("name", ["x", "y", "width", "height"])
def test_any_negative_element_is_the_notes_first_rule(name):
    reason, detail = reason_of({name: -1})
    assert reason == "negative_box"
    assert "-1" in detail
    assert detail.endswith("in 100×80")


@pytest.mark.parametrize("change", [{"width": 0}, {"height": 0}])
def test_a_box_without_width_or_height_is_empty(change):
    assert reason_of(change)[0] == "empty_box"
    assert reason_of(change, box="clip")[0] == "empty_box"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"x": 50}, None),
        ({"x": 51}, "box_outside_image"),
        ({"y": 40}, None),
        ({"y": 41}, "box_outside_image"),
        ({"x": 0, "y": 0, "width": 100, "height": 80}, None),
        ({"x": 500, "y": 500}, "box_outside_image"),
        ({"image_width": 0}, "box_outside_image"),
    ],
)
def test_a_box_may_touch_the_picture_s_edge_but_not_pass_it_the_notes_second_rule(change, reason):
    assert reason_of(change)[0] == reason


def test_without_a_known_picture_size_the_second_rule_is_not_tried():
    assert reason_of({"x": 5000, "image_width": None, "image_height": None}) == (None, None)


@pytest.mark.parametrize(("word", "detail"), [("hungry", "'hungry'"), ("", "''"), (None, "the label names none")])
def test_other_words_are_an_unknown_emotion(word, detail):
    assert reason_of({"emotion_text": word}) == ("unknown_emotion", detail)
    assert reason_of({"owner_text": word}, label="owner") == ("unknown_emotion", detail)


def test_the_owner_s_word_does_not_matter_where_the_inspector_s_counts():
    assert reason_of({"owner_text": "hungry"}) == (None, None)


@pytest.mark.parametrize(
    "reason", ["unreadable_label", "duplicate_label", "no_label", "no_image", "empty_image", "unreadable_image"]
)
def test_what_the_source_refused_keeps_its_reason_and_detail(reason):
    assert reason_of({"refused": reason, "detail": "because"}) == (reason, "because")


def test_a_second_row_of_one_name_is_a_duplicate():
    frames, rejects = judge(rows({"frame_id": "same"}, {"frame_id": "same"}, {}))
    assert frames["frame_id"].to_list() == ["same", "f2"]
    assert rejects.select("frame_id", "reason", "detail").rows() == [
        ("same", "duplicate_label", "an earlier row has this name")
    ]


def test_rows_without_a_name_are_no_duplicates():
    nameless = {"frame_id": None, "refused": "no_label", "detail": "no label file"}
    assert judge(rows(nameless, nameless))[1]["reason"].to_list() == ["no_label", "no_label"]


def test_the_first_rule_that_applies_decides_in_the_order_of_the_reasons():
    bad = {"x": -1, "width": 0, "emotion_text": "hungry", "species": "dog"}
    assert reason_of({**bad, "refused": "no_image"}, species="cat")[0] == "no_image"
    assert reason_of({**bad, "y": None}, species="cat")[0] == "no_box"
    assert reason_of(bad, species="cat")[0] == "negative_box"
    assert reason_of({**bad, "x": 90}, species="cat")[0] == "empty_box"
    assert reason_of({**bad, "x": 90, "width": 50}, species="cat")[0] == "box_outside_image"
    assert reason_of({**bad, "x": 0, "width": 5}, species="cat")[0] == "unknown_emotion"
    assert reason_of({**bad, "x": 0, "width": 5, "emotion_text": "happy"}, species="cat")[0] == "other_species"


# --- choices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"x": -10}, (0, 20, 40, 40)),
        ({"y": -5}, (10, 0, 50, 35)),
        ({"x": 80}, (80, 20, 20, 40)),
        ({"y": 70}, (10, 70, 50, 10)),
        ({"x": -10, "y": -10, "width": 500, "height": 500}, (0, 0, 100, 80)),
        ({"x": -10, "image_width": None, "image_height": None}, (0, 20, 40, 40)),
    ],
    ids=str,
)
def test_clip_cuts_a_box_at_the_picture_s_edge(change, wanted):
    frames, _ = judge(rows(change), box="clip")
    assert frames.select("x", "y", "width", "height").row(0) == wanted


@pytest.mark.parametrize("change", [{"x": 100}, {"x": -50}, {"y": 80}, {"y": -40}, {"width": -5}, {"height": -1}])
def test_clip_refuses_a_box_of_which_nothing_is_left_and_shows_it_as_it_was(change):
    reason, detail = reason_of(change, box="clip")
    assert reason == "empty_box"
    box = {**GOOD, **change}
    assert detail == f"x,y,width,height {box['x']},{box['y']},{box['width']},{box['height']} in 100×80"


def test_label_owner_takes_the_owner_s_word():
    frames, _ = judge(rows({}), label="owner")
    assert frames.select("emotion", "owner_emotion").row(0) == ("fear", "fear")


def test_label_agree_keeps_only_what_both_say():
    assert reason_of({"owner_text": " 편안/안정"}, label="agree") == (None, None)
    assert reason_of({}, label="agree") == ("labels_disagree", "편안/안정 / 공포")
    assert reason_of({"owner_text": None}, label="agree") == ("labels_disagree", "편안/안정 / ?")


def test_label_agree_compares_after_merging():
    assert reason_of({}, label="agree", merges={"fear": "calm"}) == (None, None)


@pytest.mark.parametrize(("choice", "reason"), [("both", None), ("cat", None), ("dog", "other_species")])
def test_species_keeps_the_one_asked_for(choice, reason):
    assert reason_of({}, species=choice)[0] == reason


def test_an_unknown_species_is_not_the_one_asked_for():
    assert reason_of({"species": None}, species="cat") == ("other_species", "not told")
    assert reason_of({"species": None}) == (None, None)
    assert reason_of({"species": "dog"}, species="cat") == ("other_species", "dog")


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["inspect", "owner", "agree"])
def test_an_emotion_by_verdict_counts_whatever_the_label_says_and_the_owner_s_word_stays(label):
    verdicts = {GOOD["clip"]: "angry"}
    for text in ("편안/안정", "배고픔", None):
        frames, _ = judge(rows({"emotion_text": text}), label=label, verdicts=verdicts)
        assert frames.select("emotion", "owner_emotion").rows() == [("angry", "fear")]


def test_a_dropped_clip_is_refused_whole_and_other_clips_are_not():
    table = rows({}, {}, {"clip": "another"})
    frames, rejects = judge(table, verdicts={GOOD["clip"]: DROP})
    assert frames["clip"].to_list() == ["another"]
    assert rejects.select("reason", "detail").rows() == [("user_verdict", "the table of verdicts says drop")] * 2


def test_what_was_wrong_without_the_verdict_is_told_first():
    assert reason_of({"x": -1}, verdicts={GOOD["clip"]: DROP})[0] == "negative_box"
    assert reason_of({"x": -1}, verdicts={GOOD["clip"]: "happy"})[0] == "negative_box"
    assert reason_of({"emotion_text": "배고픔"}, verdicts={GOOD["clip"]: DROP})[0] == "unknown_emotion"


# --- merges -----------------------------------------------------------------------------------------------------------


def test_a_merge_renames_an_emotion_in_both_labels():
    frames, _ = judge(rows({"emotion_text": "공포"}), merges=parse_merges(["공포=불안/슬픔"]))
    assert frames.select("emotion", "owner_emotion").row(0) == ("anxious", "anxious")


def test_a_merge_gives_a_meaning_to_any_other_word():
    frames, _ = judge(rows({"emotion_text": " Surprised"}), merges=parse_merges(["surprised=happy"]))
    assert frames["emotion"].to_list() == ["happy"]


@pytest.mark.parametrize("merge", ["공포", "=happy", "공포=", "공포=hungry", " =happy", ""])
def test_a_merge_that_is_none_is_refused_with_the_six(merge):
    with pytest.raises(UserError, match="is not WORD=EMOTION") as caught:
        parse_merges([merge])
    assert "행복/즐거움" in caught.value.hint


def test_contradicting_and_chained_merges_are_refused_and_repeated_ones_are_not():
    with pytest.raises(UserError, match="contradicts an earlier one"):
        parse_merges(["공포=calm", "fear=happy"])
    with pytest.raises(UserError, match="leads to 'calm', which is merged away itself"):
        parse_merges(["공포=calm", "calm=happy"])
    assert parse_merges(["공포=calm", "fear=편안/안정", "calm=calm"]) == {"fear": "calm", "calm": "calm"}


# --- for every table --------------------------------------------------------------------------------------------------

coordinate = st.none() | st.integers(-30, 150) | st.sampled_from([-1_000_000_000, 0, 1_000_000_000])
side = st.none() | st.integers(0, 120)
word = st.none() | st.sampled_from([*EMOTIONS, *EMOTIONS_KO.values(), "hungry", "", " 공포 "])
raw_row = st.fixed_dictionaries(
    {
        "frame_id": st.none() | st.sampled_from("abcdefgh"),
        "species": st.sampled_from(["dog", "cat", None]),
        "emotion_text": word,
        "owner_text": word,
        "x": coordinate, "y": coordinate, "width": coordinate, "height": coordinate,
        "image_width": side, "image_height": side,
        "refused": st.sampled_from([None, None, None, "no_image"]),
    }
)  # fmt: skip
raw_tables = st.lists(raw_row, max_size=8).map(
    lambda found: pl.DataFrame(
        [{**GOOD, **row, "detail": row["refused"] and "gone"} for row in found], schema=dict(RAW_SCHEMA)
    )
)
choices = st.fixed_dictionaries(
    {
        "label": st.sampled_from(["inspect", "owner", "agree"]),
        "box": st.sampled_from(["drop", "clip"]),
        "species": st.sampled_from(["dog", "cat", "both"]),
        "merges": st.sampled_from([{}, {"fear": "anxious"}, {"hungry": "happy", "calm": "happy"}]),
        "verdicts": st.sampled_from([{}, {GOOD["clip"]: DROP}, {"another": "happy"}]),
    }
)


@given(raw_tables, choices)
def test_every_row_ends_in_exactly_one_table_with_one_known_reason(table, choice):
    frames, rejects = judge(table, **choice)
    assert len(frames) + len(rejects) == len(table)
    assert set(rejects["reason"]) <= REASONS.keys()
    assert rejects.filter(pl.col("detail").is_null()).is_empty()
    assert frames["frame_id"].drop_nulls().is_unique().all()
    assert frames.schema == {**FRAME_SCHEMA, "points": POINTS}
    assert set(frames["emotion"]) <= set(EMOTIONS) - (choice["merges"].keys() - set(choice["merges"].values()))


@given(raw_tables, choices)
def test_a_kept_box_lies_inside_its_picture_and_is_not_empty(table, choice):
    frames, _ = judge(table, **choice)
    for row in frames.iter_rows(named=True):
        assert row["x"] >= 0
        assert row["y"] >= 0
        assert row["width"] > 0
        assert row["height"] > 0
        assert row["image_width"] is None or row["x"] + row["width"] <= row["image_width"]
        assert row["image_height"] is None or row["y"] + row["height"] <= row["image_height"]


@given(raw_tables, choices)
def test_clipping_keeps_all_that_dropping_keeps_unchanged(table, choice):
    dropped, _ = judge(table, **{**choice, "box": "drop"})
    clipped, _ = judge(table, **{**choice, "box": "clip"})
    assert set(dropped.rows()) <= set(clipped.rows())


@given(raw_tables, choices)
def test_judging_what_was_kept_again_keeps_it_all_as_it_is(table, choice):
    frames, _ = judge(table, **choice)
    again = frames.rename({"emotion": "emotion_text", "owner_emotion": "owner_text"})
    kept, rejects = judge(raw_rows(again), **choice)
    assert rejects.is_empty() or choice["label"] == "owner"
    if choice["label"] != "owner":
        assert kept.equals(frames)


@given(raw_tables, choices)
def test_rows_are_judged_one_by_one_but_for_duplicates(table, choice):
    named = table.with_columns(frame_id=pl.int_range(pl.len()).cast(pl.String))
    together = judge(named, **choice)[0]["frame_id"].to_list()
    alone = [row["frame_id"][0] for row in (judge(named[n], **choice)[0] for n in range(len(named))) if len(row)]
    assert together == alone
