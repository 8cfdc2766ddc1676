from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import polars as pl
import pytest

from fixtures.trees import SIZE, Clip, jpeg
from petmood.crops import CROP_SCHEMA, CropStore
from petmood.data import pack as stage
from petmood.data.curate import CurateSettings, curate
from petmood.data.index import IndexSettings, index
from petmood.data.pack import PackSettings, difference_hash, pack, sharpness
from petmood.errors import RunError, UserError
from petmood.geometry import Box, crop_window, output_size
from petmood.schemas import REJECT_SCHEMA
from petmood.workspace import Workspace

SETTINGS = PackSettings(shorter_side=32)


def threes(names, size):
    return [(start, min(start + 3, len(names))) for start in range(0, len(names), 3)]


@pytest.fixture
def work(tree, tmp_path, monkeypatch):
    """Twenty frames of four clips, indexed and chosen; parts of three crops."""
    monkeypatch.setattr(
        stage, "part_bounds", lambda names, _: [(n, min(n + 3, len(names))) for n in range(0, len(names), 3)]
    )
    for number in range(4):
        tree.add(Clip(number=number, frames=5))
    return chosen(tree, tmp_path / "work")


def chosen(tree, work, **settings):
    index(tree.root, work, IndexSettings(**settings), jobs=1, quiet=True)
    curate(work)
    return work


def run(work, settings=SETTINGS, *, jobs=1, force=False):
    return pack(work, settings, jobs=jobs, quiet=True, force=force)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def break_pictures(work, *positions, data=b""):
    """Replace the pictures of some frames; returns their frame ids."""
    frames = Workspace.open(work).read_frames()
    for position in positions:
        with open(frames["path"][position], "wb") as file:
            file.write(data)
    return frames["frame_id"][list(positions)].to_list()


# --- crops ------------------------------------------------------------------------------------------------------------


def test_every_chosen_frame_becomes_a_crop_in_the_order_of_the_frames(work):
    summary = run(work)
    workspace = Workspace.open(work)
    crops = pl.read_parquet(workspace.crops / "crops.parquet")
    assert crops.schema == CROP_SCHEMA
    assert crops["frame_id"].to_list() == workspace.read_frames()["frame_id"].to_list()
    assert summary.counts["crops"] == 20
    assert summary.counts["refused"] == {}
    assert summary.counts["bytes"] == crops["size"].sum()
    assert sorted(contents(workspace.crops)) == ["crops.parquet", *(f"part-{n:05d}.tar" for n in range(7))]


def test_a_crop_has_the_size_of_the_widened_box_and_the_shorter_side_asked_for(work):
    run(work)
    store = CropStore(work / "crops")
    window = crop_window(Box(8, 4, 40, 32), 0.1, *SIZE)
    assert {store.pixels(row).shape[1::-1] for row in range(len(store))} == {output_size(window, 32)}
    assert set(store.table.select("width", "height").rows()) == {output_size(window, 32)}


def test_parts_are_plain_tars_whose_members_are_named_after_the_frames(work):
    run(work)
    store = CropStore(work / "crops")
    found = {}
    for part in sorted((work / "crops").glob("*.tar")):
        with tarfile.open(part, "r:") as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}
    assert found == {f"{name}.jpg": bytes(store.jpeg(row)) for row, name in enumerate(store.table["frame_id"])}


def test_each_picture_is_decoded_exactly_once_and_only_the_chosen_ones(work, monkeypatch):
    curate(work, CurateSettings(per_clip=2))
    decoded = []
    original = stage.cut

    def watched(data, *arguments, **named):
        decoded.append(data)
        return original(data, *arguments, **named)

    monkeypatch.setattr(stage, "cut", watched)
    run(work)
    assert len(decoded) == 8
    assert run(work).skipped
    assert len(decoded) == 8


@pytest.fixture
def decoded(monkeypatch):
    """Grows by one with each picture that is decoded."""
    seen = []
    original = stage.cut

    def watched(data, *arguments, **named):
        seen.append(data)
        return original(data, *arguments, **named)

    monkeypatch.setattr(stage, "cut", watched)
    return seen


def test_after_another_choice_or_label_only_new_frames_are_decoded(tree, work, decoded):
    curate(work, CurateSettings(per_clip=2))
    run(work)
    decoded.clear()
    chosen(tree, work, label="owner")  # all five frames of each clip again
    summary = run(work)
    assert len(decoded) == 12
    assert summary.counts["taken_over"] == 8
    assert "8 of them were already packed" in " ".join(summary.lines)
    taken_over = contents(work / "crops")
    run(work, force=True)
    assert len(decoded) == 12 + 20
    assert contents(work / "crops") == taken_over


