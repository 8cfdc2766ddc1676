"""The data commands as a user meets them: exit codes, one clear paragraph, nothing half-written, nothing lost."""

from __future__ import annotations

import errno
import importlib
import inspect
import json
import os

import polars as pl
import pytest

from fixtures.trees import Clip, jpeg
from petmood import cli
from petmood.data import index as index_stage
from petmood.errors import RunError
from petmood.workspace import Workspace, write_json

STAGES = ("index", "curate", "pack", "screen", "split")
COMMANDS = ("prepare", *STAGES)


@pytest.fixture
def work(tree, tmp_path):
    tree.add_many(24)
    return tmp_path / "work"


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


# --- done -------------------------------------------------------------------------------------------------------------


def test_prepare_runs_all_stages_and_then_skips_them(run, tree, work):
    code, out, err = run("prepare", tree.root, work, "--jobs", 1)
    assert code == 0
    *stages, sheet = [line for line in out.splitlines() if not line.startswith(" ")]
    assert sheet.startswith(f"contact sheet: {work / 'contact-sheet.html'}: 24 pictures of 12 clips")
    assert stages == [
        "index: done", "curate: done", "pack: done", "screen: done", "split: done",
    ]  # fmt: skip
    assert "clips/s" in err
    assert "frames/s" in err
    code, out, err = run("prepare", tree.root, work, "--jobs", 1)
    assert (code, err) == (0, "")
    assert out == "".join(f"{stage}: up to date, nothing to do\n" for stage in STAGES)


def test_the_five_commands_one_by_one_do_what_prepare_does(run, tree, work, tmp_path):
    assert run("prepare", tree.root, work, "--jobs", 1)[0] == 0
    other = tmp_path / "other"
    for words in (("index", tree.root, other), *((stage, other) for stage in STAGES[1:])):
        assert run(*words)[0] == 0
    one, two = contents(work), contents(other)
    assert one.keys() == two.keys()
    assert one["frames.parquet"] == two["frames.parquet"]
    assert contents(work / "crops") == contents(other / "crops")


def test_quiet_leaves_standard_error_empty(run, tree, work):
    for word in ("-q", "--quiet"):
        code, out, err = run("prepare", tree.root, work, "--jobs", 1, "--force", word)
        assert (code, err) == (0, "")
        assert out.startswith("index: done")


def test_json_is_one_object_a_stage_with_nothing_around_it(run, tree, work):
    code, out, _ = run("prepare", tree.root, work, "--jobs", 1, "-q", "--json")
    assert code == 0
    told = [json.loads(line) for line in out.splitlines()]
    assert [summary["stage"] for summary in told] == list(STAGES)
    assert [summary["skipped"] for summary in told] == [False] * 5
    assert told[0]["counts"]["kept"] == told[1]["counts"]["frames"] == 48
    for words in (("index", tree.root, work), *((stage, work) for stage in STAGES[1:])):
        code, out, _ = run(*words, "--json")
        assert json.loads(out)["skipped"] is True


def test_options_of_every_stage_are_known_to_its_command_and_to_prepare(run, tree, work):
    words = (
        "--box",
        "clip",
        "--species",
        "cat",
        "--merge",
        "공포=불안/슬픔",
        "--merge",
        "공격성=화남/불쾌",
        "--label",
        "agree",
    )
    words += ("--per-clip", 1, "--margin", 0.2, "--shorter-side", 32, "--quality", 80, "--between", 3)
    words += ("--val", 0.3, "--test", 0)
    code, out, _ = run("prepare", tree.root, work, "--jobs", 1, "-q", *words)
    assert code == 0
    workspace = Workspace.open(work)
    assert workspace.mark("index")["settings"]["merge"] == ["공포=불안/슬픔", "공격성=화남/불쾌"]
    assert workspace.mark("index")["counts"]["classes"] == ["happy", "calm", "anxious", "angry"]
    assert workspace.mark("curate")["settings"]["per_clip"] == 1
    assert workspace.mark("screen")["settings"]["between"] == 3
    assert workspace.mark("pack")["settings"] == {"margin": 0.2, "shorter_side": 32, "quality": 80}
    assert set(workspace.mark("split")["counts"]["clips"]) == {"train", "val"}
    assert "chose 12 of 24 frames" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_tells_every_option_with_its_default(run, command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert f"Usage: petmood {command}" in out
    assert "WORK" in out
    assert "--force" in out
    assert "[default:" in out


def test_help_of_petmood_names_the_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)


# --- asked for something that cannot be done: exit code 2 -------------------------------------------------------------


