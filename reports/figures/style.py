"""What the figures have in common: ink, font, axes, and how a trial is described under the pointer."""

from html import escape
from typing import Any, TypeAlias

import plotly.graph_objects as go

from ndecore.metrics import Metric
from reports.records import StudyRecord, TrialRecord
from reports.tables import searched_keys
from reports.wording import gap_text, setting_text, title_with_unit, value_text

Figure: TypeAlias = go.Figure  # for rooms that hand figures on and draw none

INK, PALE, GRID = "#24292f", "#8c959f", "#eaeef2"
FONT = "Inter, Helvetica Neue, Helvetica, Arial, sans-serif"
KNEE, BASELINE, ACCENT = "#c2410c", "#57606a", "#3b6fb6"
AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": PALE,
    "ticks": "outside",
    "tickcolor": PALE,
    "zeroline": False,
}


def lay_out(figure: go.Figure, **more: Any) -> None:
    """The layout of every figure, and its own over it."""
    common = {
        "template": "plotly_white",
        "font": {"family": FONT, "size": 13, "color": INK},
        "hoverlabel": {"bgcolor": "white", "bordercolor": PALE, "align": "left", "font": {"color": INK}},
        "hovermode": "closest",
        "margin": {"l": 80, "r": 30, "t": 30, "b": 60},
        "legend": {"orientation": "h", "x": 0.0, "y": 1.02, "yanchor": "bottom"},
    }
    figure.update_layout(**common | more)


def axis_title(text: str, size: int = 13) -> dict[str, Any]:
    """The title of an axis."""
    return {"text": text, "font": {"size": size}}


def value(trial: TrialRecord, metric: Metric | None) -> float:
    """What the trial measured at its last epoch; its number where no metric is asked for."""
    return float(trial.number) if metric is None else trial.epochs[-1].objectives()[metric.name]


def hover_texts(study: StudyRecord, trials: tuple[TrialRecord, ...]) -> list[str]:
    """What the pointer shows of each trial: what it measured, and the values that the study varied."""
    keys = searched_keys(study)
    return [_hover(trial, study.objectives, keys) for trial in trials]


def name_of(trial: TrialRecord) -> str:
    """The trial's number with its label: plain text."""
    return f"trial {trial.number}" + (f" · {trial.label}" if trial.label else "")


def _hover(trial: TrialRecord, objectives: tuple[Metric, ...], keys: tuple[str, ...]) -> str:
    values = [f"{title_with_unit(m)}: {value_text(m, value(trial, m))}" for m in objectives]
    config = [f"{key}: {setting_text(trial.config[key])}" for key in keys if key in trial.config]
    body = "<br>".join(map(escape, [*values, f"solver gap: {gap_text(trial.epochs[-1].solver_gap)}"]))
    return f"<b>{escape(name_of(trial))}</b><br>{body}<br>" + "".join(f"<br>{escape(line)}" for line in config)
