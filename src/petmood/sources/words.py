"""What a source's own words mean: a table that maps each of them to one of the six emotions, or leaves it out."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import polars as pl
import yaml

from petmood.errors import UserError
from petmood.labels import EMOTIONS, EMOTIONS_KO, emotion_of, normalise
from petmood.settings import fingerprint
from petmood.sources.rows import Source, Task

#: What a word that the table leaves out is called; no source's own word is so.
LEFT_OUT = "left out by the table of words: "
#: Right sides of the table that leave a word out.
_DROPS = frozenset({"-", "drop"})
_FORM = "YAML (`joy: happy`) or CSV with two columns (`joy,happy`); - or drop on the right leaves a word out"


@dataclasses.dataclass(frozen=True)
class RenamedTask:
    """A task whose rows speak in our words."""

    task: Task
    words: Mapping[str, str]

    @property
    def size(self) -> int:
        """As that of the task."""
        return self.task.size

    def read(self) -> pl.DataFrame:
        """The task's rows, the words of both labels renamed."""
        rows = self.task.read()
        return rows.with_columns(renamed(rows[name], self.words) for name in ("emotion_text", "owner_text"))


def renamed_source(source: Source, words: Mapping[str, str]) -> Source:
    """A source whose rows bear the words' meanings; another table makes it another source."""
    return dataclasses.replace(
        source,
        tasks=[RenamedTask(task, words) for task in source.tasks],
        fingerprint=fingerprint("words", source.fingerprint, sorted(words.items())),
    )


def renamed(texts: pl.Series, words: Mapping[str, str]) -> pl.Series:
    """Texts with the words of the table replaced by what they mean; all others stay as they are."""
    meanings = {text: words[_key(text)] for text in texts.unique().drop_nulls() if _key(text) in words}
    return texts.replace(list(meanings), list(meanings.values())) if meanings else texts


def read_words(path: Path) -> dict[str, str]:
    """The table in a YAML or CSV file: each word, as it is compared, with an emotion or ``LEFT_OUT`` and the word.

    Raises:
        UserError: the file is missing or in no such form, a right side is none of the six, or a word has two meanings.
    """
    found: dict[str, str] = {}
    for word, meaning in _pairs(path):
        key = _key(word)
        target = f"{LEFT_OUT}{word}" if meaning.lower() in _DROPS else emotion_of(meaning)
        if target is None:
            raise UserError(
                f"map {path} says {word!r} means {meaning!r}, which is none of the six; allowed are "
                f"{', '.join(EMOTIONS)}, {', '.join(EMOTIONS_KO.values())}, and - or drop.",
                hint=f"a map is {_FORM}",
            )
        if found.setdefault(key, target) != target:
            raise UserError(f"map {path} gives {word!r} two meanings.", hint="name each word once")
    if not found:
        raise UserError(f"map {path} names no word.", hint=f"a map is {_FORM}")
    return found


def unknown_words(details: Iterable[str | None]) -> tuple[dict[str, int], dict[str, int]]:
    """Words in the details of ``unknown_emotion`` refusals, most frequent first: left out by a table, and not known."""
    counts: dict[str, int] = {}
    for detail in details:
        if detail and detail.startswith("'"):
            counts[detail[1:-1]] = counts.get(detail[1:-1], 0) + 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    left_out = {word.removeprefix(LEFT_OUT): number for word, number in ordered if word.startswith(LEFT_OUT)}
    return left_out, {word: number for word, number in ordered if not word.startswith(LEFT_OUT)}


def _key(word: str) -> str:
    return normalise(word).lower()


def _pairs(path: Path) -> list[tuple[str, str]]:
    """Word and meaning of each line, as text."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"map {path} cannot be read: {error.strerror}.", hint=f"a map is {_FORM}") from None
    except UnicodeDecodeError:
        raise UserError(f"map {path} is not UTF-8 text.", hint=f"save it as UTF-8; a map is {_FORM}") from None
    suffix = path.suffix.lower()
    if suffix in {".yaml", ".yml"}:
        return _yaml_pairs(path, text)
    if suffix == ".csv":
        return _csv_pairs(path, text)
    raise UserError(f"map {path} is a {suffix or 'nameless'} file; allowed are .yaml, .yml and .csv.")


def _yaml_pairs(path: Path, text: str) -> list[tuple[str, str]]:
    try:
        # As text alone: YAML would read `no: -` as a truth value and a list, and 0 as a number.
        content = yaml.load(_quoted_dashes(text), Loader=yaml.BaseLoader)  # noqa: S506 - makes strings only
    except yaml.YAMLError as error:
        raise UserError(f"map {path} is not readable YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(content, dict) or not all(isinstance(meaning, str) for meaning in content.values()):
        raise UserError(f"map {path} is not a mapping of words.", hint=f"a map is {_FORM}")
    return [(str(word), normalise(meaning)) for word, meaning in content.items()]


def _quoted_dashes(text: str) -> str:
    """A bare ``-`` behind a colon, which YAML does not allow, in quotes."""
    ends = (line.rstrip() for line in text.splitlines())
    return "\n".join(f"{line[:-1]}'-'" if line.endswith(": -") else line for line in ends)


def _csv_pairs(path: Path, text: str) -> list[tuple[str, str]]:
    rows = [row for row in csv.reader(io.StringIO(text)) if any(cell.strip() for cell in row)]
    wide = next((row for row in rows if len(row) != 2), None)
    if wide is not None:
        raise UserError(f"map {path} has a line with {len(wide)} columns ({','.join(wide)}); 2 are expected.")
    pairs = [(word, normalise(meaning)) for word, meaning in rows]
    # A first line whose right side means nothing is a head, such as `word,emotion`.
    head = pairs[:1] and pairs[0][1].lower() not in _DROPS and emotion_of(pairs[0][1]) is None and len(pairs) > 1
    return pairs[1:] if head else pairs
