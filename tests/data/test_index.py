from __future__ import annotations

import json
import shutil

import pytest

from fixtures.trees import Clip, jpeg
from petmood.data import index as stage
from petmood.data.curate import curate
from petmood.data.index import IndexSettings, index
from petmood.data.pack import pack
from petmood.data.poses import read_points
from petmood.errors import UserError
from petmood.records import REASONS
from petmood.schemas import FRAME_SCHEMA, REJECT_SCHEMA
from petmood.sources import aihub
from petmood.workspace import Workspace


def run(tree, work, *, jobs=1, force=False, **settings):
    return index(tree.root, work, IndexSettings(**settings), jobs=jobs, quiet=True, force=force)


def box(frame, **numbers):
    return lambda label: label["annotations"][frame]["bounding_box"].update(numbers)


def plant_faults(tree):
    """One clip of three frames for each reason that `index` finds; returns reason → number of refused rows."""
    tree.add(Clip(number=1))
    tree.add(Clip(number=2), text=b"{", pictures={})
    clip = tree.add(Clip(number=3), pictures={})
    (tree.root / "copy").mkdir()
    shutil.copy(tree.folders(clip)[0] / f"{clip.name}.json", tree.root / "copy")
    tree.add(Clip(number=4, frames=1), pictures={"frame_0_timestamp_0.jpg": jpeg(), "more.jpg": jpeg()})
    tree.add(Clip(number=5), edit=lambda label: label["annotations"][0].update(bounding_box=None))
    tree.add(Clip(number=6), edit=box(0, x=-1))
    tree.add(Clip(number=7), edit=box(0, width=0))
    tree.add(Clip(number=8), edit=box(0, x=25))
    tree.add(Clip(number=9, emotion="배고픔"))
    return {
        "unreadable_label": 1, "duplicate_label": 1, "no_label": 1, "no_image": 3, "no_box": 1, "negative_box": 1,
        "empty_box": 1, "box_outside_image": 1, "unknown_emotion": 3,
    }  # fmt: skip


@pytest.fixture
def work(tmp_path):
    return tmp_path / "work"


# --- results ----------------------------------------------------------------------------------------------------------


def test_every_refusal_is_counted_kept_and_explained(tree, work):
    planted = plant_faults(tree)
    counts = run(tree, work).counts
    workspace = Workspace.open(work)
    frames, rejects = workspace.read_frames(), workspace.read_rejects()
    assert counts["refused"] == planted
    assert dict(rejects.group_by("reason").len().iter_rows()) == planted
    assert list(counts["refused"]) == [reason for reason in REASONS if reason in planted]
    assert counts["found"] == counts["kept"] + sum(planted.values()) == len(frames) + len(rejects)
    assert rejects.select("path", "clip", "reason", "detail", "stage").null_count().sum_horizontal().item() == 0
    assert set(rejects["stage"]) == {"index"}
    assert frames.schema == dict(FRAME_SCHEMA)
    assert rejects.schema == dict(REJECT_SCHEMA)


def test_counts_per_species_and_emotion_add_up(tree, work):
    clips = tree.add_many(14, frames=3)
    counts = run(tree, work).counts
    assert counts["kept"] == 3 * len(clips)
    assert counts["clips"] == counts["groups"] == len(clips)
    assert counts["classes"] == ["happy", "calm", "anxious", "angry", "fear", "aggressive"]
    for unit, total in (("clips", len(clips)), ("frames", 3 * len(clips))):
        assert sum(cell[unit] for cell in counts["emotions"].values()) == total
        assert sum(cell[unit] for kind in counts["species"].values() for cell in kind.values()) == total
    assert counts["emotions"]["happy"] == {"frames": 12, "clips": 4}
    assert counts["species"]["dog"]["fear"] == {"frames": 3, "clips": 1}
    assert counts["imbalance"] == 2.0


def test_the_summary_tells_people_what_was_found(tree, work):
    plant_faults(tree)
    lines = run(tree, work).lines
    assert lines[0] == "found 25 · kept 12 frames of 6 clips · refused 13"
    assert any(line.split()[:2] == ["unknown_emotion", "3"] for line in lines)
    assert "1 clips have fewer pictures than annotations (3 are not there)" in lines
    assert any(line.startswith("calm 편안/안정") for line in lines)
    assert lines[-1] == "imbalance: the largest class has 1 times the frames of the smallest"