def refused(run, *words):
    """The message of a command that is refused with exit code 2 and prints nothing else."""
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith("petmood: ")
    assert "\nhint: " in err
    assert err.count("\n") == 2
    return err.removeprefix("petmood: ").split("\nhint: ")[0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("indeks",), 'Unknown command "indeks"'),
        (("index",), 'parameter --source requires an argument'),
        (("index", "a", "b", "--lable", "owner"), "Unknown option: --lable"),
        (("index", "a", "b", "--label", "vet"), "vet"),
        (("index", "a", "b", "--jobs", "many"), "many"),
        (("curate", "w", "--per-clip", "-1"), "per-clip '-1' is not allowed: input should be greater than or equal"),
        (("split", "w", "--val", "2"), "val '2' is not allowed: input should be less than 0.6."),
        (("split", "w", "--val", "0.5", "--test", "0.5"), "val 0.5 and test 0.5 leave less than a tenth for training."),
        (("pack", "w", "--quality", "101"), "quality '101' is not allowed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_wrong_usage_is_named_and_help_is_offered(run, words, message):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.endswith("hint: `petmood COMMAND --help` lists what is allowed\n")


def test_a_missing_source(run, tmp_path):
    assert (
        refused(run, "prepare", tmp_path / "nowhere", tmp_path / "work")
        == f"source {tmp_path / 'nowhere'} does not exist."
    )
    assert not (tmp_path / "work").exists()


def test_an_empty_source(run, tree, tmp_path):
    assert "holds neither label files nor pictures" in refused(run, "prepare", tree.root, tmp_path / "work")


def test_a_source_with_pictures_but_no_labels(run, tree, tmp_path):
    (tree.root / "photos").mkdir()
    (tree.root / "photos" / "a.jpg").write_bytes(jpeg())
    assert "has 1 pictures (in: photos) but no label files" in refused(run, "prepare", tree.root, tmp_path / "work")


def test_a_source_of_a_zip_whose_download_broke_off(run, tree, tmp_path):
    (tree.root / "[원천]ARCH.zip").write_bytes(b"PK")
    assert "ARCH.zip is damaged: it ends without a directory" in refused(run, "prepare", tree.root, tmp_path / "work")


def test_a_csv_with_a_missing_column(run, tmp_path):
    (tmp_path / "frames.csv").write_text("image_path,labels\na.jpg,happy\n")
    message = refused(run, "prepare", tmp_path / "frames.csv", tmp_path / "work")
    assert message.endswith("lacks the column bbox (or x, y, width, height); it has image_path, labels.")


def test_a_work_folder_of_something_else(run, tree, tmp_path):
    tree.add()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    assert "holds something else than a petmood workspace" in refused(run, "prepare", tree.root, tmp_path / "thesis")
    assert contents(tmp_path / "thesis") == {"chapter.tex": b"x"}


@pytest.mark.parametrize("command", STAGES[1:])
def test_a_work_folder_that_is_none(run, tmp_path, command):
    assert "is not a petmood workspace" in refused(run, command, tmp_path)


@pytest.mark.parametrize(
    ("command", "missing"), [("curate", "index"), ("pack", "curate"), ("screen", "pack"), ("split", "screen")]
)
def test_a_stage_whose_forerunner_is_missing(run, tmp_path, command, missing):
    Workspace.create(tmp_path / "work")
    assert f"has no completed stage `{missing}`" in refused(run, command, tmp_path / "work")


@pytest.mark.parametrize("command", STAGES)
def test_a_work_folder_of_another_version(run, tree, work, command):
    Workspace.create(work)
    write_json(work / "petmood.json", {"format": 99})
    words = (tree.root, work) if command == "index" else (work,)
    assert "has format 99; this petmood" in refused(run, command, *words)


def test_a_damaged_mark_and_a_damaged_table(run, tree, work):
    run("prepare", tree.root, work, "--jobs", 1)
    (work / "screen.json").write_text('{"made_from": ')
    assert "screen.json is damaged" in refused(run, "split", work, "--seed", "3")
    (work / "frames.parquet").write_bytes(b"PAR1")
    assert "frames.parquet is damaged" in refused(run, "curate", work, "--force")


# --- started and failed: exit code 1 ----------------------------------------------------------------------------------


def test_a_source_of_which_nothing_can_be_kept(run, tree, tmp_path):
    tree.add(text=b"{")
    code, out, err = run("prepare", tree.root, tmp_path / "work", "--jobs", 1, "-q")
    assert (code, out) == (1, "")
    assert err.startswith("petmood: index kept none of 4 rows; refused: unreadable_label 1 (such as ")
    assert sorted(contents(tmp_path / "work")) == ["petmood.json"]


def test_a_leaking_official_split(run, tree, work):
    tree.add(Clip(number=90, split="Validation", breed="0", species="dog"))
    run("prepare", tree.root, work, "--jobs", 1)
    before = contents(work)
    tree_of_one_animal = pl.read_parquet(work / "frames.parquet").with_columns(group=pl.lit("one animal"))
    tree_of_one_animal.write_parquet(work / "frames.parquet")
    before["frames.parquet"] = (work / "frames.parquet").read_bytes()
    code, out, err = run("split", work, "--split", "official")
    assert (code, out) == (1, "")
    assert err.startswith(
        "petmood: split leaks: 0 clips, 1 groups of clips and 0 pairs of near-copies stand on two sides; "
    )
    assert "such as group one animal (train, val)." in err
    (work / "leaks.csv").unlink()
    assert contents(work) == before
    code, out, _ = run("split", work, "--split", "official", "--allow-leak")
    assert code == 0
    assert "LEAK, allowed" in out


def disk_error(number):
    def fail(*_arguments, **_named):
        raise OSError(number, os.strerror(number), "/disk/set/frames.parquet")

    return fail


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "the disk is full: free some space"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "check who may read and write there"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EIO, "run with --debug for the details"),
    ],
)
def test_what_the_disk_refuses_is_told_in_words_with_the_path(run, tree, work, monkeypatch, number, hint):
    monkeypatch.setattr(index_stage, "_write", disk_error(number))
    code, out, err = run("index", tree.root, work, "--jobs", 1, "-q")
    assert (code, out) == (1, "")
    assert err.startswith(f"petmood: {os.strerror(number)} (/disk/set/frames.parquet).\nhint: {hint}")


