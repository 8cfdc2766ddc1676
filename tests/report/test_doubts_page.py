"""The list of doubtful labels: one offline file with pictures, in two languages, and the command that writes it."""

import html
import html.parser
import json
import re

import polars as pl
import pytest

from fixtures.workspaces import make_workspace
from petmood.cli import run
from petmood.errors import UserError
from petmood.report.doubt_texts import WORDS
from petmood.report.doubts import doubt_lines, read_doubts, write_doubts_page
from petmood.workspace import read_json, read_table, write_json, write_table

OPTIONS = ["--model", "test_efficientnet", "--pretrained", "none", "--image-size", "32", "--threads", "1", "-q"]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A small work folder that was audited in English, with one clip whose owner names another emotion."""
    workspace = make_workspace(tmp_path_factory.mktemp("page") / "work", clips_per_class=6, size=32)
    owner = pl.when(pl.col("clip") == "dog-calm-000").then(pl.lit("angry")).otherwise("owner_emotion")
    write_table(workspace.read_frames().with_columns(owner_emotion=owner), workspace.frames)
    assert run(["audit", str(workspace.root), *OPTIONS]) == 0
    return workspace


@pytest.fixture
def folder(audited, tmp_path):
    """A copy of its files that a test may change; the crops are the same."""
    for path in audited.root.iterdir():
        target = tmp_path / "work" / path.name
        target.parent.mkdir(exist_ok=True)
        if path.is_file():
            target.write_bytes(path.read_bytes())
    (tmp_path / "work" / "crops").symlink_to(audited.crops)
    return tmp_path / "work"


class Page(html.parser.HTMLParser):
    """What a page would load or run, and what it says."""

    def __init__(self, text):
        super().__init__()
        self.links, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "xlink:href", "srcset", "data"}]
        assert not [name for name, _ in attrs if name.startswith("on")]


def page_of(folder, language="en", **options):
    return write_doubts_page(folder, language, **options).read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_page_loads_nothing_and_runs_nothing(folder, language):
    text = page_of(folder, language)
    page = Page(text)
    assert all(link.startswith("data:") for link in page.links)
    assert not set(page.tags) & {"script", "iframe", "object", "embed", "form"}
    assert "default-src 'none'" in text
    assert "url(http" not in text
    assert page.tags.count("img") == 18 * 3
    assert page.tags.count("article") == 18


def test_clips_come_as_they_are_ranked_and_no_more_than_asked_for(folder):
    ranked = read_table(folder / "doubts.parquet")["clip"].to_list()
    assert [one.clip for one in read_doubts(folder, 5).cases] == ranked[:5]
    text = page_of(folder, top=5)
    assert [re.search(rf"<h3>{n}\. ([\w-]+)", text)[1] for n in range(1, 6)] == ranked[:5]
    assert ranked[5] not in text


def test_a_clip_with_a_verdict_is_not_shown_again(folder):
    table = read_table(folder / "doubts.parquet")
    first = table["clip"][0]
    write_table(
        table.with_columns(verdict=pl.when(pl.col("clip") == first).then(pl.lit("keep")).otherwise(pl.lit(""))),
        folder / "doubts.parquet",
    )
    assert first not in page_of(folder)
    assert not [line for line in doubt_lines(folder, "en") if first in line]


def test_the_bars_are_the_probabilities(folder):
    first = read_table(folder / "doubts.parquet").row(0, named=True)
    widths = re.findall(r'<span style="width: ([\d.]+)%">', page_of(folder, top=1))
    assert [float(width) for width in widths] == [
        pytest.approx(100 * first[f"p_{name}"], abs=0.06) for name in ("happy", "calm", "angry")
    ]


def test_words_from_the_data_are_escaped_and_korean_names_stay(folder):
    evil = '클립 "><script>alert(1)</script>'
    table = read_table(folder / "doubts.parquet")
    write_table(table.with_columns(clip=pl.lit(evil) + pl.col("clip")), folder / "doubts.parquet")
    text = page_of(folder)
    assert "script" not in Page(text).tags
    assert html.escape(evil, quote=True).split("&")[0] in text


def test_a_clip_whose_crops_are_gone_is_listed_without_pictures(folder):
    table = read_table(folder / "doubts.parquet")
    write_table(table.with_columns(pictures=pl.lit(["gone/frame"])), folder / "doubts.parquet")
    assert page_of(folder).count(WORDS["no_picture"][0]) == 18


def test_korean_has_no_english_sentences_left(folder):
    text = page_of(folder, "ko")
    visible = re.sub(r"(?s)<(style|code).*?</\1>|<[^>]+>", " ", text)
    assert '<html lang="ko">' in text
    assert "편안/안정" in visible
    for english, _ in WORDS.values():
        if " " in english and "{" not in english:
            assert html.escape(english) not in visible


def test_every_sentence_has_the_same_fields_in_both_languages():
    for key, (english, korean) in WORDS.items():
        fields = [set(re.findall(r"{(\w+)}", words)) for words in (english, korean)]
        assert fields[0] == fields[1], key


def test_predictions_that_know_nothing_are_not_dressed_up(folder):
    summary = read_json(folder / "doubts.json")
    summary["credit"].update(better_than_chance=False, balanced_accuracy=0.31)
    write_json(folder / "doubts.json", summary)
    assert 'class="verdict disbelieve"' in page_of(folder)
    lines = list(doubt_lines(folder, "en"))
    assert "NO better than chance" in lines[1]
    assert lines[1].endswith("This ranking means little. Take a stronger --model, or audit a trained run.")


def test_the_terminal_says_what_was_found_and_what_comes_next(folder):
    lines = list(doubt_lines(folder, "en"))
    assert lines[0].startswith("18 clips of 18 groups")
    assert any(line.startswith("owner and label differ in 1 of 18 clips") for line in lines)
    assert len([line for line in lines if " → " in line]) == 10
    table = folder / "doubts.csv"
    assert lines[-1] == f"fill in `verdict` in {table}, then: petmood prepare SOURCE {folder} --verdicts {table}"


def test_a_folder_that_was_not_audited_is_refused(tmp_path):
    with pytest.raises(UserError, match="was not audited"):
        write_doubts_page(tmp_path)


def test_the_command_prints_json(audited, capsys):
    assert run(["audit", str(audited.root), *OPTIONS, "--json", "--lang", "ko", "--top", "3"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["clips"], len(found["most_doubtful"])) == ("work", 18, 10)
    assert found["page"] == str(audited.root / "doubts.html")
    assert (audited.root / "doubts.html").read_text(encoding="utf-8").count("<article") == 3
    # The next test must find the page as it was.
    assert run(["audit", str(audited.root), *OPTIONS]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "is neither a work folder nor a run"),
        (["{work}", "--folds", "1"], "folds"),
        (["{work}", "--top", "0"], "top"),
        (["{work}", "--folds", "7"], "at least 7 groups for 0 of its emotions"),
        (["{work}", "--model", "nonsense"], "model 'nonsense' is not known"),
    ],
)
def test_bad_input_ends_in_one_paragraph(audited, capsys, words, told):
    assert run(["audit", *(word.format(work=audited.root) for word in words), "-q"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
