"""The confirmed front in rows: the mean of each objective over new seeds, with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass

from ndecore.metrics import METRICS, Metric
from reports.choice import knee_trial
from reports.confirmed import confirmed_seeds, confirmed_study, non_dominated_probabilities
from reports.pareto import front
from reports.records import StudyRecord, TrialRecord, TrialStatus
from reports.standing import missed_bounds
from reports.statistics import Interval, mean_interval

PREDICT_S = METRICS["predict_s"]


@dataclass(frozen=True)
class ConfirmedRow:
    """A confirmed trial, as a table shows it."""

    trial: int
    label: str
    intervals: Mapping[str, Interval]  # over the seeds, test split, by Metric.name in its unit; empty if it diverged
    searched: Mapping[str, float]  # the same as the search had measured it on the validation split
    solver_gap: Interval | None  # dimensionless
    probability: float  # of not being dominated, dimensionless; NaN with one seed
    is_on_front: bool
    is_knee: bool
    reason: str  # why it is no candidate: a seed diverged, or the means miss a bound of the study


def confirmed_metrics(study: StudyRecord) -> tuple[Metric, ...]:
    """What the table tells: the objectives, and the seconds of a prediction if they are none."""
    return study.objectives if PREDICT_S in study.objectives else (*study.objectives, PREDICT_S)


def confirmed_rows(study: StudyRecord) -> tuple[ConfirmedRow, ...]:
    """The confirmed trials, the front first as `pareto.front` sorts it, then the others by number; none without.

    Intervals are Student's t at 95 %, two-sided; with one seed their bounds are NaN.
    """
    confirmed = confirmed_study(study)
    if confirmed is None:
        return ()
    seeds, probabilities = confirmed_seeds(study), non_dominated_probabilities(study)
    members = front(confirmed)
    knee = knee_trial(confirmed) if members else None
    rows = []
    for trial in (*members, *(each for each in confirmed.trials if each not in members)):
        records = [c.test for c in study.confirmations if c.trial == trial.number and c.seed in seeds and c.test]
        is_whole = trial.status is TrialStatus.COMPLETE
        last = next(each for each in study.trials if each.number == trial.number).epochs[-1].objectives()
        metrics = confirmed_metrics(study)
        measured = {m.name: mean_interval([r.objectives()[m.name] for r in records]) for m in metrics if is_whole}
        gaps = [record.solver_gap for record in records if record.solver_gap is not None]
        rows.append(
            ConfirmedRow(
                trial=trial.number,
                label=trial.label,
                intervals=measured,
                searched={metric.name: last[metric.name] for metric in metrics},
                solver_gap=mean_interval(gaps) if is_whole and gaps else None,
                probability=probabilities[trial.number],
                is_on_front=trial in members,
                is_knee=trial is knee,
                reason=_misses(confirmed, trial) if is_whole else trial.reason,
            )
        )
    return tuple(rows)


def _misses(confirmed: StudyRecord, trial: TrialRecord) -> str:
    missed = missed_bounds(confirmed, trial)
    return f"misses {', '.join(missed)}" if missed else ""
