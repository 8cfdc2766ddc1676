"""Photos, folders and label files in zips, and photos on S3, as inputs of a prediction."""

import json
from pathlib import Path

import pytest

from fixtures.s3 import s3_server, upload
from fixtures.trees import Clip, Tree, jpeg
from fixtures.zips import damage, pack_folder, write_zip
from petmood.errors import UserError
from petmood.geometry import Box
from petmood.inputs import Film, Photo, Remote, find_inputs
from petmood.look.finding import _content
from petmood.pictures import BadPictureError


@pytest.fixture
def path(tmp_path):
    return write_zip(
        tmp_path / "photos.zip",
        {"산책/b.jpg": jpeg(), "산책/a.png": jpeg(), "산책/notes.txt": b"", "c.jpg": jpeg(), "산책/deep/d.jpg": jpeg()},
        coding="cp949",
    )


def sources(words, path, **options):
    return [one.source.removeprefix(str(path)) for one in find_inputs(words, **options)]


def test_a_photo_in_a_zip_is_a_photo_and_can_be_read(path):
    (photo,) = find_inputs([f"{path}!/산책/b.jpg"])
    assert isinstance(photo, Photo)
    assert _content(photo.file) == jpeg()
    (gone,) = find_inputs([f"{path}!/산책/z.jpg"])
    with pytest.raises(BadPictureError) as caught:
        _content(gone.file)
    assert caught.value.reason == "no_image"


def test_a_damaged_photo_in_a_zip_has_the_reason(path):
    damage(path, b"c.jpg", by=9)
    (photo,) = find_inputs([f"{path}!/c.jpg"])
    with pytest.raises(BadPictureError) as caught:
        _content(photo.file)
    assert (caught.value.reason, "damaged" in caught.value.detail) == ("unreadable_image", True)


def test_a_zip_and_a_folder_in_it_stand_for_their_pictures(path):
    assert sources([str(path)], path) == ["!/c.jpg", "!/산책/a.png", "!/산책/b.jpg", "!/산책/deep/d.jpg"]
    assert sources([f"{path}!/산책"], path) == ["!/산책/a.png", "!/산책/b.jpg", "!/산책/deep/d.jpg"]
    assert sources([f"{path}!/산책/deep/"], path) == ["!/산책/deep/d.jpg"]


def test_a_zip_without_pictures_is_an_error(tmp_path):
    empty = write_zip(tmp_path / "x.zip", {"a.txt": b""})
    with pytest.raises(UserError, match=f"archive {empty} holds no pictures"):
        find_inputs([str(empty)])


@pytest.mark.parametrize("separate", [False, True])
def test_a_label_file_in_a_zip_gives_its_frames_their_boxes(tmp_path, separate):
    tree = Tree(tmp_path / "tree", "brackets")
    clip = tree.add(Clip())
    if separate:
        for top in (tmp_path / "tree" / "Training").iterdir():
            pack_folder(top, tmp_path / f"{top.name}.zip", coding="cp949")
        place = f"{tmp_path}/[라벨]CAT_WALKRUN.zip!/{clip.name}.json"
    else:
        pack_folder(tree.root, tmp_path / "all.zip")
        place = f"{tmp_path}/all.zip!/Training/[라벨]CAT_WALKRUN/{clip.name}.json"
    found = find_inputs([place])
    assert [Path(one.source).name for one in found] == [clip.picture(number) for number in range(clip.frames)]
    assert {one.box for one in found} == {Box(8, 4, 40, 32)}
    assert all(_content(one.file) for one in found)


def test_a_list_may_name_what_is_in_a_zip(path):
    (path.parent / "list.csv").write_text("path,x,y,width,height\nphotos.zip!/c.jpg,1,2,3,4\n", encoding="utf-8")
    (photo,) = find_inputs([str(path.parent / "list.csv")])
    assert photo.box == Box(1, 2, 3, 4)
    assert _content(photo.file) == jpeg()


def test_storage_is_asked_only_if_told_to():
    with pytest.raises(UserError, match="asks the network only if told to") as caught:
        find_inputs(["s3://pets/a.jpg"])
    assert caught.value.hint == "add --urls"


def test_photos_on_storage_are_fetched_when_it_is_their_turn(path, tmp_path, monkeypatch):
    with s3_server(monkeypatch) as bucket:
        upload(path.parent, bucket)
        (tmp_path / "list.csv").write_text(f"path,x,y,width,height\n{bucket}/photos.zip!/c.jpg,1,2,3,4\n")
        words = [f"{bucket}/photos.zip!/산책/b.jpg", f"{bucket}/none.jpg", str(tmp_path / "list.csv")]
        found = find_inputs(words, urls=True)
        assert all(isinstance(one, Remote) for one in found)
        photo, gone, boxed = (one.fetched() for one in found)
    assert photo.file == boxed.file == jpeg()
    assert (photo.box, boxed.box) == (None, Box(1, 2, 3, 4))
    assert gone.file.reason == "no_image"
    assert not isinstance(photo, Film)


def test_json_that_is_no_label_in_a_zip_is_explained(tmp_path):
    path = write_zip(tmp_path / "x.zip", {"a.json": json.dumps([]).encode()})
    with pytest.raises(UserError, match=r"label file .*x.zip!/a.json cannot be read"):
        find_inputs([f"{path}!/a.json"])
