"""Sources straight from their zips: the same rows as from the unpacked folders, whatever the zips are like."""

import shutil
import zipfile
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from fixtures.trees import LAYOUTS, Clip, Tree, jpeg
from fixtures.zips import cut_off, damage, pack_folder, write_zip
from petmood import places
from petmood.errors import UserError
from petmood.parallel import run_tasks
from petmood.sources import open_source
from petmood.sources.aihub import AihubTask
from petmood.sources.rows import RAW_SCHEMA


def rows_of(source):
    """All rows in the order of what they speak of, and paths as if nothing were packed."""
    rows = pl.concat([task.read() for task in open_source(source).tasks])
    plain = rows.with_columns(
        path=pl.col("path")
        .map_elements(places.unpacked, return_dtype=pl.String)
        .str.strip_prefix(str(source).removesuffix(".zip"))
    )
    return plain.sort("path", "refused", "detail")


def made(root, layout="Korean"):
    """A tree with some of what goes wrong in the real one."""
    tree = Tree(root, layout)
    tree.add_many(6)
    tree.add(Clip(number=50, date="20201028", split="Validation"))
    tree.add(Clip(number=51), pictures={Clip(number=51).picture(0): b"", "frame_9_timestamp_9.jpg": b"x"})
    tree.add(Clip(number=52), text=b"{")
    tree.add(Clip(number=53, species="dog", split="Validation"), edit=lambda label: label["annotations"].clear())
    return tree


def packed(tree, into, **how):
    """The tree with a zip in place of each folder that holds label files or clip folders."""
    for top in sorted({folder for clip in tops(tree) for folder in clip}):
        pack_folder(top, into / top.relative_to(tree.root).with_suffix(".zip"), **how)
    return into


def tops(tree):
    labels = {path.parent for path in tree.root.rglob("*.json")}
    clips = {path.parent.parent for path in tree.root.rglob("*.jpg")}
    return [labels, clips]


# --- the same as unpacked ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{}, {"packed": False}, {"coding": "cp949"}, {"zip64": True}], ids=str)
@pytest.mark.parametrize("layout", ["Korean", "numbered", "brackets", "image and label"])
def test_zips_give_the_rows_of_the_folders(tmp_path, layout, how):
    tree = made(tmp_path / "tree", layout)
    zips = packed(tree, tmp_path / "zips", **how)
    assert not list(zips.rglob("*.json"))
    assert_frame_equal(rows_of(zips), rows_of(tree.root))


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("coding", ["utf-8", "cp949"])
def test_one_zip_of_everything_is_a_source_itself(tmp_path, layout, coding):
    tree = made(tmp_path / "tree", layout)
    path = pack_folder(tree.root, tmp_path / "all.zip", coding=coding)
    assert_frame_equal(rows_of(path), rows_of(tree.root))
    inside = tmp_path / "inside"
    inside.mkdir()
    path.rename(inside / "all.zip")
    of_folder = rows_of(inside).with_columns(pl.col("path").str.strip_prefix("/all"))
    assert_frame_equal(of_folder, rows_of(tree.root))


def test_zipped_labels_and_unpacked_pictures_go_together(tmp_path):
    tree = made(tmp_path / "tree")
    expected = rows_of(tree.root)
    for labels in {path.parent for path in tree.root.rglob("*.json")}:
        pack_folder(labels, labels.with_suffix(".zip"))
        shutil.rmtree(labels)
    assert_frame_equal(rows_of(tree.root), expected)


def test_zips_kept_beside_what_was_unpacked_change_nothing_and_are_told(tmp_path):
    tree = made(tmp_path / "tree")
    expected = rows_of(tree.root)
    packed(tree, tree.root)
    assert_frame_equal(rows_of(tree.root), expected)
    assert open_source(tree.root).remarks == ["10 clips stand in archives and unpacked too; the unpacked ones are used"]


def test_a_zip_of_one_clip_is_its_folder(tmp_path):
    tree = made(tmp_path / "tree")
    expected = rows_of(tree.root)
    for folder in {path.parent for path in tree.root.rglob("*.jpg")}:
        pack_folder(folder, folder.with_name(f"{folder.name}.zip"))
        shutil.rmtree(folder)
    assert_frame_equal(rows_of(tree.root), expected)


