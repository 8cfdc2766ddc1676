from __future__ import annotations

import pytest

from petmood.data.clean import DROP
from petmood.data.verdicts import read_verdicts
from petmood.errors import UserError


@pytest.fixture
def table(tmp_path):
    def write(text, encoding="utf-8"):
        path = tmp_path / "verdicts.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949"])
def test_verdicts_are_read_as_a_spreadsheet_saves_them(table, encoding):
    text = 'clip,emotion,verdict\r\na,calm,공포\r\nb,calm, Drop \r\nc,"x, y",Happy\r\nd,calm,keep\r\ne,calm,\r\n'
    assert read_verdicts(table(text, encoding)) == {"a": "fear", "b": DROP, "c": "happy"}


def test_column_names_may_be_in_any_order_and_case_and_clips_in_any_unicode_form(table):
    assert read_verdicts(table("Verdict,Clip \n행복,산책\n")) == {"산책": "happy"}


def test_merges_apply_to_verdicts_too(table):
    text = "clip,verdict\na,fear\nb,surprised\n"
    assert read_verdicts(table(text), {"fear": "anxious", "surprised": "happy"}) == {"a": "anxious", "b": "happy"}


def test_a_verdict_may_be_said_twice_but_not_another_one(table):
    assert read_verdicts(table("clip,verdict\na,drop\na,drop\na,\n")) == {"a": DROP}
    with pytest.raises(UserError, match=r"clip a has two verdicts in .*: 'keep' and 'drop'"):
        read_verdicts(table("clip,verdict\na,keep\na,drop\n"))


def test_no_verdicts_at_all_are_no_error(table):
    assert read_verdicts(table("clip,verdict\n")) == {}
    assert read_verdicts(table("clip,verdict\na,\n")) == {}


def test_a_word_that_is_no_verdict_is_refused_with_its_line_and_what_is_allowed(table):
    with pytest.raises(UserError) as caught:
        read_verdicts(table("clip,verdict\na,\nb,hungry\n"))
    assert "verdict 'hungry' for clip b" in caught.value.message
    assert "line 3" in caught.value.message
    assert "keep, drop and the emotions 행복/즐거움" in caught.value.message


@pytest.mark.parametrize(
    ("head", "missing"), [("clip,word", "verdict"), ("name", "clip and verdict"), ("clip;verdict", "clip and")]
)
def test_a_table_without_the_columns_is_refused(table, head, missing):
    with pytest.raises(UserError, match=f"lacks the column {missing}"):
        read_verdicts(table(f"{head}\n"))


def test_a_missing_table_and_one_that_is_no_text_are_refused(tmp_path, table):
    with pytest.raises(UserError, match="does not exist") as caught:
        read_verdicts(tmp_path / "none.csv")
    assert "petmood audit" in caught.value.hint
    path = table("")
    path.write_bytes(b"\xff\xfe\x00clip\x81")
    with pytest.raises(UserError, match="neither UTF-8 nor cp949"):
        read_verdicts(path)