def test_a_disk_that_is_really_full(run, tree, small_disk):
    tree.add_many(24)
    (small_disk / "ballast").write_bytes(bytes(200 * 1024))
    code, _, err = run("prepare", tree.root, small_disk / "work", "-q", "--no-sheet")
    assert code == 1
    assert err.startswith("petmood: No space left on device (")
    assert "free some space, then run the same command; it goes on where it stopped" in err
    (small_disk / "ballast").unlink()
    assert run("prepare", tree.root, small_disk / "work", "-q", "--no-sheet")[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(run, tree, tmp_path):
    tree.add()
    (tmp_path / "closed").mkdir(mode=0o500)
    code, _, err = run("prepare", tree.root, tmp_path / "closed" / "work", "-q")
    assert code == 1
    assert "Permission denied" in err


def test_a_mistake_of_ours_is_one_paragraph_and_shows_its_traceback_only_on_demand(run, tree, work, monkeypatch):
    def mistaken(*_arguments, **_named):
        raise ZeroDivisionError("division\nby zero")

    monkeypatch.setattr(index_stage, "_write", mistaken)
    code, out, err = run("index", tree.root, work, "--jobs", 1, "-q")
    assert (code, out) == (1, "")
    assert err == (
        "petmood: internal error ZeroDivisionError: division by zero. This is a mistake in petmood, not in your data.\n"
        "hint: run it again with --debug and report what it prints\n"
    )
    code, _, err = run("index", tree.root, work, "--jobs", 1, "-q", debug=True)
    assert code == 1
    assert "Traceback" in err
    assert "in mistaken" in err


def test_debug_shows_where_an_expected_error_was_raised(run, tmp_path):
    code, _, err = run("index", tmp_path / "nowhere", tmp_path / "work", debug=True)
    assert code == 2
    assert "Traceback" in err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "stopped; what was finished is kept"),
        (MemoryError(), 1, "the memory ran out"),
        (RunError("a worker process was killed."), 1, "a worker process was killed"),
    ],
)
def test_whatever_stops_a_command_is_one_paragraph(run, tree, work, monkeypatch, error, code, words):
    def stopping(*_arguments, **_named):
        raise error

    monkeypatch.setattr(index_stage, "run_tasks", stopping)
    found = run("index", tree.root, work, "--jobs", 1, "-q")
    assert found[0] == code
    assert found[2].startswith(f"petmood: {words}")


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_no_two_settings_of_a_command_have_the_same_option(command):
    # One of them would take the value, and the other would silently keep its default.
    name = command.replace("-", "_")
    module = importlib.import_module(f"petmood.cli.{name}")
    function = getattr(module, "command", None) or getattr(module, name)
    names = []
    for parameter in inspect.signature(function).parameters.values():
        fields = getattr(parameter.default, "__dataclass_fields__", None)
        names += [parameter.name] if fields is None else list(fields)
    assert sorted(names) == sorted(set(names))
