"""A drawing as PNG, by matplotlib, which brings the fonts."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from zcbench.errors import UsageError
from zcbench.report.figures.drawing import (
    LIGHT,
    Cloud,
    Drawing,
    Frame,
    Line,
    Mark,
    Rect,
    Text,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PIXEL = 0.72  # of a point, where 100 pixels of a drawing are an inch
_FINER = 2


def need_matplotlib() -> None:
    """Make sure that PNG can be written.

    Raises:
        UsageError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "PNG needs matplotlib, which is not installed.",
            "Install it: pip install 'zcbench[plot]'; or choose --format svg.",
        )


def png(drawing: Drawing) -> bytes:
    """A PNG with two dots for each pixel of the drawing, on white.

    Raises:
        UsageError: matplotlib is not installed.
    """
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(drawing.width / 100, drawing.height / 100))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, drawing.width))
    axes.set_ylim(drawing.height, 0)
    axes.axis("off")
    for order, shape in enumerate(drawing.shapes):
        _WRITERS[type(shape)](axes, shape, order)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks shows boxes; that is no news to print.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, dpi=100 * _FINER, metadata={"Software": None})
    return buffer.getvalue()


def _line(axes: Axes, line: Line, order: int) -> None:
    axes.plot(
        (line.x1, line.x2),
        (line.y1, line.y2),
        color=LIGHT[line.role],
        linewidth=line.width * _PIXEL,
        linestyle=(0, (3, 3)) if line.dashed else "-",
        solid_capstyle="butt",
        zorder=order,
    )


def _rect(axes: Axes, rect: Rect, order: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (rect.x, rect.y),
            rect.width,
            rect.height,
            facecolor=LIGHT[rect.role],
            alpha=rect.opacity,
            linewidth=0,
            zorder=order,
        )
    )


def _frame(axes: Axes, frame: Frame, order: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (frame.x, frame.y),
            frame.width,
            frame.height,
            facecolor="none",
            edgecolor=LIGHT[frame.role],
            linewidth=frame.thickness * _PIXEL,
            zorder=order,
        )
    )


def _mark(axes: Axes, mark: Mark, order: int) -> None:
    color = LIGHT["baseline" if mark.baseline else "accent"]
    axes.plot(
        [mark.x],
        [mark.y],
        linestyle="none",
        marker="s" if mark.baseline else "o",
        markersize=(6.4 if mark.baseline else 7) * _PIXEL,
        markerfacecolor=LIGHT["paper"] if mark.baseline else color,
        markeredgecolor=color,
        markeredgewidth=(1.6 if mark.baseline else 0) * _PIXEL,
        zorder=order,
    )


def _cloud(axes: Axes, cloud: Cloud, order: int) -> None:
    axes.plot(
        [x for x, _ in cloud.points],
        [y for _, y in cloud.points],
        linestyle="none",
        marker="o",
        markersize=cloud.size * _PIXEL,
        markeredgewidth=0,
        color=LIGHT[cloud.role],
        alpha=0.45,
        zorder=order,
    )


def _text(axes: Axes, text: Text, order: int) -> None:
    side = {"start": "left", "middle": "center", "end": "right"}[text.anchor]
    axes.text(
        text.x,
        text.y,
        "".join(c if c.isprintable() else " " for c in text.text),
        color=LIGHT[text.role],
        fontsize=text.size * _PIXEL,
        fontweight="bold" if text.bold else "normal",
        fontstyle="italic" if text.italic else "normal",
        ha=side,
        va="baseline",
        rotation=90 if text.upwards else 0,
        rotation_mode="anchor",
        parse_math=False,
        zorder=order,
    )


_WRITERS: Mapping[type, Callable[[Axes, Any, int], None]] = {
    Line: _line,
    Rect: _rect,
    Frame: _frame,
    Mark: _mark,
    Cloud: _cloud,
    Text: _text,
}
