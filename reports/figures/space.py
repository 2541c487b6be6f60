"""The front in three dimensions, for studies of three objectives or more."""

import plotly.graph_objects as go

from reports.figures.front import drawn_trials, is_logarithmic
from reports.figures.style import ACCENT, GRID, INK, KNEE, PALE, axis_title, hover_texts, lay_out, value
from reports.records import StudyRecord
from reports.standing import Standing, standings
from reports.wording import title

_GROUPS = (
    ("infeasible", (Standing.INFEASIBLE,), {"symbol": "circle-open", "size": 4, "color": PALE}),
    ("dominated", (Standing.DOMINATED,), {"symbol": "circle", "size": 4, "color": PALE}),
    ("Pareto front", (Standing.FRONT,), {"symbol": "circle", "size": 6, "color": ACCENT}),
    ("knee", (Standing.KNEE,), {"symbol": "diamond", "size": 8, "color": KNEE, "line": {"width": 1, "color": INK}}),
)


def space_figure(study: StudyRecord) -> go.Figure | None:
    """The trials in the space of the first three objectives; None where there are fewer."""
    if len(study.objectives) < 3:
        return None
    first, *costs = study.objectives[:3]
    places, drawn = standings(study), drawn_trials(study)
    figure = go.Figure()
    for name, wanted, marker in _GROUPS:
        trials = tuple(trial for trial in drawn if places[trial.number] in wanted)
        figure.add_trace(
            go.Scatter3d(
                x=[value(trial, costs[0]) for trial in trials],
                y=[value(trial, costs[1]) for trial in trials],
                z=[value(trial, first) for trial in trials],
                mode="markers",
                name=name,
                marker=marker,
                hovertext=hover_texts(study, trials),
                hoverinfo="text",
                showlegend=bool(trials),
            )
        )
    axes = {}
    for axis, metric in zip(("xaxis", "yaxis", "zaxis"), (*costs, first), strict=True):
        own = {"type": "log"} if is_logarithmic(metric, drawn) else {}
        own |= {"tickformat": ".0%"} if metric.is_share else {}
        axes[axis] = {"title": axis_title(title(metric), 12), "gridcolor": GRID, "backgroundcolor": "white", **own}
    # Accuracy goes up, and costs fall towards the reader; a little below the middle, where the titles of the axes are.
    camera = {"eye": {"x": 1.4, "y": 1.4, "z": 0.6}, "center": {"x": 0, "y": 0, "z": -0.25}}
    lay_out(figure, scene={**axes, "camera": camera, "aspectmode": "cube"}, margin={"l": 0, "r": 0, "t": 30, "b": 0})
    return figure
