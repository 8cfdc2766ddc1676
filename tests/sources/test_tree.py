from __future__ import annotations

import os
import unicodedata

import pytest

from fixtures.trees import LAYOUTS, Clip, Tree
from petmood.errors import UserError
from petmood.sources import open_source
from petmood.sources.tree import CLIP_NAME, scan


def names(paths):
    return [os.path.basename(path) for path in paths]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("20201028_cat-arch-000156.mp4", ("20201028", "cat", "arch", "000156")),
        ("20201028_cat-arch-000156", ("20201028", "cat", "arch", "000156")),
        ("cat-armstretch-080706", (None, "cat", "armstretch", "080706")),
        ("dog-bodylower-001190", (None, "dog", "bodylower", "001190")),
    ],
)
def test_both_styles_of_clip_names_are_parsed(name, parts):
    assert CLIP_NAME.fullmatch(name).groups() == parts


@pytest.mark.parametrize(
    "name", ["ARCH", "rabbit-run-1", "cat-arch", "cat--000156", "x_cat-arch-000156", "cat-arch-1.json"]
)
def test_other_names_are_no_clips(name):
    assert not CLIP_NAME.fullmatch(name)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"label inside the clip folder"}))
def test_labels_and_clip_folders_are_found_in_every_layout_without_entering_clips(tmp_path, layout):
    tree = Tree(tmp_path, layout)
    clips = [tree.add(Clip(number=1)), tree.add(Clip(number=2, species="dog", date="20201028", split="Validation"))]
    found = scan(tmp_path)
    assert sorted(names(found.labels)) == sorted(f"{clip.name}.json" for clip in clips)
    assert sorted(names(found.clip_folders)) == sorted(clip.name for clip in clips)
    assert found.pictures == []


def test_a_folder_of_pictures_with_any_name_is_a_clip_folder(tmp_path):
    (tmp_path / "some walk").mkdir()
    (tmp_path / "some walk" / "a.PNG").write_bytes(b"")
    found = scan(tmp_path)
    assert names(found.clip_folders) == ["some walk"]
    assert names(found.pictures) == ["a.PNG"]


def test_hidden_things_and_those_of_macos_are_passed_over(tmp_path):
    for name in (".cache", "__MACOSX"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cat-arch-000001.json").write_text("{}")
    (tmp_path / "._cat-arch-000001.json").write_bytes(b"\x00\x05\x16\x07")
    assert scan(tmp_path).labels == []


def test_a_workspace_inside_the_source_is_passed_over(tmp_path):
    Tree(tmp_path).add()
    (tmp_path / "work").mkdir()
    for name in ("petmood.json", "index.json"):
        (tmp_path / "work" / name).write_text("{}")
    assert names(scan(tmp_path).labels) == ["cat-walkrun-000007.json"]


def test_a_link_that_leads_back_ends_the_walk_and_other_links_are_followed(tmp_path):
    Tree(tmp_path / "source").add(Clip(number=1))
    Tree(tmp_path / "elsewhere").add(Clip(number=2))
    (tmp_path / "source" / "loop").symlink_to(tmp_path)
    (tmp_path / "source" / "more").symlink_to(tmp_path / "elsewhere")
    assert names(scan(tmp_path / "source").labels) == ["cat-walkrun-000001.json", "cat-walkrun-000002.json"]


def test_the_order_does_not_depend_on_the_unicode_form(tmp_path):
    found = []
    for form in ("NFC", "NFD"):
        root = tmp_path / form
        for word in ("하나", "각", "나"):
            folder = root / unicodedata.normalize(form, word)
            folder.mkdir(parents=True)
            (folder / "a.json").write_text("{}")
        found.append([unicodedata.normalize("NFC", path).rsplit("/", 2)[1] for path in scan(root).labels])
    assert found[0] == found[1] == ["각", "나", "하나"]


def test_stamps_change_when_a_label_changes_or_a_picture_comes_or_goes(tmp_path):
    clip = Tree(tmp_path).add()
    labels, folder = Tree(tmp_path).folders(clip)
    before = scan(tmp_path).stamps
    os.utime(labels / f"{clip.name}.json", ns=(1, 1))
    changed = scan(tmp_path).stamps
    assert changed != before
    os.utime(folder, ns=(1, 1))
    (folder / "another.jpg").write_bytes(b"")
    assert scan(tmp_path).stamps != changed


# --- which kind of source ---------------------------------------------------------------------------------------------


def refused(path, **named):
    with pytest.raises(UserError) as caught:
        open_source(path, **named)
    assert caught.value.hint
    return caught.value.message


def test_a_missing_source_is_named(tmp_path):
    assert refused(tmp_path / "nowhere") == f"source {tmp_path / 'nowhere'} does not exist."


def test_an_empty_folder_holds_nothing(tmp_path):
    assert refused(tmp_path) == f"source {tmp_path} holds neither label files nor pictures."


def test_broken_zips_alone_are_named_with_what_is_wrong(tmp_path):
    (tmp_path / "Training").mkdir()
    for name in ("[원천]ARCH.zip", "[라벨]ARCH.ZIP"):
        (tmp_path / "Training" / name).write_bytes(b"PK")
    assert refused(tmp_path) == (
        f"source {tmp_path} holds nothing that can be read: archive {tmp_path}/Training/[라벨]ARCH.ZIP is damaged: "
        "it ends without a directory, as one whose download broke off; nothing is found without it."
    )


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "frames.xlsx"
    path.write_bytes(b"PK")
    assert refused(path) == f"source {path} is a .xlsx file."


def test_pictures_without_labels_are_refused_with_the_words_that_would_do(tmp_path):
    (tmp_path / "dogs").mkdir()
    (tmp_path / "dogs" / "a.jpg").write_bytes(b"")
    message = refused(tmp_path)
    assert "has 1 pictures (in: dogs) but no label files, and no folder is named after an emotion" in message


def test_clip_folders_without_any_label_are_refused_like_other_pictures(tmp_path):
    tree = Tree(tmp_path)
    clip = tree.add()
    (tree.folders(clip)[0] / f"{clip.name}.json").unlink()
    assert "has 3 pictures (in: cat-walkrun-000007) but no label files" in refused(tmp_path)


def test_names_that_are_no_utf8_are_refused_with_a_way_to_rename_them(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/" + "라벨링데이터".encode("cp949"))
    message = refused(tmp_path)
    assert "holds 1 names that are not UTF-8, such as" in message
    assert "\\xb6" in message


def test_a_stray_json_does_not_turn_class_folders_into_a_labelled_set(tmp_path):
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "a.jpg").write_bytes(b"")
    (tmp_path / "dataset.json").write_text("{}")
    assert open_source(tmp_path).kind == "folders"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_recognised_as_ai_hub(tmp_path, layout):
    tree = Tree(tmp_path, layout)
    tree.add()
    assert open_source(tmp_path).kind == "aihub"


def test_labels_whose_pictures_were_not_fetched_are_still_ai_hub(tmp_path):
    tree = Tree(tmp_path)
    tree.add(pictures={})
    (tmp_path / "poster.jpg").write_bytes(b"")
    assert open_source(tmp_path).kind == "aihub"
