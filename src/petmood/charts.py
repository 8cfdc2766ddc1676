"""Pictures of numbers as SVG text: the same numbers give the same bytes.

Text stays text, so that the viewer's fonts draw Korean and a reader can search it. Ink is ``currentColor`` and the
paper carries the class ``paper``: as a file a chart is dark on white, inside the report it follows the page's light or
dark scheme. Charts are 400 units wide, so that 11-unit text is still readable on a phone.
"""

from __future__ import annotations

import dataclasses
import io
import re
import unicodedata
import warnings
from collections.abc import Mapping, Sequence
from typing import cast
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

#: Okabe and Ito's colours, told apart by people with any colour vision; none vanishes on white or on near-black.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
#: For four series that are two pairs (clips and frames of two species): hue is the pair, lightness the member.
PAIRED = ("#0072B2", "#56B4E9", "#D55E00", "#E8A33D")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D")
WIDTH = 400
_TEXT = 11
#: Units from one bar of a row to the next.
_BAR = 13
#: Stands for the page's ink until the SVG is written; no chart uses this colour for anything else.
_INK = "#010203"
_FONTS = "system-ui, 'Noto Sans KR', 'Noto Sans CJK KR', 'Apple SD Gothic Neo', 'Malgun Gothic', sans-serif"
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # ships with matplotlib: metrics, hence layout, are the same everywhere
    "font.size": _TEXT,
    "text.parse_math": False,  # a label is a label, also with a dollar sign in it
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
}


@dataclasses.dataclass(frozen=True)
class ClassBar:
    """One row of a bar picture: its label and, per series such as ``dog`` and ``cat``, a count."""

    label: str
    counts: Mapping[str, float]


def class_bars(title: str, rows: Sequence[ClassBar], *, axis: str = "") -> str:
    """Horizontal bars of counts on a logarithmic axis, the number at each bar's end.

    Counts of emotions differ by hundreds to one; on a linear axis the rare ones, which matter, would not be seen.

    Args:
        title: one line above the picture.
        rows: top to bottom; every row has the same series, in the order of the legend.
        axis: what is counted.

    Raises:
        ValueError: there is nothing to draw, or rows differ in their series.
    """
    series = list(rows[0].counts) if rows else []
    if not series or any(list(row.counts) != series for row in rows):
        raise ValueError("rows of bars with the same series are expected, at least one of each")
    largest = max(value for row in rows for value in row.counts.values())
    # The axis starts below 1, so that a count of 1 has a bar; the room on the right is for the numbers.
    limits = (0.6, max(10.0, largest) ** 1.28)
    row_height = _BAR * len(series) + 10
    left, top, bottom = 14 + max(_text_width(row.label) for row in rows), 58 if len(series) > 1 else 36, 40
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        height = top + row_height * len(rows) + bottom
        axes = _axes(title, height=height, left=left, top=top, width=WIDTH - left - 12, bottom=bottom)
        axes.set(xlim=limits, ylim=(row_height * len(rows), 0), xscale="log", xlabel=axis)
        for number, name in enumerate(series):
            places = [row_height * i + 5 + _BAR * (number + 0.5) for i in range(len(rows))]
            colour = (PAIRED if len(series) == len(PAIRED) else COLOURS)[number % len(COLOURS)]
            _series_of_bars(axes, name, places, [row.counts[name] for row in rows], start=limits[0], colour=colour)
        axes.set_yticks([row_height * (i + 0.5) for i in range(len(rows))], [row.label for row in rows])
        axes.tick_params(axis="y", length=0)
        _powers_of_ten(axes, limits[1])
        if len(series) > 1:
            _legend(axes)
        return _svg(axes, title)


