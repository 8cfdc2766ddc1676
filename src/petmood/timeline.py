"""A video's answers over time as one picture: a band an animal, as high as each emotion is likely."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from petmood.drawing import EMOTION_COLOURS, FONT, UNSURE
from petmood.labels import Language, display
from petmood.records import Prediction
from petmood.wording import animal, said_fully, seconds

#: An animal that was not seen for so many times the usual step leaves a gap.
_GAP = 2.5
_DPI = 150
_INCHES_WIDE, _INCHES_A_ROW = 8.0, 1.7


def timeline(frames: Sequence[Prediction], tracks: Sequence[Prediction], language: Language) -> bytes:
    """A PNG of how likely each emotion was over time: one band for each track, its answer above it.

    Args:
        frames: of ``look.VideoAnswer``, in order of time.
        tracks: of ``look.VideoAnswer``; where one has a reason in place of an answer, that is told.
        language: of the words.
    """
    with mpl.rc_context({"font.family": [_family(), "DejaVu Sans"], "font.size": 9, "text.parse_math": False}):
        figure = Figure(figsize=(_INCHES_WIDE, 0.9 + _INCHES_A_ROW * len(tracks)), dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        rows = figure.subplots(len(tracks), 1, squeeze=False, sharex=True)[:, 0]
        times = sorted({one.time_ms for one in frames if one.time_ms is not None})
        step = float(np.median(np.diff(times))) if len(times) > 1 else 200.0
        end = (times[-1] + step if times else step) / 1000
        for axes, track in zip(rows, tracks, strict=True):
            own = [one for one in frames if one.emotion is not None and one.track == track.track]
            _band(axes, own, step)
            axes.set_title(_title(track, language), loc="left")
            axes.set(xlim=(0, end), ylim=(0, 1))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        rows[-1].set_xlabel(seconds(language))
        _legend(figure, tracks, language)
        written = io.BytesIO()
        figure.savefig(written, format="png")
    return written.getvalue()


@lru_cache(maxsize=1)
def _family() -> str:
    """Name of the packaged font, known to matplotlib."""
    with resources.as_file(resources.files("petmood") / "fonts" / FONT) as path:
        fontManager.addfont(path)
        return FontProperties(fname=path).get_name()


def _title(track: Prediction, language: Language) -> str:
    if track.emotion is None:
        return said_fully(track, language)
    return f"{animal(track.species, track.track, language)}: {said_fully(track, language)}"


def _band(axes: Axes, frames: Sequence[Prediction], step: float) -> None:
    """Stacked probabilities, with gaps where the animal was not seen."""
    if not frames:
        return
    times = np.array([one.time_ms or 0 for one in frames])
    values = np.array([list(one.probabilities.values()) for one in frames])
    colours = [EMOTION_COLOURS.get(name, UNSURE) for name in frames[0].probabilities]
    breaks = np.flatnonzero(np.diff(times) > _GAP * step) + 1
    for part_times, part in zip(np.split(times, breaks), np.split(values, breaks), strict=True):
        # A frame stands for the time up to the next one: also the last.
        along = np.append(part_times, part_times[-1] + step) / 1000
        axes.stackplot(along, np.append(part, part[-1:], axis=0).T, colors=colours, linewidth=0)


def _legend(figure: Figure, tracks: Sequence[Prediction], language: Language) -> None:
    names = list(tracks[0].probabilities)
    patches = [Patch(color=EMOTION_COLOURS.get(name, UNSURE), label=display(name, language)) for name in names]
    if patches:
        figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False)
