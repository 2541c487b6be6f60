"""What the seeds of a confirmation and a sweep of solvers and tolerances say, in tables."""

import math
from collections.abc import Callable, Sequence

from ndecore.metrics import METRICS, EpochRecord, Metric
from reports.confirmed import confirmed_seeds, confirmed_study, non_dominated_probabilities
from reports.records import StudyRecord, TrialStatus
from reports.standing import Standing, standings
from reports.statistics import Interval, mean_interval, ratio_interval
from reports.table_formats import Cell, Table
from reports.tables import BASELINE, RATIOS, baseline_trial
from reports.wording import gap_text, title, title_with_unit, value_text


def seed_records(study: StudyRecord, number: int) -> tuple[EpochRecord, ...]:
    """What a trial measured on the test split with each new seed, in the order of the seeds."""
    seeds = confirmed_seeds(study)
    own = {each.seed: each.test for each in study.confirmations if each.trial == number and each.seed in seeds}
    return tuple(record for seed in seeds if (record := own[seed]) is not None)


def seed_interval(study: StudyRecord, number: int, metric: Metric) -> Interval:
    """The mean of a metric over a confirmed trial's seeds, in the metric's unit."""
    return mean_interval([record.objectives()[metric.name] for record in seed_records(study, number)])


def confirmed_table(study: StudyRecord) -> Table:
    """The confirmed trials as the papers' tables have them: means over seeds with intervals, ratios to the baseline."""
    confirmed = confirmed_study(study)
    assert confirmed is not None
    shown = tuple(dict.fromkeys([*study.objectives, METRICS["predict_s"]]))
    baseline = baseline_trial(confirmed)
    ratios = RATIOS if baseline else ()
    chances, places = non_dominated_probabilities(study), standings(confirmed)
    rows = []
    for trial in confirmed.trials:
        number, is_complete = trial.number, trial.status is TrialStatus.COMPLETE
        cells = [_interval(seed_interval(study, number, m), m) if is_complete else _nothing() for m in shown]
        against = seed_records(study, baseline.number) if baseline else ()
        cells += [_ratio(seed_records(study, number), against, m) if is_complete else _nothing() for m in ratios]
        chance = chances[number]
        choice = "knee" if places[number] is Standing.KNEE else "" if is_complete else trial.reason
        texts = Cell(number, str(number)), Cell(trial.label, trial.label)
        sure = Cell(chance, "" if math.isnan(chance) else f"{chance:.2f}")
        rows.append((*texts, *cells, sure, Cell(choice, choice)))
    n = len(confirmed_seeds(study))
    caption = (
        f"Confirmed front of {study.name}: means over {n} new seed{'s' * (n > 1)}, 95 % intervals, on the test split"
        + (f"; ratios are paired by seed, to trial {baseline.number}, {BASELINE}." if baseline else ".")
    )
    heads = ("trial", "label", *map(_test_title, shown), *(f"{title(m)} ratio" for m in ratios), "P(non-dominated)", "")
    is_number = (True, False, *(True for _ in (*shown, *ratios)), True, False)
    return Table("confirmed", caption, heads, is_number, tuple(rows))


def swept_table(study: StudyRecord) -> Table:
    """Every swept point: what the trained weights give when they are solved in another way."""
    scores = tuple(dict.fromkeys(name for point in study.swept for name in point.scores))
    heads = ("trial", "solver", "rtol", *(title(METRICS[name]) for name in scores), "NFE", "solver gap", "feasible")
    rows = tuple(
        (
            Cell(point.trial, str(point.trial)),
            Cell(point.deployment.solver, point.deployment.solver),
            Cell(point.deployment.rtol, f"{point.deployment.rtol:.1e}"),
            *(_score(point.scores.get(name), METRICS[name]) for name in scores),
            Cell(point.nfe, "" if math.isnan(point.nfe) else f"{point.nfe:g}"),
            Cell(point.solver_gap, "" if math.isnan(point.solver_gap) else gap_text(point.solver_gap)),
            _yes(point.solver_gap <= study.max_solver_gap, point.reason),
        )
        for point in sorted(study.swept, key=lambda p: (p.trial, p.deployment.solver, p.deployment.rtol))
    )
    caption = f"The trained models of {study.name} solved by other methods and tolerances, on the validation split."
    return Table("swept", caption, heads, (True, False, *(True for _ in range(3 + len(scores))), False), rows)


def _test_title(metric: Metric) -> str:
    return title_with_unit(metric).replace("validation", "test")


def _nothing() -> Cell:
    return Cell(None, "")


def _interval(interval: Interval, metric: Metric) -> Cell:
    return Cell(interval.mean, _spread(interval, lambda value: value_text(metric, value)))


def _ratio(records: Sequence[EpochRecord], baseline: Sequence[EpochRecord], metric: Metric) -> Cell:
    ours, theirs = ([record.objectives()[metric.name] for record in each] for each in (records, baseline))
    interval = ratio_interval(ours, theirs)
    return Cell(interval.mean, _spread(interval, lambda value: f"{value:.2f}"))


def _spread(interval: Interval, text: Callable[[float], str]) -> str:
    if math.isnan(interval.low):
        return text(interval.mean)
    return f"{text(interval.mean)} [{text(interval.low)}, {text(interval.high)}]"


def _score(value: float | None, metric: Metric) -> Cell:
    return Cell(value, "" if value is None else value_text(metric, value))


def _yes(holds: bool, reason: str) -> Cell:
    return Cell(holds, reason or ("yes" if holds else "no"))
