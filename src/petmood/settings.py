"""How settings are declared, checked, saved and compared.

A stage's settings are one frozen pydantic dataclass at the head of its module, declared as

    @dataclass(frozen=True, kw_only=True, config=SETTINGS)

with a docstring below each field. The command line, the YAML loader and the saved copy all read that declaration.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from petmood.errors import UserError

SETTINGS = pydantic.ConfigDict(extra="forbid", use_attribute_docstrings=True)

T = TypeVar("T")


def to_plain(settings: object) -> dict[str, Any]:
    """Settings as plain values that JSON and YAML can hold."""
    kind: Any = type(settings)
    plain: dict[str, Any] = _adapter(kind).dump_python(settings, mode="json")
    return plain


@functools.cache
def _adapter(kind: type) -> pydantic.TypeAdapter[Any]:
    """Made once a type: it takes a millisecond, and `pack` has a fingerprint for every frame."""
    return pydantic.TypeAdapter(kind)


def build(kind: type[T], values: Mapping[str, object], *, where: str) -> T:
    """Settings of ``kind`` from plain values; every problem is named with its key.

    Raises:
        UserError: unknown key, wrong type or value out of range; ``where`` names the file or command it came from.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(dict(values))
    except pydantic.ValidationError as error:
        raise UserError(f"{where}: {problems(error)}", hint=_known_keys(kind)) from None


def problems(error: pydantic.ValidationError) -> str:
    """One short clause a problem: ``key 'value' what is wrong``, without pydantic's links."""
    clauses = []
    for item in error.errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"]).replace("_", "-")
        kind, message = item["type"], item["msg"]
        if kind == "value_error":  # our own words
            clauses.append(message.removeprefix("Value error, "))
        elif kind in {"unexpected_keyword_argument", "extra_forbidden"}:
            clauses.append(f"unknown setting {key!r}")
        else:
            clauses.append(f"{key} {item['input']!r} is not allowed: {message[0].lower()}{message[1:]}")
    return "; ".join(clauses) + "."


def load_yaml(path: Path) -> dict[str, Any]:
    """Top-level mapping of a YAML file.

    Raises:
        UserError: the file is missing, not YAML, or not a mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"settings file {path} does not exist.", hint="give the path of a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"settings file {path} is not readable YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(values, dict):
        raise UserError(f"settings file {path} holds {type(values).__name__}; a mapping `name: value` is expected.")
    return values


def fingerprint(*parts: object) -> str:
    """Sixteen hex digits of plain values (JSON-able; dataclasses are taken as their fields)."""

    def plain(value: object) -> object:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return to_plain(value)
        return str(value)

    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _known_keys(kind: type[object]) -> str:
    if not dataclasses.is_dataclass(kind):
        return ""
    return "known settings are " + ", ".join(field.name.replace("_", "-") for field in dataclasses.fields(kind))
