"""The contact sheet: one offline page with the kept, left and refused frames of some clips, to look at by eye."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from petmood import places
from petmood.geometry import Box, CropGeometry
from petmood.labels import Language, display
from petmood.media import cut, encode
from petmood.pictures import BadPictureError
from petmood.recipes.sheet import SheetSettings
from petmood.records import REASONS
from petmood.report.clip_rows import (
    ClipRow,
    Frame,
    Gap,
    Totals,
    choose_clips,
    clip_table,
    read_clips,
    thinned,
    totals,
)
from petmood.report.pages import page_environment, style
from petmood.report.sheet_texts import word
from petmood.report.texts import REASONS_KO
from petmood.workspace import ORDER, Workspace, replacing

#: Pixels of a thumbnail's height: kept frames are shown as high as the others, but stay sharp on dense screens.
_HEIGHT = {"kept": 160}
_HEIGHT_OF_OTHERS = 96
#: A thumbnail is at most this many times as wide as it is high.
_WIDEST = 1.8
_QUALITY = 78
#: Width and height of a clip's bar of time, in units of its drawing.
_BAR = (1000, 16)
#: State → upper and lower end of its stroke in the bar.
_STROKES = {"kept": (0, 16), "open": (4, 12), "left": (6, 11), "refused": (12, 16), "missing": (14, 16)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SheetSummary:
    """What was written."""

    path: Path
    clips: int
    left_out: int
    """Clips that did not fit into ``max_mb``."""
    pictures: int
    size: int
    """Bytes of the file."""

    @property
    def line(self) -> str:
        """One line for people."""
        less = f"; {self.left_out} clips did not fit" if self.left_out else ""
        return f"{self.path}: {self.pictures} pictures of {self.clips} clips, {self.size / 1e6:.1f} MB{less}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A frame as the page shows it."""

    frame: Frame
    jpeg: bytes
    """Empty where there is no picture to show; ``problem`` then says why."""
    width: int
    height: int
    problem: str = ""
    """A key of ``REASONS``: why the picture could not be read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipView:
    """A clip as the page shows it."""

    clip: ClipRow
    items: tuple[Thumbnail | Gap, ...]
    bar: Mapping[str, str]
    """State → SVG path of its strokes in the bar of time."""

    @property
    def size(self) -> int:
        """Bytes of its pictures as the page holds them: base64, four for three."""
        return sum(4 * -(-len(item.jpeg) // 3) for item in self.items if isinstance(item, Thumbnail))

    @property
    def pictures(self) -> int:
        """How many pictures it has."""
        return sum(isinstance(item, Thumbnail) and bool(item.jpeg) for item in self.items)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SheetPage:
    """Everything that the contact sheet shows, before words and looks."""

    work: str
    settings: SheetSettings
    curated: Mapping[str, Any]
    """What ``curate`` left in its mark; empty before it was run."""
    stages: Mapping[str, bool]
    totals: Totals
    clips: tuple[ClipView, ...]
    left_out: int


def write_sheet(
    work: Path,
    settings: SheetSettings = SheetSettings(),  # noqa: B008 - frozen
    *,
    language: Language = "en",
) -> SheetSummary:
    """Write ``contact-sheet.html`` into a work folder, from whatever stages are complete, and say what is in it.

    A picture that is broken or gone becomes an empty place with its reason.

    Raises:
        UserError: the work folder has no index, or lacks a clip or an emotion that was asked for.
    """
    workspace = Workspace.open(work)
    workspace.require("index")
    page = read_sheet(workspace, settings)
    html = render_sheet(page, language)
    with replacing(workspace.contact_sheet) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return SheetSummary(
        path=workspace.contact_sheet,
        clips=len(page.clips),
        left_out=page.left_out,
        pictures=sum(view.pictures for view in page.clips),
        size=len(html.encode()),
    )


def read_sheet(workspace: Workspace, settings: SheetSettings) -> SheetPage:
    """The page data of a workspace: numbers of the whole, and some clips with their pictures.

    Raises:
        UserError: as `write_sheet`.
    """
    table = clip_table(workspace)
    clips = read_clips(workspace, choose_clips(table, settings))
    margin = float(workspace.mark("pack").get("settings", {}).get("margin", CropGeometry.margin))
    views: list[ClipView] = []
    size = 0
    for clip in clips:
        view = _view(clip, settings.frames, margin)
        size += view.size
        if views and size > settings.max_mb * 1e6:
            break
        views.append(view)
    return SheetPage(
        work=workspace.root.absolute().name,
        settings=settings,
        curated=workspace.mark("curate"),
        stages={stage: bool(workspace.mark(stage)) for stage in ORDER},
        totals=totals(table, workspace),
        clips=tuple(views),
        left_out=len(clips) - len(views),
    )


def render_sheet(page: SheetPage, language: Language) -> str:
    """The contact sheet as HTML that loads nothing and runs nothing."""
    environment = page_environment()
    environment.filters.update(
        emotion=partial(display, language=language),
        reason=lambda reason: (REASONS_KO if language == "ko" else REASONS).get(reason, reason),
        data_uri=_data_uri,
        seconds=_seconds,
        decimal="{:.3g}".format,
        share=_share,
    )
    environment.tests["gap"] = lambda item: isinstance(item, Gap)
    return environment.get_template("sheet.html.j2").render(
        page=page,
        language=language,
        w=partial(word, language=language),
        how=_how(page.curated, language),
        pictures=sum(view.pictures for view in page.clips),
        megabytes=f"{sum(view.size for view in page.clips) / 1e6:.1f}",
        css=Markup(style("report.css", "sheet.css")),  # noqa: S704 - ours; nothing of the data comes into it
    )


def _how(curated: Mapping[str, Any], language: Language) -> list[str]:
    """How the frames were chosen, in sentences, from the mark of ``curate``."""
    settings, counts = curated.get("settings", {}), curated.get("counts", {})
    method = settings.get("method", "")
    told = []
    if method in {"pose", "time"} and not settings["per_clip"]:
        told.append(word("whole_clips", language, method=method))
    elif method in {"pose", "time", "random", "all"}:
        posed = "" if method != "pose" or counts.get("posed", True) else "_box"
        told.append(word(method + posed, language, per_clip=settings["per_clip"], share=_share(settings["share"])))
    if counts.get("rare"):
        rare = ", ".join(display(name, language) for name in counts["rare"])
        told.append(word("rare_all", language, rare=rare))
    if settings.get("min_box"):
        told.append(word("min_box", language, min_box=settings["min_box"], count=f"{counts.get('small_box', 0):,}"))
    return told


def _view(clip: ClipRow, most: int, margin: float) -> ClipView:
    """A clip with its pictures decoded."""
    items = (item if isinstance(item, Gap) else _thumbnail(item, margin) for item in thinned(clip, most))
    return ClipView(clip=clip, items=tuple(items), bar=_bar(clip))


def _thumbnail(frame: Frame, margin: float) -> Thumbnail:
    """The frame's crop region, scaled down; or its reason where the picture cannot be used."""
    try:
        return _decoded(frame, margin)
    except BadPictureError as error:
        problem = error.reason
    except FileNotFoundError:
        problem = "no_image"
    except OSError:
        problem = "unreadable_image"
    return Thumbnail(frame=frame, jpeg=b"", width=_HEIGHT_OF_OTHERS, height=_HEIGHT_OF_OTHERS, problem=problem)


