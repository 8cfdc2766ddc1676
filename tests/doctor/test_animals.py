"""Whether crops show an animal, as a detector sees it; here one that sees a dog wherever a crop's corner is blue."""

import json
from pathlib import Path

import polars as pl
import pytest

from fixtures.detectors import CAT, DOG, guess, plain, write_yolox
from fixtures.workspaces import make_workspace
from petmood.crops import writing_part
from petmood.detect import Yolox
from petmood.doctor.animals import animals, check_animal, looked_at
from petmood.media import encode
from petmood.workspace import Workspace, read_table, write_table


@pytest.fixture(autouse=True)
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PETMOOD_DETECTOR", raising=False)


@pytest.fixture
def weights(tmp_path):
    return write_yolox(tmp_path / "y.onnx", guess(9, 0, 0, 64, 64, DOG))


@pytest.fixture
def workspace(tmp_path):
    """Dogs alone, as they are told to be."""
    made = make_workspace(tmp_path / "work", clips_per_class=16, frames_per_clip=2)
    return told(made, pl.lit("dog"))


def told(workspace: Workspace, species: pl.Expr) -> Workspace:
    write_table(workspace.read_frames().with_columns(species=species), workspace.frames)
    return workspace


def repaint(workspace: Workspace, shown: pl.Expr) -> Workspace:
    """Make the crops for which ``shown`` (of the frames' columns) holds blue, and the others green."""
    crops = read_table(workspace.crops / "crops.parquet")
    blue = workspace.read_frames().with_columns(shown=shown)["shown"]
    offsets, sizes = [], []
    with writing_part(workspace.crops / "part-00000.tar") as part:
        for number, seen in enumerate(blue):
            jpeg = encode(plain(64, 64, (0, 0, 255) if seen else (0, 255, 0)), 90)
            offsets.append(part.add(f"{number}.jpg", jpeg))
            sizes.append(len(jpeg))
    changed = crops.with_columns(offset=pl.Series(offsets, dtype=pl.Int64), size=pl.Series(sizes, dtype=pl.Int64))
    write_table(changed, workspace.crops / "crops.parquet")
    return workspace


def test_without_weights_it_is_skipped_with_the_command_that_fetches_them(workspace):
    check = check_animal(workspace)
    assert check.verdict == "skipped"
    assert "no weights of a detector" in check.evidence
    assert "petmood detector fetch" in check.remedy


def test_without_crops_it_is_skipped(workspace):
    (workspace.crops / "crops.parquet").unlink()
    assert "petmood pack" in check_animal(workspace).remedy


def test_crops_that_all_show_an_animal_are_ok(workspace, weights, monkeypatch):
    monkeypatch.setenv("PETMOOD_DETECTOR", str(weights))
    check = check_animal(repaint(workspace, pl.lit(value=True)))
    assert check.numbers["crops"] == 48  # one of each clip
    assert check.verdict == "ok"
    assert check.numbers["without"] == check.numbers["other"] == 0
    json.dumps(check.numbers)


def test_crops_without_an_animal_are_named(workspace, weights, monkeypatch):
    monkeypatch.setenv("PETMOOD_DETECTOR", str(weights))
    check = check_animal(repaint(workspace, pl.col("clip").str.ends_with("1").not_()))
    assert check.verdict == "ok"
    check = check_animal(repaint(workspace, pl.lit(value=False)))
    assert check.verdict == "warn"
    assert "sees no cat or dog in 100% of 48 crops" in check.evidence
    assert "petmood sheet" in check.remedy


def test_an_emotion_whose_crops_lack_the_animal_is_named(workspace, weights, monkeypatch):
    monkeypatch.setenv("PETMOOD_DETECTOR", str(weights))
    hidden = (pl.col("emotion") == "angry") & pl.col("clip").str.contains("00[0-9]$")
    check = check_animal(repaint(workspace, hidden.not_()))
    assert check.verdict == "warn"
    assert "happy 0%, calm 0%, angry 62%" in check.evidence
    assert check.numbers["chance"] < 0.01


def test_cats_that_look_like_dogs_are_named(workspace, weights, monkeypatch):
    monkeypatch.setenv("PETMOOD_DETECTOR", str(weights))
    half = pl.when(pl.col("clip").str.contains("[02468]$")).then(pl.lit("dog")).otherwise(pl.lit("cat"))
    check = check_animal(told(repaint(workspace, pl.lit(value=True)), half))
    assert check.numbers["other"] == pytest.approx(0.5)
    assert check.verdict == "warn"
    assert "what the source says of the species is doubtful" in check.evidence


def test_the_sample_is_the_same_number_of_each_emotion_and_one_of_a_group(workspace, weights):
    detector = Yolox(weights)
    assert looked_at(workspace, detector, most=30).group_by("emotion").len()["len"].to_list() == [10] * 3
    frames = workspace.read_frames().with_columns(group=pl.lit("one animal"))
    write_table(frames, workspace.frames)
    assert len(looked_at(workspace, detector)) == 3  # one of each emotion


def test_the_surest_animal_tells_the_species(tmp_path, workspace):
    cells = guess(9, 0, 0, 30, 30, CAT, 0.5), guess(10, 30, 30, 30, 30, DOG, 0.8)
    seen = looked_at(repaint(workspace, pl.lit(value=True)), Yolox(write_yolox(tmp_path / "two.onnx", *cells)))
    assert set(seen["found"]) == {"dog"}


def test_a_few_crops_say_nothing_of_the_species():
    rows = [("calm", "cat", "dog")] * 5 + [("calm", None, "dog")] * 50
    seen = pl.DataFrame(rows, schema=["emotion", "species", "found"], orient="row")
    assert animals(seen, remedy="").verdict == "ok"


def test_photos_without_boxes_are_told_how_to_get_some(workspace, weights, monkeypatch):
    monkeypatch.setenv("PETMOOD_DETECTOR", str(weights))
    path = Path(workspace.root / "index.json")
    mark = json.loads(path.read_text())
    path.write_text(json.dumps({**mark, "settings": {"kind": "folders"}}))
    assert "petmood index --detect" in check_animal(repaint(workspace, pl.lit(value=False))).remedy
