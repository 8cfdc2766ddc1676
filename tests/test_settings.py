from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from petmood.errors import UserError
from petmood.settings import SETTINGS, build, fingerprint, load_yaml, to_plain


@dataclass(frozen=True, kw_only=True, config=SETTINGS)
class Example:
    """Settings as a stage declares them."""

    per_clip: Annotated[int, Field(ge=0)] = 8
    """Frames."""
    box: Literal["drop", "clip"] = "drop"
    """Rule."""
    merge: tuple[str, ...] = ()
    """Words."""

    @model_validator(mode="after")
    def _fits(self):
        if self.per_clip == 13:
            raise ValueError("13 frames are one too many")
        return self


def test_settings_become_plain_values_and_come_back():
    settings = Example(per_clip=3, merge=("공포=불안/슬픔",))
    plain = to_plain(settings)
    assert plain == {"per_clip": 3, "box": "drop", "merge": ["공포=불안/슬픔"]}
    assert build(Example, plain, where="here") == settings


def test_an_unknown_key_is_named_with_its_place_and_the_known_ones():
    with pytest.raises(UserError) as caught:
        build(Example, {"per_klip": 3}, where="a.yaml")
    assert caught.value.message == "a.yaml: unknown setting 'per-klip'."
    assert caught.value.hint == "known settings are per-clip, box, merge"
    assert caught.value.exit_code == 2


def test_every_wrong_value_is_named():
    with pytest.raises(UserError) as caught:
        build(Example, {"per_clip": -1, "box": "keep"}, where="a.yaml")
    assert caught.value.message == (
        "a.yaml: per-clip -1 is not allowed: input should be greater than or equal to 0; "
        "box 'keep' is not allowed: input should be 'drop' or 'clip'."
    )


def test_a_rule_over_several_settings_is_told_in_its_own_words():
    with pytest.raises(UserError, match=r"^a.yaml: 13 frames are one too many\."):
        build(Example, {"per_clip": 13}, where="a.yaml")


def test_load_yaml_reads_a_mapping(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("per_clip: 3\nmerge: [공포=불안/슬픔]\n", encoding="utf-8")
    assert load_yaml(path) == {"per_clip": 3, "merge": ["공포=불안/슬픔"]}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"a: [1", "is not readable YAML"),
        (b"\xff\xfe\x00", "is not readable YAML"),
        (b"- 1\n- 2\n", "holds list; a mapping `name: value` is expected"),
        (b"", "holds NoneType"),
    ],
)
def test_load_yaml_refuses_what_is_no_mapping(tmp_path, content, problem):
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=problem):
        load_yaml(path)


def test_load_yaml_names_a_missing_file():
    with pytest.raises(UserError, match="settings file nowhere.yaml does not exist"):
        load_yaml(Path("nowhere.yaml"))


def test_fingerprint_changes_with_every_part_but_not_with_the_order_of_keys():
    one = fingerprint("index", 1, {"a": 1, "b": Path("x")}, Example())
    assert one == fingerprint("index", 1, {"b": Path("x"), "a": 1}, Example())
    assert one != fingerprint("index", 2, {"a": 1, "b": Path("x")}, Example())
    assert one != fingerprint("index", 1, {"a": 1, "b": Path("x")}, Example(box="clip"))
