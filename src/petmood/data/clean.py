"""Which raw rows are good frames: pure rules, one reason word each, the first that applies decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import polars as pl

from petmood.errors import UserError
from petmood.labels import EMOTIONS, EMOTIONS_KO, display, emotion_of, normalise
from petmood.schemas import FRAME_SCHEMA, REJECT_SCHEMA
from petmood.sources.rows import POINTS

LabelSource = Literal["inspect", "owner", "agree"]
BoxRule = Literal["drop", "clip"]
SpeciesChoice = Literal["dog", "cat", "both"]

#: A verdict that refuses a clip; any other is the English name of the emotion that it shows.
DROP = "drop"

_BOX = ("x", "y", "width", "height")


def parse_merges(merges: Sequence[str]) -> dict[str, str]:
    """``WORD=EMOTION`` pairs as a mapping from normalised word to English emotion name.

    >>> parse_merges(["공포=불안/슬픔", "surprised=happy"])
    {'fear': 'anxious', 'surprised': 'happy'}

    Raises:
        UserError: a merge has no ``=``, its right side is none of the six, or two merges contradict or chain.
    """
    mapping: dict[str, str] = {}
    for merge in merges:
        word, equals, target = merge.partition("=")
        emotion = emotion_of(target)
        if not equals or not normalise(word) or emotion is None:
            raise UserError(
                f"merge {merge!r} is not WORD=EMOTION with one of the six emotions on the right.",
                hint=f"for example --merge 공포=불안/슬픔; the six are {', '.join(EMOTIONS_KO.values())} "
                f"({', '.join(EMOTIONS)})",
            )
        source = emotion_of(word) or normalise(word).lower()
        if mapping.get(source, emotion) != emotion:
            raise UserError(f"merge {merge!r} contradicts an earlier one for {word!r}.", hint="name each word once")
        mapping[source] = emotion
    chained = sorted(word for word, target in mapping.items() if target in mapping and mapping[target] != target)
    if chained:
        raise UserError(
            f"merge of {chained[0]!r} leads to {display(mapping[chained[0]], 'en')!r}, which is merged away itself.",
            hint="name the final emotion on the right side of every merge",
        )
    return mapping


def judge(
    rows: pl.DataFrame,
    *,
    label: LabelSource = "inspect",
    box: BoxRule = "drop",
    species: SpeciesChoice = "both",
    merges: Mapping[str, str] | None = None,
    verdicts: Mapping[str, str] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Good frames (``FRAME_SCHEMA`` and ``points``) and refused rows (``REJECT_SCHEMA``) of raw rows, in their order.

    Args:
        rows: ``sources.rows.RAW_SCHEMA``.
        label: whose emotion counts; ``agree`` keeps the inspector's where the owner says the same.
        box: ``drop`` refuses boxes that leave the picture (the notes' rules), ``clip`` cuts them at its edge.
        species: keep one species alone.
        merges: see `parse_merges`.
        verdicts: clip → ``DROP`` or the emotion that counts whatever its label says.
    """
    text = "owner_text" if label == "owner" else "emotion_text"
    duplicate = pl.col("frame_id").is_not_null() & ~pl.col("frame_id").is_first_distinct()
    named = rows.lazy().with_columns(
        inspect=_emotions(rows["emotion_text"], merges or {}),
        owner=_emotions(rows["owner_text"], merges or {}),
        verdict=_verdicts(rows["clip"], verdicts or {}),
    )
    corrected = pl.when(pl.col("verdict") != DROP).then("verdict")
    named = named.with_columns(emotion=pl.coalesce(corrected, "owner" if label == "owner" else "inspect"))
    if box == "clip":
        named = named.with_columns(_clipped())
    judged = named.with_columns(
        reason=pl.coalesce(
            pl.when(duplicate).then(pl.lit("duplicate_label")), "refused", _first_reason(label, box, species)
        )
    ).collect()
    good = judged["reason"].is_null()
    # The rows as they were given, so that a reject shows the box before any clipping.
    refused = rows.filter(~good).with_columns(judged.filter(~good)["reason"], given=_told_box())
    return _frames(judged.lazy().filter(good)), _rejects(refused.lazy(), text)


