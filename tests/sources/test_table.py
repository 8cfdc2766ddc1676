from __future__ import annotations

import polars as pl
import pytest

from fixtures.trees import SIZE, Clip, Tree, jpeg
from petmood.data.clean import judge
from petmood.data.index import index
from petmood.errors import UserError
from petmood.sources import open_source
from petmood.sources.rows import RAW_SCHEMA
from petmood.workspace import Workspace

HEAD = "image_path,bbox,labels\n"


@pytest.fixture
def table(tmp_path):
    """Writes a CSV beside two pictures, a.jpg and clip/frame_6_timestamp_200.jpg; returns its path."""
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/frame_6_timestamp_200.jpg").write_bytes(jpeg())

    def write(text, encoding="utf-8"):
        path = tmp_path / "frames.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
        return path

    return write


def rows_of(path):
    return pl.concat([task.read() for task in open_source(path).tasks])


def test_the_notes_form_has_the_box_as_y_x_height_width(table):
    row = rows_of(table(HEAD + 'clip/frame_6_timestamp_200.jpg,"4,8,30,40",공포\n'))
    assert row.schema == dict(RAW_SCHEMA)
    found = {name: value for name, value in row.row(0, named=True).items() if value is not None}
    assert found.pop("path").endswith("/clip/frame_6_timestamp_200.jpg")
    assert found == {
        "frame_id": "clip/frame_6_timestamp_200", "clip": "clip", "group": "clip", "emotion_text": "공포",
        "timestamp_ms": 200, "x": 8, "y": 4, "width": 40, "height": 30, "image_width": SIZE[0],
        "image_height": SIZE[1],
    }  # fmt: skip


@pytest.mark.parametrize("box", ["4,8,30,40", "[4, 8, 30, 40]", "(4,8,30,40)", "4.0, 8.2 ,30,39.9"])
def test_brackets_spaces_and_points_in_a_box_do_not_matter(table, box):
    row = rows_of(table(HEAD + f'a.jpg,"{box}",happy\n')).row(0, named=True)
    assert (row["y"], row["x"], row["height"], row["width"]) == (4, 8, 30, 40)


def test_named_columns_are_recognised_in_any_case_and_order(table):
    text = "Emotion,W,H,X,Y,FILE,Video,animal,Species,owner_emotion,split,timestamp\n"
    text += "fear,40,30,8,4,a.jpg,walk,Rex,강아지,calm,Validation,1700000000000\n"
    row = rows_of(table(text)).row(0, named=True)
    assert (row["x"], row["y"], row["width"], row["height"]) == (8, 4, 40, 30)
    assert (row["clip"], row["group"], row["species"], row["official_split"]) == ("walk", "Rex", "dog", "val")
    assert (row["emotion_text"], row["owner_text"], row["timestamp_ms"]) == ("fear", "calm", 1_700_000_000_000)
    assert row["frame_id"] == "walk/a"


def test_sizes_in_the_table_spare_reading_the_pictures(table):
    path = table(
        "path,x,y,width,height,image_width,image_height,emotion\na.jpg,0,0,9,9,1920,1080,happy\nb.jpg,0,0,9,9,1,1,fear\n"
    )
    rows = rows_of(path)
    assert rows["image_width"].to_list() == [1920, 1]
    assert rows.select("refused", "detail").rows() == [(None, None), ("no_image", "no such file")]


def test_relative_paths_start_at_the_table(table, monkeypatch, tmp_path):
    path = table(HEAD + f'a.jpg,"0,0,9,9",happy\n{tmp_path}/a.jpg,"0,0,8,8",happy\n')
    monkeypatch.chdir("/")
    rows = rows_of(path)
    assert rows["path"].unique().to_list() == [str(tmp_path / "a.jpg")]
    assert rows["refused"].null_count() == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_korean_windows_tables_are_read_too(table, encoding):
    path = table(HEAD + 'a.jpg,"0,0,9,9",화남/불쾌\n', encoding)
    assert rows_of(path)["emotion_text"].to_list() == ["화남/불쾌"]


def test_two_animals_in_one_picture_are_two_frames(table):
    rows = rows_of(table(HEAD + 'a.jpg,"0,0,9,9",happy\na.jpg,"9,9,9,9",happy\n'))
    assert rows["frame_id"].n_unique() == 2


def test_a_clip_with_two_emotions_becomes_two_clips_of_one_group(table):
    text = "path,bbox,labels,clip\n" + "".join(
        f'a.jpg,"{n},0,9,9",{emotion},{clip}\n'
        for n, (emotion, clip) in enumerate([("fear", "one"), ("공포", "one"), ("fear", "two"), ("happy", "two")])
    )
    rows = rows_of(table(text))
    assert rows["clip"].to_list() == ["one", "one", "two#fear", "two#happy"]
    assert rows["group"].to_list() == ["one", "one", "two", "two"]
    assert rows["frame_id"].n_unique() == 4


