"""Write the font of drawn pictures: the glyphs of our own words, out of Noto Sans CJK KR (SIL Open Font License).

    python docs/make_font.py /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc

The licence (src/petmood/fonts/OFL.txt) allows parts and asks that its text travels with them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTCollection, TTFont

from petmood.wording import letters

TARGET = Path(__file__).parents[1] / "src" / "petmood" / "fonts" / "petmood-sans-kr.otf"


def korean(path: Path) -> TTFont:
    """The Korean font of a collection."""
    with TTCollection(path) as fonts:
        number = next(n for n, font in enumerate(fonts) if font["name"].getDebugName(1) == "Noto Sans CJK KR")
    return TTFont(path, fontNumber=number)


def main() -> None:
    """Write the font."""
    options = subset.Options(
        hinting=False, desubroutinize=True, layout_features=["kern"], name_IDs=[0, 1, 2, 3, 4, 5, 6, 13]
    )
    maker = subset.Subsetter(options)
    font = korean(Path(sys.argv[1]))
    maker.populate(text=letters())
    maker.subset(font)
    for record in font["name"].names:
        if record.nameID in {1, 4}:  # Noto is a trademark: what is no longer the whole font has a name of its own
            record.string = "petmood Sans KR"
        elif record.nameID in {3, 6}:
            record.string = "petmood-sans-kr"
    font["CFF "].cff.fontNames = ["petmood-sans-kr"]
    subset.save_font(font, str(TARGET), options)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes, {len(letters())} letters")


if __name__ == "__main__":
    main()
