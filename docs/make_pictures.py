"""Draw docs/images/demo.jpg from the folder of a demo: `petmood demo demo`, then `python docs/make_pictures.py demo`.

Six frames that the demo's model was not trained on, one an emotion, with the box and what the model said.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from PIL import Image, ImageDraw, ImageFont

from petmood.labels import EMOTIONS

TILE = (480, 270)
RIGHT, WRONG = "#1a936f", "#c8553d"


def examples(work: Path) -> pl.DataFrame:
    """One test frame an emotion, right and sure where there is one, with its picture and box."""
    predictions = pl.read_parquet(work / "runs" / "demo" / "predictions.parquet")
    sure = pl.max_horizontal([f"p_{name}" for name in EMOTIONS if f"p_{name}" in predictions.columns])
    frames = pl.read_parquet(work / "frames.parquet").select(
        "frame_id", "path", "x", "y", "width", "height", "image_width", "image_height"
    )
    ranked = (
        predictions.with_columns(sure=sure, right=pl.col("emotion") == pl.col("predicted"))
        .join(frames, on="frame_id")
        .filter(pl.col("image_width") > pl.col("image_height"))
        .sort("right", "sure", descending=True)
    )
    return ranked.group_by("emotion", maintain_order=True).first()


def tile(row: dict[str, object]) -> Image.Image:
    """A frame with its box and the model's answer."""
    picture = Image.open(str(row["path"])).convert("RGB")
    scale = TILE[0] / picture.width
    picture = picture.resize((TILE[0], round(picture.height * scale))).crop((0, 0, *TILE))
    x, y, width, height = (float(str(row[name])) * scale for name in ("x", "y", "width", "height"))
    draw = ImageDraw.Draw(picture)
    colour = RIGHT if row["right"] else WRONG
    draw.rounded_rectangle((x, y, x + width, y + height), radius=6, outline=colour, width=3)
    font = ImageFont.load_default(17)
    text = f" {row['predicted']} {float(str(row['sure'])):.0%} "
    if not row["right"]:
        text += f"(is {row['emotion']}) "
    left, top, right, bottom = draw.textbbox((x, max(2, y - 26)), text, font=font)
    draw.rounded_rectangle((left - 2, top - 4, right + 2, bottom + 4), radius=5, fill=colour)
    draw.text((x, max(2, y - 26)), text, font=font, fill="white")
    return picture


def main() -> None:
    """Write the picture."""
    rows = {row["emotion"]: row for row in examples(Path(sys.argv[1]) / "work").iter_rows(named=True)}
    sheet = Image.new("RGB", (3 * TILE[0] + 16, 2 * TILE[1] + 8), "white")
    for number, name in enumerate(name for name in EMOTIONS if name in rows):
        sheet.paste(tile(rows[name]), ((number % 3) * (TILE[0] + 8), (number // 3) * (TILE[1] + 8)))
    sheet.save(Path(__file__).parent / "images" / "demo.jpg", quality=88)


if __name__ == "__main__":
    main()
