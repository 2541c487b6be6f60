"""The Pareto figure: the trials of a study in the pairs of its objectives."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from ndecore.metrics import Direction, Metric
from reports.choice import knee_trial
from reports.figures.style import ACCENT, AXIS, INK, KNEE, PALE, axis_title, hover_texts, lay_out, value
from reports.pareto import cost_matrix, feasible_trials, front, non_dominated
from reports.records import StudyRecord, TrialRecord
from reports.standing import Standing, standings
from reports.wording import short_title, title_with_unit

_MANY = 200  # trials
_CELLS = ((1, 1), (1, 2), (2, 2))  # the main panel on the left, two panels beside it


@dataclass(frozen=True)
class _Panel:
    """Where a pair of objectives is drawn; x is None where there is only one: then it is the trial's number."""

    row: int
    column: int
    x: Metric | None
    y: Metric


@dataclass(frozen=True)
class _Group:
    """Trials that look alike."""

    name: str
    trials: tuple[TrialRecord, ...]
    marker: dict[str, Any]
    is_coloured: bool


def front_figure(study: StudyRecord, with_title: bool = True) -> go.Figure:
    """The study's trials and its front in the pairs of its objectives, three pairs at most.

    The main panel shows the first two (accuracy against NFE) with the third (training time) as colour. A
    panel's line is the front of its own two objectives: a member below it is on the study's front for the
    sake of the others.

    Args:
        study: any number of objectives from one, any number of trials from none.
        with_title: for where the figure stands alone.
    """
    panels = _panels(study.objectives)
    hue = study.objectives[2] if len(study.objectives) > 2 else None
    figure = _empty_figure(len(panels))
    for panel in panels:
        _draw_line(figure, panel, front(study))
        for group in _groups(study):
            _draw_group(figure, panel, group, hue, study)
        _draw_axes(figure, panel, drawn_trials(study))
        _draw_thresholds(figure, panel, study)
    _annotate(figure, panels[0], study)
    _lay_out(figure, study, hue)
    return figure if with_title else figure.update_layout(title=None, margin={"t": 30})


def _panels(objectives: tuple[Metric, ...]) -> list[_Panel]:
    pairs = list(combinations(objectives, 2))[: len(_CELLS)]
    if not pairs:
        return [_Panel(1, 1, None, objectives[0])]
    return [_Panel(*cell, *_oriented(*pair)) for cell, pair in zip(_CELLS, pairs, strict=False)]


def _oriented(first: Metric, second: Metric) -> tuple[Metric, Metric]:
    """The pair as (x, y): what is maximised goes up, and costs go to the right."""
    if second.direction is Direction.MAXIMIZE and first.direction is Direction.MINIMIZE:
        return first, second
    return second, first


def _empty_figure(n_panels: int) -> go.Figure:
    if n_panels == 1:
        return make_subplots()
    specs = [[{"rowspan": 2}, {}], [None, {}]]
    return make_subplots(
        rows=2,
        cols=2,
        specs=specs,
        column_widths=[0.66, 0.34],
        horizontal_spacing=0.1,
        vertical_spacing=0.14,
    )


