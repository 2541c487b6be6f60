"""What the seeds of a confirmation and a sweep of solvers and tolerances say, in tables."""

import math
from collections.abc import Callable

from ndecore.metrics import Metric
from reports.choice import BASELINE, RATIOS, by_seed
from reports.confirmed import confirmed_seeds
from reports.confirmed_table import ConfirmedRow, confirmed_metrics, confirmed_rows
from reports.records import StudyRecord
from reports.statistics import Interval, ratio_interval
from reports.table_formats import Cell, Table
from reports.wording import gap_text, on_test, short_title, title, value_text


def confirmed_report_table(study: StudyRecord) -> Table:
    """The confirmed trials as the papers' tables have them: means over seeds with intervals, ratios to the baseline."""
    metrics, rows = confirmed_metrics(study), confirmed_rows(study)
    baseline = next((row for row in rows if row.label == BASELINE and row.intervals), None)
    ratios = RATIOS if baseline else ()
    cells = []
    for row in rows:
        measured = [_interval(row.intervals[m.name], m) if row.intervals else _nothing() for m in metrics]
        against = [_ratio(study, row, baseline, m) if baseline and row.intervals else _nothing() for m in ratios]
        sure = Cell(row.probability, "" if math.isnan(row.probability) else f"{row.probability:.2f}")
        choice = "knee" if row.is_knee else row.reason or ("" if row.is_on_front else "dominated")
        texts = Cell(row.trial, str(row.trial)), Cell(row.label, row.label)
        cells.append((*texts, *measured, *against, sure, Cell(choice, choice)))
    n = len(confirmed_seeds(study))
    caption = (
        f"Confirmed front of {study.name}: means over {n} new seed{'s' * (n > 1)}, 95 % intervals, on the test split"
        + (f"; ratios are paired by seed, to trial {baseline.trial}, {BASELINE}." if baseline else ".")
    )
    heads = ("trial", "label", *map(_test_title, metrics), *(f"{title(m)} ratio" for m in ratios), "P(non-dominated)")
    is_number = (True, False, *(True for _ in (*metrics, *ratios)), True, False)
    return Table("confirmed", caption, (*heads, "choice"), is_number, tuple(cells))


def swept_table(study: StudyRecord) -> Table:
    """Every swept point: what the trained weights give when they are solved in another way."""
    scores = tuple(dict.fromkeys(name for point in study.swept for name in point.scores))
    heads = (
        "trial",
        "solver",
        "rtol",
        *(title(study.metric(name)) for name in scores),
        "NFE",
        "solver gap",
        "feasible",
    )
    rows = tuple(
        (
            Cell(point.trial, str(point.trial)),
            Cell(point.deployment.solver, point.deployment.solver),
            Cell(point.deployment.rtol, f"{point.deployment.rtol:.1e}"),
            *(_score(point.scores.get(name), study.metric(name)) for name in scores),
            Cell(point.nfe, "" if math.isnan(point.nfe) else f"{point.nfe:g}"),
            Cell(point.solver_gap, "" if math.isnan(point.solver_gap) else gap_text(point.solver_gap)),
            _yes(point.solver_gap <= study.max_solver_gap, point.reason),
        )
        for point in sorted(study.swept, key=lambda p: (p.trial, p.deployment.solver, p.deployment.rtol))
    )
    caption = f"The trained models of {study.name} solved by other methods and tolerances, on the validation split."
    return Table("swept", caption, heads, (True, False, *(True for _ in range(3 + len(scores))), False), rows)


def _test_title(metric: Metric) -> str:
    return on_test(short_title(metric))


def _nothing() -> Cell:
    return Cell(None, "")


def _interval(interval: Interval, metric: Metric) -> Cell:
    return Cell(interval.mean, _spread(interval, lambda value: value_text(metric, value)))


def _ratio(study: StudyRecord, row: ConfirmedRow, baseline: ConfirmedRow, metric: Metric) -> Cell:
    ours, theirs = (_by_seed(study, each.trial, metric) for each in (row, baseline))
    interval = ratio_interval(ours, theirs)
    return Cell(interval.mean, _spread(interval, lambda value: f"{value:.2f}"))


def _by_seed(study: StudyRecord, number: int, metric: Metric) -> list[float]:
    own = by_seed(study, number, metric)
    return [own[seed] for seed in confirmed_seeds(study)]


def _spread(interval: Interval, text: Callable[[float], str]) -> str:
    if math.isnan(interval.low):
        return text(interval.mean)
    return f"{text(interval.mean)} [{text(interval.low)}, {text(interval.high)}]"


def _score(value: float | None, metric: Metric) -> Cell:
    return Cell(value, "" if value is None else value_text(metric, value))


def _yes(holds: bool, reason: str) -> Cell:
    return Cell(holds, reason or ("yes" if holds else "no"))
