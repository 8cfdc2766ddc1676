from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from fixtures.trees import Clip
from petmood.data.copies import find_copies
from petmood.data.curate import curate
from petmood.data.index import index
from petmood.data.leaks import leaking_clips, summed
from petmood.data.pack import pack
from petmood.data.screen import ScreenSettings, screen
from petmood.data.split import SplitSettings, by_group, clip_table, split
from petmood.errors import RunError, UserError
from petmood.labels import EMOTIONS
from petmood.schemas import FRAME_SCHEMA
from petmood.workspace import Workspace, write_table


def prepared(tree, work):
    index(tree.root, work, jobs=1, quiet=True)
    curate(work)
    pack(work, jobs=1, quiet=True)
    screen(work)
    return work


@pytest.fixture
def work(tree, tmp_path):
    """24 clips of 24 animals, dogs and cats, all emotions twice each."""
    tree.add_many(24)
    return prepared(tree, tmp_path / "work")


def sides_of(work):
    return dict(Workspace.open(work).read_frames().select("clip", "split").unique().iter_rows())


def clips_of(groups, emotions=("calm",), species=("dog",)):
    """A table of clips: one a group number, emotions and species in turn."""
    return pl.DataFrame(
        {
            "clip": [f"c{n}" for n in range(len(groups))],
            "group": [str(group) for group in groups],
            "emotion": [emotions[n % len(emotions)] for n in range(len(groups))],
            "species": [species[n % len(species)] for n in range(len(groups))],
        }
    )


# --- by group ---------------------------------------------------------------------------------------------------------

tables = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(EMOTIONS), st.sampled_from(["dog", "cat"])),
    min_size=35,
    max_size=70,
)


@given(tables, st.integers(0, 3), st.sampled_from([(0.15, 0.15), (0.3, 0.0), (0.4, 0.4), (0.1, 0.25)]))
def test_no_group_ever_stands_on_two_sides_and_every_clip_on_one(found, seed, shares):
    clips = pl.DataFrame(
        [(f"c{n}", str(group), emotion, species) for n, (group, emotion, species) in enumerate(found)],
        schema=["clip", "group", "emotion", "species"],
        orient="row",
    )
    settings = SplitSettings(seed=seed, val=shares[0], test=shares[1])
    try:
        sides = by_group(clips, settings)
    except UserError:
        assume(False)
    assert sides.null_count() == 0
    assert set(sides) <= {"train", "val", "test"}
    assert ("test" in set(sides)) == (shares[1] > 0)
    assert "val" in set(sides)
    assert leaking_clips(clips.with_columns(split=sides)).is_empty()


@pytest.mark.parametrize(
    ("val", "test"), [(0.15, 0.15), (0.4, 0.0), (0.3, 0.3), (0.05, 0.1), (0.55, 0.3), (0.25, 0.45), (0.02, 0.0)]
)
def test_the_sides_have_the_shares_asked_for(val, test):
    clips = clips_of(range(600), emotions=EMOTIONS[:3], species=("dog", "cat"))
    sides = Counter(by_group(clips, SplitSettings(val=val, test=test)))
    assert sides["val"] / 600 == pytest.approx(val, abs=0.02)
    assert sides["test"] / 600 == pytest.approx(test, abs=0.02)


def test_emotions_and_species_are_spread_evenly():
    clips = clips_of(range(600), emotions=("calm", "calm", "happy"), species=("dog", "cat"))
    clips = clips.with_columns(split=by_group(clips, SplitSettings()))
    for side in ("train", "val", "test"):
        some = clips.filter(pl.col("split") == side)
        assert (some["emotion"] == "happy").mean() == pytest.approx(1 / 3, abs=0.04)
        assert (some["species"] == "dog").mean() == pytest.approx(1 / 2, abs=0.04)


def test_the_same_seed_gives_the_same_split_and_another_another():
    clips = clips_of(range(60))
    one, two, three = (by_group(clips, SplitSettings(seed=seed)).to_list() for seed in (5, 5, 6))
    assert one == two != three


