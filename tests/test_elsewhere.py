"""A run on another source: labels mapped, the drop with its interval, and what the model has seen before."""

import json
import shutil

import cv2
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import petmood.elsewhere
import petmood.evaluate
from fixtures.detectors import DOG, guess, write_yolox
from fixtures.runs import FakePredictor, make_run
from fixtures.trees import Tree, picture
from petmood.bundle import FORMAT
from petmood.data.curate import curate
from petmood.data.index import index
from petmood.data.pack import pack
from petmood.data.screen import screen
from petmood.data.split import split
from petmood.errors import UserError
from petmood.metrics.records import Answers
from petmood.metrics.transfer import Elsewhere, changes
from petmood.sources.words import LEFT_OUT, read_words
from petmood.workspace import Workspace, read_json, write_json

CLASSES = ("happy", "calm", "angry")
SIZE = (64, 48)


def add_photos(root, counts, mark):
    """Class folders of pictures that no other ``mark`` has."""
    for word, count in counts.items():
        (root / word).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / word / f"{mark}{number}.jpg").write_bytes(picture(SIZE, f"{mark}/{word}/{number}"))


def answer(frame_id):
    """Right on the own photos; elsewhere calm and surprised ones pass for happy."""
    word, name = frame_id.split("/")[-2:]
    return word if name.startswith("own") else {"joy": "happy", "angry": "angry"}.get(word, "happy")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A small workspace made by the real stages from class folders, and those folders."""
    root = tmp_path_factory.mktemp("own")
    add_photos(root / "photos", dict.fromkeys(CLASSES, 24), "own")
    index(root / "photos", root / "work", jobs=1, quiet=True)
    curate(root / "work")
    pack(root / "work", jobs=1, quiet=True)
    screen(root / "work")
    split(root / "work")
    return root


@pytest.fixture
def own(prepared, tmp_path, monkeypatch):
    """A run in a copy of it, whose answers are ``answer``."""
    shutil.copytree(prepared / "work", tmp_path / "work")
    for module in (petmood.evaluate, petmood.elsewhere):
        monkeypatch.setattr(module, "Predictor", FakePredictor(answer))
    return make_run(Workspace.open(tmp_path / "work"))


@pytest.fixture
def other(tmp_path):
    root = tmp_path / "their photos"
    add_photos(root, {"joy": 20, "calm": 10, "angry": 20, "surprised": 4}, "there")
    return root


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("joy: 행복\nsurprised: -\n", encoding="utf-8")
    return path


def evaluate_there(run, own, other, *words):
    return run("evaluate", own, "--source", other, "-q", "--jobs", 1, *words)


def test_the_drop_is_told_for_each_class(run, own, other, table):
    code, out, _ = evaluate_there(run, own, other, "--map", table)
    assert code == 0
    out = out.replace("\u00a0", " ")
    assert "their-photos: 50 clips of 50 groups, 50 frames." in out
    assert "Left out by the map (pictures): surprised 4." in out
    assert "Accuracy: 100.0 % (100.0–100.0) → 80.0 % (68.0–90.0): -20.0 (-32.0 … -10.0), worse there" in out
    assert "Recall of calm: 100.0 % (100.0–100.0) → 0.0 % (0.0–0.0): -100.0" in out
    assert "[too few to tell: 4 and 10 groups]" in out
    assert "SEEN" not in out
    folder = own / "elsewhere" / "their-photos"
    found = Elsewhere.from_dict(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
    assert [change.name for change in found.classes] == list(CLASSES)
    assert (found.kind, found.own_split, found.left_out) == ("folders", "test", {"surprised": 4})
    assert found.evaluation.clips.baseline.answer in CLASSES
    predicted = pl.read_parquet(folder / "predictions.parquet")
    assert dict(predicted.group_by("emotion").len().iter_rows()) == {"happy": 20, "calm": 10, "angry": 20}
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.json", "predictions.parquet", "work"]


def test_korean_and_json(run, own, other, table):
    code, out, _ = evaluate_there(run, own, other, "--map", table, "--lang", "ko")
    assert code == 0
    assert "편안/안정 재현율: 100.0" in out
    assert "여기서 더 나쁨" in out
    code, out, _ = evaluate_there(run, own, other, "--map", table, "--json")
    assert json.loads(out) == json.loads((own / "elsewhere/their-photos/metrics.json").read_text(encoding="utf-8"))


def test_words_that_nobody_explained_are_listed_with_their_counts(run, own, other, table):
    code, out, err = evaluate_there(run, own, other)
    assert (code, out) == (2, "")
    assert "words that mean none of the six emotions: 'joy' 20, 'surprised' 4 (pictures)" in err
    assert "--map" in err
    assert not (own / "elsewhere/their-photos/metrics.json").exists()
    (other / "calm").rename(other / "quiet")
    table.write_text("surprised: -\n", encoding="utf-8")
    code, _, err = evaluate_there(run, own, other, "--map", table)
    assert code == 2
    assert "'joy' 20, 'quiet' 10 (pictures)" in err


def test_a_source_of_unknown_words_alone_says_which(run, own, tmp_path):
    rows = ["path,label,x,y,width,height"]
    for number in range(3):
        (tmp_path / f"{number}.jpg").write_bytes(picture(SIZE, str(number)))
        rows.append(f"{number}.jpg,glad,0,0,60,40")
    source = tmp_path / "list.csv"
    source.write_text("\n".join(rows), encoding="utf-8")
    code, _, err = evaluate_there(run, own, source)
    assert code == 2
    assert "'glad' 3 (pictures)" in err
    words = tmp_path / "words.csv"
    words.write_text("word,emotion\nglad,happy\n", encoding="utf-8")
    code, out, _ = evaluate_there(run, own, source, "--map", words)
    assert code == 0
    assert "list: 3 clips" in out


def test_numbers_count_as_words_if_the_table_explains_them(run, own, tmp_path):
    (tmp_path / "a.jpg").write_bytes(picture(SIZE, "a"))
    source = tmp_path / "numbers.csv"
    source.write_text("path,label,x,y,width,height\na.jpg,0,0,0,60,40\n", encoding="utf-8")
    assert evaluate_there(run, own, source)[0] == 2
    words = tmp_path / "words.yaml"
    words.write_text("0: angry\n", encoding="utf-8")
    assert evaluate_there(run, own, source, "--map", words)[0] == 0


def test_classes_that_one_side_lacks_are_said(run, own, tmp_path):
    source = tmp_path / "fearful"
    add_photos(source, {"happy": 4, "fear": 3, "angry": 4}, "there")
    code, out, _ = evaluate_there(run, own, source)
    assert code == 0
    assert "Not judged, because the model does not know them (clips): fear 3." in out
    assert "The source has none of these, which the model knows: calm." in out
    judged = pl.read_parquet(own / "predictions.parquet").filter(pl.col("emotion") != "calm")
    assert f"On clips of happy, angry: own test ({len(judged)} clips) → there (8 clips)" in out
    shutil.rmtree(source / "happy")
    shutil.rmtree(source / "angry")
    code, _, err = evaluate_there(run, own, source)
    assert code == 2
    assert "shows fear, none of which the model knows; it knows happy, calm, angry" in err


def test_a_second_call_makes_nothing_again(run, own, other, table):
    evaluate_there(run, own, other, "--map", table)
    work = own / "elsewhere/their-photos/work"
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()}
    assert evaluate_there(run, own, other, "--map", table)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file()} == before
    table.write_text("joy: angry\nsurprised: happy\n", encoding="utf-8")
    assert evaluate_there(run, own, other, "--map", table)[0] == 0
    assert Workspace.open(work).mark("index")["counts"]["emotions"]["angry"]["frames"] == 40


def test_crops_are_cut_as_the_model_knows_them(run, own, other, table):
    content = read_json(own / "bundle.json")
    content["geometry"] = {"margin": 0.25, "shorter_side": 40, "quality": 80}
    write_json(own / "bundle.json", content)
    assert content["format"] == FORMAT
    evaluate_there(run, own, other, "--map", table)
    assert Workspace.open(own / "elsewhere/their-photos/work").mark("pack")["settings"] == content["geometry"]


def test_animals_are_found_there_if_they_were_in_the_own_photos(run, own, other, table, tmp_path, monkeypatch):
    weights = write_yolox(tmp_path / "y.onnx", guess(9, 0, 0, 64, 40, DOG))
    monkeypatch.setenv("PETMOOD_DETECTOR", str(weights))
    mark = own.parents[1] / "index.json"
    content = read_json(mark)
    write_json(mark, {**content, "settings": {**content["settings"], "detect": True}})
    code, _, err = evaluate_there(run, own, other, "--map", table)
    assert code == 0, err
    frames = Workspace(own / "elsewhere/their-photos/work").read_frames()
    assert set(frames["height"]) == {40}
    assert set(frames["image_height"]) == {SIZE[1]}


def test_pictures_that_the_model_was_trained_on_are_named_and_can_be_left_out(run, own, other, table):
    frames = Workspace.open(own.parents[1]).read_frames()
    known = frames.filter(pl.col("split").is_in(["train", "val"]) & (pl.col("emotion") == "calm"))["path"].head(3)
    for number, path in enumerate(known):
        again = cv2.resize(cv2.imread(path), (90, 68), interpolation=cv2.INTER_CUBIC)  # another size, another file
        cv2.imwrite(str(other / "calm" / f"copy{number}.jpg"), again, [cv2.IMWRITE_JPEG_QUALITY, 70])
    unseen = frames.filter(pl.col("split") == "test")["path"][0]
    shutil.copy(unseen, other / "calm" / "test.jpg")
    _, out, _ = evaluate_there(run, own, other, "--map", table)
    assert out.startswith("SEEN: 3 of these clips (3 frames) show what the model was trained or chosen on")
    assert "--drop-seen" in out.splitlines()[0]
    _, out, _ = evaluate_there(run, own, other, "--map", table, "--drop-seen")
    assert "SEEN" not in out
    assert "51 clips of 51 groups" in out
    assert "Left out, because the model was trained or chosen on them: 3 clips." in out


def test_the_own_source_without_what_was_seen_gives_the_own_score(run, own, prepared):
    _, out, _ = evaluate_there(run, own, prepared / "photos", "--drop-seen", "--json")
    found = Elsewhere.from_dict(json.loads(out))
    assert found.seen_left_out == 72 - found.scores[0].own.clips
    assert [change.difference.estimate for change in (*found.scores, *found.classes)] == [0] * 6


def test_clips_of_the_same_name_are_seen_whatever_their_pictures(tmp_path):
    ours, theirs = Tree(tmp_path / "ours"), Tree(tmp_path / "theirs")
    ours.add_many(24)
    clip = theirs.add_many(24, size=(80, 60))[0]
    for name in ("ours", "theirs"):
        index(tmp_path / name, tmp_path / f"work-{name}", jobs=1, quiet=True)
        curate(tmp_path / f"work-{name}")
        pack(tmp_path / f"work-{name}", jobs=1, quiet=True)
    own, work = (Workspace.open(tmp_path / f"work-{name}") for name in ("ours", "theirs"))
    frames = own.read_frames()
    side = pl.when(pl.col("clip") == clip.name).then(pl.lit("train")).otherwise(pl.lit("test"))
    own.set_columns({"split": frames.select(split=side)["split"]})
    seen = petmood.elsewhere.seen_frames(own, work, work.read_frames().filter("keep"))
    assert set(seen["clip"]) == {clip.name}


def test_another_source_of_the_same_name_is_refused(run, own, other, table, tmp_path):
    evaluate_there(run, own, other, "--map", table)
    again = tmp_path / "more" / other.name
    shutil.copytree(other, again)
    code, _, err = evaluate_there(run, own, again, "--map", table)
    assert code == 2
    assert f"holds what was found of another source, {other}" in err
    assert evaluate_there(run, own, again, "--map", table, "--name", "second")[0] == 0
    assert (own / "elsewhere/second/metrics.json").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source", "nowhere"], "source nowhere does not exist"),
        (["--map", "x.yaml"], "map, drop-seen, name, label or species is given, but no source"),
        (["--source", "OTHER", "--map", "x.yaml"], "map x.yaml cannot be read"),
        (["--source", "OTHER", "--map", "MAP", "--name", "a/b"], "source name 'a/b' is not usable"),
        (["--source", "OTHER", "--map", "MAP", "--label", "owner"], "needs owner labels"),
    ],
)
def test_what_cannot_be_is_one_paragraph(run, own, other, table, words, told):
    replaced = [{"OTHER": other, "MAP": table}.get(word, word) for word in words]
    code, _, err = run("evaluate", own, "-q", *replaced)
    assert code == 2
    assert told in err
    assert "hint: " in err or "allowed are" in err


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words.yaml", "Joy: happy\n 슬퍼함: 불안/슬픔\nwhat: -\n".replace(" 슬", "슬")),
        ("words.csv", "\ufeffword,emotion\nJoy,happy\n슬퍼함,불안/슬픔\nwhat,drop\n"),
        ("plain.csv", "Joy,happy\n\n슬퍼함,anxious\nwhat,-\n"),
    ],
)
def test_tables_of_words(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_words(tmp_path / name) == {"joy": "happy", "슬퍼함": "anxious", "what": f"{LEFT_OUT}what"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.yaml", "joy: gladness", "says 'joy' means 'gladness', which is none of the six; allowed are happy"),
        ("a.yaml", "joy: happy\nJoy: calm", "gives 'Joy' two meanings"),
        ("a.yaml", "[1, 2]", "is not a mapping of words"),
        ("a.yaml", "joy: [", "is not readable YAML"),
        ("a.yaml", "{}", "names no word"),
        ("a.csv", "joy,happy,3", "has a line with 3 columns"),
        ("a.txt", "joy,happy", "is a .txt file; allowed are .yaml, .yml and .csv"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, name, text, told):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as raised:
        read_words(tmp_path / name)
    assert told in raised.value.message


def answers(labels, predicted, groups):
    probabilities = np.eye(3)[list(predicted)]
    names = [str(number) for number in range(len(labels))]
    return Answers(labels=np.array(labels), probabilities=probabilities, clips=names, groups=[str(g) for g in groups])


rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 5)), min_size=1, max_size=30)


@given(own=rows, there=rows)
def test_changes_are_those_of_the_clips_that_both_have(own, there):
    scores, recalls = changes(*(answers(*zip(*side, strict=True)) for side in (own, there)), CLASSES, draws=50)
    shared = {label for label, _, _ in own} & {label for label, _, _ in there}
    assert [one.name for one in recalls] == [CLASSES[number] for number in sorted(shared)]
    assert bool(scores) == bool(shared)
    for one in (*scores, *recalls):
        assert one.difference is None or one.difference.estimate == pytest.approx(one.there.score - one.own.score)
    if scores:
        accuracy = next(one for one in scores if one.name == "accuracy")
        hits = [label == answer for label, answer, _ in there if label in shared]
        assert accuracy.there.score == pytest.approx(np.mean(hits))


def test_the_sides_are_drawn_by_themselves():
    """The same data on both sides: a paired interval would be a point, an unpaired one is wider than each side's."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    predicted = np.where(generator.random(300) < 0.7, labels, 0)
    same = answers(labels, predicted, np.arange(300))
    accuracy = next(one for one in changes(same, same, CLASSES)[0] if one.name == "accuracy")
    wide = accuracy.difference.high - accuracy.difference.low
    assert wide == pytest.approx(np.sqrt(2) * (accuracy.own.range.high - accuracy.own.range.low), rel=0.1)
    assert not accuracy.difference.shown
    assert not accuracy.too_few
