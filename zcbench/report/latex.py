"""Documents as LaTeX."""

from __future__ import annotations

import re

from zcbench.analysis.block import Block
from zcbench.report.document import Document
from zcbench.report.text import cells, header, right, styles

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
    "§": r"\S{}",
    "·": r"$\cdot$",
    "×": r"$\times$",
}


def render_tex(document: Document) -> str:
    r"""A booktabs table for each block, to be \input into a paper."""
    head = "% Needs \\usepackage{booktabs}. Made by zcbench report --format tex.\n"
    labels: list[str] = []
    for block in document.blocks:
        label = _label(block)
        same = sum(other.startswith(label) for other in labels)
        labels.append(f"{label}-{same + 1}" if label in labels else label)
    return "\n".join([head, *map(_table, document.blocks, labels)])


def _label(block: Block) -> str:
    r"""What \ref takes: tab:correlations-nb201-cifar10, of letters, digits and -."""
    words = [block.name, *(block.title.split(" · ")[:2] if block.where else ())]
    return "tab:" + "-".join(re.findall(r"[A-Za-z0-9]+", " ".join(words)))


def _table(block: Block, label: str) -> str:
    texts = (block.title, block.about.removesuffix("."))
    above = "".join(f"{text}. " for text in texts if text)
    remarks = "".join(f" {line}." for line in block.remarks)
    caption = f"{above}{block.conclusion}{remarks} {block.foot}".rstrip()
    short = (block.title or block.name).partition(" (")[0].replace("[", "(")
    short = short.replace("]", ")")  # it stands in brackets itself
    columns = "".join("r" if to_right else "l" for to_right in right(block))
    rows = zip(cells(block), styles(block), strict=True)
    body = "".join(f"{' & '.join(_row(block, *row))} \\\\\n" for row in rows)
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption[{_escape(short)}]{{{_escape(caption)}}}\n\\label{{{label}}}\n"
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n"
        f"{' & '.join(map(_escape, header(block)))} \\\\\n\\midrule\n"
        f"{body}\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _row(block: Block, texts: tuple[str, ...], style: str) -> list[str]:
    """Escaped cells; those of who is ahead are bold, and numbers have a minus sign."""
    cells = []
    for column, text in zip(block.columns, texts, strict=True):
        cell = _escape(text)
        if column.kind != "text":
            cell = cell.replace("-.", "$-$.").replace("-1.", "$-$1.")
        cells.append(f"\\textbf{{{cell}}}" if style == "ahead" else cell)
    return cells


def _escape(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