def test_a_picture_or_a_box_that_changed_is_cut_again(tree, work, decoded):
    run(work)
    before = CropStore(work / "crops").table
    frames = Workspace.open(work).read_frames()
    with open(frames["path"][3], "wb") as file:
        file.write(jpeg(shade=40))
    moved = frames.with_columns(x=pl.when(pl.int_range(pl.len()) == 7).then(pl.col("x") + 4).otherwise("x"))
    moved.write_parquet(work / "frames.parquet")
    (work / "pack.json").unlink()
    decoded.clear()
    assert run(work).counts["taken_over"] == 18
    after = CropStore(work / "crops").table
    assert len(decoded) == 2
    assert (before["stamp"] != after["stamp"]).arg_true().to_list() == [3, 7]


def test_crops_that_are_lost_or_damaged_are_cut_again(tree, work, decoded):
    run(work)
    (work / "crops" / "part-00000.tar").unlink()
    second = work / "crops" / "part-00001.tar"
    second.write_bytes(bytes(second.stat().st_size))
    (work / "pack.json").unlink()
    decoded.clear()
    run(work)
    assert len(decoded) == 6


@pytest.fixture
def many(tree, tmp_path, monkeypatch):
    """160 frames of forty clips, packed in parts of some eight crops."""
    monkeypatch.setattr(stage, "CROPS_A_PART", 8)
    for number in range(0, 80, 2):
        tree.add(Clip(number=number, frames=4))
    work = chosen(tree, tmp_path / "work")
    run(work)
    return work


def inodes(work):
    return {part.stat().st_ino for part in (work / "crops").glob("*.tar")}


def test_new_clips_leave_the_parts_of_the_others_as_they_are(tree, many, decoded):
    before = inodes(many)
    tree.add(Clip(number=31, frames=4))
    chosen(tree, many)
    summary = run(many)
    assert len(decoded) == 4
    assert summary.counts["taken_over"] == 160
    assert len(before - inodes(many)) <= 3 < 15 < len(before)
    taken_over = contents(many / "crops")
    run(many, force=True)
    assert contents(many / "crops") == taken_over


def test_parts_are_copied_where_the_file_system_has_no_links(tree, many, decoded, monkeypatch):
    before, parts = inodes(many), contents(many / "crops")

    def refusing(path, target):
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "hardlink_to", refusing)
    (many / "pack.json").unlink()
    run(many)
    assert decoded == []
    assert contents(many / "crops") == parts
    assert not before & inodes(many)


@pytest.mark.parametrize("damage", ["cut", "zeros", "longer", "empty", "a crop went"])
def test_a_part_that_is_not_whole_is_not_taken_over_as_a_whole(many, decoded, damage):
    parts = contents(many / "crops")
    part, table = many / "crops" / "part-00002.tar", CropStore(many / "crops").table
    data = parts[part.name]
    last = table.filter(part=part.name)["frame_id"][-1]
    if damage == "a crop went":  # as if this frame was not chosen then
        table.filter(pl.col("frame_id") != last).write_parquet(many / "crops" / "crops.parquet")
    else:
        part.write_bytes({"cut": data[:-1024], "zeros": bytes(len(data)), "longer": data * 2, "empty": b""}[damage])
    (many / "pack.json").unlink()
    run(many)
    assert contents(many / "crops") == parts
    assert len(decoded) == {"cut": 0, "longer": 0, "a crop went": 1}.get(damage, table.filter(part=part.name).height)


def test_two_processes_give_the_same_bytes_as_one(tree, tmp_path):
    # 1,200 frames are three parts of the real size: other processes do not see a patched one
    for number in range(12):
        tree.add(Clip(number=number, frames=100))
    found = []
    for jobs in (1, 2):
        work = tmp_path / f"work{jobs}"
        index(tree.root, work, jobs=1, quiet=True)
        curate(work, CurateSettings(per_clip=0))
        run(work, jobs=jobs)
        found.append(contents(work / "crops"))
    assert found[0] == found[1]
    assert len(found[0]) == 4


