"""When a study ends before all its trials are run. Pure functions of its spec and its history."""

from itertools import takewhile

import numpy as np

from reports.pareto import MARGIN, Costs, cost_matrix, feasible_trials, hypervolume
from reports.records import StudyRecord, TrialStatus
from studies.history import History
from studies.spec import StudySpec

_S_PER_HOUR = 3600.0
_N_REFERENCE = 8  # feasible trials that fix the box in which hypervolume is measured
_FLAT = 1e-3  # of the hypervolume: growth that does not count

BUG = "failed in a row"


def stop_reason(spec: StudySpec, history: History, study: StudyRecord) -> str:
    """Why no more trials should be proposed; empty while they should."""
    stop = spec.stop
    failure = _same_failure(history, stop.same_error)
    if failure:
        return failure
    if stop.hours is not None and history.elapsed_s >= stop.hours * _S_PER_HOUR:
        return f"it has run for {stop.hours:g} hours"
    device_hours = sum(history.worker_s.values()) * spec.devices_per_trial / _S_PER_HOUR
    if stop.device_hours is not None and device_hours >= stop.device_hours:
        return f"its trials have taken {stop.device_hours:g} device-hours"
    if stop.flat_trials is not None and is_flat(study, history.ended, stop.flat_trials):
        return f"the hypervolume has been flat for {stop.flat_trials} trials"
    return ""


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


def _same_failure(history: History, n_trials: int) -> str:
    """The error that the last trials of this session have all failed with."""
    session = [history.trials[number] for number in history.ended[history.n_ended_before :]]
    last = session[-n_trials:]
    failed = list(takewhile(lambda t: t.status is TrialStatus.FAILED and t.reason == last[-1].reason, reversed(last)))
    return f"{last[-1].reason} ({n_trials} trials {BUG})" if len(failed) == n_trials else ""
