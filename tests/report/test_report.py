"""The report: one offline file, compared with a golden one, in two languages."""

import html.parser
import re
from pathlib import Path

import pytest

import petmood.evaluate
from fixtures.runs import FakePredictor, amend_mark, fair, make_calm_most_common, make_run
from fixtures.workspaces import make_workspace
from petmood.errors import UserError
from petmood.evaluate import evaluate
from petmood.records import REASONS
from petmood.report.page import read_page
from petmood.report.render import write_report
from petmood.report.texts import REASONS_KO, TEXTS

GOLDEN = Path(__file__).parent / "golden" / "report.html"
#: What may differ between machines and versions without the report being another one.
SCRUBS = (
    (r"data:image/jpeg;base64,[^\"]+", "data:image/jpeg;base64,[picture]"),
    (r"(?s)<svg .*?</svg>", "<svg>[chart]</svg>"),
    (r"(?s)<style>.*?</style>", "<style>[css]</style>"),
    (r"(<code>(?:petmood|torch|timm|numpy|scikit-learn)</code></th><td>)[^<]*", r"\1[version]"),
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "work", clips_per_class=24, frames_per_clip=2, size=32)
    make_calm_most_common(workspace)
    species = {"dog": {"calm": {"clips": 12, "frames": 24}}}
    emotions = {name: {"clips": n, "frames": 2 * n} for name, n in (("happy", 6), ("calm", 24), ("angry", 6))}
    refused = {"negative_box": 3, "box_outside_image": 11}
    amend_mark(workspace, "index", found=86, kept=72, refused=refused, emotions=emotions, species=species)
    amend_mark(
        workspace,
        "split",
        by="group",
        clips={"train": 24, "val": 6, "test": 6},
        groups={"train": 24, "val": 6, "test": 6},
    )
    monkeypatch.setattr(petmood.evaluate, "Predictor", FakePredictor(fair))
    made = make_run(workspace)
    evaluate(made, quiet=True)
    return made


def scrubbed(text):
    for pattern, replacement in SCRUBS:
        text = re.sub(pattern, replacement, text)
    return text


def test_report_is_the_golden_one(run):
    actual = scrubbed(write_report(run).read_text(encoding="utf-8"))
    beside = GOLDEN.with_suffix(".actual.html")
    if GOLDEN.is_file() and GOLDEN.read_text(encoding="utf-8") == actual:
        beside.unlink(missing_ok=True)
        return
    beside.parent.mkdir(exist_ok=True)
    beside.write_text(actual, encoding="utf-8")
    pytest.fail(f"the report differs from the golden one. See: diff {GOLDEN} {beside}\nAccept: mv {beside} {GOLDEN}")


class Links(html.parser.HTMLParser):
    """Everything that a page would load or run."""

    def __init__(self):
        super().__init__()
        self.found = []
        self.tags = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data"}]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_file_loads_nothing_and_runs_nothing(run, language):
    text = write_report(run, language).read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert all(link.startswith(("data:", "#")) for link in links.found)
    assert not links.tags & {"script", "iframe", "object", "embed"}
    assert "url(http" not in text
    assert "@import" not in text
    assert len(text.encode()) < 3_000_000


def test_sections_come_in_the_order_of_importance(run):
    text = write_report(run).read_text(encoding="utf-8")
    keys = ["split_head", "numbers_head", "classes_head", "species_head", "confusion_head", "training_head"]
    keys += ["refused_head", "imbalance_head", "examples_head", "settings_head"]
    places = [text.index(f"<h2>{TEXTS[key][0]}</h2>") for key in keys]
    assert text.index('class="verdict') < places[0]
    assert places == sorted(places)


def test_korean_has_no_english_sentences_left(run):
    text = write_report(run, "ko").read_text(encoding="utf-8")
    visible = re.sub(r"(?s)<(style|svg|code).*?</\1>|<[^>]+>", " ", text)
    assert '<html lang="ko">' in text
    assert "편안/안정" in visible
    for english, _ in TEXTS.values():
        if " " in english and "{" not in english:
            assert english not in visible


def test_every_text_and_reason_has_both_languages():
    assert set(REASONS_KO) == set(REASONS)
    for key, (english, korean) in TEXTS.items():
        fields = [sorted(re.findall(r"{(\w+)}", words)) for words in (english, korean)]
        assert fields[0] == fields[1], key


def test_examples_are_the_surest_one_frame_a_clip(run):
    page = read_page(run)
    for group in page.examples:
        for side in (group.right, group.wrong):
            assert len({one.clip for one in side}) == len(side) <= 3
            assert [one.confidence for one in side] == sorted((one.confidence for one in side), reverse=True)
            assert all(max(one.width, one.height) <= 128 and one.jpeg[:2] == b"\xff\xd8" for one in side)
        assert all(one.answer == group.emotion for one in group.right)
        assert all(one.answer != group.emotion for one in group.wrong)


def test_words_from_the_data_are_escaped(run):
    table = petmood.evaluate.pl.read_parquet(run / "predictions.parquet")
    table = table.with_columns(
        clip=petmood.evaluate.pl.lit("<script>alert(1)</script>") + petmood.evaluate.pl.col("clip")
    )
    table.write_parquet(run / "predictions.parquet")
    assert "<script" not in write_report(run).read_text(encoding="utf-8")


def test_a_run_without_curves_or_evaluation_says_so(run):
    (run / "metrics.csv").unlink()
    assert TEXTS["no_curves"][0] in write_report(run).read_text(encoding="utf-8")
    (run / "metrics.json").write_text('{"format": 1}', encoding="utf-8")
    with pytest.raises(UserError, match=r"metrics.json is not what this petmood writes"):
        write_report(run)
    (run / "metrics.json").unlink()
    with pytest.raises(UserError, match="was not evaluated"):
        write_report(run)