def test_a_smaller_size_margin_and_quality_give_other_crops(work):
    run(work)
    before = contents(work / "crops")
    for settings in (
        PackSettings(shorter_side=40),
        PackSettings(shorter_side=32, margin=0.0),
        PackSettings(quality=60),
    ):
        assert not run(work, settings).skipped
        assert contents(work / "crops") != before
    run(work)
    assert contents(work / "crops") == before


def test_difference_hash_is_alike_for_near_copies_and_not_for_others():
    generator = np.random.default_rng(0)
    pictures = [cv2.GaussianBlur(generator.integers(0, 255, (60, 90), np.uint8), (0, 0), 9) for _ in range(2)]
    brighter = cv2.resize(np.clip(pictures[0] * 1.05 + 3, 0, 255).astype(np.uint8), (120, 80))
    hashes = [difference_hash(picture) for picture in (*pictures, brighter)]
    assert (hashes[0] ^ hashes[2]).bit_count() <= 4
    assert (hashes[0] ^ hashes[1]).bit_count() >= 16
    assert all(0 <= value < 2**64 for value in hashes)


def test_sharpness_falls_with_blur_and_is_zero_for_a_blank():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    assert (
        sharpness(noise)
        > sharpness(cv2.GaussianBlur(noise, (0, 0), 2))
        > sharpness(np.full((64, 64), 9, np.uint8))
        == 0
    )


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_pictures_that_fail_now_join_the_rejects_and_are_no_longer_kept(work):
    broken = (
        break_pictures(work, 0) + break_pictures(work, 7, data=b"text") + break_pictures(work, 9, data=jpeg((9, 9)))
    )
    gone = Workspace.open(work).read_frames()["path"][12]
    os.unlink(gone)
    broken.append(Workspace.open(work).read_frames()["frame_id"][12])
    counts = run(work).counts
    assert counts["refused"] == {"no_image": 1, "empty_image": 1, "unreadable_image": 1, "size_differs": 1}
    workspace = Workspace.open(work)
    rejects, frames = workspace.read_rejects(), workspace.read_frames()
    assert rejects.schema == dict(REJECT_SCHEMA)
    assert rejects["frame_id"].to_list() == broken
    assert rejects["reason"].to_list() == ["empty_image", "unreadable_image", "size_differs", "no_image"]
    assert rejects["stage"].to_list() == ["pack"] * 4
    assert rejects["detail"].null_count() == 0
    assert len(frames) == 20
    assert frames.filter(~pl.col("keep"))["frame_id"].to_list() == broken
    assert CropStore(work / "crops").table["frame_id"].to_list() == frames.filter("keep")["frame_id"].to_list()


def test_damage_that_the_decoder_repaired_is_counted_and_marked(work):
    data = jpeg()
    scan = data.index(b"\xff\xda") + 30
    broken = break_pictures(work, 3, data=data[:scan] + b"too much" * 20 + data[scan:])
    assert run(work).counts["damaged"] == 1
    table = CropStore(work / "crops").table
    assert table.filter("damaged")["frame_id"].to_list() == broken


def rejects_of(work):
    return Workspace.open(work).read_rejects().sort("frame_id").rows()


def test_packing_and_choosing_again_neither_loses_nor_doubles_a_reject(tree, work):
    tree.add(Clip(number=9), edit=lambda label: label["annotations"][0].update(bounding_box=None))
    chosen(tree, work)
    break_pictures(work, 0, 7)
    run(work)
    first = rejects_of(work)
    assert [row[3] for row in first] == ["empty_image", "empty_image", "no_box"]
    run(work, force=True)
    assert rejects_of(work) == first
    run(work, PackSettings(shorter_side=40))
    assert rejects_of(work) == first
    curate(work, force=True)
    assert [row[3] for row in rejects_of(work)] == ["no_box"]
    assert Workspace.open(work).read_frames()["keep"].all()
    run(work)
    assert rejects_of(work) == first
    index(tree.root, work, jobs=1, quiet=True, force=True)
    assert [row[3] for row in rejects_of(work)] == ["no_box"]


def test_a_picture_that_was_mended_is_used_when_packing_is_forced(work):
    broken = break_pictures(work, 5)
    run(work)
    break_pictures(work, 5, data=jpeg())
    assert run(work, force=True).counts["refused"] == {}
    assert broken[0] in CropStore(work / "crops").table["frame_id"].to_list()
    assert rejects_of(work) == []


