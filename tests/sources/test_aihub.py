from __future__ import annotations

import json
import os
import unicodedata

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.trees import LAYOUTS, Clip, Tree, jpeg
from petmood.sources import open_source
from petmood.sources.aihub import AihubTask, ClipFiles, pair
from petmood.sources.rows import NO_POINT, RAW_SCHEMA


def rows_of(root):
    return pl.concat([task.read() for task in open_source(root).tasks])


def frames_of(root):
    rows = rows_of(root)
    return rows.filter(pl.col("refused").is_null())


def refused_of(root):
    return rows_of(root).filter(pl.col("refused").is_not_null()).select("refused", "detail").rows()


# --- pairing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_every_layout_gives_the_same_frames(tmp_path, layout, form):
    tree = Tree(tmp_path, layout)
    tree.add(Clip(number=1), form=form)
    tree.add(Clip(number=2, date="20201028"), form=form)
    tree.add(Clip(number=3, species="dog", action="sit", split="Validation"), form=form)
    rows = rows_of(tmp_path)
    assert rows["refused"].null_count() == len(rows) == 9
    assert rows.schema == dict(RAW_SCHEMA)
    assert all(os.path.isfile(path) for path in rows["path"])
    assert rows["clip"].unique(maintain_order=True).to_list() == [
        "20201028_cat-walkrun-000002.mp4",
        "cat-walkrun-000001",
        "dog-sit-000003",
    ]
    assert rows["official_split"].to_list() == ["train"] * 6 + ["val"] * 3


def test_label_and_picture_folders_may_have_any_name(tmp_path):
    tree = Tree(tmp_path / "source")
    clip = tree.add()
    labels, folder = tree.folders(clip)
    labels.rename(tmp_path / "source" / "zzz")
    (tmp_path / "source" / "a").mkdir()
    folder.rename(tmp_path / "source" / "a" / folder.name)
    assert len(frames_of(tmp_path / "source")) == 3


def test_a_clip_with_a_name_of_its_own_is_paired_by_stem(tmp_path):
    tree = Tree(tmp_path)
    clip = tree.add()
    labels, folder = tree.folders(clip)
    (labels / f"{clip.name}.json").rename(labels / unicodedata.normalize("NFD", "산책.json"))
    folder.rename(folder.with_name("산책"))
    frames = frames_of(tmp_path)
    assert frames["clip"].unique().to_list() == ["산책"]
    assert frames["species"].unique().to_list() == ["cat"]  # the label says so
    assert frames["action"].null_count() == 3


def test_a_folder_that_lost_its_mp4_ending_is_still_paired(tmp_path):
    tree = Tree(tmp_path)
    clip = tree.add(Clip(date="20201028"))
    folder = tree.folders(clip)[1]
    folder.rename(folder.with_suffix(""))
    assert len(frames_of(tmp_path)) == 3


def test_of_several_folders_the_one_nearest_to_the_label_is_taken():
    labels = ["/d/Training/label/x.json", "/d/Validation/label/x.json"]
    folders = ["/d/Validation/image/x", "/d/Training/image/x"]
    assert pair(labels, folders) == [
        ClipFiles("x", "/d/Training/label/x.json", "/d/Training/image/x"),
        ClipFiles("x", "/d/Validation/label/x.json", "/d/Validation/image/x", duplicate=True),
    ]


def test_a_second_label_of_the_same_name_is_refused_without_the_pictures_of_the_first(tmp_path):
    tree = Tree(tmp_path)
    clip = tree.add()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / f"{clip.name}.json").write_bytes((tree.folders(clip)[0] / f"{clip.name}.json").read_bytes())
    assert refused_of(tmp_path) == [("duplicate_label", "a label file of this name stands elsewhere too")]
    assert len(frames_of(tmp_path)) == 3


def test_one_number_may_be_used_with_two_actions(tree):
    tree.add(Clip(number=66518, action="sitdown"))
    tree.add(Clip(number=66518, action="tailing"))
    frames = frames_of(tree.root)
    assert frames["frame_id"].n_unique() == len(frames) == 6
    assert set(frames["action"]) == {"sitdown", "tailing"}


# --- what a label says ------------------------------------------------------------------------------------------------


