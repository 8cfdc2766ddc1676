"""What `petmood status` says of each data stage: done, stale for each reason, unfinished, damaged; and what is next."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import stat
import threading

import pytest

from fixtures.trees import Clip, jpeg
from petmood.cli import app
from petmood.data.curate import CurateSettings
from petmood.data.index import IndexSettings
from petmood.data.pack import UNFINISHED, PackSettings, pack_made_from
from petmood.errors import UserError
from petmood.lock import owned
from petmood.recipes.upkeep import StatusSettings
from petmood.remote import mirror_of
from petmood.settings import to_plain
from petmood.sources import open_source
from petmood.upkeep import source, stages, status
from petmood.upkeep.following import option_words
from petmood.upkeep.status import look_at
from petmood.workspace import ORDER, Workspace, read_json, write_json


def states(found):
    return {stage.stage: stage.state for stage in found.stages}


def stage_of(found, name):
    return next(stage for stage in found.stages if stage.stage == name)


def amend(work, stage, **changes):
    path = work / f"{stage}.json"
    write_json(path, {**read_json(path), **changes})


ALL_DONE = dict.fromkeys(ORDER, "done")


def test_a_prepared_folder_is_done_and_the_next_step_is_to_train(fresh):
    found = status(fresh.work)
    assert states(found) == ALL_DONE
    assert not any(stage.why for stage in found.stages)
    assert found.source.state == "same"
    assert found.following.command == f"petmood train {fresh.work}"
    assert stage_of(found, "index").told == "48 frames of 24 clips, 0 refused"
    assert stage_of(found, "split").told == "16 / 4 / 4 clips"


def test_nothing_is_written_even_where_nothing_can_be(fresh):
    def content():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in fresh.work.rglob("*")}

    before = content()
    for folder in (fresh.work, fresh.work / "crops"):
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert states(status(fresh.work)) == ALL_DONE
    finally:
        for folder in (fresh.work, fresh.work / "crops"):
            folder.chmod(stat.S_IRWXU)
    assert content() == before


@pytest.mark.parametrize("kind", ["label", "picture folder"])
def test_a_changed_source_makes_every_stage_stale(fresh, kind):
    if kind == "label":
        label = next(fresh.source.rglob("*.json"))
        label.write_text(label.read_text(encoding="utf-8") + " ", encoding="utf-8")
    else:
        folder = next(path.parent for path in fresh.source.rglob("*.jpg"))
        (folder / "frame_600_timestamp_20000.jpg").write_bytes(jpeg())
    found = status(fresh.work)
    assert set(states(found).values()) == {"stale"}
    assert stage_of(found, "index").why == ("the source has changed",)
    assert stage_of(found, "split").why == ("`index` comes before it and must run again",)
    assert found.following.command == f"petmood prepare {fresh.source} {fresh.work} --per-clip 4"


def test_what_status_proposes_makes_the_folder_whole_again(fresh, run, tree):
    tree.root = fresh.source
    tree.add(Clip(number=77, emotion="화남/불쾌"))
    proposed = shlex.split(status(fresh.work).following.command)
    assert run(*proposed[1:], "--jobs", 1, "-q", "--no-sheet")[0] == 0
    assert states(status(fresh.work)) == ALL_DONE


def test_a_source_that_is_gone_is_told_and_needed_only_by_what_reads_it(fresh):
    shutil.move(fresh.source, fresh.source.with_name("elsewhere"))
    found = status(fresh.work)
    assert found.source.state == "gone"
    assert "does not exist" in found.source.detail
    assert states(found) == ALL_DONE
    (fresh.work / "split.json").unlink()
    assert status(fresh.work).following.command == f"petmood split {fresh.work}"
    (fresh.work / "pack.json").unlink()
    following = status(fresh.work).following
    assert following.command == ""
    assert "bring it back" in following.does[1]


def test_a_source_is_not_looked_at_for_longer_than_asked(fresh):
    found = status(fresh.work, StatusSettings(source_seconds=0))
    assert (found.source.state, found.source.detail) == ("unknown", "it was not looked at")
    assert states(found) == ALL_DONE


def test_a_source_whose_disk_hangs_holds_nobody_up(fresh, monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(source, "open_source", lambda *_, **__: answered.wait(60))
    found = status(fresh.work, StatusSettings(source_seconds=0.05))
    answered.set()
    assert found.source.detail == "looking through it takes more than 0.05 s (--source-seconds)"
    assert states(found) == ALL_DONE


def test_settings_that_this_petmood_does_not_know_are_told(fresh):
    settings = read_json(fresh.work / "curate.json")["settings"]
    amend(fresh.work, "curate", settings={**settings, "of_the_future": 1})
    found = status(fresh.work)
    assert stage_of(found, "curate").state == "stale"
    assert "unknown setting 'of-the-future'" in stage_of(found, "curate").why[0]
    assert states(found)["index"] == "done"
    assert states(found)["split"] == "stale"


@pytest.mark.parametrize("stage", ["index", "curate", "split"])
def test_older_rules_and_settings_gained_since_are_told_apart(fresh, stage, monkeypatch):
    if stage == "index":
        monkeypatch.setattr(source, "INDEX_RULES", 3)
        newer = source.index_made_from

        def made_from(*parts, rules=3):
            return newer(*parts, rules=rules)

        monkeypatch.setattr(source, "index_made_from", made_from)
    else:
        monkeypatch.setattr(stages, "RULES", {**stages.RULES, stage: stages.RULES[stage] + 1})
    assert stage_of(status(fresh.work), stage).why == ("it was made by older rules of petmood",)


def test_an_index_made_before_a_setting_existed_says_so(fresh):
    mark = read_json(fresh.work / "index.json")
    kept = {name: value for name, value in mark["settings"].items() if name != "detect"}
    raw = {name: value for name, value in kept.items() if name not in ("source", "kind")}
    place = kept["source"]
    made_from = source.index_made_from(open_source(fresh.source).fingerprint, place, raw, {}, {})
    amend(fresh.work, "index", settings=kept, made_from=made_from)
    assert stage_of(status(fresh.work), "index").why == ("petmood has gained settings since",)


def test_a_stage_made_from_another_one_says_from_which(fresh):
    amend(fresh.work, "pack", made_from="0123456789abcdef")
    found = status(fresh.work)
    assert stage_of(found, "pack").why == ("it was made from another `curate` than the one that is here now",)
    assert states(found) == {**ALL_DONE, "pack": "stale", "screen": "stale", "split": "stale"}


def test_other_versions_of_libraries_are_told_and_change_nothing(fresh):
    versions = read_json(fresh.work / "pack.json")["versions"]
    amend(fresh.work, "pack", versions={**versions, "simplejpeg": "0.1"})
    stage = stage_of(status(fresh.work), "pack")
    assert stage.state == "done"
    assert stage.why[0].startswith("made with simplejpeg 0.1 (now ")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": 3}', "\xff\xfe"])
def test_a_damaged_mark_is_a_sentence_and_clean_mends_it(fresh, run, content):
    (fresh.work / "curate.json").write_text(content, encoding="latin-1")
    found = status(fresh.work)
    assert states(found)["curate"] == "damaged"
    assert "curate.json is damaged" in stage_of(found, "curate").why[0]
    assert found.following.command == f"petmood clean {fresh.work}"
    assert run("clean", fresh.work)[0] == 0
    proposed = shlex.split(status(fresh.work).following.command)
    assert run(*proposed[1:], "--jobs", 1, "-q", "--no-sheet")[0] == 0
    assert states(status(fresh.work)) == ALL_DONE


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-700])


LOSSES = {
    "frames.parquet": ("index", "frames.parquet is missing"),
    "poses.parquet": ("index", "poses.parquet is missing"),
    "crops/crops.parquet": ("pack", "crops.parquet is missing"),
    "crops/part-00000.tar": ("pack", "1 of 1 parts are missing or cut off (part-00000.tar)"),
}


@pytest.mark.parametrize("name", LOSSES)
def test_lost_results_are_found_and_the_proposed_command_makes_them_again(fresh, run, name):
    stage, why = LOSSES[name]
    (fresh.work / name).unlink()
    found = status(fresh.work)
    assert (states(found)[stage], stage_of(found, stage).why) == ("damaged", (why,))
    for _ in range(2):
        proposed = shlex.split(status(fresh.work).following.command)
        assert run(*proposed[1:], "-q" if proposed[1] in ("index", "pack", "prepare") else "--no-sheet")[0] == 0
    assert states(status(fresh.work)) == ALL_DONE


def test_results_that_were_cut_off_are_found(fresh):
    cut_off(fresh.work / "frames.parquet")
    assert stage_of(status(fresh.work), "index").why == ("frames.parquet is damaged",)


def test_a_stopped_stage_says_how_far_it_came(fresh):
    (fresh.work / "pack.json").unlink()
    made_from = read_json(fresh.work / "curate.json")["made_from"]
    pieces = fresh.work / f".pack-{pack_made_from(made_from, PackSettings())}"
    pieces.mkdir()
    assert stage_of(status(fresh.work), "pack").pieces.of is None  # killed before it knew
    (pieces / UNFINISHED).write_text(f"{made_from} 1")
    found = status(fresh.work)
    assert stage_of(found, "pack").state == "unfinished"
    assert (stage_of(found, "pack").pieces.done, stage_of(found, "pack").pieces.of) == (0, 1)
    assert "goes on where `pack` was stopped: 0 of 1 pieces are there" in found.following.does
    assert not any(one.option == "" for one in found.freeable)
    assert [one.option for one in found.freeable if "pieces" in one.what] == ["--unfinished"]


def test_pieces_that_the_proposed_command_would_drop_are_told(fresh):
    (fresh.work / "pack.json").unlink()
    (fresh.work / ".pack-0123456789abcdef").mkdir()
    found = status(fresh.work)
    assert found.stages[2].pieces.fits is False
    assert (
        "drops 0 pieces of `pack` with other settings (.pack-0123456789abcdef); give those to go on"
        in found.following.does
    )


def test_pieces_of_an_index_that_carries_clips_over_belong_to_it(fresh, tree):
    tree.root = fresh.source
    tree.add(Clip(number=77, emotion="화남/불쾌"))
    look = look_at(fresh.workspace, stages.read_marks(fresh.workspace), seconds=60)
    (fresh.work / f".index-{look.expected}-0123456789abcdef").mkdir()
    pieces = stage_of(status(fresh.work), "index").pieces
    assert (pieces.fits, pieces.of) == (True, None)


def test_a_folder_in_which_indexing_has_just_begun_is_understood(tmp_path):
    work = tmp_path / "begun"
    Workspace.create(work)
    (work / ".index-0123456789abcdef").mkdir()
    found = status(work)
    assert states(found)["index"] == "unfinished"
    assert found.following.command == f"petmood prepare SOURCE {work}"
    os.rmdir(work / ".index-0123456789abcdef")
    assert set(states(status(work)).values()) == {"missing"}


def test_what_petmood_does_not_know_is_named(fresh):
    (fresh.work / "thesis.docx").write_bytes(b"years")
    (fresh.work / "photos").mkdir()
    assert [one.name for one in status(fresh.work).foreign] == ["photos", "thesis.docx"]


def test_a_folder_without_its_own_mark_is_told_as_far_as_it_goes(fresh):
    (fresh.work / "petmood.json").unlink()
    found = status(fresh.work)
    assert "petmood.json is missing" in found.problems[0]
    assert states(found) == ALL_DONE


def test_who_is_at_work_is_named_and_waited_for(fresh, run):
    with owned(fresh.work, "petmood pack"):
        found = status(fresh.work)
        code, out, _ = run("status", fresh.work)
    assert [owner.command for owner in found.holders] == ["petmood pack"]
    assert found.following.command == ""
    assert f"in use: `petmood pack` (process {os.getpid()}" in out
    assert code == 0
    assert found.freeable == ()


@pytest.mark.parametrize("what", ["nothing", "file", "empty folder", "other format"])
def test_what_is_no_work_folder_is_refused_in_one_sentence(tmp_path, what):
    place = tmp_path / "x"
    if what == "file":
        place.write_text("")
    elif what != "nothing":
        place.mkdir()
    if what == "other format":
        (place / "petmood.json").write_text('{"format": 99}')
    with pytest.raises(UserError, match="work folder"):
        status(place)


def test_a_remote_folder_is_told_by_its_mirror_without_asking_the_storage(fresh, run, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, _, err = run("status", "s3://bucket/work")
    assert code == 2
    assert "was not used on this machine yet" in err
    mirror = mirror_of("s3://bucket/work").work
    shutil.copytree(fresh.work, mirror)
    code, out, err = run("status", "s3://bucket/work")
    assert code == 0
    assert out.startswith(f"{mirror}: ")
    assert "what no command needed was not fetched" in err


def test_json_says_the_same(fresh, run):
    code, out, _ = run("status", fresh.work, "--json")
    content = json.loads(out)
    assert code == 0
    assert [stage["state"] for stage in content["stages"]] == ["done"] * 5
    assert content["following"]["command"] == f"petmood train {fresh.work}"


@pytest.mark.parametrize(
    "settings",
    [
        IndexSettings(),
        IndexSettings(merge=("공포=불안/슬픔", "fear=anxious"), box="clip", detect=True, verdicts="my table.csv"),
        CurateSettings(method="random", share=0.25, per_clip=0, rare="all"),
    ],
)
def test_the_options_of_a_proposed_command_give_the_settings_of_the_mark(settings):
    words = option_words(type(settings), to_plain(settings))
    _, bound, ignored = app.parse_args(["prepare", "a", "b", *words], exit_on_error=False, print_error=False)
    name = "index" if isinstance(settings, IndexSettings) else "curate"
    assert bound.arguments.get(name, type(settings)()) == settings
    assert not ignored
