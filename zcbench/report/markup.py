"""The table for Markdown and for LaTeX."""

from __future__ import annotations

from zcbench.report.cells import cells, header, right
from zcbench.report.pages import (
    HEADER,
    RIGHT,
    Line,
    Page,
    footnote,
    heads,
    overall,
    pages,
)
from zcbench.report.report import Report
from zcbench.report.sections.block import Block


def render_markdown(report: Report) -> str:
    """One Markdown table per dataset and section; proxies that are ahead are bold."""
    parts = []
    if report.shows_table:
        parts += [_markdown(page) for page in pages(report)]
        ends = (overall(report), footnote(report))
        parts += [f"{escape_markdown(text)}\n" for text in ends if text]
    else:
        parts.append(
            "".join(f"- {escape_markdown(h.strip())}\n" for h in heads(report))
        )
    parts += [markdown_of(block) for block in report.blocks]
    return "\n".join(parts)


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
        + ("\n" if page.remarks else "")
        + "".join(f"- {escape_markdown(line)}\n" for line in page.remarks)
    )


def markdown_of(block: Block) -> str:
    """One section: what it is, its table, its conclusion."""
    end = f"\n{escape_markdown(block.conclusion)}\n" if block.conclusion else ""
    return (
        f"### {escape_markdown(block.title)}\n\n{escape_markdown(block.about)}\n\n"
        f"{table_of(block)}{end}"
    )


def table_of(block: Block) -> str:
    """The table of a section alone."""
    rows = [tuple(map(escape_markdown, row)) for row in cells(block)]
    head = tuple(map(escape_markdown, header(block)))
    return markdown_table(head, rows, right(block))


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    for character in "\\|*_`<":
        text = text.replace(character, f"\\{character}")
    return text


def render_latex(report: Report) -> str:
    r"""One booktabs table per dataset and section, to be \input into a paper."""
    parts = ["% Needs \\usepackage{booktabs}. Made by zcbench report --format tex.\n"]
    if report.shows_table:
        parts += [_latex(page, footnote(report)) for page in pages(report)]
    parts += [_latex_block(block) for block in report.blocks]
    return "\n".join(parts)


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
    "Δ": r"$\Delta$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "−": r"$-$",
    "–": "--",
    "±": r"$\pm$",
    "→": r"$\to$",
    "√": r"$\surd$",
    "²": r"$^{2}$",
    "σ": r"$\sigma$",
    "χ": r"$\chi$",
    "Σ": r"$\Sigma$",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
}


def _latex(page: Page, note: str) -> str:
    rows = [_latex_row(line) for line in page.lines]
    remarks = "".join(f" {line}." for line in page.remarks)
    caption = f"{page.title}. {page.setting}. {page.conclusion}{remarks} {note}"
    return _latex_table(caption, HEADER, rows, RIGHT)


def _latex_block(block: Block) -> str:
    kinds = [column.kind for column in block.columns]
    rows = []
    for row in cells(block):
        texts = [_escape_latex(text) for text in row]
        pairs = zip(texts, kinds, strict=True)
        rows.append([t if kind == "text" else _minus(t) for t, kind in pairs])
    caption = f"{block.title}. {block.about} {block.conclusion}".rstrip()
    return _latex_table(caption, header(block), rows, right(block))


def _latex_table(
    caption: str,
    head: tuple[str, ...],
    rows: list[list[str]],
    to_right: tuple[bool, ...],
) -> str:
    """A booktabs table of escaped cells."""
    columns = "".join("r" if right else "l" for right in to_right)
    body = "".join(f"{' & '.join(row)} \\\\\n" for row in rows)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{_escape_latex(caption)}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(map(_escape_latex, head))} \\\\\n\\midrule\n"
        f"{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _latex_row(line: Line) -> list[str]:
    cells = [_escape_latex(cell) for cell in line.cells]
    if line.ahead:
        cells = [f"\\textbf{{{cell}}}" for cell in cells]
    return [*cells[:4], *map(_minus, cells[4:6]), *cells[6:]]


def _minus(text: str) -> str:
    """A minus sign, not a hyphen."""
    return text.replace("-.", "$-$.").replace("-1.", "$-$1.")


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
