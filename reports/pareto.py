"""What is best when more than one thing counts: fronts, their volume, their knee, and choices from them.

Inside, everything is minimised: `cost_matrix` turns measurements into costs, once. NaN policy: a point with a
value that is not finite never dominates, is never on a front and adds no volume.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ndecore.errors import InputError
from ndecore.metrics import Direction, Metric
from reports.records import StudyRecord, TrialRecord

Costs = NDArray[np.float64]  # points x objectives, each in its metric's unit, less is better

MARGIN = 0.1  # of the range from ideal to worst: how far the reference point lies beyond the worst


def cost_matrix(trials: Sequence[TrialRecord], objectives: tuple[Metric, ...]) -> Costs:
    """The trials' last values as costs: maximised metrics negated; a row of NaN where there are no values.

    Args:
        trials: n trials.
        objectives: m metrics, one column each.

    Returns:
        Array (n, m), each column in its metric's unit.
    """
    signs = [-1.0 if metric.direction is Direction.MAXIMIZE else 1.0 for metric in objectives]
    nothing = (math.nan,) * len(objectives)
    rows = [trial.values(objectives) or nothing for trial in trials]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(objectives)) * signs


def non_dominated(costs: Costs) -> NDArray[np.bool_]:
    """Which points no other point dominates: is at most equal in every cost and less in one.

    Equal points do not dominate each other, so duplicates of a front point are all kept.

    Args:
        costs: (n, m), any unit per column.

    Returns:
        Mask (n,).

    Reference: M. A. Yukish, "Algorithms to identify Pareto points in multi-dimensional data sets", PhD,
    Pennsylvania State University, 2004: the simple cull, here on sorted points; O(n x front size).
    """
    finite = np.flatnonzero(np.isfinite(costs).all(axis=1))
    points, member = np.unique(costs[finite], axis=0, return_inverse=True)
    on_front = np.zeros(len(points), dtype=bool)
    candidates = np.arange(len(points))  # sorted, so nothing that is left dominates the first
    while candidates.size:
        head = candidates[0]
        on_front[head] = True
        candidates = candidates[(points[candidates] < points[head]).any(axis=1)]
    mask = np.zeros(len(costs), dtype=bool)
    mask[finite] = on_front[member]
    return mask


def hypervolume(costs: Costs, reference: Sequence[float] | NDArray[np.float64]) -> float:
    """The volume that at least one point dominates, up to the reference point; exact, in any dimension.

    HV(C, r) = measure of the union over c in C of the boxes [c, r].

    Points beyond the reference in some objective, and points that are not finite, add nothing.

    Args:
        costs: (n, m), any unit per column.
        reference: (m,), the corner that is worst in every objective, in the units of the columns.

    Returns:
        The volume, in the product of the units.

    Reference: L. While, P. Hingston, L. Barone, S. Huband, "A faster algorithm for calculating hypervolume",
    IEEE Transactions on Evolutionary Computation 10(1), 2006 (slicing by objectives), with a sweep once two
    are left. WFG is faster from five objectives on, which no study here has; this is half its length.
    """
    corner = np.asarray(reference, dtype=np.float64)
    if costs.ndim != 2 or corner.shape != costs.shape[1:] or not np.isfinite(corner).all():
        raise InputError(
            f"hypervolume: got costs of shape {costs.shape} and reference {corner.tolist()}; "
            "allowed are (n, m) and m finite numbers."
        )
    inside = np.isfinite(costs).all(axis=1) & (costs < corner).all(axis=1)
    return _sliced_volume(costs[inside] - corner)


def _sliced_volume(points: Costs) -> float:
    """The hypervolume of points below a reference at the origin."""
    n_points, n_objectives = points.shape
    if n_points == 0:
        return 0.0
    if n_objectives == 1:
        return float(-points.min())
    if n_objectives == 2:
        return _swept_area(points)
    points = points[non_dominated(points)]
    points = points[np.argsort(points[:, -1])]
    thickness = np.diff(points[:, -1], append=0.0)
    return sum(
        _sliced_volume(points[: last + 1, :-1]) * float(height) for last, height in enumerate(thickness) if height > 0.0
    )


def _swept_area(points: Costs) -> float:
    """The area of the staircase that points below the origin dominate."""
    points = points[np.argsort(points[:, 0])]
    widths = np.diff(points[:, 0], append=0.0)
    return float(-(widths * np.minimum.accumulate(points[:, 1])).sum())


def knee(costs: Costs) -> int:
    """The index of the front member nearest the ideal point; of equally near ones the first of `nearest_ideal`."""
    return nearest_ideal(costs)[0]


def nearest_ideal(costs: Costs) -> list[int]:
    """The indices of the front members nearest the ideal point, objectives normalised over the front to [0, 1].

    argmin over the front of sum_j ((c_j - min c_j) / (max c_j - min c_j))^2

    An objective in which the whole front is equal counts nothing. Equally near are always the two members of a front
    in two objectives. They come with the least costs first, first objective first, then in order: the choice does not
    depend on how the points are sorted.

    Args:
        costs: (n, m), any unit per column; dominated points and points that are not finite are passed over.

    Raises:
        InputError: no point is finite.

    Reference: M. Zeleny, "Compromise programming", in Multiple Criteria Decision Making, 1973 (the compromise
    solution for p = 2). Knees by curvature or bend angle need a smooth front, which some twenty trials are
    not.
    """
    members = np.flatnonzero(non_dominated(costs))
    if not members.size:
        raise InputError(f"knee: none of {len(costs)} points is finite in every objective.")
    distances = np.square(_normalised(costs[members])).sum(axis=1)
    nearest = members[np.isclose(distances, distances.min(), rtol=1e-12, atol=0.0)]
    return [int(i) for i in nearest[np.lexsort(costs[nearest].T[::-1])]]


def contributions(costs: Costs) -> NDArray[np.float64]:
    """The hypervolume that would be lost without each point, objectives normalised to [0, 1]: dimensionless, (n,).

    The reference point lies 10 % of the range beyond the worst, as in `dominated_share`.

    Args:
        costs: (n, m), finite, any unit per column.

    Reference: N. Beume, B. Naujoks, M. Emmerich, "SMS-EMOA", European Journal of Operational Research 181(3), 2007.
    """
    points, corner = _normalised(costs), np.full(costs.shape[1], 1.0 + MARGIN)
    whole = hypervolume(points, corner)
    return np.array([whole - hypervolume(np.delete(points, i, axis=0), corner) for i in range(len(points))])


def _normalised(points: Costs, boxed: Costs | None = None) -> Costs:
    """Each column moved and scaled so that those of `boxed`, `points` by default, fill [0, 1]; equal values to 0."""
    box = points if boxed is None else boxed
    ideal, span = box.min(axis=0), np.ptp(box, axis=0)
    return (points - ideal) / np.where(span > 0.0, span, 1.0)


def feasible_trials(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The trials that may be on the front: complete, within the solver gap, every objective finite."""
    return tuple(
        trial
        for trial in study.trials
        if trial.is_feasible(study.max_solver_gap, study.thresholds) and trial.values(study.objectives) is not None
    )