def test_a_frame_carries_what_its_label_says(tree):
    tree.add(Clip(date="20201028", emotion=" 공포", owner="화남/불쾌 "))
    row = frames_of(tree.root).row(1, named=True)
    assert row.pop("path").endswith("/20201028_cat-walkrun-000007.mp4/frame_6_timestamp_200.jpg")
    assert row == {
        "frame_id": "20201028_cat-walkrun-000007.mp4/frame_6_timestamp_200",
        "clip": "20201028_cat-walkrun-000007.mp4",
        "group": "20201028/cat/코리안 숏헤어/FEMALE/3/Y/1/실내",
        "species": "cat",
        "emotion_text": " 공포",
        "owner_text": "화남/불쾌 ",
        "action": "walkrun",
        "situation": "휴식시간, 자신만의 공간에 들어갔을 때(캔넬, 소파 침대 밑 등)",
        "timestamp_ms": 200,
        "x": 8, "y": 4, "width": 40, "height": 32,
        "image_width": 64, "image_height": 48,
        "official_split": "train",
        "points": [*(part for point in range(1, 15) for part in (10 + point, 9)), NO_POINT, NO_POINT],
        "refused": None,
        "detail": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"breed": "페르시안"}, False),
        ({"breed": unicodedata.normalize("NFD", "코리안 숏헤어 ")}, True),
        ({"date": "20201028"}, False),
        ({"species": "dog"}, False),
        ({"action": "roll"}, True),
        ({"emotion": "공포"}, True),
        ({"size": (48, 64)}, True),
    ],
    ids=str,
)
def test_the_group_is_told_by_day_and_animal_not_by_what_it_does(tree, change, same):
    tree.add(Clip(number=1))
    tree.add(Clip(**{"number": 2, **change}))
    assert (frames_of(tree.root)["group"].n_unique() == 1) == same


def test_without_an_animal_each_clip_is_its_own_group(tree):
    for number in (1, 2):
        tree.add(Clip(number=number), edit=lambda label: label["metadata"].pop("animal"))
    assert frames_of(tree.root)["group"].unique().sort().to_list() == ["cat-walkrun-000001", "cat-walkrun-000002"]


def put(*path, value):
    """An edit of a label: set what stands at a path of keys."""

    def edit(label):
        for key in path[:-1]:
            label = label[key]
        label[path[-1]] = value

    return edit


def drop(*path):
    def edit(label):
        for key in path[:-1]:
            label = label[key]
        del label[path[-1]]

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        put("metadata", "duration", value=17),
        put("metadata", "height", value=48.0),
        put("metadata", "animal", "age", value=3.0),
        put("metadata", "animal", "age", value="3"),
        put("metadata", "owner", "animalCount", value=1.0),
        put("annotations", 1, "frame_number", value=6.0),
        put("annotations", 1, "timestamp", value=200.0),
        put("annotations", 1, "bounding_box", "x", value=8.0),
        put("annotations", 1, "keypoints", value={}),
        put("annotations", 1, "keypoints", value=None),
        put("annotations", 1, "frame_url", value="https://somewhere/frame.jpg"),
        put("annotations", 1, "bounding_box", value={"height": 32, "width": 40, "y": 4, "x": 8}),
        put("new key", value=[{"deep": [1, None, "가"]}]),
        drop("annotations", 1, "keypoints"),
        drop("metadata", "seq"),
        drop("metadata", "location"),
        drop("file_video"),
    ],
)
def test_other_kinds_of_numbers_further_keys_and_unneeded_absent_ones_do_not_matter(tree, edit):
    tree.add(Clip(number=1))
    tree.add(Clip(number=2), edit=edit)
    rows = rows_of(tree.root)
    assert rows["refused"].null_count() == 6
    numbers = ("timestamp_ms", "x", "y", "width", "height", "image_width", "image_height", "emotion_text")
    assert rows.select(numbers)[:3].equals(rows.select(numbers)[3:])


def points_of(tree):
    """Keypoints of all rows as pairs, None where one is not known."""
    return [
        [None if x == NO_POINT else (x, y) for x, y in zip(row[::2], row[1::2], strict=True)]
        for row in rows_of(tree.root)["points"].to_list()
    ]


def test_keypoints_that_are_null_or_absent_in_any_way_are_not_known(tree):
    whole = {str(code): {"x": code, "y": 100 + code} for code in range(1, 16)}
    forms = [
        whole,
        {**whole, "3": None},
        {code: point for code, point in whole.items() if code != "3"},
        {**whole, "3": {"x": 5, "y": None}},
        {**whole, "3": {"y": 5}},
        {**whole, "3": {}},
        dict(reversed(whole.items())),
    ]
    clip = Clip(frames=len(forms) + 3)

    def edit(label):
        for annotation, form in zip(label["annotations"], [*forms, None, {}], strict=False):
            annotation["keypoints"] = form
        del label["annotations"][-1]["keypoints"]

    tree.add(clip, edit=edit)
    all_known = [(code, 100 + code) for code in range(1, 16)]
    without_third = [*all_known[:2], None, *all_known[3:]]
    assert points_of(tree) == [all_known, *[without_third] * 5, all_known, *[[None] * 15] * 3]