def test_the_folder_holds_the_tables_the_notes_csv_the_mark_and_the_picture_alone(tree, work):
    tree.add_many(4)
    run(tree, work)
    assert sorted(path.name for path in work.iterdir()) == [
        "classes.svg", "frames.csv", "frames.parquet", "index.json", "petmood.json", "poses.parquet", "rejects.parquet",
        "stamps.parquet",
    ]  # fmt: skip
    mark = json.loads((work / "index.json").read_text(encoding="utf-8"))
    assert mark["settings"] == {
        "source": str(tree.root), "kind": "aihub", "label": "inspect", "box": "drop", "species": "both", "merge": [],
        "pictures": "later", "detect": False, "verdicts": "",
    }  # fmt: skip
    assert mark["counts"] == json.loads(json.dumps(index(tree.root, work).counts))
    picture = (work / "classes.svg").read_text(encoding="utf-8")
    assert "<svg" in picture
    assert "행복/즐거움 (happy)" in picture


def test_frames_csv_has_the_notes_form(tree, work):
    tree.add(Clip(frames=1, emotion="공포"))
    run(tree, work)
    path = Workspace.open(work).read_frames()["path"][0]
    assert (work / "frames.csv").read_text(encoding="utf-8") == f'image_path,bbox,labels\n{path},"4,8,32,40",공포\n'


@pytest.mark.parametrize(
    ("settings", "kept", "refused"),
    [
        ({}, 15, {"negative_box": 1, "box_outside_image": 1, "unknown_emotion": 1}),
        ({"box": "clip"}, 17, {"unknown_emotion": 1}),
        ({"label": "owner"}, 16, {"negative_box": 1, "box_outside_image": 1}),
        (
            {"label": "agree"},
            12,
            {"negative_box": 1, "box_outside_image": 1, "unknown_emotion": 1, "labels_disagree": 3},
        ),
        ({"species": "dog"}, 3, {"negative_box": 1, "box_outside_image": 1, "unknown_emotion": 1, "other_species": 12}),
        ({"merge": ("배고픔=불안/슬픔",)}, 16, {"negative_box": 1, "box_outside_image": 1}),
    ],
    ids=str,
)
def test_the_choices_of_label_box_species_and_merges_reach_the_rules(tree, work, settings, kept, refused):
    tree.add(Clip(number=1, species="dog"))
    tree.add(Clip(number=2), edit=box(0, x=-3))
    tree.add(Clip(number=3), edit=box(0, x=30))
    tree.add(Clip(number=4, owner="공포"))
    tree.add(Clip(number=5, frames=1, emotion="배고픔", owner="공포"))
    tree.add(Clip(number=6, frames=5))
    counts = run(tree, work, **settings).counts
    assert (counts["kept"], counts["refused"]) == (kept, refused)


def test_a_merge_leaves_one_class_less(tree, work):
    tree.add_many(12)
    assert run(tree, work, merge=("공포=불안/슬픔",)).counts["classes"] == [
        "happy",
        "calm",
        "anxious",
        "angry",
        "aggressive",
    ]


def test_pictures_now_refuses_what_packing_would_refuse(tree, work, tmp_path):
    clip = Clip(number=1, frames=8)
    whole = jpeg()
    bad = [b"", b"text", whole[:-30], whole[:-2], jpeg((60, 48)), whole[:100]]
    files = dict(zip([clip.picture(n) for n in range(6)], bad, strict=True))
    tree.add(clip, pictures={**files, clip.picture(6): whole, clip.picture(7): whole})
    now = run(tree, work, pictures="now").counts
    later = tmp_path / "later"
    assert run(tree, later).counts["refused"] == {}
    curate(later)
    packed = pack(later, jobs=1, quiet=True).counts
    assert now["refused"] == packed["refused"] == {
        "empty_image": 1, "unreadable_image": 2, "truncated_image": 2, "size_differs": 1,
    }  # fmt: skip
    columns = ("frame_id", "path", "clip", "reason", "detail")
    one, two = (Workspace.open(root).read_rejects().select(columns) for root in (work, later))
    assert one.rows() == two.rows()


