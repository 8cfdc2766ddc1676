"""The user's verdicts on clips: a table that refuses some and gives others another emotion than their label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from petmood.data.clean import DROP, merged_emotion
from petmood.errors import UserError
from petmood.labels import EMOTIONS, EMOTIONS_KO, normalise
from petmood.sources.table import read_csv

_KEEP = "keep"
_COLUMNS = ("clip", "verdict")


def read_verdicts(path: Path, merges: Mapping[str, str] | None = None) -> dict[str, str]:
    """Clip → `clean.DROP` or the English name of the emotion that the user gives it; clips that stay are left out.

    The table is a CSV with the columns ``clip`` and ``verdict`` and any others, in UTF-8 (with or without byte order
    mark) or cp949. A verdict is empty or ``keep`` (nothing changes), ``drop``, or an emotion in Korean or English.

    Args:
        path: the table.
        merges: see `clean.parse_merges`.

    Raises:
        UserError: it is missing or no CSV, lacks a column, has a word that is no verdict, or two for one clip.
    """
    if not path.is_file():
        raise UserError(f"table of verdicts {path} does not exist.", hint="`petmood audit` writes one to begin with")
    said: dict[str, str] = {}
    for row, (clip, word) in enumerate(_rows(path), start=2):
        verdict = _verdict(word, merges or {})
        if verdict is None:
            raise UserError(
                f"verdict {word!r} for clip {clip} in {path}, line {row}, is none; allowed are keep, drop and the "
                f"emotions {', '.join(EMOTIONS_KO.values())} ({', '.join(EMOTIONS)}).",
                hint="leave the field empty where the label is right",
            )
        if verdict and said.setdefault(clip, verdict) != verdict:
            raise UserError(
                f"clip {clip} has two verdicts in {path}: {said[clip]!r} and {verdict!r}.", hint="leave one of them"
            )
    return {clip: verdict for clip, verdict in said.items() if verdict != _KEEP}


def _verdict(word: str, merges: Mapping[str, str]) -> str | None:
    """``keep``, ``drop``, an emotion, an empty text, or None if the word is no verdict."""
    plain = normalise(word).lower()
    return plain if plain in {"", _KEEP, DROP} else merged_emotion(word, merges)


def _rows(path: Path) -> list[tuple[str, str]]:
    """Clip and verdict of each line that has both."""
    table = read_csv(path)
    names = {name.strip().lower(): name for name in table.columns}
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise UserError(
            f"table of verdicts {path} lacks the column {' and '.join(missing)}; it has {', '.join(table.columns)}.",
            hint="two columns are needed, clip and verdict, with commas between",
        )
    both = table.select(pl.col(names[name]).fill_null("").alias(name) for name in _COLUMNS)
    return [(normalise(clip), word) for clip, word in both.iter_rows()]


def verdict_counts(verdicts: Mapping[str, str], frames: pl.LazyFrame, rejects: pl.LazyFrame) -> dict[str, object]:
    """How many clips got another emotion or were dropped, and how many verdicts speak of clips that are not there.

    Args:
        verdicts: see `read_verdicts`.
        frames: the good frames.
        rejects: the refused rows.
    """
    named = pl.LazyFrame({"clip": list(verdicts)}, schema={"clip": pl.String})
    kept = frames.select("clip").join(named, on="clip", how="semi").unique().collect()["clip"]
    refused = rejects.select("clip", "reason").join(named, on="clip", how="semi").unique().collect()
    dropped = refused.filter(pl.col("reason") == "user_verdict")["clip"].n_unique()
    found = {*kept, *refused["clip"]}
    unknown = [clip for clip in verdicts if clip not in found]
    return {"emotion": len(kept), "dropped": dropped, "unknown": len(unknown), "unknown_such_as": unknown[:3]}
