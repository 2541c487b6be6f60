"""A table once, written as Markdown, CSV and LaTeX."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "→": r"$\rightarrow$",
        "±": r"$\pm$",
        "²": r"\textsuperscript{2}",
        "·": r"$\cdot$",
    }
)


class Cell(NamedTuple):
    """A value with all its digits, and as a reader wants to see it."""

    value: str | int | float | bool | None
    text: str


@dataclass(frozen=True)
class Table:
    """Rows under heads; a column of numbers is told by `is_number`."""

    name: str  # of its files
    caption: str  # a sentence
    heads: tuple[str, ...]
    is_number: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]


def to_markdown(table: Table) -> str:
    """The table in Markdown, without its caption; numbers to the right."""
    rules = ["---:" if is_number else "---" for is_number in table.is_number]
    texts = [[cell.text for cell in row] for row in table.rows]
    return "".join(f"{_markdown_line(cells)}\n" for cells in (table.heads, rules, *texts))


def to_csv(table: Table) -> str:
    """Comma-separated, every number with all its digits."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table.heads)
    writer.writerows([cell.value for cell in row] for row in table.rows)
    return file.getvalue()


def to_latex(table: Table) -> str:
    """A `table` environment with its caption and the rules of the package booktabs, to be read by `\\input`."""
    columns = "".join("r" if is_number else "l" for is_number in table.is_number)
    body = [_latex_line([cell.text for cell in row]) for row in table.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            f"  \\caption{{{_latex(table.caption)}}}",
            f"  \\label{{tab:{table.name}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            _latex_line(table.heads),
            r"    \midrule",
            *body,
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _markdown_line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _latex_line(cells: Sequence[str]) -> str:
    return "    " + " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return text.replace("\n", " ").translate(_LATEX)