def test_when_no_picture_can_be_used_the_earlier_crops_stay(tree, work):
    run(work)
    before = contents(work / "crops"), rejects_of(work), Workspace.open(work).mark("pack")
    tree.root.rename(tree.root.with_name("moved"))
    with pytest.raises(RunError, match="pack could use none of 20 pictures, such as .*: no_image") as caught:
        run(work, PackSettings(shorter_side=40))
    assert "petmood index" in caught.value.hint
    assert (contents(work / "crops"), rejects_of(work), Workspace.open(work).mark("pack")) == before
    tree.root.with_name("moved").rename(tree.root)
    assert run(work, PackSettings(shorter_side=40)).counts["crops"] == 20


def test_the_stage_needs_a_choice_of_frames(tmp_path, tree):
    tree.add()
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    with pytest.raises(UserError, match="has no completed stage `curate`"):
        run(tmp_path / "work")


# --- stopped and started again ----------------------------------------------------------------------------------------


def stop_in(monkeypatch, name, call=1):
    """Make a function of the stage fail as a kill would, at its ``call``-th call; later calls work again."""
    original, calls = getattr(stage, name), []

    def stopping(*arguments, **named):
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    monkeypatch.setattr(stage, name, stopping)
    return calls


@pytest.mark.parametrize(
    ("name", "call"),
    [("_make_part", 4), ("cut", 10), ("write_table", 5), ("add_rejects", 1), ("among", 1), ("write_table", 15)],
)
def test_stopped_at_any_moment_it_goes_on_and_gives_the_same_bytes(tree, work, tmp_path, monkeypatch, name, call):
    break_pictures(work, 0, 7)
    other = chosen(tree, tmp_path / "at once")
    run(other)
    with monkeypatch.context() as patch:
        stop_in(patch, name, call)
        with pytest.raises(KeyboardInterrupt):
            run(work)
    assert Workspace.open(work).mark("pack") == {}
    assert not (work / "crops").exists()
    run(work)
    assert contents(work / "crops") == contents(other / "crops")
    assert rejects_of(work) == rejects_of(other)
    assert Workspace.open(work).read_frames().equals(Workspace.open(other).read_frames())
    assert sorted(path.name for path in work.iterdir()) == sorted(path.name for path in other.iterdir())


def test_parts_that_are_there_are_not_made_again(work, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in(patch, "_make_part", 5)
        with pytest.raises(KeyboardInterrupt):
            run(work)
    made = stop_in(monkeypatch, "_make_part", 99)
    run(work)
    assert len(made) == 3  # of seven


def test_a_part_whose_table_was_lost_is_made_again_with_the_same_bytes(work, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in(patch, "_finish")
        with pytest.raises(KeyboardInterrupt):
            run(work)
    (building,) = work.glob(".pack-*")
    for number in (0, 2, 4):
        (building / f"part-{number:05d}.rejects").unlink()
    (building / ".part-00001.tar.99.tmp").write_bytes(b"half")
    run(work)
    before = contents(work / "crops")
    run(work, force=True)
    assert contents(work / "crops") == before


def test_stopped_between_the_last_rename_and_the_mark_nothing_is_decoded_again(work, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "finish", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            run(work)
    before = {name: data for name, data in contents(work / "crops").items() if name.endswith((".tar", ".parquet"))}
    made = stop_in(monkeypatch, "_make_part", 99)
    run(work)
    assert made == []
    assert contents(work / "crops") == before


def test_a_stop_with_other_settings_leaves_the_earlier_crops_and_is_cleared_away(work, monkeypatch):
    run(work)
    before = contents(work / "crops")
    with monkeypatch.context() as patch:
        stop_in(patch, "_make_part", 3)
        with pytest.raises(KeyboardInterrupt):
            run(work, PackSettings(shorter_side=40))
    assert contents(work / "crops") == before
    assert run(work).skipped
    run(work, PackSettings(shorter_side=48))
    assert not list(work.glob(".pack-*"))


def test_a_full_disk_leaves_the_earlier_crops(tree, small_disk, monkeypatch):
    for number in range(4):
        tree.add(Clip(number=number, frames=5))
    work = chosen(tree, small_disk / "work")
    run(work)
    before = contents(work / "crops")
    (small_disk / "ballast").write_bytes(os.urandom(shutil.disk_usage(small_disk).free))
    with pytest.raises(OSError, match="No space left"):
        run(work, PackSettings(shorter_side=40))
    assert contents(work / "crops") == before
    assert run(work).skipped
    (small_disk / "ballast").unlink()
    assert run(work, PackSettings(shorter_side=40)).counts["crops"] == 20