def front(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The Pareto front of a study over its feasible trials, best in the first objective first."""
    trials = feasible_trials(study)
    costs = cost_matrix(trials, study.objectives)
    members = np.flatnonzero(non_dominated(costs))
    return tuple(trials[i] for i in sorted(members, key=lambda i: (*costs[i], trials[i].number)))


def non_empty_front(study: StudyRecord) -> tuple[TrialRecord, ...]:
    """The front as `front` sorts it; raise InputError where it is empty."""
    members = front(study)
    if not members:
        names = ", ".join(metric.name for metric in study.objectives)
        raise InputError(
            f"study {study.name!r} has no front: none of its {len(study.trials)} trials is complete, "
            f"finite in {names} and within solver gap {study.max_solver_gap:g}."
        )
    return members


def study_hypervolume(study: StudyRecord, box_of: StudyRecord | None = None) -> float:
    """The share of a box that the study's front dominates: dimensionless, in [0, 1]; 0 without feasible trials.

    As the study's own box follows the trials, the value tells how far one study came, and may fall when a trial
    worse than all others arrives; to compare studies name one box for all.

    Args:
        study: its feasible trials count.
        box_of: the study whose feasible trials make the box: this one, unless another is named, which has all of
            this one's trials.
    """
    boxed = None if box_of is None else cost_matrix(feasible_trials(box_of), study.objectives)
    return dominated_share(cost_matrix(feasible_trials(study), study.objectives), boxed)


def dominated_share(costs: Costs, boxed: Costs | None = None) -> float:
    """The share of a box that points dominate: dimensionless, in [0, 1]; 0 without points.

    The box reaches from the ideal point to the worst value of each objective and 10 % of that range beyond, so that
    extreme members count. An objective in which all of it is equal counts as reached.

    Args:
        costs: (n, m), finite.
        boxed: (k, m), finite, the points that make the box; those of `costs` if None.
    """
    if not len(costs):
        return 0.0
    reference = np.full(costs.shape[1], 1.0 + MARGIN)
    return hypervolume(_normalised(costs, boxed), reference) / float(np.prod(reference))


def best(study: StudyRecord, metric: Metric) -> TrialRecord:
    """The front member that is best in one metric, be it an objective or not.

    Of equals the best in the first objective.

    Raises:
        InputError: the front is empty, or no member measured the metric.
    """
    return _least(non_empty_front(study), metric)


def cheapest(trials: Sequence[TrialRecord], metric: Metric, bounds: Mapping[Metric, float]) -> TrialRecord:
    """The epsilon-constraint choice: the trial that is best in one metric among those within every bound.

    Args:
        trials: to choose from: a front, so that the choice is Pareto-optimal.
        metric: what should be cheap.
        bounds: metric -> worst value allowed, in the metric's unit: at least, if more is better, else at
        most.

    Raises:
        InputError: there are no trials, or none is within the bounds; the message says what the best
        available is.

    Reference: Y. Y. Haimes, L. S. Lasdon, D. A. Wismer, "On a bicriterion formulation of the problems of
    integrated system identification and system optimization", IEEE Transactions on Systems, Man, and
    Cybernetics 1(3), 1971.
    """
    allowed = [trial for trial in trials if all(_within(trial, *limit) for limit in bounds.items())]
    if trials and not allowed:
        wanted = " and ".join(f"{m.name} {_sense(m)} {bound:g}" for m, bound in bounds.items())
        found = ", ".join(_best_value(trials, m) for m in bounds)
        raise InputError(f"no trial has {wanted}; the best available is {found}.")
    return _least(allowed, metric)


def _least(trials: Iterable[TrialRecord], metric: Metric) -> TrialRecord:
    measured = [trial for trial in trials if trial.values((metric,)) is not None]
    if not measured:
        raise InputError(f"no trial to choose from has measured {metric.name}.")
    return measured[int(np.argmin(cost_matrix(measured, (metric,))[:, 0]))]


def _within(trial: TrialRecord, metric: Metric, bound: float) -> bool:
    values = trial.values((metric,))
    if values is None:
        return False
    return values[0] >= bound if metric.direction is Direction.MAXIMIZE else values[0] <= bound


def _sense(metric: Metric) -> str:
    return ">=" if metric.direction is Direction.MAXIMIZE else "<="


def _best_value(trials: Sequence[TrialRecord], metric: Metric) -> str:
    values = _least(trials, metric).values((metric,)) or (math.nan,)
    return f"{metric.name} {values[0]:.6g}"
