"""What a figure is made of: a few shapes in pixels, coloured by their role.

Figures are drawn once, of these; `svg` and `png` write them down.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

Role = Literal[
    "ink", "muted", "faint", "paper", "accent", "baseline", "plus", "minus", "inverse"
]
LIGHT: Mapping[Role, str] = {
    "ink": "#111111",
    "muted": "#595959",
    "faint": "#d4d4d4",
    "paper": "#ffffff",
    "accent": "#0060a0",
    "baseline": "#b84a00",
    "plus": "#00559b",
    "minus": "#9c3d00",
    "inverse": "#ffffff",
}
"""Role → colour on white. Blue and orange: told apart by every kind of eye."""
DARK: Mapping[Role, str] = {
    "ink": "#ececec",
    "muted": "#adadad",
    "faint": "#474747",
    "paper": "#161616",
    "accent": "#6bb8f2",
    "baseline": "#f2a05c",
    "plus": "#2468a8",
    "minus": "#a3501a",
    "inverse": "#ffffff",
}
"""The same on black."""
SIZE = 12.0
"""Height of text that says nothing else."""
_EM, _BOLD = 0.62, 0.72  # width of a character of the widest fonts, by its height
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    role: Role = "muted"
    width: float = 1.0
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Rect:
    """A filled rectangle; ``tip`` is shown where a mouse rests on it."""

    x: float
    y: float
    width: float
    height: float
    role: Role
    opacity: float = 1.0
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """The outline of a rectangle."""

    x: float
    y: float
    width: float
    height: float
    role: Role = "muted"
    thickness: float = 1.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One point: a filled circle, or the outline of a square for a baseline."""

    x: float
    y: float
    baseline: bool = False
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Many points, drawn as one shape."""

    points: tuple[tuple[float, float], ...]
    role: Role = "accent"
    size: float = 2.2


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; ``y`` is where it stands on."""

    x: float
    y: float
    text: str
    role: Role = "ink"
    size: float = SIZE
    anchor: Anchor = "start"
    bold: bool = False
    italic: bool = False
    upwards: bool = False


Shape = Line | Rect | Frame | Mark | Cloud | Text


@dataclass(slots=True)
class Drawing:
    """Shapes on a sheet, y downwards.

    Attributes:
        title: what it shows, for those who do not see it.
        width: of the sheet.
        height: of the sheet.
        shapes: from back to front.
    """

    title: str
    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        """Put shapes on top."""
        self.shapes.extend(shapes)

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
        italic: bool = False,
        upwards: bool = False,
    ) -> None:
        """Put a line of `Text` on top."""
        self.add(Text(x, y, text, role, size, anchor, bold, italic, upwards))


def sheet(title: str, drawings: Sequence[Drawing], columns: int) -> Drawing:
    """Drawings of one size beside and below each other, as one.

    Args:
        title: of the whole.
        drawings: at least one.
        columns: how many stand beside each other.
    """
    columns = min(columns, len(drawings))
    width = max(d.width for d in drawings)
    height = max(d.height for d in drawings)
    rows = -(-len(drawings) // columns)
    whole = Drawing(title, columns * width, rows * height + 26)
    whole.text(4, 17, title, bold=True)
    for i, drawing in enumerate(drawings):
        x, y = (i % columns) * width, (i // columns) * height + 26
        whole.add(*(moved(shape, x, y) for shape in drawing.shapes))
    return whole


def moved(shape: Shape, x: float, y: float) -> Shape:
    """The same shape elsewhere."""
    if isinstance(shape, Line):
        return replace(
            shape,
            x1=shape.x1 + x,
            y1=shape.y1 + y,
            x2=shape.x2 + x,
            y2=shape.y2 + y,
        )
    if isinstance(shape, Cloud):
        return replace(shape, points=tuple((a + x, b + y) for a, b in shape.points))
    return replace(shape, x=shape.x + x, y=shape.y + y)


def text_width(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """How wide a text is at most, about.

    >>> text_width("nwot", 10.0)
    24.8
    """
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return round((_BOLD if bold else _EM) * size * (len(text) + wide), 1)


def widest(texts: Iterable[str], size: float = SIZE, *, bold: bool = False) -> float:
    """Width of the widest of some texts."""
    return max((text_width(text, size, bold=bold) for text in texts), default=0.0)


def short(text: str, length: int = 22) -> str:
    """A name that fits: its beginning, if it is long.

    >>> short("n_layers"), short("an_unusually_long_name", 10)
    ('n_layers', 'an_unusua…')
    """
    return text if len(text) <= length else f"{text[: length - 1]}…"