def test_class_folders_in_zips_are_the_folders(tmp_path):
    for name in ("dog/happy/1.jpg", "dog/happy/walk/1.png", "cat/화남/a b.jpg"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(jpeg())
    expected = rows_of(tmp_path / "tree")
    for species in ("dog", "cat"):
        pack_folder(tmp_path / "tree" / species, tmp_path / "zips" / f"{species}.zip", coding="cp949")
    assert_frame_equal(rows_of(tmp_path / "zips"), expected)
    assert_frame_equal(rows_of(pack_folder(tmp_path / "tree", tmp_path / "all.zip")), expected)


def test_one_process_and_two_give_the_same_rows(tmp_path):
    tree = Tree(tmp_path / "tree")
    tree.add_many(12, split="Training")
    zips = packed(tree, tmp_path / "zips")
    cut = [AihubTask(task.root, [clip]) for task in open_source(zips).tasks for clip in task.clips]
    one, two = (pl.concat(run_tasks(AihubTask.read, cut, jobs=jobs)) for jobs in (1, 2))
    assert_frame_equal(one, two)
    assert len(one) == 24


def test_tasks_go_through_an_archive_once_and_onwards(tmp_path):
    tree = Tree(tmp_path / "tree")
    clips = tree.add_many(12)
    labels, pictures = tree.folders(clips[0])[0], tree.folders(clips[0])[1].parent
    backwards = sorted(labels.parent.rglob("*.json"), reverse=True)
    write_zip(tmp_path / "zips" / "a.zip", {path.name: path.read_bytes() for path in backwards})
    assert pictures.is_dir()
    (task,) = open_source(tmp_path / "zips").tasks
    assert [Path(clip.label).name for clip in task.clips] == [path.name for path in backwards]


# --- what changes -----------------------------------------------------------------------------------------------------


def stamps(source):
    return dict(pair for task in open_source(source).tasks for pair in task.stamps())


@pytest.mark.parametrize("zipped", [False, True])
def test_a_clips_stamp_changes_with_its_label_or_its_list_of_pictures_alone(tmp_path, zipped):
    tree = Tree(tmp_path / "tree")
    clips = [tree.add(Clip(number=number)) for number in range(3)]

    def now():
        return stamps(packed(tree, tmp_path / "zips") if zipped else tree.root)

    first = now()
    assert now() == first
    assert set(first) == {clip.name for clip in clips}
    assert len(set(first.values())) == 3
    assert all(0 <= stamp < 2**64 for stamp in first.values())
    tree.add(clips[0], edit=lambda label: label["metadata"].update(seq=99))
    (tree.folders(clips[1])[1] / clips[1].picture(0)).unlink()
    tree.add(Clip(number=9))
    second = now()
    assert [second[clip.name] == first[clip.name] for clip in clips] == [False, False, True]


@pytest.mark.parametrize("zipped", [False, True])
def test_a_task_without_some_clips_reads_the_others(tmp_path, zipped):
    tree = made(tmp_path / "tree")
    source = packed(tree, tmp_path / "zips") if zipped else tree.root
    (task,) = open_source(source).tasks
    names = [name for name, _ in task.stamps()]
    less = task.without({names[0], names[3]})
    assert [name for name, _ in less.stamps()] == [name for name in names if name not in {names[0], names[3]}]
    assert less.size == task.size - 2
    assert_frame_equal(less.read(), task.read().filter(~pl.col("clip").is_in([names[0], names[3]])))


def test_entries_of_one_clip_have_one_stamp_and_stay_together(tree, monkeypatch):
    monkeypatch.setattr("petmood.sources.aihub._CLIPS_A_TASK", 2)
    clips = [tree.add(Clip(number=number)) for number in range(3)]
    for number, name in enumerate(("b", "c", "d")):
        copy = tree.root / name
        copy.mkdir()
        label = tree.folders(clips[0])[0] / f"{clips[0].name}.json"
        (copy / label.name).write_bytes(label.read_bytes() + b" " * number)
    found = [[name for name, _ in task.stamps()] for task in open_source(tree.root).tasks]
    assert found == [[clips[0].name], [clips[1].name, clips[2].name]]
    before = stamps(tree.root)
    (tree.root / "d" / f"{clips[0].name}.json").write_bytes(b"another")
    after = stamps(tree.root)
    assert [clip.name for clip in clips if before[clip.name] != after[clip.name]] == [clips[0].name]


def test_the_fingerprint_changes_with_an_archive(tmp_path):
    path = write_zip(tmp_path / "zips" / "x.zip", {"cat-arch-000001.json": b"{}"})
    first = open_source(tmp_path / "zips").fingerprint
    assert open_source(tmp_path / "zips").fingerprint == first
    write_zip(path, {"cat-arch-000001.json": b"{}", "cat-arch-000002.json": b"{}"})
    assert open_source(tmp_path / "zips").fingerprint != first


# --- what is wrong ----------------------------------------------------------------------------------------------------


def test_a_damaged_label_costs_its_clip_alone(tmp_path):
    tree = Tree(tmp_path / "tree")
    clips = tree.add_many(4, species="cat")
    zips = packed(tree, tmp_path / "zips")
    archive = next(path for path in zips.rglob("*.zip") if "라벨" in str(path))
    damage(archive, f"{clips[1].name}.json".encode(), by=len(f"{clips[1].name}.json") + 20)
    rows = rows_of(zips)
    assert rows.filter(pl.col("refused").is_null())["clip"].unique().sort().to_list() == [
        clip.name for number, clip in enumerate(clips) if number != 1
    ]
    bad = rows.filter(refused="unreadable_label")
    assert bad["clip"].to_list() == [clips[1].name]
    assert "damaged" in bad["detail"][0]


def test_a_cut_off_archive_is_told_and_read_as_far_as_it_goes(tmp_path):
    tree = Tree(tmp_path / "tree")
    clips = tree.add_many(6, species="cat")
    zips = packed(tree, tmp_path / "zips", packed=False)
    archive = next(path for path in zips.rglob("*.zip") if "라벨" in str(path))
    cut_off(archive, 0.5)
    source = open_source(zips)
    (remark,) = source.remarks
    assert remark.startswith(
        f"archive {archive} is damaged: it ends without a directory, as one whose download broke off; "
    )
    good = rows_of(zips).filter(pl.col("refused").is_null())["clip"].unique().sort().to_list()
    assert good
    assert good == [clip.name for clip in clips[: len(good)]]


def test_the_first_of_several_pieces_is_told_with_how_to_join_them(tmp_path):
    tree = made(tmp_path / "tree")
    path = pack_folder(tree.root, tmp_path / "zips" / "CAT.zip")
    data = path.read_bytes()
    path.unlink()
    (tmp_path / "zips" / "CAT.zip.part0").write_bytes(data[: len(data) // 2])
    (tmp_path / "zips" / f"CAT.zip.part{len(data) // 2}").write_bytes(data[len(data) // 2 :])
    source = open_source(tmp_path / "zips")
    assert source.remarks == [
        f"archive {tmp_path}/zips/CAT.zip.part0 is one of several pieces; only what is whole in it is read. Join them "
        "in the order of their numbers: `ls CAT.zip.part* | sort -V | xargs cat > CAT.zip`"
    ]
    assert sum(task.size for task in source.tasks)


def test_archives_within_an_archive_are_told(tmp_path):
    tree = made(tmp_path / "tree")
    pack_folder(tree.root, tmp_path / "more" / "inner.zip")
    outer = pack_folder(tmp_path / "more", tmp_path / "zips" / "outer.zip")
    with pytest.raises(UserError, match="holds 1 archives, which are not read") as caught:
        open_source(tmp_path / "zips")
    assert "unpack" in caught.value.hint
    tree.add(Clip(number=77))
    shutil.copyfile(outer, tree.root / "outer.zip")
    assert open_source(tree.root).remarks == [
        f"archive {tree.root}/outer.zip holds 1 archives, which are not read; unpack it, and not those"
    ]


def test_members_with_names_that_lead_out_are_refused_rows(tmp_path):
    tree = Tree(tmp_path / "tree")
    clip = tree.add(Clip())
    path = pack_folder(tree.root, tmp_path / "x.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../../cat-arch-000009.json", b"{}")
        archive.writestr("../a.jpg", b"")
        archive.writestr("../read.me", b"")
    rows = rows_of(path)
    assert set(rows.filter(pl.col("refused").is_null())["clip"]) == {clip.name}
    bad = rows.filter(pl.col("refused").is_not_null()).select("refused", "detail").rows()
    assert sorted(bad) == [
        ("unreadable_image", "its name leads out of the archive"),
        ("unreadable_label", "its name leads out of the archive"),
    ]
    assert rows.schema == pl.Schema(RAW_SCHEMA)


def test_an_encrypted_archive_refuses_each_clip_with_the_reason(tmp_path):
    tree = Tree(tmp_path / "tree")
    tree.add_many(3, species="cat")
    path = pack_folder(tree.root, tmp_path / "x.zip")
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 4)
    path.write_bytes(bytes(data))
    labels = rows_of(path).filter(refused="unreadable_label")
    assert labels["detail"].to_list() == ["it is encrypted"] * 3