def test_a_class_of_one_group_stays_whole_and_nothing_fails():
    clips = clips_of([*range(30), 99, 99, 99]).with_columns(emotion=pl.Series(["calm"] * 30 + ["fear"] * 3))
    sides = clips.with_columns(split=by_group(clips, SplitSettings()))
    assert sides.filter(pl.col("emotion") == "fear")["split"].n_unique() == 1


def test_too_few_groups_are_told_in_numbers():
    with pytest.raises(
        UserError, match=r"split has 4 groups of clips, too few for 7 folds \(a share of 0\.15\)\."
    ) as caught:
        by_group(clips_of([1, 2, 3, 4] * 5), SplitSettings())
    assert "--test 0" in caught.value.hint
    assert caught.value.exit_code == 2


def test_where_every_class_has_fewer_clips_than_folds_groups_are_still_kept_apart():
    clips = clips_of(range(12), emotions=EMOTIONS, species=("dog", "cat"))
    assert Counter(by_group(clips, SplitSettings()))["train"] == 8


@pytest.mark.parametrize(("val", "test"), [(0.5, 0.5), (0.59, 0.4), (0.31, 0.59999)])
def test_shares_that_leave_nothing_for_training_are_refused(val, test):
    with pytest.raises(ValidationError, match="leave less than a tenth for training"):
        SplitSettings(val=val, test=test)


# --- the audit --------------------------------------------------------------------------------------------------------


def test_the_audit_counts_clips_and_groups_on_two_sides():
    clips = pl.DataFrame(
        {
            "clip": ["a", "a", "b", "c", "d", "e"],
            "group": ["1", "1", "2", "2", "3", None],
            "split": ["train", "val", "train", "test", "train", None],
        }
    )
    leaks = leaking_clips(clips)
    assert summed(leaks) == {"clips": 1, "groups": 2, "frames": 0, "examples": ["1", "2"]}
    assert leaks.select("kind", "name", "sides").rows() == [
        ("clip", "a", "train|val"), ("group", "1", "train|val"), ("group", "2", "train|test"),
    ]  # fmt: skip


def test_clips_without_kept_frames_take_no_part():
    rows = [{"clip": "a", "keep": True, "group": None, "emotion": "calm"}, {"clip": "b", "keep": False, "group": "g"}]
    table = clip_table(pl.DataFrame(rows, schema=dict(FRAME_SCHEMA)), "group")
    assert table.rows() == [("a", "a", "unknown", "calm", None)]


# --- the stage --------------------------------------------------------------------------------------------------------


def test_the_stage_writes_sides_into_the_frames_and_nothing_else(work):
    before = Workspace.open(work).read_frames()
    summary = split(work, SplitSettings(val=0.3, test=0.3))
    after = Workspace.open(work).read_frames()
    assert after.schema == before.schema
    assert after.drop("split").equals(before.drop("split"))
    assert after["split"].null_count() == 0
    assert sum(summary.counts["clips"].values()) == 24
    assert summary.counts["groups"] == summary.counts["clips"]
    assert summary.counts["leak"] == {"clips": 0, "groups": 0, "frames": 0, "examples": [], "allowed": False}
    assert "audit: no clip, no group and no near-copy of a frame stands on two sides" in summary.lines
    assert [line.split()[0] for line in summary.lines[-6:]] == list(EMOTIONS)


def test_frames_that_are_not_kept_get_the_side_of_their_clip(tree, tmp_path):
    tree.add_many(24, frames=12)
    work = prepared(tree, tmp_path / "work")
    split(work, SplitSettings(val=0.3, test=0.3))
    frames = Workspace.open(work).read_frames()
    assert not frames["keep"].all()
    assert frames["split"].null_count() == 0
    assert frames.group_by("clip").agg(pl.col("split").n_unique())["split"].max() == 1


def test_the_stage_is_skipped_until_something_changes(work):
    settings = SplitSettings(val=0.3, test=0.0)
    assert not split(work, settings).skipped
    assert split(work, settings).skipped
    assert not split(work, SplitSettings(val=0.3, test=0.0, seed=1)).skipped
    assert not split(work, SplitSettings(val=0.3, test=0.0, seed=1), force=True).skipped


