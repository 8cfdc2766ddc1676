"""`petmood synth`: a made-up data set."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import cyclopts

from petmood.synth import SynthSettings, SynthSummary


def synth(
    out: Path,
    *,
    settings: Annotated[SynthSettings, cyclopts.Parameter(name="*")] = SynthSettings(),  # noqa: B008 -- frozen
    jobs: int = 0,
    quiet: Annotated[bool, cyclopts.Parameter(name=["--quiet", "-q"])] = False,
) -> None:
    """Draw a made-up data set of dogs and cats in AI Hub layout.

    Their emotion shows in the body alone; breed, colour, place, light and blur are chance. The truth, planted damage
    included, is written to a file beside the folder. Same seed, same bytes.

    Args:
        out: Folder to write; it must not exist yet, or be empty.
        settings: What to make.
        jobs: Processes; 0 uses every core.
        quiet: Show no progress.
    """
    from petmood.synth import synth as write

    summary = write(out, settings, jobs=jobs, progress=None if quiet or not sys.stderr.isatty() else _show)
    for line in _lines(summary):
        print(line)


def _show(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    print(f"\rdrawn {done} of {total} clips", end=end, file=sys.stderr, flush=True)


def _lines(summary: SynthSummary) -> list[str]:
    emotions = ", ".join(f"{name} {count}" for name, count in summary.clips_by_emotion.items())
    lines = [
        f"{summary.out}: {summary.clips} clips of {summary.animals} animals",
        f"clips by emotion: {emotions}",
        f"frames: {summary.frames_listed} listed, {summary.frames_ok} good",
    ]
    if summary.faults:
        lines.append("damage planted: " + ", ".join(f"{word} {count}" for word, count in summary.faults.items()))
    return [*lines, f"truth: {summary.truth}"]
