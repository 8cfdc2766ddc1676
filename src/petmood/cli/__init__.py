"""The command line: one small module a command, errors as one paragraph, exit codes 0 done, 1 failed, 2 usage."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Sequence

import cyclopts
import pydantic

import petmood
from petmood.errors import PetmoodError
from petmood.settings import problems

#: Command → what it does. The module of that name is imported only when the command is called, so --help is instant.
COMMANDS = {
    "demo": "Made-up clips through every stage to a report, in minutes.",
    "prepare": "A source to crops with a split: index, curate, pack, screen, split; skips what is up to date.",
    "doctor": "What would make a training fail or lie, before hours are spent; or what is wrong with a run.",
    "train": "Train a classifier on a prepared work folder.",
    "find-lr": "Try learning rates on a work folder and draw what they do.",
    "find-batch-size": "Find how large a batch fits into the memory, and which size is fast.",
    "tune": "Search good settings of training, and write them as a recipe.",
    "status": "What a work folder holds, what is stale and why, and what to do next.",
    "clean": "Free space in a work folder, safely.",
    "runs": "List the runs of a work folder: the settings that differ, and the scores.",
    "compare": "Whether one run is really better than another.",
    "evaluate": "Judge a run on clips it has not seen, and write its report.",
    "report": "Write the report of a run again, or set several runs side by side.",
    "predict": "The emotion of dogs and cats in photos and videos, by a trained run.",
    "detector": "Find the animal in a picture: fetch weights, list them, try them.",
    "serve": "A web page and an HTTP service that answer by a trained run.",
    "export": "A run as one ONNX file, checked against the run itself.",
    "adjust": "Tell a run how often each emotion will be met, without training again.",
    "audit": "List the clips whose label looks doubtful, for you to judge.",
    "sheet": "A page with the kept and dropped frames of some clips.",
    "index": "Read every label of a source; refuse bad frames, each with a reason.",
    "curate": "Choose the frames of each clip that are used.",
    "pack": "Decode each chosen frame once and keep the animal as a small crop.",
    "screen": "Drop blank, blurred and near-copied crops; join the groups of clips that share near-copies.",
    "split": "Divide the clips into training, validation and test by group, and audit it.",
    "synth": "A made-up data set in AI Hub layout, with planted faults.",
}

app = cyclopts.App(
    name="petmood",
    help="From labelled frames of dogs and cats to an emotion classifier that its owner can trust.",
    version=petmood.__version__,
    version_flags=["--version"],
    default_parameter=cyclopts.Parameter(negative_iterable=()),
    suppress_keyboard_interrupt=False,  # ours says what to do next
)
for name, summary in COMMANDS.items():
    function = name.replace("-", "_")
    app.command(f"petmood.cli.{function}:{function}", name=name, help=summary)

INTERRUPTED = 130
USAGE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code. ``--debug`` anywhere shows tracebacks."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    sys.exit(run([word for word in given if word != "--debug"], debug=debug))


def run(arguments: Sequence[str], *, debug: bool = False) -> int:
    """Run one command and return its exit code; expected errors are told on standard error in one paragraph."""
    try:
        _call(arguments)
        sys.stdout.flush()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except BrokenPipeError:  # the reader of our output has gone (`petmood … | head`)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last door: nothing may pass it as a traceback
        if debug:
            traceback.print_exc()
        message, code = _explained(error)
        print(f"petmood: {message}", file=sys.stderr)
        return code
    return 0


def _call(arguments: Sequence[str]) -> None:
    """Read the command line, and run its command where its folders are."""
    from petmood.cli.folders import mirrored, noticing

    with noticing():
        command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    with mirrored(arguments[0] if arguments else "", bound.arguments):
        command(*bound.args, **bound.kwargs)


def _explained(error: BaseException) -> tuple[str, int]:
    """One paragraph and the exit code for anything that ends a command."""
    match error:
        case cyclopts.CycloptsError():
            return _usage(error), USAGE
        case PetmoodError():
            return str(error), error.exit_code
        case KeyboardInterrupt():
            return "stopped; what was finished is kept.\nhint: the same command goes on from there", INTERRUPTED
        case OSError():
            return _disk(error), 1
        case MemoryError():
            return "the memory ran out.\nhint: run the same command with fewer processes (--jobs 1)", 1
        case _:
            return _mistake(error), 1


def _usage(error: cyclopts.CycloptsError) -> str:
    cause = error.__cause__
    text = problems(cause) if isinstance(cause, pydantic.ValidationError) else str(error)
    return f"{text}\nhint: `petmood COMMAND --help` lists what is allowed"


def _disk(error: OSError) -> str:
    """An operating system's error in words, with what to do."""
    where = f" ({error.filename})" if error.filename else ""
    hints = {
        errno.ENOSPC: "the disk is full: free some space, then run the same command; it goes on where it stopped",
        errno.EDQUOT: "the disk quota is used up: free some space, then run the same command",
        errno.EACCES: "check who may read and write there",
        errno.EROFS: "the disk is read-only: give a folder that can be written to",
    }
    hint = hints.get(error.errno or 0, "run with --debug for the details")
    return f"{error.strerror or error}{where}.\nhint: {hint}"


def _mistake(error: BaseException) -> str:
    """An error that nobody foresaw."""
    text = " ".join(str(error).split())
    return (
        f"internal error {type(error).__name__}: {text[:300]}. This is a mistake in petmood, not in your data."
        "\nhint: run it again with --debug and report what it prints"
    )
