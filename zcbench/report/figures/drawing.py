"""What figures are made of: SVG elements in pixels, coloured by role; SVG and PNG."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from zcbench.errors import UsageError

Role = Literal["ink", "muted", "faint", "paper", "accent", "baseline", "inverse"]
"""What a colour is for, besides the steps of correlations: plus0 … 6, minus0 … 6."""


def _steps(role: str, colours: str) -> dict[str, str]:
    return {f"{role}{i}": colour for i, colour in enumerate(colours.split())}


LIGHT: Mapping[str, str] = {
    "ink": "#111111",
    "muted": "#595959",
    "faint": "#d4d4d4",
    "paper": "#ffffff",
    "accent": "#005a96",
    "baseline": "#963b00",
    "inverse": "#ffffff",
    **_steps("plus", "#e8f1fa #cce0f3 #a6cbec #7db1e0 #1b5791 #103b69 #061f3d"),
    **_steps("minus", "#fbece0 #f8d9bd #f1bf92 #e3a064 #85430f #5c2c05 #361700"),
}
"""Role → colour on white. Blue and orange: told apart by every kind of eye.

Text in ink on steps below 4, and inverse on the others, has a contrast of 7 or more.
"""
DARK: Mapping[str, str] = {
    "ink": "#ececec",
    "muted": "#adadad",
    "faint": "#474747",
    "paper": "#161616",
    "accent": "#6bb8f2",
    "baseline": "#f2a05c",
    "inverse": "#111111",
    **_steps("plus", "#1d2732 #1e3449 #204263 #20507c #78b6ea #addaf8 #e2f1fe"),
    **_steps("minus", "#2b221c #42301f #553920 #66411a #e99d5f #f6c496 #fde6d0"),
}
"""The same on black."""
SIZE, SMALL = 12.0, 11.0
"""Heights of text."""
WIDTH = 600.0
"""Of every figure that needs no more."""
PHONE = 350.0
"""The same where a page is shown on a phone."""
Anchor = Literal["start", "middle", "end"]
_EMS = {**dict.fromkeys("fijlrtI|'.,:;!()[]- ·", 0.41), **dict.fromkeys("mwMW@%—…", 1)}


def _rules(theme: Mapping[str, str]) -> str:
    return "".join(
        f".f-{role}{{fill:{colour}}}.s-{role}{{stroke:{colour}}}"
        for role, colour in theme.items()
    )


_STYLE = (
    f"{_rules(LIGHT)}\n@media screen and (prefers-color-scheme:dark){{{_rules(DARK)}}}"
)
_LEAST = 0.8  # of its width, to which a drawing shrinks where there is little room
_FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
# DejaVu Sans 2.37, cut down by pyftsubset --no-hinting --layout-features=kern to Latin,
# Greek, punctuation, arrows and signs of mathematics: U+20-7E, U+A0-17F, U+370-3FF,
# U+2010-2027, U+2030-203A, U+2070-209F, U+2190-2193, U+2200-2265.
_FILES = [
    str(Path(__file__).parent / "fonts" / f"DejaVuSans{face}.ttf")
    for face in ("", "-Bold")
]


@dataclass(slots=True)
class Drawing:
    """A sheet, y downwards.

    Attributes:
        title: what it shows, for those who do not see it.
        width: of the sheet.
        height: of the sheet.
        shapes: SVG elements from back to front.
    """

    title: str
    width: float
    height: float
    shapes: list[str] = field(default_factory=list)

    def add(
        self,
        tag: str,
        inner: str = "",
        *,
        fill: str = "",
        stroke: str = "",
        **attributes: float | str,
    ) -> None:
        """Put an element on top.

        Args:
            tag: of the element.
            inner: what is in it, as SVG.
            fill: role of its colour.
            stroke: role of its outline's.
            **attributes: with _ for -; numbers count to a tenth, and those that are
                empty are left out.
        """
        roles = {"f": fill, "s": stroke}
        classes = " ".join(f"{kind}-{role}" for kind, role in roles.items() if role)
        if not fill:
            attributes["fill"] = "none"
        words = "".join(
            f' {name.replace("_", "-")}="{_plain(value)}"'
            for name, value in {**attributes, "class": classes}.items()
            if value != ""
        )
        self.shapes.append(f"<{tag}{words}>{inner}</{tag}>")

    def line(
        self,
        x1: float,
        y1: float,
        x2: float,
        y2: float,
        role: Role = "muted",
        width: float = 1.0,
        *,
        dashed: bool = False,
    ) -> None:
        """Put a straight line on top."""
        line: dict[str, Any] = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        line |= {"stroke_width": width, "stroke_dasharray": "3 3" if dashed else ""}
        self.add("line", stroke=role, **line)

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        role: str,
        tip: str = "",
        opacity: str = "",
    ) -> None:
        """Put a filled rectangle on top; `tip` is shown where a mouse rests on it."""
        box = _box(x, y, width, height)
        self.add("rect", _tip(tip), fill=role, **box, fill_opacity=opacity)

    def frame(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        role: Role = "muted",
        thickness: float = 1.0,
    ) -> None:
        """Put the outline of a rectangle on top."""
        box = _box(x, y, width, height)
        self.add("rect", stroke=role, **box, stroke_width=thickness)

    def mark(self, x: float, y: float, tip: str, *, baseline: bool) -> None:
        """Put a point on top: a circle, or for a baseline the outline of a square."""
        if baseline:
            box = _box(x - 3, y - 3, 6, 6) | {"fill": "paper", "stroke": "baseline"}
            self.add("rect", _tip(tip), **box, stroke_width=1.6)
        else:
            self.add("circle", _tip(tip), fill="accent", cx=x, cy=y, r=3.4)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        role: Role = "ink",
        size: float = SIZE,
        anchor: Anchor = "start",
        *,
        bold: bool = False,
        upwards: bool = False,
        halo: bool = False,
    ) -> None:
        """Put a line of text on top, which stands on ``y``.

        With a halo it can be read over lines.
        """
        around: dict[str, Any] = {"stroke": "paper", "stroke_width": 3}
        self.add(
            "text",
            clean(text),
            fill=role,
            x=x,
            y=y,
            font_size="" if size == SIZE else size,
            text_anchor="" if anchor == "start" else anchor,
            font_weight="bold" if bold else "",
            transform=f"rotate(-90 {_plain(x)} {_plain(y)})" if upwards else "",
            **(around | {"paint_order": "stroke"} if halo else {}),
        )


def _box(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    return {"x": x, "y": y, "width": width, "height": height}


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"


def _tip(text: str) -> str:
    return f"<title>{clean(text)}</title>" if text else ""


def clean(text: str) -> str:
    """Text that is safe between tags and in quotes; without control characters."""
    return escape("".join(c if c.isprintable() else " " for c in text))


def sheet(title: str, panels: Sequence[Drawing]) -> Drawing:
    """Drawings of one size beside and below each other, as one.

    Args:
        title: of the whole.
        panels: at least one.
    """
    width, height = panels[0].width, panels[0].height
    columns = max(1, int(WIDTH // width))
    whole = Drawing(title, columns * width, -(-len(panels) // columns) * height + 26)
    whole.text(4, 17, title, bold=True)
    for i, panel in enumerate(panels):
        x, y = (i % columns) * width, (i // columns) * height + 26
        inner = "\n".join(panel.shapes)
        whole.shapes.append(f'<g transform="translate({x:g} {y:g})">\n{inner}\n</g>')
    return whole


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """How wide a text is at most, about: in DejaVu Sans, which is wide.

    >>> text_width("nwot", 10.0)
    26.9
    """
    return round(sum(map(_ems, text)) * size * (1.14 if bold else 1), 1)


def _ems(letter: str) -> float:
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return _EMS.get(letter, 0.79 if letter.isupper() else 0.64)


def widest(texts: Iterable[str], size: float = SIZE, *, bold: bool = False) -> float:
    """Width of the widest of some texts."""
    return max((text_width(text, size, bold=bold) for text in texts), default=0.0)


def short(text: str, length: int = 22) -> str:
    """A name that fits: its beginning, if it is long.

    >>> short("n_layers"), short("an_unusually_long_name", 10)
    ('n_layers', 'an_unusua…')
    """
    return text if len(text) <= length else f"{text[: length - 1]}…"


def standalone(drawing: Drawing, font: str = _FONT) -> str:
    """The whole of an SVG file, on white; where a browser shows it dark, on black."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {_size(drawing)} '
        f'font-family="{font}" font-size="{SIZE:g}">\n'
        f"<title>{clean(drawing.title)}</title>\n<style>{_STYLE}</style>\n"
        f'<rect width="100%" height="100%" class="f-paper"/>\n{_body(drawing)}</svg>\n'
    )