def curves(
    title: str,
    steps: Sequence[float],
    lines: Mapping[str, Sequence[float | None]],
    *,
    axis: str,
    mark: float | None = None,
    mark_label: str = "",
) -> str:
    """Lines over epochs, told apart by colour, dash and marker.

    Args:
        title: one line above the picture.
        steps: horizontal positions, such as epochs.
        lines: label → one value a step; None leaves a gap.
        axis: what the steps are.
        mark: a step to draw a vertical line at, such as the epoch that was kept.
        mark_label: words for it in the legend.

    Raises:
        ValueError: there is nothing to draw, or a line's length is not that of ``steps``.
    """
    if not steps or not lines or any(len(values) != len(steps) for values in lines.values()):
        raise ValueError(f"lines over {len(steps)} steps are expected, one value a step")
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        axes = _axes(title, height=240, left=46, top=58, width=WIDTH - 46 - 14, bottom=40)
        for (label, values), colour, dash, marker in zip(lines.items(), COLOURS, _DASHES, _MARKERS, strict=False):
            heights = [float("nan") if value is None else value for value in values]
            every = max(1, len(steps) // 12)
            axes.plot(steps, heights, dash, color=colour, marker=marker, markevery=every, ms=5, lw=1.8, label=label)
        if mark is not None:
            axes.axvline(mark, color=_INK, lw=1, alpha=0.6, ls=(0, (2, 2)), label=mark_label)
        axes.set_xlabel(axis)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        axes.set_xlim(min(steps) - 0.5, max(steps) + 0.5)
        axes.grid(axis="y", alpha=0.15, color=_INK, lw=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        _legend(axes)
        return _svg(axes, title)


def rates(
    title: str,
    steps: Sequence[float],
    losses: Sequence[float],
    smooth: Sequence[float],
    *,
    mark: float,
    mark_label: str,
) -> str:
    """The loss over the learning rate on a logarithmic axis, as dots and as their smoothed line, with one rate marked.

    The picture ends at twice the height of the smoothed fall: what a diverging loss reaches would flatten all else.

    Args:
        title: one line above the picture.
        steps: learning rates, rising.
        losses: loss at each of them.
        smooth: the same, smoothed.
        mark: the rate to mark.
        mark_label: words for it.

    Raises:
        ValueError: there is nothing to draw, or lengths differ.
    """
    if not steps or not len(steps) == len(losses) == len(smooth):
        raise ValueError(f"a loss for each of {len(steps)} rates is expected, one or more")
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        axes = _axes(title, height=240, left=46, top=58, width=WIDTH - 46 - 14, bottom=40)
        axes.plot(steps, losses, ".", color=COLOURS[0], ms=3, alpha=0.5, label="loss")
        axes.plot(steps, smooth, "-", color=COLOURS[0], lw=1.8, label="smoothed")
        axes.axvline(mark, color=COLOURS[1], lw=1.4, ls=(0, (4, 2)), label=mark_label)
        low, before = min(smooth), max(smooth[: smooth.index(min(smooth)) + 1])
        room = (before - low) or 1.0
        axes.set(xscale="log", xlim=(steps[0], steps[-1]), ylim=(low - 0.3 * room, before + room))
        axes.minorticks_off()
        axes.set_xticks(
            [10.0**k for k in range(-12, 3) if steps[0] <= 10.0**k * 1.001 and 10.0**k <= steps[-1] * 1.001]
        )
        axes.set_xticklabels([f"{tick:.0e}".replace("e-0", "e-").replace("e+0", "e") for tick in axes.get_xticks()])
        axes.set_xlabel("learning rate")
        axes.grid(axis="both", alpha=0.15, color=_INK, lw=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        _legend(axes)
        return _svg(axes, title)


def reliability(
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float, int]]],
    *,
    axes_labels: tuple[str, str],
    ideal_label: str,
) -> str:
    """Reliability curves: how often answers are right, over how probable they were said to be.

    A dot's size grows with the share of the answers that it stands for, so that a far dot of few answers looks small.

    Args:
        title: one line above the picture.
        lines: label → (probability, share right, answers) of each bin, probabilities rising.
        axes_labels: words for probability and share right.
        ideal_label: words for the diagonal, where probabilities are true.

    Raises:
        ValueError: there is nothing to draw.
    """
    if not any(lines.values()):
        raise ValueError("at least one line with one bin is expected")
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        axes = _axes(title, height=330, left=62, top=64, width=WIDTH - 62 - 24, bottom=44)
        axes.plot([0, 1], [0, 1], color=_INK, lw=1, alpha=0.6, ls=(0, (2, 2)), label=ideal_label)
        for (label, bins), colour, dash, marker in zip(lines.items(), COLOURS, _DASHES, _MARKERS, strict=False):
            total = max(1, sum(count for _, _, count in bins))
            said, right = [one for one, _, _ in bins], [one for _, one, _ in bins]
            axes.plot(said, right, dash, color=colour, lw=1, alpha=0.75, marker=marker, ms=3.5, label=label)
            axes.scatter(
                said,
                right,
                [16 + 240 * count / total for *_, count in bins],
                color=colour,
                alpha=0.45,
                lw=0,
                clip_on=False,
            )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=axes_labels[0], ylabel=axes_labels[1])
        _share_ticks(axes)
        _legend(axes)
        return _svg(axes, title)