def test_keypoints_of_any_number_are_kept_within_what_the_table_holds(tree):
    points = {"1": {"x": -12, "y": 7.6}, "2": {"x": 1e9, "y": -1e9}, "16": {"x": 1, "y": 1}}
    tree.add(Clip(frames=1), edit=put("annotations", 0, "keypoints", value=points))
    assert points_of(tree)[0] == [(-12, 7), (32767, -32767), *[None] * 13]


@pytest.mark.parametrize("odd", [[], "none", 5, {"1": [3, 4]}, {"1": {"x": "left", "y": 2}}], ids=str)
def test_keypoints_of_an_unknown_form_leave_the_clip_without_any_and_all_else_as_it_is(tree, odd):
    tree.add(Clip(number=1), edit=lambda label: [item.pop("keypoints") for item in label["annotations"]])
    tree.add(Clip(number=2), edit=put("annotations", 1, "keypoints", value=odd))
    rows = rows_of(tree.root)
    same = rows.drop("frame_id", "path", "clip")
    assert rows["refused"].null_count() == 6
    assert same[:3].equals(same[3:])
    assert rows["points"].to_list() == [[NO_POINT] * 30] * 6


def test_frames_without_a_picture_have_no_keypoints(tree):
    clip = Clip(frames=3)
    tree.add(clip, pictures={clip.picture(1): jpeg()})
    assert [frame[0] for frame in points_of(tree)] == [None, (11, 9), None]


def test_a_timestamp_with_a_point_may_also_stand_in_the_picture_name(tree):
    tree.add(
        Clip(frames=1),
        edit=put("annotations", 0, "timestamp", value=33.5),
        pictures={"frame_0_timestamp_33.5.jpg": jpeg()},
    )
    assert frames_of(tree.root)["timestamp_ms"].to_list() == [34]


def test_a_byte_order_mark_is_passed_over(tree):
    tree.add(text=b"\xef\xbb\xbf" + json.dumps(Clip().label()).encode())
    assert len(frames_of(tree.root)) == 3


@pytest.mark.parametrize(
    "edit", [put("annotations", 0, "bounding_box", value=None), drop("annotations", 0, "bounding_box")]
)
def test_a_null_or_absent_box_leaves_the_frame_without_numbers(tree, edit):
    tree.add(edit=edit)
    assert frames_of(tree.root).select("x", "y", "width", "height").row(0) == (None,) * 4


def test_an_absent_key_of_a_box_does_not_lose_the_clip(tree):
    tree.add(edit=drop("annotations", 0, "bounding_box", "width"))
    assert frames_of(tree.root)["width"].to_list() == [None, 40, 40]


def test_null_metadata_leaves_the_emotion_unknown_and_takes_the_species_from_the_name(tree):
    tree.add(edit=put("metadata", value=None))
    row = frames_of(tree.root).row(0, named=True)
    assert (row["emotion_text"], row["owner_text"], row["image_width"]) == (None, None, None)
    assert (row["species"], row["group"]) == ("cat", "cat-walkrun-000007")


@pytest.mark.parametrize("number", [1e300, -1e300, 10**18, -(10**18)])
def test_a_number_beyond_all_reason_is_cut_not_a_crash(tree, number):
    tree.add(edit=put("annotations", 0, "bounding_box", "x", value=number))
    assert frames_of(tree.root)["x"].to_list()[0] == (1_000_000_000 if number > 0 else -1_000_000_000)


# --- what is not there ------------------------------------------------------------------------------------------------


def test_pictures_that_are_not_there_are_refused_one_by_one(tree):
    clip = Clip(frames=4)
    tree.add(clip, pictures={clip.picture(2): jpeg()})
    assert refused_of(tree.root) == [("no_image", "not in the clip's folder")] * 3
    assert frames_of(tree.root)["timestamp_ms"].to_list() == [400]


def test_a_clip_with_one_annotation_is_a_clip(tree):
    tree.add(Clip(frames=1))
    assert len(frames_of(tree.root)) == 1


def test_an_empty_picture_folder_refuses_every_frame(tree):
    tree.add(pictures={})
    assert refused_of(tree.root) == [("no_image", "not in the clip's folder")] * 3


def test_a_label_without_folder_refuses_every_frame_and_names_the_label(tree):
    clip = tree.add(pictures={})
    tree.folders(clip)[1].rmdir()
    assert refused_of(tree.root) == [("no_image", "no folder of pictures for this label file")] * 3
    assert rows_of(tree.root)["path"][0].endswith("/cat-walkrun-000007.json/frame_0_timestamp_0.jpg")


