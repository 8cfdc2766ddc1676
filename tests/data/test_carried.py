from __future__ import annotations

import json

import polars as pl
import pytest

from fixtures.trees import Clip, Tree
from petmood.data.carried import carried_over
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import IndexSettings, index
from petmood.data.pack import pack
from petmood.data.screen import screen
from petmood.data.split import SplitSettings, split
from petmood.errors import UserError
from petmood.sources import open_source
from petmood.workspace import Workspace

TABLES = ("frames.parquet", "poses.parquet", "rejects.parquet", "frames.csv", "stamps.parquet", "index.json")


def bytes_of(work, names=TABLES):
    return {name: (work / name).read_bytes() if (work / name).exists() else None for name in names}


def tree_of(tmp_path, clips=9):
    """Clips with every kind of refused row: a label that cannot be read, pictures without label, a bad box."""
    tree = Tree(tmp_path / "source")
    added = tree.add_many(clips, frames=3)
    tree.add(Clip(number=70), text=b"{")
    tree.add(Clip(number=71), pictures={})
    tree.add(Clip(number=72), edit=lambda label: label["annotations"][0]["bounding_box"].update(x=-4))
    tree.add(Clip(number=73), edit=lambda label: label["annotations"][2]["bounding_box"].update(width=9))
    return tree, added


def add_more(tree):
    """New clips at the beginning, between the others and at the end, and one that cannot be read."""
    tree.add(Clip(number=1, action="arch"))
    tree.add(Clip(number=3, species="cat", date="20201101"))
    tree.add(Clip(number=71, species="dog", action="zebra"))
    tree.add(Clip(number=5, species="dog", action="sit"), text=b"[]")


def prepare(work):
    """What later stages do to the index's tables."""
    curate(work, CurateSettings(per_clip=2, min_box=20))
    pack(work, jobs=1, quiet=True)
    screen(work)
    split(work, SplitSettings(val=0.3, test=0.3))
    workspace = Workspace.open(work)
    assert set(workspace.read_rejects()["stage"]) == {"index", "curate"}
    workspace.set_columns({"group": pl.repeat("joined", workspace.read_frames().height, eager=True).alias("group")})


def read_again(monkeypatch):
    """The clips whose label files are read from now on."""
    from petmood.sources import aihub

    seen: list[str] = []
    read = aihub._read_label
    monkeypatch.setattr(aihub, "_read_label", lambda files, *rest: (seen.append(files.clip), read(files, *rest))[1])
    return seen


def test_new_clips_give_the_tables_of_a_fresh_index_byte_for_byte(tmp_path, monkeypatch):
    tree, _ = tree_of(tmp_path)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    prepare(tmp_path / "work")
    add_more(tree)
    seen = read_again(monkeypatch)
    summary = index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    assert sorted(seen) == ["20201101_cat-walkrun-000003.mp4", "cat-arch-000001", "dog-sit-000005", "dog-zebra-000071"]
    assert summary.lines[0] == "13 of 17 clips have not changed: their rows are kept"
    index(tree.root, tmp_path / "fresh", jobs=1, quiet=True)
    assert bytes_of(tmp_path / "work") == bytes_of(tmp_path / "fresh")


def test_changed_and_vanished_clips_are_read_or_dropped(tmp_path, monkeypatch):
    tree, clips = tree_of(tmp_path)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    labels, _ = tree.folders(clips[2])
    label = labels / f"{clips[2].name}.json"
    content = json.loads(label.read_text(encoding="utf-8"))
    content["metadata"]["inspect"]["emotion"] = "공포"
    label.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    gone_labels, gone = tree.folders(clips[4])
    (gone_labels / f"{clips[4].name}.json").unlink()
    for picture in gone.iterdir():
        picture.unlink()
    gone.rmdir()
    (tree.folders(clips[6])[1] / clips[6].picture(1)).unlink()
    seen = read_again(monkeypatch)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    assert sorted(seen) == sorted([clips[2].name, clips[6].name])
    index(tree.root, tmp_path / "fresh", jobs=1, quiet=True)
    assert bytes_of(tmp_path / "work") == bytes_of(tmp_path / "fresh")


def test_a_clip_less_is_no_reading_at_all(tmp_path, monkeypatch):
    tree, clips = tree_of(tmp_path)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    labels, folder = tree.folders(clips[0])
    (labels / f"{clips[0].name}.json").rename(tmp_path / "elsewhere.json")
    folder.rename(tmp_path / "elsewhere")
    seen = read_again(monkeypatch)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    assert seen == []
    index(tree.root, tmp_path / "fresh", jobs=1, quiet=True)
    assert bytes_of(tmp_path / "work") == bytes_of(tmp_path / "fresh")


