"""A drawing as SVG, alone or inside a page that brings the colours, and as PNG."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from zcbench.errors import UsageError
from zcbench.report.figures.drawing import LIGHT, SIZE, Drawing, clean

_STYLE = "".join(
    f".f-{role}{{fill:{colour}}}.s-{role}{{stroke:{colour}}}"
    for role, colour in LIGHT.items()
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


def standalone(drawing: Drawing, font: str = _FONT) -> str:
    """The whole of an SVG file, on white."""
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
