"""`petmood sheet` as a user meets it."""

from __future__ import annotations

import json

import pytest

from fixtures.workspaces import make_workspace


@pytest.fixture
def work(tmp_path):
    return make_workspace(tmp_path / "work", frames_per_clip=2, size=16, sources=True).root


def test_it_writes_the_page_and_says_where_and_how_large(run, work):
    code, out, err = run("sheet", work)
    page = work / "contact-sheet.html"
    assert (code, err) == (0, "")
    assert out == f"{page}: 24 pictures of 12 clips, {page.stat().st_size / 1e6:.1f} MB\n"


def test_options_choose_clips_frames_and_language(run, work):
    assert run("sheet", work, "--clip", "cat-calm-001", "--clip", "dog-happy-000", "--lang", "ko")[0] == 0
    page = (work / "contact-sheet.html").read_text(encoding="utf-8")
    assert '<html lang="ko">' in page
    assert page.count("<article") == 2
    assert (
        run("sheet", work, "--emotion", "화남", "--emotion", "calm", "--clips", 4, "--frames", 1, "--seed", 3)[0] == 0
    )
    page = (work / "contact-sheet.html").read_text(encoding="utf-8")
    assert page.count("<article") == 4
    assert "(seed 3)" in page


def test_json_is_one_object(run, work):
    code, out, _ = run("sheet", work, "--clips", 3, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["path"] == str(work / "contact-sheet.html")
    assert (told["clips"], told["pictures"], told["left_out"]) == (3, 6, 0)


def test_the_same_command_writes_the_same_page(run, work):
    run("sheet", work)
    first = (work / "contact-sheet.html").read_bytes()
    run("sheet", work)
    assert (work / "contact-sheet.html").read_bytes() == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--clip", "nobody"), "clip 'nobody' is not in work folder"),
        (("--emotion", "hungry"), "emotion 'hungry' is unknown; this work folder has happy 행복/즐거움"),
        (("--clips", 0), "clips '0' is not allowed"),
        (("--frames", "many"), "many"),
    ],
)
def test_what_cannot_be_done_is_one_paragraph_and_exit_code_2(run, work, words, message):
    code, out, err = run("sheet", work, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert not (work / "contact-sheet.html").exists()


def test_a_folder_that_is_no_workspace_is_told(run, tmp_path):
    code, _, err = run("sheet", tmp_path)
    assert code == 2
    assert "is not a petmood workspace" in err