def test_two_processes_give_the_same_tables_as_one(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(aihub, "_CLIPS_A_TASK", 3)
    tree.add_many(10)
    for jobs, name in ((1, "one"), (2, "two")):
        run(tree, tmp_path / name, jobs=jobs)
    one, two = (Workspace.open(tmp_path / name) for name in ("one", "two"))
    assert one.read_frames().equals(two.read_frames())
    assert one.frames_csv.read_bytes() == two.frames_csv.read_bytes()


def test_a_work_folder_may_have_brackets_in_its_name(tree, tmp_path):
    tree.add()
    work = tmp_path / "[원천] work*"
    assert run(tree, work).counts["kept"] == 3
    curate(work)
    assert pack(work, jobs=1, quiet=True).counts["crops"] == 3


# --- keypoints --------------------------------------------------------------------------------------------------------


def test_keypoints_stand_row_by_row_beside_the_frames_that_were_kept(tree, work, monkeypatch):
    monkeypatch.setattr(aihub, "_CLIPS_A_TASK", 2)

    def mark(number, refused):
        def edit(label):
            for frame, annotation in enumerate(label["annotations"]):
                annotation["keypoints"] = {"1": {"x": 10 * number + frame, "y": 1}}
            label["annotations"][refused]["bounding_box"]["x"] = -1

        return edit

    for number in range(5):
        tree.add(Clip(number=number), edit=mark(number, number % 3))
    run(tree, work)
    workspace = Workspace.open(work)
    points = read_points(workspace, len(workspace.read_frames()))
    assert points.shape == (10, 30)
    assert points[:, 0].tolist() == [1, 2, 10, 12, 20, 21, 31, 32, 40, 42]
    assert workspace.mark("index")["counts"]["posed"] == 10


def test_a_source_without_keypoints_leaves_no_table_of_them(tree, work):
    tree.add(Clip(number=1))
    run(tree, work)
    assert Workspace.open(work).poses.exists()
    tree.add(Clip(number=1), edit=lambda label: [item.update(keypoints={}) for item in label["annotations"]])
    counts = run(tree, work).counts
    assert (counts["kept"], counts["posed"]) == (3, 0)
    assert not Workspace.open(work).poses.exists()
    assert read_points(Workspace.open(work), 3) is None


def test_keypoints_of_another_index_are_refused(tree, work):
    tree.add(Clip(number=1))
    run(tree, work)
    with pytest.raises(
        UserError, match="poses.parquet has 3 rows and frames.parquet 4; one index makes both"
    ) as caught:
        read_points(Workspace.open(work), 4)
    assert "--force" in caught.value.hint


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_verdicts_correct_and_drop_whole_clips_and_are_counted(tree, work, tmp_path):
    clips = [tree.add(Clip(number=number)) for number in range(4)]
    table = tmp_path / "verdicts.csv"
    lines = [f"{clips[0].name},공포", f"{clips[1].name},drop", f"{clips[2].name},keep", "elsewhere,drop"]
    table.write_text("\n".join(["clip,verdict", *lines]), encoding="utf-8")
    summary = run(tree, work, verdicts=str(table), label="owner")
    frames = Workspace.open(work).read_frames()
    emotions = dict(frames.select("clip", "emotion").unique().iter_rows())
    assert emotions == {clips[0].name: "fear", clips[2].name: "calm", clips[3].name: "calm"}
    assert set(frames["owner_emotion"]) == {"calm"}
    assert summary.counts["refused"] == {"user_verdict": 3}
    assert summary.counts["verdicts"] == {"emotion": 1, "dropped": 1, "unknown": 1, "unknown_such_as": ["elsewhere"]}
    assert (
        "verdicts: 1 clips have your emotion, 1 are dropped; 1 speak of clips that are not there (such as elsewhere)"
    ) in summary.lines


def test_an_index_is_made_again_when_a_verdict_changes_and_not_when_the_table_moves(tree, work, tmp_path):
    clip = tree.add()
    tree.add(Clip(number=9))
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    one.write_text(f"clip,verdict,why\n{clip.name},,", encoding="utf-8")
    assert not run(tree, work).skipped
    assert run(tree, work, verdicts=str(one)).skipped
    one.write_text(f"clip,verdict,why\n{clip.name},happy,", encoding="utf-8")
    assert not run(tree, work, verdicts=str(one)).skipped
    two.write_text(f"clip,why,verdict\n{clip.name},tail,행복", encoding="utf-8")
    assert run(tree, work, verdicts=str(two)).skipped
    assert not run(tree, work).skipped


# --- skipping ---------------------------------------------------------------------------------------------------------


def add_label(tree):
    tree.add(Clip(number=2))


def add_picture(tree):
    (tree.folders(Clip(number=1))[1] / "more.jpg").write_bytes(jpeg())


def remove_picture(tree):
    (tree.folders(Clip(number=1))[1] / Clip(number=1).picture(0)).unlink()


def change_label(tree):
    tree.add(Clip(number=1, emotion="공포"), pictures={})


@pytest.mark.parametrize("change", [add_label, add_picture, remove_picture, change_label])
def test_an_index_is_skipped_until_a_file_is_added_removed_or_changed(tree, work, change):
    tree.add(Clip(number=1))
    assert not run(tree, work).skipped
    assert run(tree, work).skipped
    change(tree)
    assert not run(tree, work).skipped
    assert run(tree, work).skipped


@pytest.mark.parametrize(
    "settings", [{"box": "clip"}, {"species": "cat"}, {"merge": ("공포=happy",)}, {"pictures": "now"}]
)
def test_an_index_is_made_again_when_a_setting_changes(tree, work, settings):
    tree.add()
    first = run(tree, work)
    assert not run(tree, work, **settings).skipped
    assert run(tree, work, **settings).counts == {**run(tree, work, **settings).counts}
    assert first.counts["kept"] == 3


def test_a_skipped_index_tells_the_same_counts(tree, work):
    tree.add_many(4)
    first = run(tree, work)
    again = run(tree, work)
    assert json.dumps(again.counts) == json.dumps(first.counts)
    assert again.lines == ()


def test_force_makes_it_again(tree, work):
    tree.add()
    run(tree, work)
    assert not run(tree, work, force=True).skipped


def test_a_new_index_takes_back_the_marks_of_later_stages(tree, work):
    tree.add()
    run(tree, work)
    curate(work)
    tree.add(Clip(number=8))
    run(tree, work)
    assert Workspace.open(work).mark("curate") == {}


# --- stopped and started again ----------------------------------------------------------------------------------------


@pytest.fixture
def stopped(tree, work, monkeypatch):
    """An index of six tasks that was stopped in the fourth; returns the list of tasks that are read from then on."""
    monkeypatch.setattr(aihub, "_CLIPS_A_TASK", 2)
    tree.add_many(12)
    read = []
    original = stage.read_piece

    def watched(reading):
        read.append(reading.frames.name)
        if len(read) == 4:
            raise KeyboardInterrupt
        return original(reading)

    monkeypatch.setattr(stage, "read_piece", watched)
    with pytest.raises(KeyboardInterrupt):
        run(tree, work)
    read[:] = [*["gone on"] * 4]
    return read


def test_a_stopped_index_goes_on_with_the_tasks_that_are_missing(tree, work, stopped, tmp_path):
    run(tree, work)
    assert stopped[4:] == ["000003.frames", "000004.frames", "000005.frames"]
    run(tree, tmp_path / "at once")
    one, two = (Workspace.open(root) for root in (work, tmp_path / "at once"))
    assert one.read_frames().equals(two.read_frames())
    assert one.mark("index")["counts"] == two.mark("index")["counts"]
    assert not list(work.glob(".*"))


def test_a_stopped_index_is_begun_again_when_forced_or_when_the_source_has_changed(tree, work, stopped):
    tree.add(Clip(number=99))
    run(tree, work)
    assert stopped[4:] == [f"{number:06d}.frames" for number in range(7)]


def test_force_reads_everything_again_after_a_stop(tree, work, stopped):
    run(tree, work, force=True)
    assert len(stopped[4:]) == 6


def test_a_stopped_index_leaves_the_earlier_one_as_it_was(tree, work, monkeypatch):
    tree.add()
    run(tree, work)
    curate(work)
    before = {path.name: path.read_bytes() for path in work.iterdir()}

    def interrupted(_reading):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "read_piece", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tree, work, box="clip")
    after = {path.name: path.read_bytes() for path in work.iterdir() if path.is_file()}
    assert after == before