def test_a_clip_whose_owner_names_two_emotions_becomes_two_clips_too(table):
    text = 'path,bbox,labels,clip,owner_emotion\na.jpg,"0,0,9,9",fear,one,fear\na.jpg,"1,0,9,9",fear,one,calm\n'
    assert rows_of(table(text))["clip"].to_list() == ["one#fear+fear", "one#fear+calm"]


def test_owner_labels_are_there_only_with_their_column(table):
    assert not open_source(table(HEAD + 'a.jpg,"0,0,9,9",happy\n')).has_owner_labels
    assert open_source(table('path,bbox,labels,owner_emotion\na.jpg,"0,0,9,9",happy,fear\n')).has_owner_labels


def test_broken_rows_are_refused_and_stop_nothing(table):
    lines = [
        'a.jpg,"0,0,9,9",happy',
        'nowhere.jpg,"0,0,9,9",happy',
        ',"0,0,9,9",happy',
        "a.jpg,,happy",
        'a.jpg,"1,2,3",happy',
        'a.jpg,"one,2,3,4",happy',
        'a.jpg,"nan,2,3,4",happy',
        'a.jpg,"inf,2,3,4",happy',
        'a.jpg,"-1,2,3,4",happy',
        'a.jpg,"0,0,9,9",hungry',
        'a.jpg,"0,0,9,9",',
        'a\x00b.jpg,"0,0,9,9",happy',
        'clip,"0,0,9,9",happy',
    ]
    frames, rejects = judge(rows_of(table(HEAD + "\n".join(lines) + "\n")))
    assert len(frames) == 1
    assert rejects["reason"].to_list() == [
        "no_image", "no_image", "no_box", "no_box", "no_box", "no_box", "box_outside_image", "negative_box",
        "unknown_emotion", "unknown_emotion", "no_image", "no_image",
    ]  # fmt: skip
    assert rejects["detail"].null_count() == 0


# --- refused as a whole -----------------------------------------------------------------------------------------------


def refused(path):
    with pytest.raises(UserError) as caught:
        open_source(path)
    return caught.value


@pytest.mark.parametrize(
    ("head", "missing"),
    [
        ("picture,bbox,labels", "image_path"),
        ("image_path,bbox", "labels (or emotion)"),
        ("image_path,labels", "bbox (or x, y, width, height)"),
        ("image_path,labels,x,y,width", "bbox (or x, y, width, height)"),
        ("a,b", "image_path and labels (or emotion) and bbox (or x, y, width, height)"),
    ],
)
def test_a_missing_column_is_named_beside_those_that_are_there(table, head, missing):
    path = table(f"{head}\n{','.join('1' for _ in head.split(','))}\n")
    error = refused(path)
    assert error.message == f"table {path} lacks the column {missing}; it has {', '.join(head.split(','))}."
    assert "y,x,height,width" in error.hint


@pytest.mark.parametrize("numbers", ["0123", ["0.0", "3.0"], [" 2 ", "1"]])
def test_numbers_as_labels_are_refused_the_notes_third_mistake(table, numbers):
    error = refused(table(HEAD + "".join(f'a.jpg,"0,0,9,9",{number}\n' for number in numbers)))
    assert "has numbers as labels" in error.message
    assert "which name no emotion" in error.message
    assert "행복/즐거움 or happy" in error.hint


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not readable CSV"),
        (HEAD.encode(), "has no rows"),
        (b"image_path,bbox,labels\na,b,c,d,e\n", "is not readable CSV"),
        (b"\xff\xfe\xff\x81", "is neither UTF-8 nor cp949 text"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_as_a_whole(table, content, problem):
    assert problem in refused(table(content)).message


# --- round trip -------------------------------------------------------------------------------------------------------


def test_the_frames_csv_of_an_index_read_back_gives_the_same_frames(tmp_path):
    tree = Tree(tmp_path / "source")
    tree.add_many(6)
    tree.add(Clip(number=50, date="20201028"))
    index(tmp_path / "source", tmp_path / "one", jobs=1, quiet=True)
    index(tmp_path / "one" / "frames.csv", tmp_path / "two", jobs=1, quiet=True)
    columns = ("frame_id", "path", "clip", "emotion", "timestamp_ms", "x", "y", "width", "height", "image_width")
    one, two = (Workspace.open(tmp_path / name).read_frames().select(columns) for name in ("one", "two"))
    assert len(one) == 15
    assert one.equals(two)
    assert (tmp_path / "one/frames.csv").read_bytes() == (tmp_path / "two/frames.csv").read_bytes()
