"""Asynchronous successive halving by non-dominated rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from ndecore.keys import Above, check_fields
from reports.pareto import Costs, non_dominated
from studies.early_stopping.base import Fraction, LeastTrials, StoppingRule, Verdict
from studies.early_stopping.curves import Curves


@dataclass(frozen=True)
class SuccessiveHalving(StoppingRule):
    """At each rung the best 1/eta of the trials that came so far go on; no trial waits for others.

    Trials within the study's bound on the solver gap come first, by non-dominated rank; then the others, by how far
    they miss it. Within a rank the one that is furthest from those chosen before comes next (an epsilon-net). On the
    recorded curves of a small neural ODE it stops the front: see `reports/benchmarks/search.md` before you take it.

    Args:
        eta: one in so many goes on.
        after: the part of a training at which the first rung is; each further one is eta times later.
        least_trials: that have come to the rung.

    Reference: L. Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020 (ASHA);
    D. Salinas et al., "A multi-objective perspective on jointly tuning hardware and hyperparameters", 2021 (the net).
    """

    eta: Annotated[float, Above(1), "One in so many trials goes on at a rung."] = 3.0
    after: Fraction = 0.1
    least_trials: LeastTrials = 3
    needs_gap: ClassVar[bool] = True
    figure: ClassVar[str] = "places to go on over its own place"

    def __post_init__(self) -> None:
        check_fields(self)

    def looks_at(self, n_epochs: int) -> Sequence[int]:
        """At the rungs."""
        epoch, found = max(1.0, self.after * n_epochs), []
        while round(epoch) < n_epochs:
            found.append(round(epoch))
            epoch *= self.eta
        return tuple(dict.fromkeys(found))

    def judge(self, curves: Curves, number: int, epoch: int) -> Verdict | None:
        """The number of trials that go on at this rung, over the trial's place from 1."""
        came = curves.reached(curves.n_epochs(number), epoch)
        if len(came) < self.least_trials:
            return None
        points = curves.at(came, epoch)
        order = _order(points[:, : curves.n_objectives], curves.excess(points))
        place = 1 + list(order).index(came.index(number))
        return Verdict(max(1, int(len(came) / self.eta)) / place, 1.0)


def _order(costs: Costs, excess: NDArray[np.float64]) -> NDArray[np.intp]:
    """The points from the best to the worst: (n,) places."""
    is_far = ~(excess <= 0.0)
    near, far = np.flatnonzero(~is_far), np.flatnonzero(is_far)
    span = np.ptp(costs, axis=0)
    unit = costs / np.where(span > 0.0, span, 1.0)
    ordered = []
    while near.size:
        of_rank = non_dominated(costs[near])
        ordered += list(near[of_rank][_spread(unit[near[of_rank]])])
        near = near[~of_rank]
    return np.array([*ordered, *far[np.argsort(excess[far], kind="stable")]], dtype=np.intp)


def _spread(points: Costs) -> list[int]:
    """The order of an epsilon-net: first the point nearest the ideal one, then always the one that is furthest."""
    chosen = [int(np.square(points - points.min(axis=0)).sum(axis=1).argmin())]
    distance = np.full(len(points), np.inf)
    while len(chosen) < len(points):
        distance = np.minimum(distance, np.square(points - points[chosen[-1]]).sum(axis=1))
        distance[chosen] = -1.0
        chosen.append(int(distance.argmax()))
    return chosen