def _decoded(frame: Frame, margin: float) -> Thumbnail:
    """The picture of a frame.

    Raises:
        BadPictureError: it cannot be used.
        OSError: it cannot be read.
    """
    height = _HEIGHT.get(frame.state, _HEIGHT_OF_OTHERS)
    box = frame.box or Box(0, 0, *(frame.size or (16, 9)))
    scale = min(1.0, _WIDEST * box.height / box.width)
    geometry = CropGeometry(margin=margin, shorter_side=max(1, round(height * scale * min(1, box.width / box.height))))
    pixels = cut(places.read(frame.path), frame.box, geometry, expected=frame.size).pixels
    jpeg = encode(pixels, _QUALITY)
    shown = min(_HEIGHT_OF_OTHERS, round(_WIDEST * _HEIGHT_OF_OTHERS * pixels.shape[0] / pixels.shape[1]))
    width = max(1, round(shown * pixels.shape[1] / pixels.shape[0]))
    return Thumbnail(frame=frame, jpeg=jpeg, width=width, height=shown)


def _bar(clip: ClipRow) -> dict[str, str]:
    """State → strokes at the times of its frames; at even distances where a clip has no times."""
    times = [frame.time_ms for frame in clip.frames]
    places = [float(number) for number in range(len(times))] if None in times else [float(time or 0) for time in times]
    if len(places) < 2 or places[0] == places[-1]:
        return {}
    first, last = places[0], places[-1]
    width = _BAR[0] - 8
    strokes: dict[str, str] = {}
    for frame, place in zip(clip.frames, places, strict=True):
        top, bottom = _STROKES[frame.state]
        x = 4 + width * (place - first) / (last - first)
        strokes[frame.state] = strokes.get(frame.state, "") + f"M{x:.0f} {top}V{bottom}"
    return strokes


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f}"


def _share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g}%"
