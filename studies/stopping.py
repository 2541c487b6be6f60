"""When a study ends before all its trials are run. Pure functions of its spec and its history."""

from itertools import takewhile

import numpy as np

from reports.pareto import MARGIN, Costs, cost_matrix, feasible_trials, hypervolume
from reports.records import Cause, Stop, StopRule, StudyRecord
from studies.history import History
from studies.spec import StudySpec

_S_PER_HOUR = 3600.0
_N_REFERENCE = 8  # feasible trials that fix the box in which hypervolume is measured
_AT_FIRST_STEP = 3  # trials in a row that are not finite before any update: it is the data
_FLAT = 1e-3  # of the hypervolume: growth that does not count


def stop_reason(spec: StudySpec, history: History, study: StudyRecord) -> Stop | None:
    """Why no more trials should be proposed; None while they should."""
    stop = spec.stop
    failure = _same_failure(history, stop.same_error)
    if failure is not None:
        return failure
    if stop.hours is not None and history.elapsed_s >= stop.hours * _S_PER_HOUR:
        return Stop(StopRule.HOURS, stop.hours)
    device_hours = sum(history.worker_s.values()) * spec.devices_per_trial / _S_PER_HOUR
    if stop.device_hours is not None and device_hours >= stop.device_hours:
        return Stop(StopRule.DEVICE_HOURS, stop.device_hours)
    if stop.flat_trials is not None and is_flat(study, history.ended, stop.flat_trials):
        return Stop(StopRule.FLAT_TRIALS, stop.flat_trials)
    return None


def is_flat(study: StudyRecord, ended: list[int], n_trials: int) -> bool:
    """Whether the last `n_trials` that ended have added nothing to speak of to the hypervolume.

    The reference point is fixed by the first eight feasible trials, so that the value cannot fall.
    """
    place = {number: i for i, number in enumerate(ended)}
    trials = sorted((t for t in feasible_trials(study) if t.number in place), key=lambda t: place[t.number])
    if len(trials) < _N_REFERENCE or len(ended) < _N_REFERENCE + n_trials:
        return False
    costs = cost_matrix(trials, study.objectives)
    reference = fixed_reference(costs[:_N_REFERENCE])
    earlier = sum(place[trial.number] < len(ended) - n_trials for trial in trials)
    before, now = hypervolume(costs[:earlier], reference), hypervolume(costs, reference)
    return now <= before * (1.0 + _FLAT)


def fixed_reference(costs: Costs) -> Costs:
    """The worst of each objective, and a tenth of its range beyond; where all are equal, a tenth of the value.

    Args:
        costs: (n, m), any unit per column.

    Returns:
        (m,), in the units of the columns.
    """
    worst, span = costs.max(axis=0), np.ptp(costs, axis=0)
    return worst + MARGIN * np.where(span > 0.0, span, np.maximum(np.abs(worst), MARGIN))


def _same_failure(history: History, n_trials: int) -> Stop | None:
    """The error that the last trials of this session have all failed with, or have all begun with."""
    last = [history.trials[number] for number in reversed(history.ended[history.n_ended_before :])]
    alike = list(takewhile(lambda t: t.is_mistake and t.reason == last[0].reason, last))
    allowed = n_trials if alike and alike[0].cause is not Cause.FIRST_STEP else min(n_trials, _AT_FIRST_STEP)
    return Stop(StopRule.SAME_ERROR, allowed, last[0].reason) if len(alike) >= allowed else None