def drawn_trials(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The trials that have a place in the figure: complete, and finite in every objective."""
    return tuple(trial for trial in study.trials if trial.values(study.objectives) is not None)


def _groups(study: StudyRecord) -> list[_Group]:
    places = standings(study)
    drawn = drawn_trials(study)

    def standing(*wanted: Standing) -> tuple[TrialRecord, ...]:
        return tuple(trial for trial in drawn if places[trial.number] in wanted)

    white = {"width": 1.5, "color": "white"}
    # Many dots hide each other, and are told apart by their size from the few on the front.
    size = 9 if len(drawn) <= _MANY else 5
    return [
        _Group("infeasible", standing(Standing.INFEASIBLE), {"symbol": "x-thin", "size": size - 1}, False),
        _Group("dominated", standing(Standing.DOMINATED), {"symbol": "circle", "size": size, "opacity": 0.6}, True),
        _Group("Pareto front", front(study), {"symbol": "circle", "size": 14, "line": white}, True),
        _Group(
            "knee", standing(Standing.KNEE), {"symbol": "star", "size": 20, "line": {"width": 1.5, "color": INK}}, True
        ),
    ]


def _draw_group(figure: go.Figure, panel: _Panel, group: _Group, hue: Metric | None, study: StudyRecord) -> None:
    marker = dict(group.marker)
    if not group.is_coloured:
        marker |= {"line": {"width": 2, "color": PALE}}
    elif hue is not None:
        marker |= {"color": [value(trial, hue) for trial in group.trials], "coloraxis": "coloraxis"}
    else:
        marker |= {"color": ACCENT}
    figure.add_trace(
        go.Scatter(
            x=[value(trial, panel.x) for trial in group.trials],
            y=[value(trial, panel.y) for trial in group.trials],
            mode="markers",
            name=group.name,
            legendgroup=group.name,
            showlegend=(panel.row, panel.column) == _CELLS[0] and bool(group.trials),
            marker=marker,
            customdata=[trial.number for trial in group.trials],
            hovertext=hover_texts(study, group.trials),
            hoverinfo="text",
        ),
        row=panel.row,
        col=panel.column,
    )


def _draw_line(figure: go.Figure, panel: _Panel, members: Sequence[TrialRecord]) -> None:
    """The border of what the members dominate in this panel's plane."""
    if panel.x is None or not members:
        return
    mask = non_dominated(cost_matrix(members, (panel.x, panel.y)))
    on_line = [trial for trial, is_on_line in zip(members, mask, strict=True) if is_on_line]
    on_line.sort(key=lambda trial: value(trial, panel.x))
    figure.add_trace(
        go.Scatter(
            x=[value(trial, panel.x) for trial in on_line],
            y=[value(trial, panel.y) for trial in on_line],
            mode="lines",
            line={
                "shape": "hv" if panel.x.direction is Direction.MINIMIZE else "vh",
                "color": PALE,
                "width": 1.5,
            },
            showlegend=False,
            hoverinfo="skip",
        ),
        row=panel.row,
        col=panel.column,
    )


def _draw_axes(figure: go.Figure, panel: _Panel, trials: Sequence[TrialRecord]) -> None:
    is_main = (panel.row, panel.column) == _CELLS[0]
    name_of, size = (title_with_unit, 15) if is_main else (short_title, 12)
    for metric, update in ((panel.x, figure.update_xaxes), (panel.y, figure.update_yaxes)):
        text = name_of(metric) if metric else "trial"
        own: dict[str, Any] = {"title": axis_title(text, size)}
        if metric and metric.is_share:
            own["tickformat"] = ".1~%"
        if is_logarithmic(metric, trials):
            own["type"] = "log"
        update(**AXIS, **own, row=panel.row, col=panel.column)


def _draw_thresholds(figure: go.Figure, panel: _Panel, study: StudyRecord) -> None:
    """A dashed line for each bound on a metric of the panel: what lies beyond it is infeasible."""
    dashed = {"line": {"dash": "dash", "width": 1, "color": KNEE}, "row": panel.row, "col": panel.column}
    for threshold in study.thresholds:
        named = {"annotation_text": escape(str(threshold)), "annotation_font": {"size": 11, "color": KNEE}, **dashed}
        if threshold.name == panel.y.name:
            figure.add_hline(y=threshold.bound, annotation_position="bottom right", **named)
        elif panel.x is not None and threshold.name == panel.x.name:
            figure.add_vline(x=threshold.bound, annotation_position="top right", **named)


def is_logarithmic(metric: Metric | None, trials: Sequence[TrialRecord]) -> bool:
    """Costs that span more than a decade are read by ratio."""
    if metric is None or metric.direction is Direction.MAXIMIZE or not trials:
        return False
    values = [value(trial, metric) for trial in trials]
    return min(values) > 0.0 and max(values) > 10.0 * min(values)


def _annotate(figure: go.Figure, panel: _Panel, study: StudyRecord) -> None:
    """Name the knee and the configs that were proposed by name, at each place once."""
    drawn, members = drawn_trials(study), front(study)
    best = knee_trial(study) if members else None
    named: defaultdict[tuple[float, float], list[TrialRecord]] = defaultdict(list)
    for trial in drawn:
        if trial is best or trial.label:
            named[value(trial, panel.x), value(trial, panel.y)].append(trial)
    for trials in named.values():
        names = ["<b>knee</b>"] * (best in trials) + [escape(trial.label) for trial in trials if trial.label]
        above = (
            -1 if any(trial in members for trial in trials) else 1
        )  # nothing is better than the front: there is room for its labels
        figure.add_annotation(
            x=_position(trials[0], panel.x, drawn),
            y=_position(trials[0], panel.y, drawn),
            text=" · ".join(names),
            # Beside its trial and not over its neighbours: the text begins where the short arrow ends.
            ax=24,
            ay=above * 16,
            xanchor="left",
            showarrow=True,
            standoff=7,
            arrowwidth=1,
            arrowcolor=PALE,
            font={"size": 13, "color": INK},
            row=panel.row,
            col=panel.column,
        )


def _position(trial: TrialRecord, metric: Metric | None, trials: Sequence[TrialRecord]) -> float:
    """Where an annotation goes: on a logarithmic axis plotly wants the exponent."""
    place = value(trial, metric)
    return math.log10(place) if is_logarithmic(metric, trials) else place


def _lay_out(figure: go.Figure, study: StudyRecord, hue: Metric | None) -> None:
    n_front, n_infeasible = len(front(study)), len(drawn_trials(study)) - len(feasible_trials(study))
    ended_early = len(study.trials) - len(drawn_trials(study))
    subtitle = f"task {escape(study.task)} · {len(study.trials)} trials · {n_front} on the front"
    subtitle += f" · {n_infeasible} infeasible" if n_infeasible else ""
    subtitle += f" · {ended_early} without result" if ended_early else ""
    lay_out(
        figure,
        title={
            "text": f"<b>{escape(study.name)}</b>",
            "font": {"size": 22},
            "subtitle": {"text": subtitle, "font": {"size": 14, "color": "#57606a"}},
            "x": 0.0,
            "xref": "paper",
        },
        # Below the panels: above them it meets the title in MLflow's narrow artifact page.
        legend={"orientation": "h", "x": 0.0, "yref": "container", "y": 0.01, "yanchor": "bottom"},
        margin={"l": 80, "r": 40, "t": 95, "b": 100},
    )
    if hue is not None:
        figure.update_layout(coloraxis=color_axis(hue))


def color_axis(hue: Metric) -> dict[str, Any]:
    """The colours of the third objective."""
    bar = {"title": {"text": short_title(hue), "side": "top", "font": {"size": 12}}, "thickness": 12}
    return {"colorscale": "Viridis", "reversescale": True, "colorbar": bar | {"outlinewidth": 0}}
