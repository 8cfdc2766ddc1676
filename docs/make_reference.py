"""Write docs/reference.md from the commands themselves (`make docs`); `--check` fails if it is out of date."""

from __future__ import annotations

import sys
from pathlib import Path

from petmood.cli import app

HEAD = "# Commands\n\nMade by `make docs` from the commands themselves; do not edit.\n\n"
TARGET = Path(__file__).with_name("reference.md")


def reference() -> str:
    """The page as Markdown."""
    return HEAD + app.generate_docs(output_format="markdown", recursive=True, heading_level=2) + "\n"


def main() -> None:
    """Write the page, or check it."""
    text = reference()
    if "--check" in sys.argv:
        if not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
            sys.exit("docs/reference.md is out of date; run `make docs`")
        return
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
