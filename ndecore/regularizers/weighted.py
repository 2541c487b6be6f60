"""Penalties with their weights, and several at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ndecore.integrate import SolveSettings, Watch
from ndecore.models.base import Grid, Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.schedules import Schedule
from ndecore.running_cost import RunningCost
from ndecore.solution import Solution
from ndecore.terms import ODETerm, SDETerm
from ndecore.types import PerPenalty, Scalar, State


@dataclass(frozen=True)
class Weighted:
    """A penalty, and the schedule of its weight."""

    regularizer: Regularizer
    schedule: Schedule


class Session:
    """One training solve, as all of its penalties want it.

    Args:
        regularizers: the penalties.
        grid: the model's.
        generator: of their random choices.
    """

    def __init__(self, regularizers: Sequence[Regularizer], grid: Grid, generator: torch.Generator) -> None:
        self._regularizers, own = tuple(regularizers), dict[int, Wishes]()
        # First what moves the grid: the others draw their times from the span that is solved.
        for i in sorted(range(len(self._regularizers)), key=lambda i: not self._regularizers[i].moves_grid):
            own[i] = self._regularizers[i].prepare(grid, generator)
            grid = own[i].grid
        self._own = [own[i] for i in range(len(self._regularizers))]
        self.wishes = _joined(self._own, grid)

    def penalties(self, term: ODETerm | SDETerm, settings: SolveSettings, solution: Solution) -> PerPenalty:
        """Each penalty of the finished solve: [penalties], dimensionless."""
        taken, found = 0, []
        for regularizer, wishes in zip(self._regularizers, self._own, strict=True):
            part = solution
            if wishes.running_cost is not None and solution.costs is not None:
                n = wishes.running_cost.n_costs
                part, taken = replace(solution, costs=solution.costs[taken : taken + n]), taken + n
            found.append(regularizer.penalty(PenaltyContext(term, settings, part, wishes)))
        return torch.stack(found) if found else solution.y1.new_zeros(0)


def _joined(parts: Sequence[Wishes], grid: Grid) -> Wishes:
    watches = [part.watch for part in parts if part.watch is not None]
    costs = [part.running_cost for part in parts if part.running_cost is not None]
    return Wishes(
        grid,
        times=tuple(t for part in parts for t in part.times),
        differentiable_records=any(part.differentiable_records for part in parts),
        watch=_told_to_all(watches) if watches else None,
        running_cost=_Costs(costs) if costs else None,
    )


def _told_to_all(watches: Sequence[Watch]) -> Watch:
    def watch(t: float, y: State) -> None:
        for each in watches:
            each(t, y)

    return watch


class _Costs(RunningCost):
    """Several running costs, one after the other."""

    def __init__(self, costs: Sequence[RunningCost]) -> None:
        self._costs = costs
        self.n_costs = sum(cost.n_costs for cost in costs)

    def __call__(self, t: Scalar, y: State, slope: State) -> Tensor:
        return torch.cat([cost(t, y, slope) for cost in self._costs])