def test_a_verdict_reads_its_clip_again_and_no_other(tmp_path, monkeypatch):
    tree, clips = tree_of(tmp_path)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    table = tmp_path / "verdicts.csv"
    table.write_text(f"clip,verdict\n{clips[3].name},fear\n{clips[5].name},drop\n", encoding="utf-8")
    settings = IndexSettings(verdicts=str(table))
    seen = read_again(monkeypatch)
    index(tree.root, tmp_path / "work", settings, jobs=1, quiet=True)
    assert sorted(seen) == sorted([clips[3].name, clips[5].name])
    index(tree.root, tmp_path / "fresh", settings, jobs=1, quiet=True)
    assert bytes_of(tmp_path / "work") == bytes_of(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("settings", "force"),
    [
        (IndexSettings(box="clip"), False),
        (IndexSettings(label="owner"), False),
        (IndexSettings(pictures="now"), False),
        (IndexSettings(), True),
    ],
)
def test_other_settings_and_force_read_everything(tmp_path, monkeypatch, settings, force):
    tree, _ = tree_of(tmp_path)
    index(tree.root, tmp_path / "work", IndexSettings(pictures=settings.pictures), jobs=1, quiet=True)
    tree.add(Clip(number=80))
    seen = read_again(monkeypatch)
    index(tree.root, tmp_path / "work", settings, jobs=1, quiet=True, force=force)
    assert len(seen) == 14


def test_nothing_is_carried_over_from_an_unfinished_or_another_index(tmp_path):
    tree, _ = tree_of(tmp_path)
    work = Workspace(tmp_path / "work")
    index(tree.root, work.root, jobs=1, quiet=True)
    tasks = open_source(tree.root).tasks
    judged = pl.read_parquet(work.stamps)["judged"][0]
    assert len(carried_over(work, tasks, {}, judged=judged, force=False).clips) == 13
    assert not carried_over(work, tasks, {}, judged="x", force=False).clips
    mark = work.root / "index.json"
    told = mark.read_text(encoding="utf-8")
    mark.write_text(told.replace(json.loads(told)["made_from"], "0" * 16), encoding="utf-8")
    assert not carried_over(work, tasks, {}, judged=judged, force=False).clips
    mark.unlink()
    assert not carried_over(work, tasks, {}, judged=judged, force=False).clips


def test_nothing_is_carried_over_where_the_order_of_clips_has_changed(tmp_path):
    tree, _ = tree_of(tmp_path)
    work = Workspace(tmp_path / "work")
    index(tree.root, work.root, jobs=1, quiet=True)
    stamps = pl.read_parquet(work.stamps)
    stamps.reverse().write_parquet(work.stamps)
    tasks = open_source(tree.root).tasks
    assert not carried_over(work, tasks, {}, judged=stamps["judged"][0], force=False).clips


def test_without_any_keypoint_rows_are_carried_over_all_the_same(tmp_path):
    tree = Tree(tmp_path / "source")
    for number in range(3):
        tree.add(Clip(number=number), edit=lambda label: [item.pop("keypoints") for item in label["annotations"]])
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    assert not (tmp_path / "work" / "poses.parquet").exists()
    tree.add(Clip(number=1, action="arch"))
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    index(tree.root, tmp_path / "fresh", jobs=1, quiet=True)
    assert bytes_of(tmp_path / "work") == bytes_of(tmp_path / "fresh")
    assert (tmp_path / "work" / "poses.parquet").exists()


def test_photos_are_read_each_time(tmp_path):
    tree = Tree(tmp_path / "source")
    for clip in tree.add_many(2):
        tree.folders(clip)[0].joinpath(f"{clip.name}.json").unlink()
        tree.folders(clip)[1].rename(tree.root / ("happy" if clip.species == "dog" else "calm"))
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    assert not (tmp_path / "work" / "stamps.parquet").exists()


def test_a_damaged_earlier_table_is_told_with_the_way_out(tmp_path):
    tree, _ = tree_of(tmp_path)
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    tree.add(Clip(number=80))
    (tmp_path / "work" / "frames.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match=r"frames\.parquet.* is damaged") as caught:
        index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    assert "--force" in caught.value.hint
    index(tree.root, tmp_path / "work", jobs=1, quiet=True, force=True)
