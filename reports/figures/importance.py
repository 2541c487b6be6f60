"""Hyperparameter importance as bars."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.figures.style import ACCENT, AXIS, PALE, axis_title, lay_out
from reports.importance import Importance
from reports.wording import title

_MOST = 8  # keys in each panel


def importance_figure(found: tuple[Importance, ...]) -> go.Figure | None:
    """A panel of bars for each objective, the largest on top; pale where the forest explains nothing.

    None where there is nothing to show.
    """
    if not found:
        return None
    headings = [f"{title(each.objective)} (R² {each.explained:.2f})" for each in found]
    figure = make_subplots(rows=1, cols=len(found), subplot_titles=headings, horizontal_spacing=0.13)
    for column, each in enumerate(found, start=1):
        top = sorted(each.shares.items(), key=lambda item: item[1])[-_MOST:]
        figure.add_trace(
            go.Bar(
                x=[share for _, share in top],
                y=[key for key, _ in top],
                orientation="h",
                marker={"color": ACCENT if each.explained > 0.0 else PALE},
                hovertemplate="%{y}: %{x:.1%}<extra></extra>",
            ),
            row=1,
            col=column,
        )
        figure.update_xaxes(title=axis_title("share"), tickformat=".0%", rangemode="tozero", **AXIS, row=1, col=column)
        figure.update_yaxes(**AXIS | {"ticks": ""}, row=1, col=column)
    figure.update_annotations(font={"size": 13})
    lay_out(figure, showlegend=False, margin={"l": 110, "r": 20, "t": 40, "b": 60})
    return figure
