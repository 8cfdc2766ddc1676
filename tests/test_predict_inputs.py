"""What a user names becomes inputs, in order."""

import http.server
import json
import threading

import pytest

from petmood.errors import UserError
from petmood.geometry import Box
from petmood.inputs import Film, Photo, Remote, find_inputs
from petmood.pictures import BadPictureError

MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(60)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos/b.jpg", "photos/a.PNG", "photos/notes.md", "photos/deep/c.heic", "photos/deep/d.MOV"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "photos" / "._b.jpg").write_bytes(b"left by a Mac")
    (tmp_path / "20201028_cat-arch-000156.mp4").mkdir()
    (tmp_path / "20201028_cat-arch-000156.mp4" / "frame_0_timestamp_0.jpg").write_bytes(b"x")
    return tmp_path


def names(found):
    return [(type(one).__name__, one.source) for one in found]


def test_folders_stand_for_what_is_in_them_by_name(place):
    assert names(find_inputs(["photos"])) == [
        ("Photo", "photos/a.PNG"),
        ("Photo", "photos/b.jpg"),
        ("Photo", "photos/deep/c.heic"),
        ("Film", "photos/deep/d.MOV"),
    ]
    # AI Hub's clip folders are called like videos.
    clip = "20201028_cat-arch-000156.mp4"
    assert names(find_inputs([clip])) == [("Photo", f"{clip}/frame_0_timestamp_0.jpg")]
    (place / "empty").mkdir()
    with pytest.raises(UserError, match="folder empty holds no pictures and no videos"):
        find_inputs(["empty"])


def test_inputs_come_in_the_order_of_the_words(place):
    assert [one.source for one in find_inputs(["photos/b.jpg", "none.jpg", "photos/a.PNG"])] == [
        "photos/b.jpg",
        "none.jpg",
        "photos/a.PNG",
    ]


def test_patterns_are_filled_in(place):
    assert [one.source for one in find_inputs(["photos/**/*.[hj]*"])] == ["photos/b.jpg", "photos/deep/c.heic"]
    with pytest.raises(UserError, match=r"pattern 'x\*.jpg' fits no file"):
        find_inputs(["x*.jpg"])
    (place / "a[1].jpg").write_bytes(b"x")  # a name is a name first
    assert [one.source for one in find_inputs(["a[1].jpg"])] == ["a[1].jpg"]


def test_lists_name_files_beside_them(place):
    (place / "photos" / "list.txt").write_text("\ufeffb.jpg\n\n# a remark\ndeep/d.MOV\n", encoding="utf-8")
    for word in ("photos/list.txt", "@photos/list.txt"):
        photo, film = find_inputs([word])
        assert (photo, film) == (
            Photo("b.jpg", type(place)("photos/b.jpg")),
            Film("deep/d.MOV", type(place)("photos/deep/d.MOV")),
        )
    with pytest.raises(UserError, match="list none.txt cannot be read: No such file"):
        find_inputs(["none.txt"])
    (place / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="it is no UTF-8 text"):
        find_inputs(["@binary.txt"])


def test_a_table_brings_boxes_and_bad_ones_are_rows_with_a_reason(place):
    rows = [
        "image,class,x,y,width,height",
        "b.jpg,dog,1,2.4,30,40",
        "a.PNG,dog,,,,",
        "b.jpg,dog,1,2,0,5",
        "b.jpg,,1,x,2,3",
    ]
    (place / "photos" / "boxes.csv").write_text("\n".join(rows))
    good, plain, empty, wrong = find_inputs(["photos/boxes.csv"])
    assert good.box == Box(1, 2, 30, 40)
    assert plain.box is None
    assert [one.file.reason for one in (empty, wrong)] == ["empty_box", "no_box"]
    (place / "bad.csv").write_text("file,box\n")
    with pytest.raises(UserError, match="has the columns file, box; one of path, image, image_path is needed"):
        find_inputs(["bad.csv"])


def label(boxes):
    return json.dumps({"annotations": [
        {"frame_number": number, "timestamp": 33 * number, "keypoints": {},
         "bounding_box": None if box is None else dict(zip(("x", "y", "width", "height"), box, strict=True))}
        for number, box in boxes.items()
    ]})  # fmt: skip


@pytest.mark.parametrize("folder", ["clip", "", "원천데이터"])
def test_a_label_file_gives_its_frames_their_boxes(place, folder):
    path = place / "set" / ("라벨링데이터" if folder == "원천데이터" else "") / "clip.json"
    beside = place / "set" / "원천데이터" / "clip" if folder == "원천데이터" else place / "set" / folder
    for one in (path.parent, beside):
        one.mkdir(parents=True, exist_ok=True)
    path.write_text(label({0: (5, 6, 70, 80), 6: None, 12: (1, 1, 0, 4), 102: (2, 3, 4, 5)}))
    for number in (102, 0, 12, 6, 18):
        (beside / f"frame_{number}_timestamp_{33 * number}.jpg").write_bytes(b"x")
    found = find_inputs([str(path)])
    assert [one.box for one in found] == [Box(5, 6, 70, 80), None, None, None, Box(2, 3, 4, 5)]
    assert [one.file.reason for one in found if isinstance(one.file, BadPictureError)] == [
        "no_box",
        "empty_box",
        "no_label",
    ]


def test_a_label_file_without_frames_or_sense_is_explained(place):
    (place / "lone.json").write_text(label({0: (1, 2, 3, 4)}))
    with pytest.raises(UserError, match="label file lone.json has no frames beside it; looked for frame_N"):
        find_inputs(["lone.json"])
    (place / "other.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match="label file other.json cannot be read"):
        find_inputs(["other.json"])


def test_a_box_is_for_photos_alone(place):
    (photo,) = find_inputs(["photos/b.jpg"], box=Box(1, 2, 3, 4))
    assert photo.box == Box(1, 2, 3, 4)
    with pytest.raises(UserError, match="a box is given, but not all inputs are photos"):
        find_inputs(["photos"], box=Box(1, 2, 3, 4))


def test_a_file_without_a_telling_name_is_known_by_its_head(place):
    (place / "film").write_bytes(MP4)
    (place / "still").write_bytes(MP4.replace(b"isom", b"heic"))
    assert names(find_inputs(["film", "still"])) == [("Film", "film"), ("Photo", "still")]


@pytest.fixture
def address():
    class Pages(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            known = {"/a.jpg": b"photo", "/film": MP4}
            content = known.get(self.path.partition("?")[0])
            self.send_response(200 if content else 404)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_addresses_are_fetched_only_if_told_to(place, address):
    with pytest.raises(UserError, match="petmood asks the network only if told to"):
        find_inputs([f"{address}/a.jpg"])
    remotes = find_inputs([f"{address}/a.jpg?size=1", f"{address}/film", f"{address}/none"], urls=True)
    assert all(isinstance(one, Remote) for one in remotes)
    photo, film, missing = (one.fetched() for one in remotes)
    assert photo == Photo(f"{address}/a.jpg?size=1", b"photo")
    assert film == Film(f"{address}/film", MP4)
    assert (missing.file.reason, missing.file.detail) == ("no_image", "the server answers 404 Not Found")


def test_an_address_that_cannot_be_reached_is_a_row_with_a_reason():
    (remote,) = find_inputs(["http://127.0.0.1:9/a.jpg"], urls=True)
    failed = remote.fetched()
    assert failed.file.reason == "no_image"
    assert "cannot be reached" in failed.file.detail
