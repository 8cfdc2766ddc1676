"""A page as PDF, printed by a Chromium that is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from petmood.errors import RunError, UserError
from petmood.workspace import replacing

#: Commands under which Chromium and its kin are found, in the order in which they are tried.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
#: Where macOS keeps it.
_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
#: Seconds after which printing is given up.
_PATIENCE = 180


def print_pdf(page: Path) -> Path:
    """Print an HTML file to a PDF beside it and return its path. The browser is given no network.

    Raises:
        UserError: no Chromium or Chrome is installed.
        RunError: it was started and did not print.
    """
    browser = find_browser()
    target = page.with_suffix(".pdf")
    with replacing(target) as temporary, tempfile.TemporaryDirectory() as profile:
        _print(browser, page.absolute(), temporary.absolute(), profile)
    return target


def find_browser() -> str:
    """Path of a Chromium or Chrome.

    Raises:
        UserError: there is none.
    """
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    if sys.platform == "darwin" and _MAC.is_file():
        return str(_MAC)
    raise UserError(
        f"no Chromium was found to print with; one of {', '.join(BROWSERS)} is needed on the PATH.",
        hint="install it (Debian, Ubuntu: apt install chromium fonts-noto-cjk), or open report.html in any browser and "
        "print from there",
    )


def _print(browser: str, page: Path, target: Path, profile: str) -> None:
    options = [
        *("--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={profile}"),
        # Nothing in the page asks for the network; the browser's own services shall not either.
        *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium refuses to start as root otherwise; the page runs no script
    command = [browser, *options, f"--print-to-pdf={target}", page.as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"{browser} did not print {page.name}: {error}.", hint="print it from a browser") from None
    if done.returncode or not target.is_file() or not target.stat().st_size:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else f"exit code {done.returncode}"
        raise RunError(f"{browser} did not print {page.name}: {said}.", hint="print it from a browser")
