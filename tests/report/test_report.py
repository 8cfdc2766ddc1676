"""The report: one offline file, compared with a golden one, in two languages, small however much was judged."""

import html.parser
import os
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fixtures.reports import evaluated_run, write_heat
from petmood import media
from petmood.errors import UserError
from petmood.metrics import Evaluation
from petmood.records import REASONS
from petmood.report import galleries
from petmood.report.card import CARD
from petmood.report.findings import FINDINGS
from petmood.report.page import read_page
from petmood.report.render import SECTIONS, write_report
from petmood.report.texts import REASONS_KO, TEXTS
from petmood.workspace import read_json, write_json

GOLDEN = Path(__file__).parent / "golden" / "report.html"
#: Set it to anything and the golden file is written anew instead of compared.
RENEW = "PETMOOD_RENEW_GOLDEN"
#: What may differ between machines and versions without the report being another one.
SCRUBS = (
    (r"data:image/jpeg;base64,[^\"]+", "data:image/jpeg;base64,[picture]"),
    (r"(?s)<svg .*?</svg>", "<svg>[chart]</svg>"),
    (r"(?s)<style>.*?</style>", "<style>[css]</style>"),
    (r"(<code>(?:petmood|torch|timm|numpy|scikit-learn)</code></th><td>)[^<]*", r"\1[version]"),
    (r"made by petmood [\d.\w+]+\.", "made by petmood [version]."),
    (r" pictures in [\d.,]+ s on \w+: [\d.,]+ a second", " pictures in [time] s on [device]: [rate] a second"),
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    return evaluated_run(tmp_path, monkeypatch)


def scrubbed(text):
    for pattern, replacement in SCRUBS:
        text = re.sub(pattern, replacement, text)
    return text


def test_report_is_the_golden_one(run):
    actual = scrubbed(write_report(run).read_text(encoding="utf-8"))
    beside = GOLDEN.with_suffix(".actual.html")
    if os.environ.get(RENEW):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(actual, encoding="utf-8")
    if GOLDEN.is_file() and GOLDEN.read_text(encoding="utf-8") == actual:
        beside.unlink(missing_ok=True)
        return
    beside.write_text(actual, encoding="utf-8")
    pytest.fail(
        f"the report differs from the golden one. See: diff {GOLDEN} {beside}\n"
        f"Accept: {RENEW}=1 python -m pytest {__file__}"
    )


class Links(html.parser.HTMLParser):
    """Everything that a page would load or run, and where its links lead."""

    def __init__(self, text):
        super().__init__()
        self.found, self.ids, self.tags = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data"}]
        self.ids += [value for name, value in attrs if name == "id"]


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_file_loads_nothing_and_runs_nothing(run, language):
    text = write_report(run, language).read_text(encoding="utf-8")
    links = Links(text)
    assert all(link.startswith(("data:", "#")) for link in links.found)
    assert not links.tags & {"script", "iframe", "object", "embed", "form"}
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in text
    assert "url(http" not in text
    assert "@import" not in text


def test_every_link_of_the_page_leads_somewhere(run):
    links = Links(write_report(run).read_text(encoding="utf-8"))
    targets = [link[1:] for link in links.found if link.startswith("#")]
    assert len(targets) > 10
    assert set(targets) <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))


def test_sections_come_in_the_order_of_importance(run):
    text = write_report(run).read_text(encoding="utf-8")
    places = [text.index(f'<section id="{name}">\n<h2>{TEXTS[name + "_head"][0]}</h2>') for name in SECTIONS]
    assert text.index('class="verdict') < text.index('class="findings"') < places[0]
    assert places == sorted(places)


def test_korean_has_no_english_sentences_left(run):
    text = write_report(run, "ko").read_text(encoding="utf-8")
    visible = re.sub(r"(?s)<(style|svg|code).*?</\1>|<[^>]+>", " ", text)
    assert '<html lang="ko">' in text
    assert "편안/안정" in visible
    for english, _ in (*TEXTS.values(), *FINDINGS.values(), *CARD.values()):
        for part in re.split(r"{\w+}", english):
            if part.strip().count(" ") > 1:
                assert part not in visible


def test_every_text_and_reason_has_both_languages():
    assert set(REASONS_KO) == set(REASONS)
    for key, (english, korean) in {**TEXTS, **FINDINGS, **CARD}.items():
        fields = [sorted(re.findall(r"{(\w+)}", words)) for words in (english, korean)]
        assert fields[0] == fields[1], key
        assert english.strip()
        assert korean.strip()


def test_what_any_stage_refused_is_counted(run):
    data = read_page(run).data
    assert data.refused == {"negative_box": 3, "box_outside_image": 11, "near_copy": 2}
    assert data.steps == {"found": 86, "good": 72, "chosen": 72, "crops": 144, "used": 70}
    assert data.split_emotions["calm"] == {"train": 16, "val": 4, "test": 4}
    assert data.species == ("cat", "dog")


