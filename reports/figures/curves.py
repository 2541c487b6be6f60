"""What came over time: the learning curves of the front, and how the study's front grew."""

from html import escape

import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from ndecore.metrics import METRICS, Metric
from reports.choice import baseline_trial
from reports.figures.style import ACCENT, AXIS, BASELINE, KNEE, axis_title, lay_out, name_of
from reports.records import StudyRecord, TrialRecord
from reports.standing import Standing, ended_trials, growth, standings
from reports.wording import title

_NFE = METRICS["nfe"]
_MOST = 12  # curves: more are no longer told apart


def learning_figure(study: StudyRecord) -> go.Figure | None:
    """The first objective and the NFE of the front's members and of the baseline, epoch by epoch.

    None where no epochs are known but the last.
    """
    trials = curved_trials(study)
    if not any(len(trial.epochs) > 1 for trial in trials):
        return None
    score = next((metric for metric in study.objectives if metric.name != _NFE.name), study.objectives[0])
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.09)
    places = standings(study)
    members = [trial for trial in trials if places[trial.number] in (Standing.FRONT, Standing.KNEE)]
    shades = sample_colorscale("Viridis", [0.15 + 0.75 * i / max(1, len(members) - 1) for i in range(len(members))])
    colors = {trial.number: shade for trial, shade in zip(members, shades, strict=True)}
    for trial in trials:
        place = places[trial.number]
        is_knee, is_baseline = place is Standing.KNEE, trial.number not in colors
        line = {"width": 3 if is_knee else 1.5, "color": KNEE if is_knee else colors.get(trial.number, BASELINE)}
        line |= {"dash": "dash"} if is_baseline else {}
        name = name_of(trial) + (" (knee)" if is_knee else " (off the front)" if is_baseline else "")
        for column, metric in enumerate((score, _NFE), start=1):
            figure.add_trace(_curve(trial, metric, name, line, column == 1), row=1, col=column)
    for column, metric in enumerate((score, _NFE), start=1):
        own = {"tickformat": ".0%"} if metric.is_share else {}
        figure.update_yaxes(title=axis_title(title(metric)), **AXIS, **own, row=1, col=column)
        figure.update_xaxes(title=axis_title("epoch"), **AXIS, row=1, col=column)
    lay_out(figure, margin={"l": 70, "r": 20, "t": 60, "b": 60})
    return figure


def curved_trials(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The trials whose learning is drawn: the front, the knee among them whatever its size, and the baseline."""
    places = standings(study)
    members = [trial for trial in study.trials if places[trial.number] in (Standing.FRONT, Standing.KNEE)]
    sign = 1.0 if study.objectives[0].direction.value == "minimize" else -1.0
    members.sort(key=lambda trial: sign * trial.epochs[-1].objectives()[study.objectives[0].name])
    step = max(1.0, len(members) / _MOST)
    chosen = [members[int(i * step)] for i in range(min(len(members), _MOST))]
    knee = [trial for trial in members if places[trial.number] is Standing.KNEE and trial not in chosen]
    baseline = baseline_trial(study)
    return (*chosen, *knee, *([baseline] if baseline and baseline not in members else []))


def _curve(trial: TrialRecord, metric: Metric, name: str, line: dict[str, object], is_named: bool) -> go.Scatter:
    return go.Scatter(
        x=[epoch.epoch for epoch in trial.epochs],
        y=[epoch.objectives()[metric.name] for epoch in trial.epochs],
        mode="lines",
        name=escape(name),
        legendgroup=str(trial.number),
        showlegend=is_named,
        line=line,
        hovertemplate=f"{escape(name)}<br>epoch %{{x}}: %{{y:.5g}}<extra></extra>",
    )


def growth_figure(study: StudyRecord) -> go.Figure | None:
    """The hypervolume over the time of the study; None where it is not known when its trials ended."""
    ended = ended_trials(study)
    if not ended or not all(trial.ended_s for trial in ended):
        return None
    began = min(trial.began_s for trial in ended)
    minutes = [(trial.ended_s - began) / 60.0 for trial in ended]
    names = [escape(name_of(trial)) for trial in ended]
    figure = go.Figure(
        go.Scatter(
            x=[0.0, *minutes],
            y=[0.0, *growth(study)],
            customdata=["", *names],
            mode="lines",
            line={"shape": "hv", "color": ACCENT, "width": 2.5},
            fill="tozeroy",
            fillcolor="rgba(59, 111, 182, 0.12)",
            hovertemplate="%{x:.2f} min, %{customdata}: %{y:.4f}<extra></extra>",
        )
    )
    figure.update_xaxes(title=axis_title("time since the first trial began (min)"), rangemode="tozero", **AXIS)
    figure.update_yaxes(title=axis_title("hypervolume, share of the box"), rangemode="tozero", **AXIS)
    lay_out(figure, showlegend=False)
    return figure
