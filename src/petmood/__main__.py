"""The entry point: `petmood` and `python -m petmood`.

Where only onnxruntime, Pillow and numpy are installed, exported files still answer; everything else needs the rest.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

#: Stands for all that the full command line needs.
_FULL = "cyclopts"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if importlib.util.find_spec(_FULL) is None:
        sys.exit(_light(words))
    from petmood.cli import main as full  # noqa: PLC0415

    full(words)


def _light(words: Sequence[str]) -> int:
    """What can be done without the full command line; returns the exit code."""
    if (
        len(words) > 1
        and words[0] == "predict"
        and (words[1].lower().endswith(".onnx") or words[1] in {"-h", "--help"})
    ):
        from petmood.runtime.command import run  # noqa: PLC0415 - needs onnxruntime

        return run(words[1:])
    sys.stderr.write(
        "petmood: only exported files can be used here, because what petmood depends on is not installed: "
        "petmood predict model.onnx PHOTO…\nhint: pip install petmood\n"
    )
    return 2


if __name__ == "__main__":
    main()
