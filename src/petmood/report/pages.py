"""What all pages have in common: templates that fail on a missing name, escaped values, one style sheet inside."""

from __future__ import annotations

from importlib import resources

import jinja2

_TEMPLATES = "petmood.report"


def page_environment() -> jinja2.Environment:
    """An environment for the templates; every value is escaped, and a name that is missing is an error."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["count"] = "{:,}".format
    return environment


def style(*names: str) -> str:
    """Style sheets of the templates folder, one after the other, to stand in the page itself."""
    folder = resources.files(_TEMPLATES).joinpath("templates")
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)
