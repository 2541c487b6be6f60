"""What ran where and when."""

from html import escape

import plotly.graph_objects as go

from reports.figures.style import ACCENT, AXIS, KNEE, PALE, axis_title, lay_out, name_of
from reports.records import StudyRecord, TrialRecord
from reports.standing import Standing, standings

_GROUPS = (
    ("on the front", (Standing.KNEE, Standing.FRONT), KNEE),
    ("complete", (Standing.DOMINATED, Standing.INFEASIBLE), ACCENT),
    ("without result", (Standing.FAILED, Standing.PARTIAL, Standing.STOPPED), PALE),
)


def timeline_figure(study: StudyRecord) -> go.Figure | None:
    """A bar from each trial's beginning to its end, in as many rows for each machine as trials ran there at once.

    None where those times are not known.
    """
    trials = tuple(trial for trial in study.trials if trial.began_s and trial.ended_s > trial.began_s)
    if not trials:
        return None
    origin = min(trial.began_s for trial in trials)
    rows, places = _rows(trials), standings(study)
    figure = go.Figure()
    for name, wanted, color in _GROUPS:
        group = [trial for trial in trials if places[trial.number] in wanted]
        figure.add_trace(
            go.Bar(
                x=[(trial.ended_s - trial.began_s) / 60.0 for trial in group],
                base=[(trial.began_s - origin) / 60.0 for trial in group],
                y=[rows[trial.number] for trial in group],
                orientation="h",
                name=name,
                marker={"color": color, "line": {"width": 1, "color": "white"}},
                hovertext=[f"{escape(name_of(trial))}<br>{trial.ended_s - trial.began_s:.1f} s" for trial in group],
                hoverinfo="text",
                showlegend=bool(group),
            )
        )
    figure.update_xaxes(title=axis_title("time since the first trial began (min)"), **AXIS)
    figure.update_yaxes(**AXIS | {"ticks": ""}, autorange="reversed")
    height = 130 + 26 * len(set(rows.values()))
    lay_out(figure, barmode="overlay", bargap=0.2, height=height, margin={"l": 170, "r": 30, "t": 30, "b": 60})
    return figure


def _rows(trials: tuple[TrialRecord, ...]) -> dict[int, str]:
    """A row for each trial: on its machine the first one that is free again."""
    free_at: dict[str, list[float]] = {}
    rows = {}
    for trial in sorted(trials, key=lambda each: each.began_s):
        lanes = free_at.setdefault(trial.node, [])
        lane = next((i for i, end in enumerate(lanes) if end <= trial.began_s), len(lanes))
        lanes[lane : lane + 1] = [trial.ended_s]
        rows[trial.number] = f"{escape(trial.node) or 'unknown'} · {lane + 1}"
    return rows
