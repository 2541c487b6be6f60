"""A table reads back from CSV, and is what LaTeX and Markdown take."""

import csv
import io

import pytest

from reports.table_formats import Cell, Table, to_csv, to_latex, to_markdown

ODD = r"50 % of a_b & {c} \d ~ ^ $x$ #1 | <i>"
TABLE = Table(
    "odd",
    ODD,
    ("name", "value"),
    (False, True),
    ((Cell(ODD, ODD), Cell(0.1 + 0.2, "0.3")), (Cell("two, 2", "two, 2"), Cell(None, ""))),
)


def test_csv_has_every_digit_and_reads_back():
    rows = list(csv.reader(io.StringIO(to_csv(TABLE))))
    assert rows == [["name", "value"], [ODD, "0.30000000000000004"], ["two, 2", ""]]


def test_latex_escapes_what_it_would_take_for_commands():
    text = to_latex(TABLE)
    expected = (
        r"50 \% of a\_b \& \{c\} \textbackslash{}d \textasciitilde{} \textasciicircum{} \$x\$ \#1 "
        r"\textbar{} \textless{}i\textgreater{}"
    )
    assert f"    {expected} & 0.3 \\\\" in text.splitlines()
    assert f"\\caption{{{expected}}}" in text
    assert r"\begin{tabular}{lr}" in text
    assert text.count("\\begin") == text.count("\\end") == 2


@pytest.mark.parametrize(("sign", "written"), [("→", r"$\rightarrow$"), ("±", r"$\pm$"), ("²", r"\textsuperscript{2}")])
def test_latex_knows_the_signs_that_tables_here_have(sign, written):
    assert written in to_latex(Table("signs", sign, ("a",), (False,), ((Cell(sign, sign),),)))


def test_markdown_has_as_many_cells_in_every_line():
    lines = to_markdown(TABLE).splitlines()
    assert lines[:2] == ["| name | value |", "| --- | ---: |"]
    assert [line.replace("\\|", "").count("|") for line in lines] == [3] * 4
