"""A report as files: one page that needs nothing from the internet, Markdown, and its tables as CSV and LaTeX."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from reports.figures.embedding import as_json, drawing_script
from reports.figures.front import front_figure
from reports.figures.style import Figure
from reports.report import StudyReport, headline, recommendation, sections
from reports.report_tables import trials_table
from reports.table_formats import to_csv, to_latex, to_markdown
from reports.tables import study_summary

_FIGURE = "figure.html.j2"
_PAGE = "report.html.j2"
_MARKDOWN = "report.md.j2"
_environment = Environment(
    loader=PackageLoader("reports"),
    autoescape=select_autoescape(("html.j2",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def write_report(folder: Path, report: StudyReport) -> tuple[Path, ...]:
    """Write report.html, report.md, report.json, front.html (its first figure alone) and tables/*.csv, *.tex.

    Args:
        folder: is created; files of these names in it are replaced.
        report: of a study in any state.

    Returns:
        What was written, the page first.
    """
    files = {
        "report.html": report_page(report),
        "report.md": report_markdown(report),
        "report.json": json.dumps(report_summary(report), indent=2) + "\n",
        "front.html": figure_page(front_figure(report.study), report.study.name),
    }
    files["tables/trials.csv"] = to_csv(trials_table(report.study))  # too wide for a page
    for table in (table for section in sections(report) for table in section.tables):
        files |= {f"tables/{table.name}.csv": to_csv(table), f"tables/{table.name}.tex": to_latex(table)}
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return tuple(folder / name for name in files)


def report_page(report: StudyReport) -> str:
    """The whole report as one HTML page; plotly's script (4.6 MB) is in it once, figures are drawn when scrolled to."""
    parts = sections(report)
    drawn = {part.anchor: part.draw() for part in parts}
    figures = {anchor: _embedded(figure) for anchor, figure in drawn.items() if figure is not None}
    page = _environment.get_template(_PAGE)
    return page.render(**_context(report), parts=parts, figures=figures, plotly=Markup(drawing_script()))


def report_markdown(report: StudyReport) -> str:
    """The texts and tables, for a README or a paper."""
    return _environment.get_template(_MARKDOWN).render(
        **_context(report), parts=sections(report), to_markdown=to_markdown
    )


def report_summary(report: StudyReport) -> dict[str, Any]:
    """What scripts read: plain JSON values, every number with all its digits."""
    hang_on = {each.objective.name: {"explained": each.explained, **each.shares} for each in report.importances}
    return study_summary(report.study) | {"importance": hang_on}


def figure_page(figure: Figure, heading: str) -> str:
    """A figure as one HTML page that needs nothing from the internet.

    In a frame too narrow for its panels, such as MLflow's artifact page, the page scrolls.
    """
    page = _environment.get_template(_FIGURE)
    return page.render(heading=heading, figure=_embedded(figure), plotly=Markup(drawing_script()))


def _context(report: StudyReport) -> dict[str, Any]:
    study = report.study
    told = {"headline": headline(study), "recommendation": recommendation(study)}
    return {"study": study, "versions": dict(study.versions or {})} | told


def _embedded(figure: Figure) -> Markup:
    return Markup(as_json(figure))