def inline(drawing: Drawing) -> str:
    """A drawing for an HTML page that has the rules of its classes."""
    label = f'role="img" aria-label="{clean(drawing.title)}"'
    least = f'style="min-width:{_LEAST * drawing.width:.0f}px"'
    return f"<svg {_size(drawing)} {label} {least}>\n{_body(drawing)}</svg>"


def need_resvg() -> None:
    """Make sure that PNG can be written.

    Raises:
        UsageError: resvg-py is not installed.
    """
    if importlib.util.find_spec("resvg_py") is None:
        raise UsageError(
            "PNG needs resvg-py, which is not installed.",
            "Install it: pip install 'zcbench[plot]'; or choose --format svg.",
        )


def png(drawing: Drawing) -> bytes:
    """A PNG with two dots for each pixel of the drawing, on white.

    Its letters come with zcbench; other scripts, such as 日本, from the system's fonts.

    Raises:
        UsageError: resvg-py is not installed.
    """
    need_resvg()
    from resvg_py import svg_to_bytes

    text = standalone(drawing, "DejaVu Sans")
    content: bytes = svg_to_bytes(svg_string=text, zoom=2, font_files=_FILES)
    return content


def _size(drawing: Drawing) -> str:
    size = f"{drawing.width:g}", f"{drawing.height:g}"
    return 'width="{0}" height="{1}" viewBox="0 0 {0} {1}"'.format(*size)


def _body(drawing: Drawing) -> str:
    return "".join(f"{shape}\n" for shape in drawing.shapes)
