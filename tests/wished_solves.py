"""Solves as one penalty wants them, by hand."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ndecore.integrate import SolveSettings
from ndecore.observing import Grid, Wishes
from ndecore.solution import Solution
from ndecore.solving import solve
from ndecore.terms import ODETerm, SDETerm


class Trajectory(NamedTuple):
    """A solve on a grid."""

    states: Tensor  # at each time of the grid but the first
    solution: Solution


@dataclass(frozen=True)
class SolveRequest:
    """How to solve, and what to leave for a penalty."""

    settings: SolveSettings
    wishes: Wishes | None = None

    def solve(self, term: ODETerm | SDETerm, y0: Tensor, grid: Grid) -> Trajectory:
        """Solve over the grid, or over the one that is wished for in its place."""
        wishes = self.wishes or Wishes(grid)
        t0, *inner, t1 = wishes.grid
        ts = tuple(sorted({*inner, *wishes.times, *((t1,) if inner else ())}, reverse=t1 < t0))
        solution = solve(
            term,
            y0,
            t0,
            t1,
            settings=self.settings,
            ts=ts,
            differentiable_records=wishes.differentiable_records,
            watch=wishes.watch,
            running_cost=wishes.running_cost,
            throw=True,
        )
        states = solution.ys[[ts.index(t) for t in (*inner, t1)]] if inner else solution.y1.unsqueeze(0)
        return Trajectory(states, solution)
