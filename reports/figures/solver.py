"""The solver's way through the knee beside that through the baseline."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from reports.figures.style import AXIS, BASELINE, KNEE, axis_title, lay_out
from reports.solver_profile import SolverProfile

_PANELS = (("step size", "dt"), ("error ratio", "error_ratio"), ("stiffness (1/time)", "stiffness"))
_COLORS = (KNEE, BASELINE)


def solver_figure(profiles: tuple[SolverProfile, ...]) -> go.Figure | None:
    """Step sizes, error ratios and stiffness along t, a level for each accepted step; None without profiles."""
    if not profiles:
        return None
    figure = make_subplots(rows=1, cols=len(_PANELS), horizontal_spacing=0.07)
    for column, (heading, name) in enumerate(_PANELS, start=1):
        for profile, color in zip(profiles, _COLORS, strict=False):
            ends = (*profile.t, profile.t[-1] + profile.dt[-1])
            levels = getattr(profile, name)
            figure.add_trace(
                go.Scatter(
                    x=ends,
                    y=(*levels, levels[-1]),
                    mode="lines+markers",
                    line={"shape": "hv", "color": color, "width": 2},
                    marker={"size": 4},
                    name=f"{profile.role}, trial {profile.trial}",
                    legendgroup=profile.role,
                    showlegend=column == 1,
                    hovertemplate="t = %{x:.4g}: %{y:.4g}<extra></extra>",
                ),
                row=1,
                col=column,
            )
        figure.update_xaxes(title=axis_title("t"), **AXIS, row=1, col=column)
        figure.update_yaxes(title=axis_title(heading), rangemode="tozero", **AXIS, row=1, col=column)
    lay_out(figure)
    return figure
