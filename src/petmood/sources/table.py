"""A CSV: in the notes' form (``image_path,bbox,labels``) or with columns of their own names."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import polars as pl

from petmood import places
from petmood.errors import UserError
from petmood.labels import emotion_of, normalise, species_of
from petmood.settings import fingerprint
from petmood.sources.rows import Source, picture_size, raw_rows, split_of
from petmood.sources.words import renamed

_ROWS_A_TASK = 2048
#: Most bytes of a table on remote storage.
_LARGEST = 4 << 30

#: Names under which a column is known, first match wins.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": ("image_path", "path", "image", "file", "filename"),
    "emotion_text": ("labels", "label", "emotion", "class"),
    "bbox": ("bbox", "box"),
    "x": ("x", "left"),
    "y": ("y", "top"),
    "width": ("width", "w"),
    "height": ("height", "h"),
    "clip": ("clip", "video"),
    "group": ("group", "animal"),
    "species": ("species",),
    "owner_text": ("owner_emotion",),
    "action": ("action",),
    "situation": ("situation",),
    "timestamp_ms": ("timestamp_ms", "timestamp"),
    "image_width": ("image_width",),
    "image_height": ("image_height",),
    "official_split": ("split",),
}
_INTEGERS = ("x", "y", "width", "height", "image_width", "image_height", "timestamp_ms")
_FRAME_FILE = r"^frame_\d+_timestamp_(\d+)$"


@dataclasses.dataclass(frozen=True)
class TableTask:
    """Some rows of one CSV."""

    rows: pl.DataFrame
    measure: bool
    """Whether the pictures' sizes must be read from their files."""

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows)

    def read(self) -> pl.DataFrame:
        """One raw row a CSV row."""
        sizes = [picture_size(path) if self.measure else _presence(path) for path in self.rows["path"]]
        looked = pl.DataFrame(
            sizes,
            schema={"w": pl.Int32, "h": pl.Int32, "refused": pl.String, "detail": pl.String},
            orient="row",
        )
        rows = self.rows.hstack(looked)
        if self.measure:
            rows = rows.with_columns(image_width="w", image_height="h")
        return raw_rows(rows)


def open_table(path: Path | str, words: Mapping[str, str] = MappingProxyType({})) -> Source:
    """Read a CSV and tell which column is what; ``words`` are what its labels mean (`words.read_words`).

    Raises:
        UserError: unreadable, empty, a needed column is missing, or the labels are numbers.
    """
    raw = read_csv(path)
    if raw.is_empty():
        raise UserError(f"table {path} has no rows.", hint="a header line and one line a frame are expected")
    columns = _recognise(path, raw.columns)
    table = raw.select(pl.col(source).alias(name) for name, source in columns.items())
    # Before all else: clips are cut apart by what their labels mean, and numbers that the table explains are none.
    table = table.with_columns(
        renamed(table[name], words) for name in ("emotion_text", "owner_text") if name in columns
    )
    _refuse_numbers(path, table)
    place = places.absolute(path)
    rows = _completed(table, _base(os.fspath(path)))
    measure = "image_width" not in columns or "image_height" not in columns
    tasks = [TableTask(rows[start : start + _ROWS_A_TASK], measure) for start in range(0, len(rows), _ROWS_A_TASK)]
    mark = fingerprint("table", place, *places.state(place), *sorted(words.items()))
    return Source("table", "rows", tasks, mark, has_owner_labels="owner_text" in columns)


def read_csv(path: Path | str) -> pl.DataFrame:
    """All columns of a CSV as text; UTF-8 with or without BOM, else the Korean Windows encoding.

    Raises:
        UserError: it is no such text, or no CSV.
    """
    data = places.read(os.fspath(path), most=_LARGEST)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("cp949")
        except UnicodeDecodeError:
            raise UserError(f"table {path} is neither UTF-8 nor cp949 text.", hint="save it as UTF-8 CSV") from None
    try:
        return pl.read_csv(text.encode(), infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"table {path} is not readable CSV: {str(error).splitlines()[0]}.") from None


def _recognise(path: Path | str, found: list[str]) -> dict[str, str]:
    """Our name → the table's name of each column that is there."""
    names = {name.strip().lower(): name for name in found}
    columns = {
        ours: names[word]
        for ours, words in _COLUMNS.items()
        for word in [next((w for w in words if w in names), "")]
        if word
    }
    has_box = "bbox" in columns or {"x", "y", "width", "height"} <= columns.keys()
    missing = [
        what
        for what, there in (
            ("image_path", "path" in columns),
            ("labels (or emotion)", "emotion_text" in columns),
            ("bbox (or x, y, width, height)", has_box),
        )
        if not there
    ]
    if missing:
        raise UserError(
            f"table {path} lacks the column {' and '.join(missing)}; it has {', '.join(found)}.",
            hint="the notes' form is image_path,bbox,labels with bbox = `y,x,height,width` in one quoted field; "
            "or name the columns path, x, y, width, height, emotion",
        )
    return columns


