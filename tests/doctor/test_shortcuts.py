from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.workspaces import make_workspace
from petmood.doctor.shortcuts import TRIED, by_whole_groups, check_shortcuts, clues, comparable, guessed
from petmood.workspace import write_table


def table(groups=120, seed=0, **columns):
    """Clips of groups with one emotion each, and clues that say nothing of it."""
    generator = np.random.default_rng(seed)
    of = np.arange(groups).repeat(generator.integers(1, 5, groups))
    emotion = generator.choice(["happy", "calm", "angry"], groups)[of]
    numbers = {name: generator.normal(size=groups)[of] for names in TRIED.values() for name in names}
    words = {
        "species": generator.choice(["dog", "cat"], groups)[of],
        "action": generator.choice(["sit", "run", "lie"], groups)[of],
    }
    told = {name: value(emotion, generator) for name, value in columns.items()}
    return pl.DataFrame({"group": [f"g{number}" for number in of], "emotion": emotion, **numbers, **words, **told})


def clear_of(clips):
    return {guess.what for guess in guessed(clips, draws=300) if guess.clear}


@pytest.mark.parametrize("seed", range(4))
def test_clues_that_say_nothing_are_not_clear(seed):
    assert clear_of(table(seed=seed)) == set()


def test_a_species_that_goes_with_an_emotion_is_clear():
    species = lambda emotion, generator: np.where(emotion == "angry", "cat", "dog")  # noqa: E731
    assert clear_of(table(species=species)) == {"species", "species and action"}


def test_a_rare_emotion_that_one_species_alone_shows_is_clear():
    """Aggression is nearly only a cat's label, and rare: accuracy would not show it."""
    clips = table(groups=300).with_columns(rare=pl.col("group").rank("dense") % 12 == 0)
    clips = clips.with_columns(
        emotion=pl.when("rare").then(pl.lit("aggressive")).otherwise(pl.lit("calm")),
        species=pl.when("rare").then(pl.lit("cat")).otherwise("species"),
    )
    assert "species" in clear_of(clips)


def test_pictures_of_another_size_are_clear():
    width = lambda emotion, generator: np.where(emotion == "calm", 1920, generator.choice([640, 1280], len(emotion)))  # noqa: E731
    assert clear_of(table(image_width=width)) == {"picture size and shape"}


def test_what_is_known_of_a_group_alone_does_not_help():
    """Each group was filmed on a day of its own: the day tells the group, but not the emotion of new groups."""
    clips = table()
    assert "day and length of the clip" not in clear_of(clips.with_columns(day=pl.col("group").rank("dense")))


def test_unknown_or_constant_clues_are_left_out():
    clips = table().with_columns(species=pl.lit(None, pl.String), action=pl.lit("sit"), day=pl.lit(None, pl.Int32))
    assert [guess.what for guess in guessed(clips, draws=50)] == [
        "box position and size",
        "picture size and shape",
        "day and length of the clip",
    ]


def test_classes_of_few_groups_are_left_out_and_named():
    rare = table().with_columns(emotion=pl.when(pl.col("group") == "g3").then(pl.lit("fear")).otherwise("emotion"))
    clips, left_out = comparable(rare)
    assert left_out == ["fear"]
    assert "fear" not in set(clips["emotion"])


@given(st.integers(1, 400), st.integers(0, 50))
def test_a_sample_holds_whole_groups_and_no_more_than_asked_for(most, seed):
    clips = table(seed=3)
    found = by_whole_groups(clips, most, seed=seed)
    assert len(found) <= most
    whole = clips.filter(pl.col("group").is_in(found["group"].unique().implode()))
    assert found.equals(whole)


# --- in a work folder -------------------------------------------------------------------------------------------------


@pytest.fixture
def workspace(tmp_path):
    """Drawn pictures in which nothing but the shape goes with the emotion."""
    made = make_workspace(tmp_path / "work", clips_per_class=24, frames_per_clip=2, size=16)
    frames = made.read_frames()
    generator = np.random.default_rng(0)
    clips = frames["clip"].unique(maintain_order=True)
    values = {name: generator.integers(*ends, len(clips)) for name, ends in {"x": (0, 40), "width": (20, 60)}.items()}
    drawn = pl.DataFrame({"clip": clips, **values}).with_columns(pl.col("x", "width").cast(pl.Int32))
    frames = frames.drop("x", "width").join(drawn, on="clip", maintain_order="left").select(frames.columns)
    size = {"image_width": pl.lit(100, pl.Int32), "image_height": pl.lit(80, pl.Int32)}
    write_table(frames.with_columns(**size), made.frames)
    return made


def edited(workspace, **columns):
    write_table(workspace.read_frames().with_columns(**columns), workspace.frames)
    return workspace


def test_a_clean_work_folder_is_ok(workspace):
    check = check_shortcuts(workspace)
    assert check.verdict == "ok", check
    assert "guessing gives 0.33" in check.evidence
    json.dumps(check.numbers)


def test_a_species_short_cut_is_named_with_numbers(workspace):
    cats = pl.when(pl.col("emotion") == "angry").then(pl.lit("cat")).otherwise(pl.lit("dog"))
    check = check_shortcuts(edited(workspace, species=cats))
    assert check.verdict == "warn"
    assert "species 0.6" in check.evidence
    assert "species-only baseline" in check.remedy


def test_boxes_in_another_place_for_one_emotion_are_found(workspace):
    left = pl.when(pl.col("emotion") == "calm").then(pl.lit(0, pl.Int32)).otherwise(pl.col("x") + 5)
    check = check_shortcuts(edited(workspace, x=left))
    assert check.verdict == "warn"
    assert "box position and size" in check.evidence


def test_the_day_is_read_from_the_clips_name(workspace):
    named = pl.format("202010{}_{}", pl.lit("10"), "clip")
    found = clues(edited(workspace, clip=named))
    assert found["day"].n_unique() == 1
    assert found["day"].null_count() == 0
    assert found["listed"].to_list() == [2] * 72


def test_few_groups_are_skipped(tmp_path):
    check = check_shortcuts(make_workspace(tmp_path / "small", clips_per_class=6))
    assert check.verdict == "skipped"
    assert "18 groups" in check.evidence