def test_the_stage_needs_crops(tree, tmp_path):
    tree.add()
    index(tree.root, tmp_path / "work", jobs=1, quiet=True)
    with pytest.raises(UserError, match="has no completed stage `screen`"):
        split(tmp_path / "work")


def test_any_column_can_be_the_group(work):
    workspace = Workspace.open(work)
    frames = workspace.read_frames()
    write_table(frames.with_columns(action=pl.col("clip").str.slice(-1)), workspace.frames)
    split(work, SplitSettings(val=0.3, test=0.0, group_by="action"))
    frames = workspace.read_frames()
    assert frames.group_by("action").agg(pl.col("split").n_unique())["split"].max() == 1
    split(work, SplitSettings(val=0.3, test=0.0, group_by="clip"))


def test_a_column_that_is_not_there_is_named_beside_those_that_are(work):
    with pytest.raises(UserError, match="column 'animal' is not in frames.parquet; it has frame_id, path, clip"):
        split(work, SplitSettings(group_by="animal"))


# --- official ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def official(tree, tmp_path):
    """Builds a set with AI Hub's own sides; ``leak`` puts one animal on both."""

    def make(*, leak):
        for number in range(6):
            breed = str(number % 5 if leak else number)
            tree.add(Clip(number=number, frames=2, breed=breed, split="Validation" if number > 4 else "Training"))
        return prepared(tree, tmp_path / "work")

    return make


def test_the_official_split_is_kept_and_said_not_to_be_animal_independent(official):
    work = official(leak=False)
    summary = split(work, SplitSettings(split="official"))
    assert summary.counts["by"] == "official"
    assert summary.counts["clips"] == {"train": 5, "val": 1}
    assert sides_of(work)["cat-walkrun-000005"] == "val"
    assert "AI Hub's own split was made clip by clip: it is not animal-independent" in summary.lines


def test_a_leak_fails_with_numbers_and_examples_and_writes_nothing_but_the_list(official):
    work = official(leak=True)
    before = {path: path.read_bytes() for path in work.iterdir() if path.is_file()}
    with pytest.raises(RunError) as caught:
        split(work, SplitSettings(split="official"))
    assert caught.value.message.startswith(
        "split leaks: 0 clips, 1 groups of clips and 0 pairs of near-copies stand on two sides; "
        f"{work / 'leaks.csv'} lists them, such as group 20210105/cat/0/FEMALE/3/Y/1/실내 (train, val). "
    )
    assert "--allow-leak" in caught.value.hint
    assert caught.value.exit_code == 1
    listed = (work / "leaks.csv").read_text(encoding="utf-8-sig").splitlines()
    assert listed == ["kind,name,other,sides,bits", "group,20210105/cat/0/FEMALE/3/Y/1/실내,,train|val,"]
    (work / "leaks.csv").unlink()
    assert {path: path.read_bytes() for path in work.iterdir() if path.is_file()} == before


def test_a_leak_that_is_allowed_is_recorded_for_every_later_report(official):
    work = official(leak=True)
    summary = split(work, SplitSettings(split="official", allow_leak=True))
    assert summary.counts["leak"]["groups"] == 1
    assert Workspace.open(work).mark("split")["counts"]["leak"]["allowed"] is True
    assert (
        "LEAK, allowed: 0 clips, 1 groups of clips and 0 pairs of near-copies stand on two sides (leaks.csv)"
        in summary.lines
    )


def test_an_official_split_that_the_source_does_not_tell_is_refused(work):
    frames = Workspace.open(work).read_frames()
    with pytest.raises(UserError, match="official split has no val clips"):
        split(work, SplitSettings(split="official"))
    write_table(frames.with_columns(official_split=pl.lit(None, pl.String)), Workspace.open(work).frames)
    with pytest.raises(UserError, match="official split is unknown for 24 of 24 clips"):
        split(work, SplitSettings(split="official"))