def test_each_cell_shows_its_clips_the_surest_first(run):
    page = read_page(run)
    confusion = page.evaluation.clips.confusion
    for i, truth in enumerate(page.evaluation.classes):
        for j, answer in enumerate(page.evaluation.classes):
            shown = page.galleries.cells.get((truth, answer), ())
            assert len(shown) == min(confusion[i][j], galleries.PER_CELL)
            assert len({one.clip for one in shown}) == len(shown)
            assert all((one.truth, one.answer) == (truth, answer) for one in shown)
            assert [one.confidence for one in shown] == sorted((one.confidence for one in shown), reverse=True)


def test_examples_are_right_and_wrong_with_heat_over_them(run):
    page = read_page(run)
    assert page.galleries.has_heat
    for group in page.galleries.examples:
        assert len(group.right) <= 3
        assert len(group.wrong) <= 3
        assert all(one.answer == group.emotion for one in group.right)
        assert all(one.answer != group.emotion == one.truth for one in group.wrong)
        for one in (*group.right, *group.wrong):
            plain, warm = (media.decode(each.jpeg).mean(axis=2) for each in (one.picture, one.heat))
            assert plain.shape == warm.shape
            # The made-up heat lies at the top left: brighter there than at the bottom right, by far.
            half = warm.shape[0] // 2
            assert warm[:half, :half].mean() > warm[half:, half:].mean() + 40


def test_without_heat_maps_there_is_none(run):
    (run / "heatmaps.parquet").unlink()
    assert not read_page(run).galleries.has_heat
    assert TEXTS["heat_note"][0] not in write_report(run).read_text(encoding="utf-8")


def test_damaged_heat_is_told(run):
    write_heat(run)
    table = pl.read_parquet(run / "heatmaps.parquet").with_columns(height=pl.lit(6))
    table.write_parquet(run / "heatmaps.parquet")
    with pytest.raises(UserError, match=r"heatmaps.parquet is damaged"):
        write_report(run)


def test_words_from_the_data_are_escaped(run):
    table = pl.read_parquet(run / "predictions.parquet")
    table = table.with_columns(clip=pl.lit("<script>alert(1)</script>") + pl.col("clip"))
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


def test_predictions_of_another_run_are_told(run):
    table = pl.read_parquet(run / "predictions.parquet")
    table.drop("p_calm").write_parquet(run / "predictions.parquet")
    with pytest.raises(UserError, match="no column p_calm"):
        write_report(run)
    table.with_columns(emotion=pl.lit("fear")).write_parquet(run / "predictions.parquet")
    with pytest.raises(UserError, match="other emotions"):
        write_report(run)


def test_a_hundred_thousand_frames_make_a_small_file_and_few_pictures_are_decoded(run, monkeypatch):
    """The pictures are those of a few crops: each frame of the large table has the crop of one of the small one."""
    decoded = []
    monkeypatch.setattr("petmood.crops.decode", lambda jpeg: decoded.append(1) or media.decode(jpeg))
    small = pl.read_parquet(run / "predictions.parquet")
    generator = np.random.default_rng(0)
    rows, clips = 100_000, 20_000
    chosen = small[generator.integers(len(small), size=clips)]
    of_clip = np.arange(rows) % clips
    table = chosen[of_clip].with_columns(
        frame_id=pl.format("f{}", pl.int_range(rows)),
        clip=pl.Series([f"clip-{number}" for number in of_clip]),
        group=pl.Series([f"group-{number % 5000}" for number in of_clip]),
    )
    shares = generator.dirichlet([0.4, 0.4, 0.4], size=rows).astype(np.float32)
    table = table.with_columns(pl.Series(f"p_{n}", shares[:, i]) for i, n in enumerate(("happy", "calm", "angry")))
    crops = run.parents[1] / "crops" / "crops.parquet"
    kept = pl.read_parquet(crops)
    kept[np.arange(rows) % len(kept)].with_columns(frame_id=table["frame_id"]).write_parquet(crops)
    table.write_parquet(run / "predictions.parquet")
    text = write_report(run).read_text(encoding="utf-8")
    assert len(text.encode()) < 15_000_000
    shown = text.count('<img src="data:image/jpeg')
    assert shown >= 9 * galleries.PER_CELL
    assert 0 < len(decoded) <= shown


def test_a_model_that_beats_the_majority_by_luck_is_not_green(run):
    content = read_json(run / "metrics.json") | {"verdict": "beats"}
    write_json(run / "metrics.json", content)
    assert Evaluation.from_dict(content).verdict == "beats"
    text = write_report(run).read_text(encoding="utf-8")
    assert '<p class="verdict beats shaky">' in text
    assert TEXTS["shaky"][0] in text
