"""What `petmood clean` removes, what it never touches, and that what follows it still finds all that it needs."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from petmood.errors import UserError
from petmood.recipes.upkeep import CleanSettings
from petmood.upkeep import clean, removing, status
from petmood.workspace import read_json, write_json


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def litter(lived):
    """Planted: what killed commands leave; returns the paths."""
    work = lived.work
    paths = [
        work / ".frames.parquet.123.tmp",
        work / "features" / ".x.npy.123.tmp",
        work / "runs" / "half" / ".config.yaml.9.tmp",
        work / "runs" / "half" / "checkpoints" / ".last.ckpt.9.tmp",
    ]
    for path in paths:
        path.write_bytes(b"half")
    return paths


def stale_features(lived):
    """Planted: features of other crops, and rows that no mark speaks of."""
    folder = lived.work / "features"
    mark = read_json(next(path for path in folder.glob("*.json")))
    write_json(folder / "0000000000000001.json", {**mark, "crops": "other"})
    names = ("0000000000000001.npy", "0000000000000001.known.npy", "0000000000000002.npy")
    for name in names:
        (folder / name).write_bytes(b"rows")
    return [folder / "0000000000000001.json", *(folder / name for name in names)]


def old_pieces(lived, name=".index-0000000000000000", *, days=2):
    folder = lived.work / name
    folder.mkdir()
    (folder / "000000.rejects").write_bytes(b"piece")
    when = folder.stat().st_mtime - days * 24 * 3600
    for path in (folder / "000000.rejects", folder):
        os.utime(path, (when, when))
    return folder


@contextlib.contextmanager
def training(work):
    """Another process that holds a run of the work folder."""
    program = (
        "import pathlib, sys; from petmood.lock import owned\n"
        "with owned(pathlib.Path(sys.argv[1]), 'petmood train', part='runs/half'):\n"
        "    print('ready', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(work)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "ready\n"
    yield
    other.communicate("")
    assert other.returncode == 0


# --- by itself --------------------------------------------------------------------------------------------------------


def test_by_itself_it_removes_what_nobody_can_miss_and_nothing_else(lived):
    before = content(lived.work)
    planted = [*litter(lived), *stale_features(lived)]
    pieces = old_pieces(lived)
    done = clean(lived.work)
    assert not any(path.exists() for path in [*planted, pieces])
    gone = {"runs/full/checkpoints/previous.ckpt"} & before.keys()
    assert content(lived.work) == {name: data for name, data in before.items() if name not in gone}
    assert done.freed == sum(one.size for one in done.removed)
    assert clean(lived.work).removed == ()


def test_pieces_of_other_settings_are_kept_for_a_day_and_those_to_go_on_with_for_ever(lived):
    recent = old_pieces(lived, ".index-1111111111111111", days=0)
    own = old_pieces(lived, f".index-{read_json(lived.work / 'index.json')['made_from']}")
    clean(lived.work)
    assert recent.is_dir()
    assert own.is_dir()
    clean(lived.work, CleanSettings(unfinished=True))
    assert not recent.exists()
    assert not own.exists()


def test_pieces_of_an_index_without_a_mark_are_kept(lived):
    (lived.work / "index.json").unlink()
    pieces = old_pieces(lived)
    clean(lived.work)
    assert pieces.is_dir()


def test_a_dry_run_tells_the_same_and_removes_nothing(lived, run):
    litter(lived)
    before = content(lived.work)
    code, out, _ = run("clean", lived.work, "--dry-run", "--checkpoints")
    assert (code, content(lived.work)) == (0, before)
    assert "would be freed" in out
    told = clean(lived.work, CleanSettings(dry_run=True)).removed
    assert [one.what for one in told] == [one.what for one in clean(lived.work).removed]


# --- what is not its own ----------------------------------------------------------------------------------------------


def test_files_that_petmood_did_not_make_stay_whatever_is_asked_for(lived):
    planted = [lived.work / "thesis.tmp", lived.work / "notes" / ".a.tmp", lived.work / "crops-old" / "part.tar"]
    planted += [lived.work / "features" / "readme.txt", lived.work / "runs" / "full" / "checkpoints" / "mine.txt"]
    planted += [lived.work / ".cleaning", lived.work / ".packed" / "x"]
    for path in planted:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"mine")
    clean(lived.work, CleanSettings(all_features=True, checkpoints=True, unfinished=True, crops=True))
    assert all(path.read_bytes() == b"mine" for path in planted)


@pytest.mark.parametrize("name", ["features", "runs", "runs/full/checkpoints", "runs/full"])
def test_nothing_is_removed_through_a_link(lived, tmp_path, name):
    place = lived.work / name
    there = tmp_path / "other-disk"
    shutil.move(place, there)
    place.symlink_to(there)
    before = content(there)
    done = clean(lived.work, CleanSettings(all_features=True, checkpoints=True))
    assert content(there) == before
    assert place.is_symlink()
    assert done.left == () or all("is a link" in clause for clause in done.left)
    assert bool(done.left) == (name == "features" or name.startswith("runs"))


def test_crops_behind_a_link_are_refused_before_anything_changes(lived, tmp_path):
    shutil.move(lived.work / "crops", tmp_path / "crops")
    (lived.work / "crops").symlink_to(tmp_path / "crops")
    before = content(lived.work)
    with pytest.raises(UserError, match="crops is a link"):
        clean(lived.work, CleanSettings(crops=True))
    assert content(lived.work) == before
    assert [stage.state for stage in status(lived.work).stages] == ["done"] * 5


def test_a_link_inside_goes_without_what_it_leads_to(lived, tmp_path):
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "photo.jpg").write_bytes(b"years")
    (lived.work / "runs" / "half" / "checkpoints" / "link").symlink_to(outside)
    clean(lived.work, CleanSettings(run=("half",)))
    assert not (lived.work / "runs" / "half").exists()
    assert (outside / "photo.jpg").read_bytes() == b"years"


@pytest.mark.parametrize("path", ["..", "../x", ".", "runs/../../x", "/etc/passwd"])
def test_nothing_outside_is_removed(lived, path):
    assert removing.refusal(lived.work, lived.work / path) == "it is not in the work folder"


def test_a_folder_in_use_is_left_alone(lived, run):
    litter(lived)
    before = content(lived.work)
    with training(lived.work):
        code, _, err = run("clean", lived.work)
    assert code == 2
    assert "is in use by `petmood train`" in err
    assert content(lived.work) == before


def test_what_is_no_work_folder_is_not_cleaned(tmp_path, run):
    (tmp_path / ".a.tmp").write_bytes(b"")
    code, _, err = run("clean", tmp_path)
    assert code == 2
    assert "is not a petmood workspace" in err
    assert (tmp_path / ".a.tmp").exists()


def test_a_remote_folder_is_not_cleaned(run):
    code, _, err = run("clean", "s3://bucket/work")
    assert code == 2
    assert "s3://bucket/work is remote" in err


# --- by option --------------------------------------------------------------------------------------------------------


def test_a_run_goes_only_when_somebody_says_yes(lived, run):
    code, _, err = run("clean", lived.work, "--run", "half")
    assert code == 2
    assert "add --yes" in err
    assert (lived.work / "runs" / "half" / "config.yaml").is_file()
    code, out, _ = run("clean", lived.work, "--run", "half", "--yes")
    assert code == 0
    assert "run half: stopped" in out
    assert not (lived.work / "runs" / "half").exists()
    assert (lived.work / "runs" / "full" / "bundle.json").is_file()


@pytest.mark.parametrize("name", ["none", "..", "../crops", ""])
def test_a_run_that_is_not_there_is_refused(lived, name):
    with pytest.raises(UserError, match="found are full, half, probe"):
        clean(lived.work, CleanSettings(run=(name,)))
    assert (lived.work / "crops").is_dir()


def test_crops_stay_if_one_picture_that_they_were_cut_from_is_gone(fresh):
    picture = next(fresh.source.rglob("*.jpg"))
    picture.unlink()
    before = content(fresh.work)
    with pytest.raises(UserError, match=r"1 of 48 pictures .* could not be made again"):
        clean(fresh.work, CleanSettings(crops=True))
    assert content(fresh.work) == before


def test_crops_come_out_the_same_again(fresh, run):
    before = content(fresh.work)
    done = clean(fresh.work, CleanSettings(crops=True))
    assert not (fresh.work / "crops").exists()
    assert [stage.state for stage in status(fresh.work).stages] == ["done", "done", "missing", "missing", "missing"]
    assert done.freed > 0
    words = status(fresh.work).following.command.split()
    assert run(*words[1:], "--jobs", 1, "-q", "--no-sheet")[0] == 0
    assert content(fresh.work) == before


# --- killed -----------------------------------------------------------------------------------------------------------


def test_a_killed_cleaning_leaves_a_sound_folder_and_the_next_one_goes_on(fresh, run, monkeypatch):
    before = content(fresh.work)

    def killed(path):
        next(path for path in path.rglob("*") if path.is_file()).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(removing.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            clean(fresh.work, CleanSettings(crops=True))
    found = status(fresh.work)
    assert [stage.state for stage in found.stages][2:] == ["missing"] * 3
    assert any("begun to remove" in one.what for one in found.freeable)
    assert clean(fresh.work).freed > 0
    words = found.following.command.split()
    assert run(*words[1:], "--jobs", 1, "-q", "--no-sheet")[0] == 0
    assert content(fresh.work) == before


# --- what follows -----------------------------------------------------------------------------------------------------

EVERYTHING = CleanSettings(all_features=True, checkpoints=True, unfinished=True, crops=True)


@pytest.mark.parametrize("asked", [CleanSettings(), EVERYTHING], ids=["by itself", "by every option"])
def test_after_cleaning_every_command_finds_what_it_needs(lived, run, asked):
    for plant in (litter, stale_features, old_pieces):
        plant(lived)
    before = read_json(lived.work / "runs" / "full" / "metrics.json")["clips"]
    clean(lived.work, asked)
    code, out, _ = run("prepare", lived.source, lived.work, "--per-clip", 4, "--jobs", 1, "-q", "--no-sheet")
    assert code == 0
    assert out.count("up to date") == (2 if asked.crops else 5)
    assert run("train", lived.work, "--name", "half", "--resume", "-q")[0] == 0
    for name in ("full", "half", "probe"):
        assert run("evaluate", lived.work / "runs" / name, "-q", "--no-heat-maps")[0] == 0
    assert read_json(lived.work / "runs" / "full" / "metrics.json")["clips"] == before
    photo = next(lived.source.rglob("*.jpg"))
    assert run("predict", lived.work / "runs" / "half", photo, "--box", "0,0,40,40")[0] == 0
    network = ("--model", "test_efficientnet", "--pretrained", "none", "--image-size", 32, "--device", "cpu")
    assert run("train", lived.work, "--recipe", "probe", "--name", "p2", "-q", "--no-doctor", *network)[0] == 0
    assert [one.state for one in status(lived.work).runs] == ["finished"] * 4


def test_a_finished_run_without_checkpoints_is_not_begun_again(lived, run):
    folder = lived.work / "runs" / "full"
    clean(lived.work, CleanSettings(checkpoints=True))
    assert not list((folder / "checkpoints").glob("*.ckpt"))
    assert list((lived.work / "runs" / "half" / "checkpoints").glob("*.ckpt"))
    before = content(folder)
    code, _, err = run("train", lived.work, "--name", "full", "--resume", "-q")
    assert code == 2
    assert "has a model and no checkpoint to go on from" in err
    assert content(folder) == before


PLANTS = {
    "litter": litter,
    "features": stale_features,
    "pieces": old_pieces,
    "foreign": lambda lived: (lived.work / "mine.txt").write_text("x"),
    "mark": lambda lived: (lived.work / "split.json").write_text("{"),
    "part": lambda lived: (lived.work / "crops" / "part-00000.tar").unlink(),
}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plants=st.sets(st.sampled_from(sorted(PLANTS))),
    features=st.booleans(),
    checkpoints=st.booleans(),
    unfinished=st.booleans(),
)
def test_of_all_that_is_kept_status_says_the_same_as_before(
    model_folder, tmp_path, plants, features, checkpoints, unfinished
):
    work = tmp_path / f"work-{len(list(tmp_path.iterdir()))}"
    shutil.copytree(model_folder.work, work)
    lived = type(model_folder)(model_folder.source, work)
    for name in sorted(plants):
        PLANTS[name](lived)
    before = status(work)
    clean(work, CleanSettings(all_features=features, checkpoints=checkpoints, unfinished=unfinished))
    after = status(work)
    for one, other in zip(before.stages, after.stages, strict=True):
        if one.stage == "split" and "mark" in plants:
            assert (one.state, other.state) == ("damaged", "missing")
        else:
            assert (one.state, one.when, one.told) == (other.state, other.when, other.told)
    told = [(run.name, run.state, run.epochs, run.judged, run.stale, run.other_data) for run in before.runs]
    assert told == [(run.name, run.state, run.epochs, run.judged, run.stale, run.other_data) for run in after.runs]
    assert before.foreign == after.foreign
    kept = {one for one in before.features if one.current is not False and not features}
    assert set(after.features) == kept
    assert not any(one.option == "" for one in after.freeable)
