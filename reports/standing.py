"""Where each trial of a study stands, and how the study came there trial by trial."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from reports.choice import baseline_trial, knee_trial
from reports.pareto import MARGIN, cost_matrix, dominated_share, feasible_trials, front, hypervolume, non_dominated
from reports.records import StudyRecord, TrialRecord, TrialStatus

_OPEN = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
_FAILED = (TrialStatus.DIVERGED, TrialStatus.FAILED)


class Standing(StrEnum):
    """Where a trial stands in its study; only the first three were compared with others."""

    KNEE = "knee"  # on the front, and its knee
    FRONT = "front"
    DOMINATED = "dominated"
    INFEASIBLE = "infeasible"  # complete, but beyond the solver gap or a threshold
    PARTIAL = "partial"  # not trained to its end, by interruption or because it still runs
    STOPPED = "stopped"  # by a rule, before its end
    FAILED = "failed"  # diverged or failed, or what it measured is not finite


def standings(study: StudyRecord) -> dict[int, Standing]:
    """The standing of every trial by its number."""
    members = front(study)
    on_front = {trial.number for trial in members}
    feasible = {trial.number for trial in feasible_trials(study)}
    best = knee_trial(study).number if members else None

    def standing(trial: TrialRecord) -> Standing:
        if trial.number == best:
            return Standing.KNEE
        if trial.number in on_front:
            return Standing.FRONT
        if trial.number in feasible:
            return Standing.DOMINATED
        if trial.status in _OPEN:
            return Standing.PARTIAL
        if trial.status is TrialStatus.STOPPED:
            return Standing.STOPPED
        return Standing.INFEASIBLE if trial.values(study.objectives) is not None else Standing.FAILED

    return {trial.number: standing(trial) for trial in study.trials}


def missed_bounds(study: StudyRecord, trial: TrialRecord) -> tuple[str, ...]:
    """The bounds of the study that a complete trial misses: "solver gap <= 0.01", "accuracy >= 0.9"."""
    last = trial.epochs[-1]
    is_far = last.solver_gap is None or not last.solver_gap <= study.max_solver_gap
    missed = (str(each) for each in study.thresholds if not each.excess(last.objectives()) <= 0.0)
    return (*[f"solver gap <= {study.max_solver_gap:g}"] * is_far, *missed)


@dataclass(frozen=True)
class Moment:
    """What a study had reached when one more of its trials ended."""

    n_ended: int
    time_s: float  # s since 1970
    values: Mapping[str, float]  # by the names under which they are logged in the study's run


def course(study: StudyRecord, after: int = 0) -> tuple[Moment, ...]:
    """The study at the end of each trial, in the order in which they ended, the first `after` of them left out.

    Each moment depends on the trials until then alone, so that a study that is told anew is told the same.
    """
    ended = ended_trials(study)
    costs, is_feasible = cost_matrix(ended, study.objectives), _feasible_mask(study, ended)
    found: list[Moment] = []
    for n in range(after + 1, len(ended) + 1):
        points = costs[:n][is_feasible[:n]]
        ends = Counter(trial.status for trial in ended[:n])
        values = {
            "hypervolume": dominated_share(points),
            "front_size": int(non_dominated(points).sum()),
            "trials_complete": ends[TrialStatus.COMPLETE],
            "trials_failed": sum(ends[status] for status in _FAILED),
        }
        found.append(Moment(n, ended[n - 1].ended_s, values))
    return tuple(found)


def relative_hypervolume(study: StudyRecord) -> float | None:
    """The hypervolume of the front over that of the baseline alone, in a box that does not move as trials arrive.

    HV(front, r) / HV({baseline}, r), where r is the worst value of each objective among the start configs, and 10 % of
    its size beyond. A value of 2 says that the front dominates twice what the baseline dominates. It never falls.

    Returns:
        Dimensionless; None without a baseline, or until the start configs, those labelled, have all ended.
    """
    baseline, first = baseline_trial(study), [t for t in study.trials if t.label]
    is_open = any(t.status is TrialStatus.RUNNING for t in first) or len(first) == len(study.trials) < study.n_trials
    if baseline is None or is_open:
        return None
    costs = cost_matrix(first, study.objectives)
    worst = costs[np.isfinite(costs).all(axis=1)].max(axis=0)
    reference = worst + MARGIN * np.abs(worst)
    alone = hypervolume(cost_matrix((baseline,), study.objectives), reference)
    return hypervolume(cost_matrix(front(study), study.objectives), reference) / alone if alone > 0.0 else None


def growth(study: StudyRecord) -> tuple[float, ...]:
    """The share of the study's final box that its front dominated after each ended trial; it never falls."""
    ended = ended_trials(study)
    costs, is_feasible = cost_matrix(ended, study.objectives), _feasible_mask(study, ended)
    shares: list[float] = []
    front_so_far = costs[:0]
    for point, counts in zip(costs, is_feasible, strict=True):
        if counts:
            front_so_far = np.vstack([front_so_far, point])
            front_so_far = front_so_far[non_dominated(front_so_far)]
        shares.append(dominated_share(front_so_far, costs[is_feasible]) if counts else (shares or [0.0])[-1])
    return tuple(shares)


def ended_trials(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The trials that ended, in the order in which they did."""
    ended = (trial for trial in study.trials if trial.status not in _OPEN)
    return tuple(sorted(ended, key=lambda trial: (trial.ended_s, trial.number)))


def _feasible_mask(study: StudyRecord, trials: tuple[TrialRecord, ...]) -> NDArray[np.bool_]:
    feasible = {trial.number for trial in feasible_trials(study)}
    return np.array([trial.number in feasible for trial in trials], dtype=bool)
