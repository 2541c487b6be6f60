"""The confirmed front with its intervals, and what sweeps of solvers and tolerances found."""

import math
from html import escape

import plotly.graph_objects as go
from plotly.colors import qualitative

from ndecore.metrics import Metric
from reports.confirmed_table import ConfirmedRow, confirmed_rows
from reports.deployments import points_of
from reports.figures.style import ACCENT, AXIS, BASELINE, KNEE, axis_title, lay_out
from reports.records import StudyRecord, SweptPoint
from reports.statistics import Interval
from reports.wording import on_test, title, title_with_unit

_DASHES = ("solid", "dash", "dot", "dashdot")


def confirmed_figure(study: StudyRecord) -> go.Figure | None:
    """Means over seeds of the first two objectives, with intervals; None where nothing is confirmed."""
    rows = [row for row in confirmed_rows(study) if row.intervals]
    if not rows or len(study.objectives) < 2:
        return None
    y, x = study.objectives[:2]
    figure = go.Figure([_point(row, x, y) for row in rows])
    figure.update_xaxes(title=axis_title(title_with_unit(x)), **AXIS)
    own = {"tickformat": ".1~%"} if y.is_share else {}
    figure.update_yaxes(title=axis_title(on_test(title_with_unit(y))), **AXIS, **own)
    lay_out(figure, showlegend=False)
    return figure


def _point(row: ConfirmedRow, x: Metric, y: Metric) -> go.Scatter:
    color = KNEE if row.is_knee else ACCENT if row.is_on_front else BASELINE
    name = f"trial {row.trial}" + (f" · {row.label}" if row.label else "") + " (knee)" * row.is_knee
    at_x, at_y = row.intervals[x.name], row.intervals[y.name]
    return go.Scatter(
        x=[at_x.mean],
        y=[at_y.mean],
        error_x=_error(at_x, color),
        error_y=_error(at_y, color),
        mode="markers+text",
        text=[escape(name)],
        textposition="top right",
        textfont={"size": 11, "color": color},
        marker={"size": 11, "color": color},
        hovertemplate=f"{escape(name)}<br>%{{x:.4g}}, %{{y:.4g}}<extra></extra>",
    )


def _error(interval: Interval, color: str) -> dict[str, object]:
    half = 0.0 if math.isnan(interval.high) else interval.high - interval.mean
    return {"array": [half], "color": color, "thickness": 1.2, "width": 4}


def sweep_figure(study: StudyRecord) -> go.Figure | None:
    """The first score against NFE, a line for each trial and solver over its tolerances; None where nothing was swept.

    A point that is beyond the study's solver gap is hollow: it is another model.
    """
    scored = [point for point in study.swept if point.scores]
    if not scored:
        return None
    score = study.metric(next(iter(scored[0].scores)))
    figure = go.Figure()
    numbers = sorted({point.trial for point in scored})
    solvers = sorted({point.deployment.solver for point in scored})
    colors = qualitative.D3
    for i, number in enumerate(numbers):
        for j, solver in enumerate(solvers):
            points = [p for p in points_of(study, number) if p.deployment.solver == solver and p.scores]
            line = {"color": colors[i % len(colors)], "dash": _DASHES[j % len(_DASHES)], "width": 1.5}
            figure.add_trace(_sweep(points, score, line, study.max_solver_gap))
    figure.update_xaxes(title=axis_title(title_with_unit(study.metric("nfe"))), type="log", **AXIS)
    own = {"tickformat": ".1~%"} if score.is_share else {}
    figure.update_yaxes(title=axis_title(title(score)), **AXIS, **own)
    lay_out(figure, legend={"x": 1.01, "y": 1.0, "font": {"size": 11}})
    return figure


def _sweep(points: list[SweptPoint], score: Metric, line: dict[str, object], max_gap: float) -> go.Scatter:
    name = f"trial {points[0].trial}, {points[0].deployment.solver}" if points else ""
    return go.Scatter(
        x=[point.nfe for point in points],
        y=[point.scores[score.name] for point in points],
        customdata=[[point.deployment.rtol, point.solver_gap] for point in points],
        mode="lines+markers",
        name=escape(name),
        showlegend=bool(points),
        line=line,
        marker={"size": 7, "symbol": ["circle" if p.solver_gap <= max_gap else "circle-open" for p in points]},
        hovertemplate=f"{escape(name)}<br>rtol %{{customdata[0]:.0e}}: %{{y:.5g}} in %{{x:g}} evaluations"
        "<br>solver gap %{customdata[1]:.2g}<extra></extra>",
    )
