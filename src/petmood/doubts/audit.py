"""The search for doubtful labels from a folder to its files: doubts.parquet, doubts.csv and, last, doubts.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from petmood.doubts.opinions import Opinions, of_run, of_workspace
from petmood.doubts.ranking import Ranking, credit, rank_labels
from petmood.errors import UserError
from petmood.recipes.doubts import DoubtSettings
from petmood.recipes.features import FeatureSettings
from petmood.settings import to_plain
from petmood.sources.table import read_csv
from petmood.workspace import Workspace, replacing, versions, write_json, write_table

#: Columns of doubts.csv: what a person needs to judge a clip, and the field for the answer.
CSV_COLUMNS = (
    *("clip", "species", "emotion", "owner_emotion", "suggested", "confidence", "score", "flagged", "owner_agrees"),
    *("frames", "path", "verdict"),
)
#: Pictures of a clip on the page, spread over its time.
_PICTURES = 4


def audit(
    folder: Path,
    settings: DoubtSettings = DoubtSettings(),  # noqa: B008 - frozen
    features: FeatureSettings = FeatureSettings(),  # noqa: B008 - frozen
    *,
    quiet: bool = False,
) -> dict[str, Any]:
    """Rank the clips of a work folder or of a run by how doubtful their label is; returns what doubts.json says.

    Verdicts that doubts.csv already holds are carried over by clip, also those of clips that are not judged now.

    Raises:
        UserError: neither a work folder nor a run; data, model or weights are unusable; too few clips of an emotion; a
            doubts.csv that cannot be read.
    """
    folder = folder.absolute()
    is_run = (folder / "bundle.json").is_file()
    if not is_run and not (folder / "petmood.json").is_file():
        raise UserError(
            f"{folder} is neither a work folder nor a run (petmood.json and bundle.json are missing).",
            hint="give a folder that `petmood prepare` made, or WORK/runs/NAME of `petmood train`",
        )
    workspace = Workspace.open(folder.parent.parent if is_run else folder)
    filled = filled_verdicts(folder / "doubts.csv")
    if is_run:
        opinions = of_run(folder, workspace, settings, features, quiet=quiet)
    else:
        opinions = of_workspace(workspace, settings, features, quiet=quiet)
    ranking = rank_labels(opinions.labels, opinions.probabilities)
    table = _table(opinions, ranking, filled)
    summary = _summary(opinions, table, is_run=is_run, settings=settings, features=features)
    # A summary must never stand beside another table: it goes first and comes last.
    (folder / "doubts.json").unlink(missing_ok=True)
    write_table(table, folder / "doubts.parquet")
    _write_csv(table, filled, folder / "doubts.csv")
    write_json(folder / "doubts.json", summary)
    return summary


def filled_verdicts(path: Path) -> pl.DataFrame:
    """Rows of a doubts.csv whose verdict is filled in: ``CSV_COLUMNS`` as text; none if there is no such file.

    Raises:
        UserError: the file cannot be read, or lacks one of the columns clip and verdict.
    """
    empty = pl.DataFrame(schema=dict.fromkeys(CSV_COLUMNS, pl.String))
    if not path.is_file() or not path.stat().st_size:
        return empty
    hint = f"verdicts in it would be lost: move {path.name} away, or save it as CSV (UTF-8, commas) again"
    try:
        found = read_csv(path)
    except UserError as error:
        raise UserError(error.message, hint=hint) from None
    missing = [name for name in ("clip", "verdict") if name not in found.columns]
    if missing:
        raise UserError(
            f"{path} lacks the column {' and '.join(missing)}; found are {', '.join(found.columns)}.", hint=hint
        )
    known = found.select(pl.col(name).str.strip_chars() for name in CSV_COLUMNS if name in found.columns)
    rows = pl.concat([empty, known], how="diagonal").fill_null("")
    return rows.filter(pl.col("verdict") != "").unique("clip", keep="last", maintain_order=True)


def _table(opinions: Opinions, ranking: Ranking, filled: pl.DataFrame) -> pl.DataFrame:
    """One row a judged clip, the most doubtful first: ``CSV_COLUMNS``, pictures, and ``p_<emotion>``."""
    probabilities = opinions.probabilities
    suggested = [opinions.classes[number] for number in probabilities.argmax(axis=1)]
    table = opinions.clips.with_columns(
        pl.Series("suggested", suggested, pl.String),
        pl.Series("confidence", probabilities.max(axis=1), pl.Float64),
        pl.Series("score", ranking.score, pl.Float64),
        pl.Series("flagged", ranking.flagged, pl.Boolean),
        *(pl.Series(f"p_{name}", probabilities[:, i], pl.Float64) for i, name in enumerate(opinions.classes)),
    )
    table = table.with_columns(owner_agrees=pl.col("owner_emotion") == pl.col("suggested"))
    table = table.join(_pictures(opinions.frames), on="clip", how="left", maintain_order="left")
    table = table[ranking.order].join(filled.select("clip", "verdict"), on="clip", how="left", maintain_order="left")
    shares = [f"p_{name}" for name in opinions.classes]
    return table.with_columns(pl.col("verdict").fill_null("")).select(*CSV_COLUMNS, "pictures", *shares)


def _pictures(frames: pl.DataFrame) -> pl.DataFrame:
    """Clip → frame ids of a few of its pictures, spread over its time (column ``pictures``)."""
    ordered = frames.sort("timestamp_ms", maintain_order=True)
    lists = ordered.group_by("clip", maintain_order=True).agg("frame_id")
    chosen = [_spread(ids) for ids in lists["frame_id"].to_list()]
    return lists.select("clip", pl.Series("pictures", chosen, pl.List(pl.String)))


def _spread(ids: Sequence[str]) -> list[str]:
    places = np.unique(np.linspace(0, len(ids) - 1, min(_PICTURES, len(ids))).round().astype(int))
    return [ids[place] for place in places]


def _write_csv(table: pl.DataFrame, filled: pl.DataFrame, path: Path) -> None:
    """The ranked clips, then clips with a verdict that are not among them: UTF-8 with the mark that Excel asks for."""
    flag = [pl.when(name).then(pl.lit("yes")).otherwise(pl.lit("no")).alias(name) for name in ("flagged",)]
    agrees = pl.when("owner_agrees").then(pl.lit("yes")).when(~pl.col("owner_agrees")).then(pl.lit("no"))
    plain = table.select(CSV_COLUMNS).with_columns(
        *flag, agrees.alias("owner_agrees"), pl.col("confidence", "score").round(4)
    )
    others = filled.join(table, on="clip", how="anti", maintain_order="left")
    rows = pl.concat([plain.select(pl.all().cast(pl.String)), others])
    with replacing(path) as temporary:
        rows.write_csv(temporary, include_bom=True, null_value="")


def _summary(
    opinions: Opinions, table: pl.DataFrame, *, is_run: bool, settings: DoubtSettings, features: FeatureSettings
) -> dict[str, Any]:
    """What doubts.json says."""
    groups = opinions.clips["group"].to_list()
    trust = credit(opinions.labels, opinions.probabilities, groups)
    flagged = dict(table.filter("flagged").group_by("emotion").len().iter_rows())
    counts = dict(table.group_by("emotion").len().iter_rows())
    return {
        "format": 1,
        "kind": "run" if is_run else "work",
        "clips": len(table),
        "groups": len(set(groups)),
        "classes": list(opinions.classes),
        "emotions": {name: {"clips": counts[name], "flagged": flagged.get(name, 0)} for name in opinions.classes},
        "left_out": dict(opinions.left_out),
        "credit": {
            **dataclasses.asdict(trust),
            "majority": opinions.classes[trust.majority],
            "better_than_chance": trust.better_than_chance,
        },
        "owner": _owner(table),
        "verdicts": int((table["verdict"] != "").sum()),
        "notes": list(opinions.notes),
        "made_by": dict(opinions.made_by),
        "settings": to_plain(settings) | {"features": to_plain(features)},
        "versions": versions(),
    }


def _owner(table: pl.DataFrame) -> dict[str, int]:
    """How often the owner names another emotion than the label, and how often it is the one suggested."""
    differs = table.filter(pl.col("owner_emotion") != pl.col("emotion"))
    flagged = differs.filter("flagged")
    return {
        "known": int(table["owner_emotion"].is_not_null().sum()),
        "differs": len(differs),
        "flagged": len(flagged),
        "agrees": int(flagged["owner_agrees"].sum()),
    }