def _refuse_numbers(path: Path | str, table: pl.DataFrame) -> None:
    """Numbers made elsewhere have no fixed meaning: mixing two numberings is how the notes' half did not train."""
    texts = table["emotion_text"].drop_nulls().str.strip_chars()
    if len(texts) and texts.str.contains(r"^\d+(\.0*)?$").all():
        raise UserError(
            f"table {path} has numbers as labels ({', '.join(sorted(texts.unique())[:6])}), which name no emotion.",
            hint="write the emotions' names (행복/즐거움 or happy …), so that one order numbers them everywhere; "
            "`petmood evaluate --source` takes a table that says what they mean (--map)",
        )


def _completed(table: pl.DataFrame, base: str) -> pl.DataFrame:
    """Boxes split up, relative paths resolved, clip and frame names made where the table has none."""
    if "bbox" in table.columns:
        parts = pl.col("bbox").str.strip_chars("[]() ").str.split(",")
        order = ("y", "x", "height", "width")
        table = table.with_columns(parts.list.get(i, null_on_oob=True).alias(name) for i, name in enumerate(order))
    table = table.with_columns(
        pl.col(name).str.strip_chars().cast(pl.Float64, strict=False) for name in _INTEGERS if name in table.columns
    )
    table = table.with_columns(path=pl.Series([_place(base, path or "") for path in table["path"]]))
    stem = pl.col("path").str.split("/").list.last().str.replace(r"\.[^.]*$", "")
    folder = pl.col("path").str.split("/").list.get(-2, null_on_oob=True)
    # AI Hub's frames lie in one folder a clip; any other picture is its own clip unless the table says otherwise.
    relative = pl.col("path").str.strip_prefix(f"{base}/")
    guess = pl.when(stem.str.contains(_FRAME_FILE)).then(folder).otherwise(relative)
    absent = {"clip": guess, "timestamp_ms": stem.str.extract(_FRAME_FILE)}
    table = table.with_columns(value.alias(name) for name, value in absent.items() if name not in table.columns)
    table = table.with_columns(pl.col("clip").fill_null(relative))
    if "group" not in table.columns:
        table = table.with_columns(group="clip")
    table = _one_emotion_a_clip(_known_words(table))
    frame = pl.concat_str(pl.col("clip"), pl.lit("/"), stem)
    number = pl.int_range(pl.len()).over(frame)  # two animals in one picture are two rows
    return table.with_columns(
        frame_id=pl.when(number == 0).then(frame).otherwise(pl.concat_str(frame, pl.lit("#"), number + 1))
    ).drop("bbox", strict=False)


def _base(table: str) -> str:
    """The folder that a table's relative paths begin in: where it lies, or the link to it."""
    folder = os.path.dirname(table)
    return folder if places.is_remote(table) else os.path.realpath(folder)


def _place(base: str, path: str) -> str:
    """Where a row's picture is: relative paths begin where the table lies."""
    return path if places.is_remote(path) else os.path.join(base, path)


def _known_words(table: pl.DataFrame) -> pl.DataFrame:
    """Species and official split in our words, whatever language or case the table has them in."""
    if "species" in table.columns:
        table = table.with_columns(_translated(table["species"], species_of))
    if "official_split" in table.columns:
        table = table.with_columns(_translated(table["official_split"], lambda word: split_of([word.strip()])))
    return table


def _translated(words: pl.Series, meaning: Callable[[str], str | None]) -> pl.Series:
    """Each word's meaning; every different word is looked up once."""
    meanings = {word: meaning(word) for word in words.unique().drop_nulls()}
    return words.replace_strict(list(meanings), list(meanings.values()), default=None, return_dtype=pl.String)


def _one_emotion_a_clip(table: pl.DataFrame) -> pl.DataFrame:
    """Clips that bear several emotions become one clip an emotion (``clip#fear``); their group keeps them together.

    AI Hub has one emotion a clip, and judging by clips needs it so.
    """
    words = [name for name in ("emotion_text", "owner_text") if name in table.columns]
    meanings = [_translated(table[name], _meaning).fill_null("") for name in words]
    several = table.with_columns(meant=pl.concat_str(meanings, separator="+"))
    return several.with_columns(
        clip=pl.when(pl.col("meant").n_unique().over("clip") > 1)
        .then(pl.concat_str("clip", pl.lit("#"), "meant"))
        .otherwise("clip")
    ).drop("meant")


def _meaning(word: str) -> str:
    return emotion_of(word) or normalise(word)


def _presence(path: str) -> tuple[int | None, int | None, str | None, str | None]:
    """Reason and detail if a picture is not there; its file is not opened."""
    return (None, None, None, None) if places.exists(path) else (None, None, "no_image", "no such file")
