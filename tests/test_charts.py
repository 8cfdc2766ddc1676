"""Charts: valid SVG, the same bytes each time, Korean as text, no warnings (they are errors here)."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from petmood import charts
from petmood.charts import ClassBar

SVG = "{http://www.w3.org/2000/svg}"
ROWS = [
    ClassBar("행복/즐거움", {"개": 29800, "고양이": 3}),
    ClassBar("공포 & <b>$x$", {"개": 104, "고양이": 0}),
]


LINES = {"훈련": [1.0, 0.5], "검증": [None, 0.7]}


def drawn():
    return {
        "class_bars": charts.class_bars("감정별 <수>", ROWS, axis="개수"),
        "reliability": charts.reliability(
            "보정", {"전": [(0.3, 0.1, 4), (0.9, 0.5, 90)], "후": []}, axes_labels=("확률", "정답"), ideal_label="이상"
        ),
        "risk_coverage": charts.risk_coverage("위험", {"클립": ([0.5, 1], [0.0, 0.4])}, axes_labels=("답한", "틀린")),
        "curves": charts.curves("손실", [1, 2], LINES, axis="에폭", mark=2, mark_label="선택"),
        "rates": charts.rates("학습률", [1e-4, 1e-3, 1e-2], [2, 1, 9], [2, 1.5, 2], mark=1e-3, mark_label="try 1.0e-3"),
    }


def words(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("name", list(drawn()))
def test_charts_are_the_same_bytes_each_time_and_stand_alone(name):
    first, second = drawn()[name], drawn()[name]
    assert first == second
    assert first.startswith("<svg ")
    assert first.endswith("</svg>\n")
    assert "http" not in first.replace("http://www.w3.org/", "")
    assert "currentColor" in first
    assert 'class="paper"' in first
    ids = [element.get("id") for element in ElementTree.fromstring(first).iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_text_stays_text_and_is_escaped():
    assert "행복/즐거움" in words(drawn()["class_bars"])
    assert "공포 & <b>$x$" in words(drawn()["class_bars"])
    assert "감정별 <수>" in words(drawn()["class_bars"])


def test_numbers_stand_at_the_bars_ends():
    found = words(drawn()["class_bars"])
    assert {"29,800", "3", "104", "0"} <= set(found)


def test_the_dot_of_many_answers_is_larger_than_that_of_few():
    def width(svg):
        """Of the first dot."""
        dots = [path for path in re.findall(r"(?s)<path ([^>]*)>", svg) if "fill-opacity: 0.45" in path]
        across = [[float(x) for x in re.findall(r"[MC ]([\d.]+) [\d.]+ *\n", dot)] for dot in dots]
        return max(across[0]) - min(across[0])

    few, many = (
        charts.reliability("x", {"a": [(0.5, 0.5, count), (0.9, 0.5, 100)]}, axes_labels=("p", "r"), ideal_label="i")
        for count in (1, 100)
    )
    assert width(few) < width(many)


def test_shares_stand_as_per_cent():
    assert {"0%", "100%", "이상", "전"} <= set(words(drawn()["reliability"]))
    assert {"0%", "100%", "답한", "틀린"} <= set(words(drawn()["risk_coverage"]))


def test_different_charts_of_one_page_share_no_ids():
    found = [
        element.get("id")
        for svg in drawn().values()
        for element in ElementTree.fromstring(svg).iter()
        if element.get("id")
    ]
    assert len(found) == len(set(found))


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        charts.class_bars("x", [])
    with pytest.raises(ValueError, match="same series"):
        charts.class_bars("x", [ClassBar("a", {"n": 1}), ClassBar("b", {"m": 1})])
    with pytest.raises(ValueError, match="one bin"):
        charts.reliability("x", {"a": []}, axes_labels=("p", "r"), ideal_label="i")
    with pytest.raises(ValueError, match="as many shares"):
        charts.risk_coverage("x", {"a": ([1.0], [])}, axes_labels=("c", "r"))
    with pytest.raises(ValueError, match="2 steps"):
        charts.curves("x", [1, 2], {"a": [1.0]}, axis="epoch")
    with pytest.raises(ValueError, match="each of 2 rates"):
        charts.rates("x", [1, 2], [1.0], [1.0, 2.0], mark=1, mark_label="")


def test_the_learning_rates_stand_at_powers_of_ten():
    assert {"1e-4", "1e-3", "1e-2", "try 1.0e-3"} <= set(words(drawn()["rates"]))
