"""Doubtful labels: planted ones come first, nothing that was trained on is judged, verdicts stay."""

import csv
import dataclasses

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import fixtures.workspaces
from fixtures.workspaces import make_workspace
from petmood.bundle import INFO_FILE, save_bundle
from petmood.doubts import audit
from petmood.doubts.outoffold import STRENGTHS, out_of_fold
from petmood.doubts.ranking import credit, expecting, rank_labels
from petmood.errors import UserError
from petmood.model import EmotionNet
from petmood.preprocess import Preprocessing
from petmood.recipes.doubts import DoubtSettings
from petmood.recipes.features import FeatureSettings
from petmood.weights import create_backbone
from petmood.workspace import read_json, read_table, write_json, write_table

FEATURES = FeatureSettings(model="test_efficientnet", pretrained="none", image_size=32, threads=1)
CLASSES = ("happy", "calm", "angry")
HUES = {"happy": (200, 60, 60), "calm": (60, 200, 60), "angry": (60, 60, 200)}


def clouds(counts, *, spread=1.0, seed=0, width=8):
    """Features of clips in clouds that overlap a little, their true classes, and groups of two clips."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    centres = 3.0 * np.eye(len(counts), width)
    features = centres[truth] + spread * generator.normal(size=(len(truth), width))
    return features.astype(np.float32), truth, [f"group-{number // 2}" for number in range(len(truth))]


def planted(truth, share, seed=0):
    """Labels of which some are wrong, and which."""
    generator = np.random.default_rng(seed)
    wrong = np.zeros(len(truth), bool)
    wrong[generator.choice(len(truth), round(share * len(truth)), replace=False)] = True
    step = generator.integers(1, truth.max() + 1, len(truth))
    return np.where(wrong, (truth + step) % (truth.max() + 1), truth), wrong


@pytest.mark.parametrize("counts", [(100, 100, 100), (240, 60, 24)])
def test_planted_wrong_labels_are_ranked_first(counts):
    features, truth, groups = clouds(counts)
    labels, wrong = planted(truth, 0.05)
    found = out_of_fold(features, labels, groups, folds=5, seed=0)
    ranking = rank_labels(labels, found.probabilities)
    assert roc_auc_score(wrong, -ranking.score) > 0.9
    assert wrong[ranking.order[: wrong.sum()]].mean() > 0.6
    assert wrong[ranking.flagged].mean() > 8 * wrong.mean()


def test_a_rare_emotion_is_not_doubted_for_being_rare():
    features, truth, groups = clouds((300, 30), spread=2.2)
    labels, _ = planted(truth, 0.0)
    found = out_of_fold(features, labels, groups, folds=5, seed=0)
    ranking = rank_labels(labels, found.probabilities)
    rare = labels == 1
    # By self-confidence alone nearly all of the first 30 are of the rare emotion.
    assert rare[np.argsort(found.probabilities[np.arange(len(labels)), labels])[:30]].mean() > 0.8
    assert rare[ranking.order[:30]].mean() < 0.6
    assert ranking.flagged[rare].mean() < 0.5


def test_progress_is_told_after_each_fit():
    features, labels, groups = clouds((20, 20))
    ticks = []
    out_of_fold(features, labels, groups, folds=3, seed=0, advance=ticks.append)
    assert ticks == [1] * 3 * len(STRENGTHS)


def test_a_label_that_only_its_group_knows_is_not_found_again():
    # Features say nothing but which group a clip is of: whoever saw the group would know the label.
    groups = [f"group-{number // 4}" for number in range(160)]
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 40).repeat(4)
    features = np.eye(40, dtype=np.float32).repeat(4, axis=0)
    found = out_of_fold(features, labels, groups, folds=5, seed=0)
    assert not credit(labels, found.probabilities, groups).better_than_chance


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_predictions_that_know_nothing_are_called_so(seed, classes):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), generator.integers(0, classes, 60)])
    probabilities = np.full((len(labels), classes), 1 / classes)
    trust = credit(labels, probabilities, [str(row) for row in range(len(labels))])
    assert trust.chance == pytest.approx(trust.balanced_accuracy) == 1 / classes
    assert not trust.better_than_chance


def test_luck_is_taken_for_knowledge_seldom():
    generator = np.random.default_rng(0)
    groups = [f"group-{row // 2}" for row in range(120)]
    taken = 0
    for _ in range(200):
        labels = generator.choice(3, 120, p=[0.6, 0.3, 0.1])
        shares = generator.dirichlet((6, 3, 1), 60).repeat(2, axis=0)
        taken += credit(labels, shares, groups).better_than_chance
    assert taken <= 12


def test_knowledge_of_a_rare_emotion_counts_although_the_likeliest_is_always_the_frequent_one():
    labels = np.repeat([0, 1], [180, 20])
    probabilities = np.where(labels[:, None] == 0, (0.95, 0.05), (0.7, 0.3))
    trust = credit(labels, probabilities, [str(row) for row in range(200)])
    assert trust.accuracy == trust.majority_accuracy == 0.9
    assert trust.balanced_accuracy == 1
    assert trust.better_than_chance


def test_changed_expectations_are_bayes_rule():
    shares = np.array([[0.5, 0.3, 0.2]])
    changed = expecting(shares, before=np.full(3, 1 / 3), now=np.array([0.1, 0.8, 0.1]))
    assert changed == pytest.approx(np.array([[0.05, 0.24, 0.02]]) / 0.31)
    assert expecting(changed, before=np.array([0.1, 0.8, 0.1]), now=np.full(3, 1 / 3)) == pytest.approx(shares)


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(2, 6), st.integers(0, 40))
def test_any_probabilities_can_be_ranked(seed, classes, more):
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes).repeat(2), generator.integers(0, classes, more)])
    probabilities = generator.dirichlet(np.full(classes, 0.3), len(labels)).clip(1e-6)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    ranking = rank_labels(labels, probabilities)
    assert sorted(ranking.order) == list(range(len(labels)))
    flagged = ranking.flagged[ranking.order]
    assert not (flagged[1:] & ~flagged[:-1]).any()
    score = ranking.score[ranking.order]
    assert (np.diff(score[flagged]) >= 0).all()
    assert (np.diff(score[~flagged]) >= 0).all()
    assert (probabilities.argmax(axis=1) != labels)[ranking.flagged].all()


@pytest.fixture
def coloured(tmp_path, monkeypatch):
    """A workspace whose emotions are colours, with the label of one clip of each emotion wrong; and these clips."""

    def draw(emotion, generator, size):
        noise = generator.integers(-25, 26, (size, size, 3))
        return (np.array(HUES[emotion]) + noise).clip(0, 255).astype(np.uint8)

    monkeypatch.setattr(fixtures.workspaces, "draw", draw)
    workspace = make_workspace(tmp_path / "work", clips_per_class=14, frames_per_clip=2, size=32)
    wrong = {"dog-happy-006": "calm", "cat-calm-007": "angry", "dog-angry-002": "happy"}
    relabel(workspace, wrong)
    return workspace, wrong


def relabel(workspace, words, column="emotion"):
    frames = workspace.read_frames()
    changed = pl.col("clip").replace_strict(words, default=pl.col(column), return_dtype=pl.String)
    write_table(frames.with_columns(changed.alias(column)), workspace.frames)


def look(folder, **changes):
    settings = dataclasses.replace(DoubtSettings(), **changes)
    return audit(folder, settings, FEATURES, quiet=True)


def rows_of(folder):
    with (folder / "doubts.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_wrong_labels_of_pictures_are_found_and_the_right_ones_suggested(coloured):
    workspace, wrong = coloured
    summary = look(workspace.root)
    rows = rows_of(workspace.root)
    assert len(rows) == summary["clips"] == 42
    assert {row["clip"] for row in rows[:3]} == set(wrong)
    for row in rows[:3]:
        assert row["suggested"] == row["clip"].split("-")[1] == row["owner_emotion"]
        assert (row["flagged"], row["owner_agrees"], row["verdict"]) == ("yes", "yes", "")
        assert row["path"].endswith(".jpg")
    assert summary["credit"]["better_than_chance"]
    assert summary["owner"] == {"known": 42, "differs": 3, "flagged": 3, "agrees": 3}
    assert sum(counts["flagged"] for counts in summary["emotions"].values()) == 3


def test_the_same_again_gives_the_same_files(coloured):
    workspace, _ = coloured
    look(workspace.root)
    before = (workspace.root / "doubts.csv").read_bytes()
    look(workspace.root)
    assert (workspace.root / "doubts.csv").read_bytes() == before
    assert before.startswith(b"\xef\xbb\xbf")


def test_frames_that_are_not_kept_are_not_judged(coloured):
    workspace, _ = coloured
    frames = workspace.read_frames()
    dropped = pl.col("clip") != "cat-calm-007"
    write_table(frames.with_columns(keep=dropped & ~pl.col("frame_id").str.ends_with("_1")), workspace.frames)
    look(workspace.root)
    rows = rows_of(workspace.root)
    assert "cat-calm-007" not in {row["clip"] for row in rows}
    assert {row["frames"] for row in rows} == {"1"}


def test_verdicts_that_are_filled_in_stay(coloured):
    workspace, _ = coloured
    look(workspace.root)
    path = workspace.root / "doubts.csv"
    table = pl.read_csv(path, infer_schema=False)
    words = {"dog-happy-006": "행복/즐거움", "cat-calm-007": "drop", "dog-angry-008": "keep"}
    table = table.with_columns(verdict=pl.col("clip").replace_strict(words, default=""))
    # As Excel saves on a Korean Windows.
    path.write_bytes(table.write_csv().encode("cp949"))
    # A dropped clip is gone from the next index.
    write_table(workspace.read_frames().filter(pl.col("clip") != "cat-calm-007"), workspace.frames)
    summary = look(workspace.root)
    rows = rows_of(workspace.root)
    assert {row["clip"]: row["verdict"] for row in rows if row["verdict"]} == words
    assert rows[-1]["clip"] == "cat-calm-007"
    assert rows[-1]["suggested"] == "calm"
    assert summary["verdicts"] == 2
    look(workspace.root)
    assert rows_of(workspace.root) == rows


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"clip,verdicts\na,drop\n", "lacks the column verdict; found are clip, verdicts"),
        (b"\xff\xfe\x80\x81", "is neither UTF-8 nor cp949 text"),
    ],
)
def test_a_table_that_cannot_be_read_is_never_overwritten(coloured, content, words):
    workspace, _ = coloured
    path = workspace.root / "doubts.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        look(workspace.root)
    assert "verdicts in it would be lost" in caught.value.hint
    assert path.read_bytes() == content


def test_an_emotion_of_too_few_groups_is_named_and_not_judged(coloured):
    workspace, _ = coloured
    fear = {f"{species}-happy-{n:03d}": "fear" for n, species in ((0, "dog"), (1, "cat"), (2, "dog"))}
    relabel(workspace, fear)
    mark = read_json(workspace.root / "index.json")
    mark["counts"]["classes"] = ["happy", "calm", "angry", "fear"]
    write_json(workspace.root / "index.json", mark)
    summary = look(workspace.root)
    assert summary["left_out"] == {"fear": 3}
    assert summary["classes"] == ["happy", "calm", "angry"]
    assert not {row["clip"] for row in rows_of(workspace.root)} & set(fear)
    assert look(workspace.root, folds=3)["left_out"] == {}


def test_too_little_to_compare_is_said(coloured):
    workspace, _ = coloured
    with pytest.raises(UserError, match=r"at least 30 groups for 0 of its emotions \(happy 14, calm 14, angry 14\)"):
        look(workspace.root, folds=30)


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match="is neither a work folder nor a run"):
        look(tmp_path)


@pytest.fixture
def run(coloured):
    """A run of a network that was not trained, in the coloured workspace."""
    workspace, _ = coloured
    folder = workspace.runs / "made-up"
    folder.mkdir(parents=True)
    net = EmotionNet(create_backbone(FEATURES.model, image_size=32), classes=3)
    preprocessing = Preprocessing(
        image_size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bilinear", fit="pad"
    )
    save_bundle(
        folder, net, workspace, model=FEATURES.model, classes=CLASSES, preprocessing=preprocessing, settings={},
        epoch=1, scores={}, shares=dict.fromkeys(CLASSES, 1 / 3),
    )  # fmt: skip
    return folder


def test_a_run_judges_only_what_it_has_not_seen(coloured, run):
    workspace, _ = coloured
    summary = look(run, folds=2)
    frames = workspace.read_frames()
    unseen = set(frames.filter(pl.col("split") != "train")["clip"])
    assert {row["clip"] for row in rows_of(run)} == unseen
    assert summary["kind"] == "run"
    assert summary["clips"] == len(unseen)
    assert not (workspace.root / "doubts.csv").exists()


def test_answers_of_a_run_are_read_as_if_emotions_came_as_often_as_they_do(coloured, run):
    workspace, _ = coloured
    look(run, folds=2)
    columns = [f"p_{name}" for name in CLASSES]
    before = read_table(run / "doubts.parquet").sort("clip").select("clip", *columns)
    info = read_json(run / INFO_FILE)
    info["shares"] = info["trained_shares"] = dict(zip(CLASSES, (0.2, 0.7, 0.1), strict=True))
    write_json(run / INFO_FILE, info)
    look(run, folds=2)
    after = read_table(run / "doubts.parquet").sort("clip").select(columns).to_numpy()
    expected = expecting(before.select(columns).to_numpy(), before=np.array([0.2, 0.7, 0.1]), now=np.full(3, 1 / 3))
    assert after == pytest.approx(expected, rel=1e-5)
    assert workspace.root == run.parents[1]


def test_a_run_on_other_data_is_refused_because_it_may_have_seen_the_clips(coloured, run):
    workspace, _ = coloured
    mark = read_json(workspace.root / "split.json")
    write_json(workspace.root / "split.json", {**mark, "made_from": "another split"})
    with pytest.raises(UserError, match=r"has changed since made-up was trained \(split ran again\)"):
        look(run, folds=2)


def test_an_allowed_leak_is_named(coloured, run):
    workspace, _ = coloured
    mark = read_json(workspace.root / "split.json")
    mark["counts"]["leak"]["groups"] = 2
    write_json(workspace.root / "split.json", mark)
    assert look(run, folds=2)["notes"] == ["leak"]
