"""The region that a front dominates as disjoint boxes: the gain of many points over one front is then a few sums."""

import numpy as np
from numpy.typing import NDArray

from reports.pareto import Costs, non_dominated

_ROUNDING = 1e-12  # of the sums of boxes: a smaller share of a point's own box is none


class DominatedRegion:
    """What a set of points dominates below a reference point, cut into boxes once.

    Args:
        costs: (n, m), any unit per column; points beyond the reference, or not finite, dominate nothing in it.
        reference: (m,), in the units of the columns.

    Reference: K. Yang, M. Emmerich, A. Deutz, T. Bäck, "Efficient computation of expected hypervolume improvement using
    box decomposition algorithms", Journal of Global Optimization 75, 2019; the boxes here are those of slicing by one
    objective after another, at most n^(m - 1).
    """

    def __init__(self, costs: Costs, reference: Costs) -> None:
        inside = costs[np.isfinite(costs).all(axis=1) & (costs < reference).all(axis=1)]
        self._reference = reference
        self.front = inside[non_dominated(inside)]
        self._lower, self._upper = _boxes(self.front, reference)

    @property
    def volume(self) -> float:
        """The hypervolume of the points, in the product of the units."""
        return float(np.prod(self._upper - self._lower, axis=1).sum())

    def dominates(self, costs: Costs) -> NDArray[np.bool_]:
        """Whether a point of the front is at most equal in every objective; (q,) for costs (q, m)."""
        at_most = np.asarray((self.front[None] <= costs[:, None]).all(axis=2), dtype=np.bool_)
        return np.asarray(at_most.any(axis=1), dtype=np.bool_)

    def gains(self, costs: Costs) -> NDArray[np.float64]:
        """The hypervolume that each point alone would add; 0 for those that are dominated, beyond, or not finite.

        Args:
            costs: (q, m), in the units of the front.

        Returns:
            Array (q,), in the product of the units.
        """
        found = np.zeros(len(costs))
        is_below = (costs < self._reference).all(axis=1)
        inside = np.asarray(np.isfinite(costs).all(axis=1) & is_below, dtype=np.bool_)
        inside[inside] = ~self.dominates(costs[inside])
        points = costs[inside]
        shared = np.maximum(self._upper - np.maximum(self._lower, points[:, None]), 0.0)
        alone = np.prod(self._reference - points, axis=1)
        gains = alone - np.prod(shared, axis=2).sum(axis=1)
        found[inside] = np.where(gains > _ROUNDING * alone, gains, 0.0)
        return found


def _boxes(points: Costs, reference: Costs) -> tuple[Costs, Costs]:
    """The lower and upper corners, (b, m) each."""
    n_points, m = points.shape
    if not n_points:
        return np.empty((0, m)), np.empty((0, m))
    if m == 1:
        return points.min(axis=0, keepdims=True), reference[None]
    points = points[np.argsort(points[:, -1])]
    ends = np.append(points[1:, -1], reference[-1])
    lowers, uppers = [], []
    for last, (low, high) in enumerate(zip(points[:, -1], ends, strict=True)):
        if high > low:
            slab = points[: last + 1, :-1]
            lower, upper = _boxes(slab[non_dominated(slab)], reference[:-1])
            lowers.append(np.column_stack([lower, np.full(len(lower), low)]))
            uppers.append(np.column_stack([upper, np.full(len(upper), high)]))
    return np.vstack(lowers), np.vstack(uppers)
