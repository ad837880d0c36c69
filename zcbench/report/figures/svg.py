"""A drawing as SVG: alone in a file, or inside a page that brings the colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from zcbench.report.figures.drawing import (
    LIGHT,
    SIZE,
    Cloud,
    Drawing,
    Frame,
    Line,
    Mark,
    Rect,
    Text,
)

STYLE = "".join(
    f".f-{role}{{fill:{color}}}.s-{role}{{stroke:{color}}}"
    for role, color in LIGHT.items()
)
"""Rules for the classes f-ROLE (filled) and s-ROLE (outlined), on white."""
_LEAST = 0.8  # of its width, to which a drawing shrinks where there is little room
_FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"


def standalone(drawing: Drawing) -> str:
    """The whole of an SVG file, on white."""
    size = f'width="{drawing.width:g}" height="{drawing.height:g}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_box(drawing)} '
        f'font-family="{_FONT}" font-size="{SIZE:g}">\n'
        f"<title>{clean(drawing.title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect {size} class="f-paper"/>\n{_body(drawing)}</svg>\n'
    )


def inline(drawing: Drawing) -> str:
    """A drawing for an HTML page that has the rules of its classes."""
    size = f'width="{drawing.width:g}" height="{drawing.height:g}"'
    label = f'role="img" aria-label="{clean(drawing.title)}"'
    least = f'style="min-width:{_LEAST * drawing.width:.0f}px"'
    return f"<svg {size} {_box(drawing)} {label} {least}>\n{_body(drawing)}</svg>"


def clean(text: str) -> str:
    """Text that is safe between tags and in quotes; without control characters."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def _box(drawing: Drawing) -> str:
    return f'viewBox="0 0 {drawing.width:g} {drawing.height:g}"'


def _body(drawing: Drawing) -> str:
    return "".join(f"{_WRITERS[type(shape)](shape)}\n" for shape in drawing.shapes)


def _at(**places: float) -> str:
    """Attributes for places, to a tenth of a pixel."""
    return " ".join(f'{name}="{_short(value)}"' for name, value in places.items())


def _short(value: float) -> str:
    return f"{round(value, 1):g}"


def _closed(tag: str, attributes: str, tip: str) -> str:
    """An element, with a text for the mouse if there is one."""
    if not tip:
        return f"<{tag} {attributes}/>"
    return f"<{tag} {attributes}><title>{clean(tip)}</title></{tag}>"


def _line(line: Line) -> str:
    dashes = ' stroke-dasharray="3 3"' if line.dashed else ""
    places = _at(x1=line.x1, y1=line.y1, x2=line.x2, y2=line.y2)
    return f'<line {places} class="s-{line.role}" stroke-width="{line.width}"{dashes}/>'


def _rect(rect: Rect) -> str:
    places = _at(x=rect.x, y=rect.y, width=rect.width, height=rect.height)
    opacity = f' fill-opacity="{rect.opacity:.2f}"' if rect.opacity < 1 else ""
    return _closed("rect", f'{places} class="f-{rect.role}"{opacity}', rect.tip)


def _frame(frame: Frame) -> str:
    places = _at(x=frame.x, y=frame.y, width=frame.width, height=frame.height)
    return (
        f'<rect {places} class="s-{frame.role}" fill="none" '
        f'stroke-width="{frame.thickness:g}"/>'
    )


def _mark(mark: Mark) -> str:
    if not mark.baseline:
        places = _at(cx=mark.x, cy=mark.y, r=3.5)
        return _closed("circle", f'{places} class="f-accent"', mark.tip)
    places = _at(x=mark.x - 3.2, y=mark.y - 3.2, width=6.4, height=6.4)
    style = 'class="f-paper s-baseline" stroke-width="1.6"'
    return _closed("rect", f"{places} {style}", mark.tip)


def _cloud(cloud: Cloud) -> str:
    points = "".join(f"M{_short(x)} {_short(y)}h0" for x, y in cloud.points)
    return (
        f'<path class="s-{cloud.role}" fill="none" stroke-linecap="round" '
        f'stroke-opacity=".6" stroke-width="{cloud.size:g}" d="{points}"/>'
    )


def _text(text: Text) -> str:
    parts = [_at(x=text.x, y=text.y), f'class="f-{text.role}"']
    if text.size != SIZE:
        parts.append(f'font-size="{text.size:g}"')
    if text.anchor != "start":
        parts.append(f'text-anchor="{text.anchor}"')
    if text.bold:
        parts.append('font-weight="bold"')
    if text.italic:
        parts.append('font-style="italic"')
    if text.upwards:
        turned = f"rotate(-90 {_short(text.x)} {_short(text.y)})"
        parts.append(f'transform="{turned}"')
    return f"<text {' '.join(parts)}>{clean(text.text)}</text>"


_WRITERS: Mapping[type, Callable[[Any], str]] = {
    Line: _line,
    Rect: _rect,
    Frame: _frame,
    Mark: _mark,
    Cloud: _cloud,
    Text: _text,
}