def risk_coverage(
    title: str,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    axes_labels: tuple[str, str],
) -> str:
    """Risk-coverage curves: the share of wrong answers if only the surest are given.

    Args:
        title: one line above the picture.
        lines: label → shares answered, rising to 1, and the share of these that is wrong.
        axes_labels: words for the share answered and the share wrong.

    Raises:
        ValueError: there is nothing to draw, or a line's two parts differ in length.
    """
    if not lines or any(not x or len(x) != len(y) for x, y in lines.values()):
        raise ValueError("at least one line with as many shares answered as shares wrong is expected")
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}):
        axes = _axes(title, height=250, left=62, top=64, width=WIDTH - 62 - 24, bottom=44)
        for (label, (covered, wrong)), colour, dash in zip(lines.items(), COLOURS, _DASHES, strict=False):
            marker = "o" if len(covered) == 1 else ""
            axes.plot(covered, wrong, dash, color=colour, lw=1.8, marker=marker, label=label)
        highest = max(max(wrong) for _, wrong in lines.values())
        axes.set(xlim=(0, 1), ylim=(0, max(0.05, 1.08 * highest)), xlabel=axes_labels[0], ylabel=axes_labels[1])
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
        _plain_grid(axes)
        _legend(axes)
        return _svg(axes, title)


def _series_of_bars(
    axes: Axes, name: str, places: Sequence[float], counts: Sequence[float], *, start: float, colour: str
) -> None:
    """One bar a row with its number at the end."""
    axes.barh(places, [max(count, start) - start for count in counts], _BAR - 2, left=start, color=colour, label=name)
    for place, count in zip(places, counts, strict=True):
        end = (max(count, start), place)
        axes.annotate(f"{count:,.0f}", end, (4, -0.5), textcoords="offset points", va="center", size=_TEXT - 1)


def _powers_of_ten(axes: Axes, limit: float) -> None:
    """Ticks at powers of ten as plain numbers."""
    ticks = [float(10**k) for k in range(12) if 10**k <= limit]
    axes.set_xticks(ticks, [_short(tick) for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(axis="x", alpha=0.15, color=_INK, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _short(number: float) -> str:
    """1, 10, 100, 1k, 10k … 1M: tick labels that fit."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def _share_ticks(axes: Axes) -> None:
    """Fifths from 0 to 1 on both axes, as per cent."""
    fifths = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    axes.set(xticks=fifths, yticks=fifths)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _plain_grid(axes)


def _plain_grid(axes: Axes) -> None:
    axes.grid(axis="both", alpha=0.15, color=_INK, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _text_width(text: str) -> float:
    """Units that a text takes, by an estimate that knows Korean (matplotlib's font does not hold it)."""
    return _TEXT * sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.6 for letter in text)


def _axes(title: str, *, height: float, left: float, top: float, width: float, bottom: float = 12) -> Axes:
    """Axes of a new figure, placed in units from its edges, with the title at the top left."""
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    figure.patch.set(facecolor="white", gid="paper")
    figure.text(14 / WIDTH, 1 - 18 / height, title, weight="bold", size=_TEXT + 1)
    axes = figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, (height - top - bottom) / height))
    axes.patch.set_visible(False)
    return axes


def _legend(axes: Axes) -> None:
    """Names of the series in one line between title and picture, with room for text wider than matplotlib thinks."""
    handles, labels = axes.get_legend_handles_labels()
    figure = _figure(axes)
    height = _height(axes)
    place = 14.0
    for handle, label in zip(handles, labels, strict=True):
        legend = figure.legend(
            [handle], [label], loc="center left", bbox_to_anchor=(place / WIDTH, 1 - 38 / height), frameon=False,
            borderpad=0, borderaxespad=0, handlelength=1.8, handletextpad=0.5,
        )  # fmt: skip
        legend.set_in_layout(False)
        place += 1.8 * _TEXT + 0.5 * _TEXT + _text_width(label) + 12


def _figure(axes: Axes) -> Figure:
    return cast(Figure, axes.figure)  # charts have no subfigures


def _height(axes: Axes) -> float:
    """Height of the figure in units."""
    return _figure(axes).get_figheight() * 72


def _svg(axes: Axes, title: str) -> str:
    """The figure as one ``<svg>`` element without date, prolog and unused ids (several go into one page)."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        # Korean is drawn by the viewer; matplotlib only measures it, with a font that lacks it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasSVG(_figure(axes)).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace('<g id="paper">', '<g class="paper">').replace(_INK, "currentColor")
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"'DejaVu Sans'", lambda _: _FONTS, text)
    used = set(re.findall(r"(?:url\(#|href=\"#)([\w.-]+)", text))
    text = re.sub(r' id="([\w.-]+)"', lambda found: found.group(0) if found.group(1) in used else "", text)
    head = f'<svg role="img" color="#1d1f23" aria-label="{escape(title, {chr(34): "&quot;"})}"'
    return text.replace("<svg", head, 1).rstrip() + "\n"
