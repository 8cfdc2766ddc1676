"""What the documents say is what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import cyclopts
import pytest

from petmood.cli import COMMANDS, app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _commands() -> list[tuple[str, str]]:
    """Page and words of every `petmood …` line in a code block."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [
                (page.name, line.removeprefix("$ ")) for line in lines if line.removeprefix("$ ").startswith("petmood ")
            ]
    return [(page, line) for page, line in found if page != "reference.md"]


@pytest.mark.parametrize(("page", "line"), _commands())
def test_a_documented_command_is_understood(page, line):
    words = shlex.split(line, comments=True)[1:]
    _, bound, ignored = app.parse_args(words, exit_on_error=False, print_error=False)
    assert words[0] in COMMANDS
    # Of a command that has commands of its own, those need no words.
    assert bound.args or bound.kwargs or (isinstance(app[words[0]], cyclopts.App) and words[1] in app[words[0]])
    assert not ignored


def test_the_reference_is_up_to_date():
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_reference.py", "--check"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_reference_knows_every_command():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert all(f"### petmood {name}" in text for name in COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_readme_shows_its_two_commands_and_a_picture_on_the_first_screen():
    head = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:16]
    assert any(line.startswith("make demo") for line in head)
    assert any(line.startswith("make test") for line in head)
    assert any(line.startswith("![") for line in head)
