"""A study's front as a small plot of characters."""

import math

import plotext

from ndecore.metrics import Direction
from reports.confirmed import confirmed_study, published_study
from reports.records import StudyRecord
from reports.standing import Standing, standings
from reports.wording import on_test, title, title_with_unit

HEIGHT, _LEAST_WIDTH, _MOST_WIDTH = 16, 50, 100
# Drawn in this order: what is worth more hides what is worth less.
_MARKERS = {Standing.INFEASIBLE: "x", Standing.DOMINATED: "·", Standing.FRONT: "●", Standing.KNEE: "◆"}


def front_plot(study: StudyRecord, width: int, height: int = HEIGHT) -> str:
    """The published trials in the first two objectives, under what the markers mean; empty without room or trials.

    Args:
        study: any.
        width: of the terminal, in characters.
        height: of the plot, in lines.
    """
    if len(study.objectives) < 2 or width < _LEAST_WIDTH:
        return ""
    y, x = study.objectives[:2]
    if x.direction is Direction.MAXIMIZE:
        x, y = y, x
    is_confirmed, study = confirmed_study(study) is not None, published_study(study)
    places = standings(study)
    points: dict[Standing, list[tuple[float, ...]]] = {}
    for trial in study.trials:
        values = trial.values((x, y))
        if values is not None and places[trial.number] in _MARKERS:
            points.setdefault(places[trial.number], []).append(values)
    if not points:
        return ""
    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(min(width, _MOST_WIDTH), height)
    for place, marker in _MARKERS.items():
        if place in points:
            figure.draw(figure.signal(*zip(*points[place], strict=True), marker=marker))
    for axis, metric_values in zip("xy", zip(*(p for each in points.values() for p in each), strict=True), strict=True):
        least, most = min(metric_values), max(metric_values)
        if math.isclose(least, most, rel_tol=1e-6):  # it would be drawn from 0, as one line among others
            figure.ruler(axis, 0).lim(least - 0.05 * abs(least), most + 0.05 * abs(most))
    drawn = plotext.uncolorize(str(figure.build())).rstrip()
    legend = "  ".join(f"{marker} {place}" for place, marker in _MARKERS.items() if place in points)
    what = f"{title(y)} against {title_with_unit(x)}"
    return f"{on_test(what) if is_confirmed else what}    {legend}\n{drawn}\n"