def test_a_folder_without_label_refuses_its_pictures(tree):
    tree.add(Clip(number=1))
    clip = tree.add(Clip(number=2))
    (tree.folders(clip)[0] / f"{clip.name}.json").unlink()
    assert refused_of(tree.root) == [("no_label", "no label file")] * 3


def test_pictures_that_the_label_does_not_list_are_refused(tree):
    clip = Clip(frames=1)
    more = {"frame_99_timestamp_99.jpg": jpeg(), "b.PNG": b"", "notes.txt": b""}
    tree.add(clip, pictures={clip.picture(0): jpeg(), **more})
    assert refused_of(tree.root) == [("no_label", "not listed in the label file")] * 2


def test_a_picture_name_that_is_no_utf8_is_refused_in_printable_form(tree):
    clip = tree.add(Clip(frames=1))
    with open(os.fsencode(tree.folders(clip)[1]) + b"/\xb6\xf3.jpg", "wb"):
        pass
    assert refused_of(tree.root) == [("no_label", "not listed in the label file")]
    assert rows_of(tree.root)["path"][1].endswith("/\\xb6\\xf3.jpg")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (json.dumps(Clip().label()).encode()[:400], "truncated"),
        (b"\xff\xfe{\x00}\x00", "malformed"),
        (b'{"annotations": null}', "Expected `array`"),
        (b'{"metadata": {}}', "required field `annotations`"),
        (b'{"annotations": []}', "it lists no frames"),
        (b'{"annotations": [null]}', "Expected `object`"),
        (b'{"annotations": [{"frame_number": 1}]}', "required field `timestamp`"),
        (b'{"annotations": [{"frame_number": "one", "timestamp": 0}]}', "Expected `int`"),
        (b'{"annotations": [], "x": ' + b"[" * 100_000, "recursion"),
        (b"[]", "Expected `object`"),
        ("라벨".encode("cp949"), "malformed"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_label_is_refused_with_its_pictures_and_stops_nothing(tree, text, detail):
    tree.add(Clip(number=1), text=text)
    tree.add(Clip(number=2))
    refused = refused_of(tree.root)
    assert [reason for reason, _ in refused] == ["unreadable_label"] + ["no_label"] * 3
    assert all(detail.lower() in told.lower() for _, told in refused)
    assert len(frames_of(tree.root)) == 3


def test_a_label_that_cannot_be_opened_is_refused(tree):
    clip = tree.add(Clip(number=1), pictures={})
    tree.add(Clip(number=2))
    label = tree.folders(clip)[0] / f"{clip.name}.json"
    tasks = open_source(tree.root).tasks
    label.unlink()
    rows = pl.concat([task.read() for task in tasks])
    assert rows["refused"].drop_nulls().to_list() == ["unreadable_label"]
    assert "No such file" in rows["detail"].drop_nulls()[0]


LABEL = json.dumps(Clip().label(), ensure_ascii=False).encode()
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.just("nan"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
paths = st.sampled_from(
    [
        ("annotations",), ("metadata",), ("file_video",), ("annotations", 0), ("annotations", 0, "timestamp"),
        ("annotations", 0, "frame_number"), ("annotations", 0, "bounding_box"),
        ("annotations", 0, "bounding_box", "x"), ("annotations", 0, "bounding_box", "height"),
        ("metadata", "species"), ("metadata", "width"), ("metadata", "animal"), ("metadata", "animal", "age"),
        ("metadata", "owner"), ("metadata", "owner", "animalCount"), ("metadata", "inspect", "emotion"),
    ]
)  # fmt: skip


def read_one(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("label")
    (folder / "cat-arch-000001.json").write_bytes(text)
    return AihubTask(str(folder), [ClipFiles("cat-arch-000001", str(folder / "cat-arch-000001.json"), None)]).read()


@given(paths, values)
def test_no_value_anywhere_in_a_label_stops_the_reading(tmp_path_factory, path, value):
    label = Clip().label()
    put(*path, value=value)(label)
    rows = read_one(tmp_path_factory, json.dumps(label).encode())
    assert rows.schema == dict(RAW_SCHEMA)
    assert len(rows) >= 1


@given(st.lists(st.tuples(st.integers(0, len(LABEL) - 1), st.integers(0, 255)), max_size=5), st.integers(0, len(LABEL)))
def test_no_damaged_bytes_in_a_label_stop_the_reading(tmp_path_factory, edits, end):
    broken = bytearray(LABEL)
    for position, value in edits:
        broken[position] = value
    assert len(read_one(tmp_path_factory, bytes(broken[:end] or broken))) >= 1
