"""The main job through the command line, as a user runs it, on a small made-up data set with planted faults."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from petmood.cli import run


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A made-up source with faults and its truth, prepared in full (every picture checked, every frame packed)."""
    folder = tmp_path_factory.mktemp("job")
    source, work = str(folder / "clips"), str(folder / "work")
    synth = ["--clips", "60", "--frames", "8", "--size", "320x180", "--faults", "0.02", "--shares", "balanced"]
    assert run(["synth", source, *synth, "--jobs", "2", "-q"]) == 0
    assert run(["prepare", source, work, "--per-clip", "0", "--val", "0.2", "--test", "0.2", "--jobs", "1", "-q"]) == 0
    return folder


@pytest.fixture(scope="module")
def trained(place):
    """Its run, trained for two epochs and evaluated."""
    work = place / "work"
    assert run(["train", str(work), "--recipe", "demo", "--epochs", "2", "--image-size", "64", "-q"]) == 0
    assert run(["evaluate", str(work / "runs" / "demo"), "-q"]) == 0
    return work / "runs" / "demo"


def _truth(place: Path) -> dict:
    return json.loads((place / "clips-truth.json").read_text(encoding="utf-8"))


def test_prepare_keeps_exactly_the_frames_that_the_truth_calls_good_but_for_repeated_ones(place):
    frames = pl.read_parquet(place / "work" / "frames.parquet")
    rejects = pl.read_parquet(place / "work" / "rejects.parquet")
    repeated = rejects.filter(pl.col("reason") == "near_copy")
    assert frames["keep"].sum() + len(repeated) == _truth(place)["frames_ok"]
    assert repeated["clip"].n_unique() < frames.filter("keep")["clip"].n_unique()


def test_every_planted_frame_fault_is_refused_with_its_reason(place):
    rejects = pl.read_parquet(place / "work" / "rejects.parquet")
    name = pl.concat_str("clip", pl.lit("/"), pl.col("path").str.split("/").list.last())
    found = dict(rejects.select(name.alias("name"), "reason").iter_rows())
    planted = {name: reason for name, reason in _truth(place)["faults"].items() if name.endswith(".jpg")}
    assert len(set(planted.values())) >= 9
    assert {name: found.get(name) for name in planted} == planted


def test_nothing_is_refused_that_was_not_planted(place):
    truth = _truth(place)
    damaged = {name.split("/")[0] for name in truth["faults"]}
    short = {clip for clip, facts in truth["clips"].items() if facts["cut_short"]}
    rejects = pl.read_parquet(place / "work" / "rejects.parquet")
    others = rejects.filter(
        pl.col("reason") != "near_copy", ~pl.col("clip").is_in(damaged) & ~pl.col("clip").is_in(short)
    )
    assert others.is_empty()


def test_the_groups_are_the_animals(place):
    clips = pl.read_parquet(place / "work" / "frames.parquet").select("clip", "group").unique()
    animals = {clip: facts["animal"] for clip, facts in _truth(place)["clips"].items()}
    pairs = {(group, animals[clip]) for clip, group in clips.iter_rows()}
    assert len(pairs) == len({group for group, _ in pairs}) == len({animal for _, animal in pairs})


def test_preparing_again_does_nothing(place, capsys):
    again = ["prepare", str(place / "clips"), str(place / "work"), "--per-clip", "0", "--val", "0.2", "--test", "0.2"]
    assert run([*again, "-q"]) == 0
    assert capsys.readouterr().out.count("up to date") == 5


def test_a_run_holds_its_model_its_scores_and_its_report(trained):
    names = {"bundle.json", "model.safetensors", "config.yaml", "metrics.csv", "metrics.json", "predictions.parquet"}
    assert names | {"heatmaps.parquet", "report.html", "checkpoints", "tensorboard"} == {
        path.name for path in trained.iterdir()
    }


def test_evaluation_looks_at_the_test_clips_alone(trained):
    predictions = pl.read_parquet(trained / "predictions.parquet")
    frames = pl.read_parquet(trained.parents[1] / "frames.parquet").filter(pl.col("split") == "test", "keep")
    assert predictions["frame_id"].to_list() == frames["frame_id"].to_list()


def test_a_photo_is_answered_in_korean_or_as_json(trained, place, capsys):
    photo = pl.read_parquet(place / "work" / "frames.parquet").filter("keep")["path"][0]
    assert run(["predict", str(trained), photo, "--whole", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert run(["predict", str(trained), photo, "--whole", "--lang", "ko"]) == 0
    assert "행복/즐거움" in capsys.readouterr().out


def test_a_demo_ends_with_its_scores_and_its_report(tmp_path, capsys):
    out = tmp_path / "demo"
    assert run(["demo", str(out), "--clips", "48", "--jobs", "2", "-q"]) == 0
    last = capsys.readouterr().out.splitlines()
    assert "macro-F1" in last[-2]
    assert "always the majority" in last[-2]
    assert last[-1].endswith("report.html")
    assert run(["demo", str(out)]) == 2
    assert "--force" in capsys.readouterr().err


def test_verdicts_on_doubtful_clips_correct_the_data_and_decode_nothing_again(tmp_path, capsys):
    source, work = str(tmp_path / "clips"), str(tmp_path / "work")
    synth = ["--clips", "40", "--frames", "4", "--size", "160x120", "--shares", "balanced", "--dogs", "0"]
    assert run(["synth", source, *synth, "--jobs", "1", "-q"]) == 0
    prepare = ["prepare", source, work, "--jobs", "1", "-q", "--no-sheet"]
    assert run(prepare) == 0
    network = ["--model", "test_efficientnet", "--pretrained", "none", "--image-size", "32"]
    assert run(["audit", work, *network, "--folds", "3", "-q"]) == 0
    doubts = pl.read_csv(tmp_path / "work" / "doubts.csv", schema_overrides={"verdict": pl.String})
    corrected, dropped = doubts["clip"][0], doubts["clip"][1]
    emotion = "공포" if doubts["emotion"][0] != "fear" else "행복/즐거움"
    verdict = pl.col("clip").replace_strict([corrected, dropped], [emotion, "drop"], default="")
    doubts.with_columns(verdict=verdict).write_csv(tmp_path / "work" / "doubts.csv", include_bom=True)
    crops = len(pl.read_parquet(tmp_path / "work" / "crops" / "crops.parquet"))
    capsys.readouterr()
    assert run([*prepare, "--json", "--verdicts", str(tmp_path / "work" / "doubts.csv")]) == 0
    told = {line["stage"]: line["counts"] for line in map(json.loads, capsys.readouterr().out.splitlines())}
    frames = pl.read_parquet(tmp_path / "work" / "frames.parquet")
    expected = "fear" if emotion == "공포" else "happy"
    assert set(frames.filter(pl.col("clip") == corrected)["emotion"]) == {expected}
    assert dropped not in frames["clip"]
    assert told["pack"]["taken_over"] == told["pack"]["crops"] < crops