# --- near-copies on two sides -----------------------------------------------------------------------------------------


@pytest.fixture
def copied(tree, tmp_path):
    """Builds 24 clips of 24 animals, the pictures of the first also standing under another clip's name."""

    def make(**settings):
        clips = tree.add_many(24, frames=3)
        _, source = tree.folders(clips[0])
        for other in clips[1:6]:  # five copies: on any split of so few clips some stand on the other side
            _, target = tree.folders(other)
            for number in range(3):
                (target / other.picture(number)).write_bytes((source / clips[0].picture(number)).read_bytes())
        index(tree.root, tmp_path / "work", jobs=1, quiet=True)
        curate(tmp_path / "work")
        pack(tmp_path / "work", jobs=1, quiet=True)
        screen(tmp_path / "work", ScreenSettings(**settings))
        return tmp_path / "work"

    return make


SIDES = SplitSettings(val=0.3, test=0.3)


def test_joined_copies_never_stand_on_two_sides_whatever_the_seed(copied):
    work = copied()
    for seed in range(8):
        assert split(work, SplitSettings(val=0.3, test=0.3, seed=seed)).counts["leak"]["frames"] == 0
    assert not (work / "leaks.csv").exists()


def test_copies_that_were_not_joined_are_found_listed_and_refused(copied):
    work = copied(near_copies="off")
    with pytest.raises(RunError) as caught:
        split(work, SIDES)
    listed = pl.read_csv(work / "leaks.csv")
    assert 0 < len(listed) <= 18
    assert set(listed["kind"]) == {"frame"}
    assert set(listed["bits"]) == {0}
    assert all(first != second for first, second in (sides.split("|") for sides in listed["sides"]))
    frames = {name.split("/")[1] for name in listed["name"]} | {name.split("/")[1] for name in listed["other"]}
    assert len(frames) == 3  # every frame of the clip that was copied
    name, other, sides = listed.row(0)[1:4]
    first, second = sides.split("|")
    assert f"{len(listed)} pairs of near-copies stand on two sides" in caught.value.message
    assert f"frames {name} ({first}) and {other} ({second}), 0 bits apart" in caught.value.message
    assert caught.value.message.count(" bits apart") <= 10
    assert Workspace.open(work).mark("split") == {}


def test_copies_that_are_allowed_are_counted_and_listed(copied):
    work = copied(near_copies="off")
    summary = split(work, SplitSettings(val=0.3, test=0.3, allow_leak=True))
    leak = Workspace.open(work).mark("split")["counts"]["leak"]
    assert leak["frames"] == len(pl.read_csv(work / "leaks.csv")) > 0
    assert leak["clips"] == leak["groups"] == 0
    assert any(line.startswith("LEAK, allowed: 0 clips, 0 groups") for line in summary.lines)
    screen(work)
    split(work, SIDES)
    assert not (work / "leaks.csv").exists()


def test_a_split_by_another_column_is_audited_for_near_copies_too(copied):
    work = copied()
    found = []
    for seed in range(4):
        try:
            split(work, SplitSettings(val=0.3, test=0.3, group_by="source_group", seed=seed))
        except RunError as error:
            found.append(error.message)
    assert any("0 clips, 0 groups of clips and" in message and "bits apart" in message for message in found)


def test_every_frame_with_an_equal_one_on_another_side_is_listed():
    workspace_sides = [0, 0, 1, 1, 2, 0]
    alike = lambda left, right: np.ones(len(left), bool)  # noqa: E731
    hashes = np.array([7, 7, 7, 7, 7, 1 << 60], np.uint64)
    sides = np.array(workspace_sides)
    settled = lambda left, right: sides[left] == sides[right]  # noqa: E731
    links = [
        link
        for found in find_copies(hashes, within=2, alike=alike, settled=settled, sides=sides)
        for link in zip(*found, strict=True)
    ]
    assert all(sides[left] != sides[right] for left, right, _ in links)
    assert {row for left, right, _ in links for row in (left, right)} == {0, 1, 2, 3, 4}
