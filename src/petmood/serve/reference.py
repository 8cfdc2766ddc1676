"""The description of the addresses as one plain page: FastAPI's own loads its parts from other hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>petmood: addresses</title><link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/page.css">
</head><body class="reference"><header><h1>{title} {version}</h1></header><main><p>{description}</p>
<p>For programs: <a href="/openapi.json">openapi.json</a>. The page for people: <a href="/">here</a>.</p>
{operations}<h2>Answers</h2>
{schemas}</main></body></html>
"""


def reference_page(description: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description: addresses, parameters, statuses, and the fields of answers."""
    info = description["info"]
    operations = "".join(
        _operation(path, method, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    )
    schemas = description.get("components", {}).get("schemas", {})
    return _PAGE.format(
        title=escape(info["title"]),
        version=escape(info["version"]),
        description=escape(info["description"]),
        operations=operations,
        schemas="".join(_schema(name, schema) for name, schema in schemas.items() if "Validation" not in name),
    )


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> str:
    words = escape(operation.get("description", ""))
    rows = "".join(
        f"<tr><th><code>{escape(one['name'])}</code></th><td>{escape(_type(one['schema']))}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", ())
    )
    answers = "".join(
        f"<tr><th>{escape(status)}</th><td>{_body(answer)}</td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    head = f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{words}</p>"
    given = f"<table><caption>Parameters</caption>{rows}</table>" if rows else ""
    taken = f"<details><summary>Answers</summary><table>{answers}</table></details>"
    return f"<section>{head}{_example(path, method, operation)}{given}{taken}</section>"


def _example(path: str, method: str, operation: Mapping[str, Any]) -> str:
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data")
    if not form:
        return ""
    (field,) = form["schema"]["properties"]
    return f"<pre>curl -X {method.upper()} -F {field}=@FILE http://HOST:PORT{escape(path)}</pre>"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><th><code>{escape(field)}</code></th><td>{_linked(described)}</td>"
        f"<td>{escape(described.get('description', ''))}</td></tr>"
        for field, described in schema.get("properties", {}).items()
    )
    words = escape(schema.get("description", ""))
    return f'<section id="{escape(name)}"><h3>{escape(name)}</h3><p>{words}</p><table>{rows}</table></section>'


def _body(answer: Mapping[str, Any]) -> str:
    return " or ".join(
        _linked(content.get("schema", {})) if "json" in kind else escape(kind)
        for kind, content in answer.get("content", {}).items()
    )


def _linked(schema: Mapping[str, Any]) -> str:
    names = sorted(set(_names(schema)))
    links = " or ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names)
    return links if links else escape(_type(schema))


def _names(schema: Mapping[str, Any]) -> Iterator[str]:
    """Names of the schemas that one refers to."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    for inner in (schema.get("items"), *schema.get("anyOf", ())):
        if inner:
            yield from _names(inner)


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"])
    inner = schema.get("items")
    return f"{schema.get('type', '')} of {_type(inner)}" if inner else str(schema.get("type", ""))
