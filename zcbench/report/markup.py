"""The table for Markdown and for LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zcbench.report.words import FOOTNOTE, HEADER, RIGHT, Line, Page, pages

if TYPE_CHECKING:
    import pandas as pd


def render_markdown(table: pd.DataFrame) -> str:
    """One Markdown table per section; proxies ahead of the baselines are bold."""
    blocks = [_markdown(page) for page in pages(table)]
    return "\n".join([*blocks, escape_markdown(FOOTNOTE) + "\n"])


def markdown_table(
    header: tuple[str, ...], rows: list[tuple[str, ...]], right: tuple[bool, ...]
) -> str:
    """A table of escaped cells."""
    rule = ["---:" if to_right else "---" for to_right in right]
    lines = (f"| {' | '.join(cells)} |\n" for cells in (header, rule, *rows))
    return "".join(lines)


def _markdown(page: Page) -> str:
    rows = []
    for line in page.lines:
        cells = [escape_markdown(cell) for cell in line.cells]
        if line.ahead:
            cells[0] = f"**{cells[0]}**"
        rows.append(tuple(cells))
    return (
        f"### {escape_markdown(page.title)}\n\n{escape_markdown(page.setting)}\n\n"
        f"{markdown_table(HEADER, rows, RIGHT)}\n"
        f"{escape_markdown(page.conclusion)}\n"
    )


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    for character in "\\|*_`<":
        text = text.replace(character, f"\\{character}")
    return text


def render_latex(table: pd.DataFrame) -> str:
    r"""One booktabs table per section, to be \input into a paper."""
    head = "% Needs \\usepackage{booktabs}. Made by zcbench report --format tex.\n"
    return "\n".join([head, *map(_latex, pages(table))])


_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "*": r"$^{*}$",
    "ρ": r"$\rho$",
    "τ": r"$\tau$",
    "↑": r"$\uparrow$",
    "·": r"$\cdot$",
    "×": r"$\times$",
}


def _latex(page: Page) -> str:
    columns = "".join("r" if to_right else "l" for to_right in RIGHT)
    rows = "".join(_latex_row(line) for line in page.lines)
    caption = f"{page.title}. {page.setting}. {page.conclusion} {FOOTNOTE}"
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_escape_latex(caption)}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(map(_escape_latex, HEADER))} \\\\\n\\midrule\n"
        f"{rows}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _latex_row(line: Line) -> str:
    cells = [_escape_latex(cell) for cell in line.cells]
    if line.ahead:
        cells = [f"\\textbf{{{cell}}}" for cell in cells]
    for i in (4, 5):  # a minus sign, not a hyphen
        cells[i] = cells[i].replace("-.", "$-$.")
    return f"{' & '.join(cells)} \\\\\n"


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