def _first_reason(label: LabelSource, box: BoxRule, species: SpeciesChoice) -> pl.Expr:
    """The first reason that applies to a row, or null. The order is that of ``records.REASONS``."""
    x, y, width, height = (pl.col(name) for name in _BOX)
    negative = pl.any_horizontal(pl.col(name) < 0 for name in _BOX)
    rules: list[tuple[str, pl.Expr]] = [("no_box", pl.any_horizontal(pl.col(name).is_null() for name in _BOX))]
    if box == "drop":
        rules.append(("negative_box", negative))
    rules += [
        ("empty_box", (width <= 0) | (height <= 0)),
        ("box_outside_image", (x + width > pl.col("image_width")) | (y + height > pl.col("image_height"))),
        ("unknown_emotion", pl.col("emotion").is_null()),
    ]
    if label == "agree":
        differ = pl.col("inspect").ne_missing(pl.col("owner"))
        rules.append(("labels_disagree", pl.col("verdict").is_null() & differ))
    if species != "both":
        rules.append(("other_species", pl.col("species").ne_missing(pl.lit(species))))
    rules.append(("user_verdict", pl.col("verdict") == DROP))
    return pl.coalesce(pl.when(condition).then(pl.lit(reason)) for reason, condition in rules)


def _told_box() -> pl.Expr:
    """The box and the picture's size as the source gives them, for people."""
    box = [pl.col(name).cast(pl.String).fill_null("?") for name in _BOX]
    picture = [pl.col(f"image_{side}").cast(pl.String).fill_null("?") for side in ("width", "height")]
    told = (pl.lit("x,y,width,height "), pl.concat_str(box, separator=","), pl.lit(" in "))
    return pl.concat_str(*told, pl.concat_str(picture, separator="×"))


def _clipped() -> list[pl.Expr]:
    """Box columns cut at the picture's edges; a box that misses the picture becomes empty."""
    x, y, width, height = (pl.col(name) for name in _BOX)
    left, top = x.clip(lower_bound=0), y.clip(lower_bound=0)
    right = pl.min_horizontal(x + width, pl.col("image_width"))
    bottom = pl.min_horizontal(y + height, pl.col("image_height"))
    cut = {"x": left, "y": top, "width": (right - left).clip(0), "height": (bottom - top).clip(0)}
    has_box = pl.all_horizontal(pl.col(name).is_not_null() for name in _BOX)
    return [pl.when(has_box).then(value).otherwise(pl.col(name)).alias(name) for name, value in cut.items()]


def _emotions(texts: pl.Series, merges: Mapping[str, str]) -> pl.Series:
    """English emotion names of words, merges applied; null where a word names none."""
    words = texts.unique().drop_nulls().to_list()
    names = {word: merged_emotion(word, merges) for word in words}
    return texts.replace_strict(list(names), list(names.values()), default=None, return_dtype=pl.String)


def merged_emotion(word: str, merges: Mapping[str, str]) -> str | None:
    """The emotion that a word means after merges (see `parse_merges`), or None."""
    known = emotion_of(word)
    return merges.get(known or normalise(word).lower(), known)


def _verdicts(clips: pl.Series, verdicts: Mapping[str, str]) -> pl.Series:
    """Each row's verdict, or null."""
    return clips.replace_strict(list(verdicts), list(verdicts.values()), default=None, return_dtype=pl.String)


def _frames(good: pl.LazyFrame) -> pl.DataFrame:
    completed = good.with_columns(
        owner_emotion="owner",
        source_group="group",
        split=pl.lit(None, pl.String),
        keep=pl.lit(value=True),
        weight=pl.lit(1.0, pl.Float32),
    )
    columns = {**FRAME_SCHEMA, "points": POINTS}
    return completed.select(pl.col(name).cast(kind) for name, kind in columns.items()).collect()


def _rejects(bad: pl.LazyFrame, text: str) -> pl.DataFrame:
    about_box = pl.col("reason").is_in(["no_box", "negative_box", "empty_box", "box_outside_image"])
    quoted = pl.concat_str(pl.lit("'"), pl.col(text), pl.lit("'"))
    detail = (
        pl.when(pl.col("reason") == "duplicate_label", pl.col("refused").is_null())
        .then(pl.lit("an earlier row has this name"))
        .when(pl.col("detail").is_not_null())
        .then("detail")
        .when(about_box)
        .then("given")
        .when(pl.col("reason") == "unknown_emotion")
        .then(quoted.fill_null("the label names none"))
        .when(pl.col("reason") == "labels_disagree")
        .then(pl.concat_str("emotion_text", pl.lit(" / "), pl.col("owner_text").fill_null("?")))
        .when(pl.col("reason") == "other_species")
        .then(pl.col("species").fill_null("not told"))
        .when(pl.col("reason") == "user_verdict")
        .then(pl.lit("the table of verdicts says drop"))
    )
    named = bad.with_columns(detail=detail, stage=pl.lit("index"))
    return named.select(pl.col(name).cast(kind) for name, kind in REJECT_SCHEMA.items()).collect()
