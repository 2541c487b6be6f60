"""What a model with a solve inside takes and returns."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias

from torch import Tensor, nn

from ndecore.brownian import BrownianPath, BrownianTree
from ndecore.integrate import SolveSettings, Watch
from ndecore.running_cost import RunningCost
from ndecore.solution import Solution
from ndecore.solving import solve
from ndecore.terms import ODETerm, SDETerm
from ndecore.types import State, States

Grid: TypeAlias = tuple[float, ...]  # t0, the times between at which a model reads the solution, and t1


@dataclass(frozen=True)
class Wishes:
    """What a penalty wants of the coming solve."""

    grid: Grid  # in place of the model's: as many times
    times: tuple[float, ...] = ()  # further ones at which it wants to see the solution
    differentiable_records: bool = False
    watch: Watch | None = None
    running_cost: RunningCost | None = None


class Trajectory(NamedTuple):
    """A solve on a grid."""

    states: States  # [times, *state], at each time of the grid but the first, as far as the solve came
    solution: Solution


@dataclass(frozen=True)
class SolveRequest:
    """How a model is to solve, and what it is to leave for a penalty."""

    settings: SolveSettings
    wishes: Wishes | None = None
    throw: bool = True
    path_seed: int = 0  # of the path that a stochastic model follows: one seed, one path, whatever steps are taken

    def paths(self, y0: State, grid: Grid, n: int = 1) -> list[BrownianPath]:
        """Paths of a motion for each element of y0 over the grid, or over the one that is wished for in its place."""
        t0, *_, t1 = self.wishes.grid if self.wishes else grid
        first = BrownianTree(self.path_seed, tuple(y0.shape), t0, t1, dtype=y0.dtype, device=y0.device)
        return [first, *(first.apart(i, t0, t1) for i in range(1, n))]

    def solve(self, term: ODETerm | SDETerm, y0: State, grid: Grid) -> Trajectory:
        """Solve from y0 at grid[0] over the grid, or over the one that is wished for in its place."""
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
            throw=self.throw,
        )
        if not inner:
            return Trajectory(solution.y1.unsqueeze(0), solution)
        wanted = [i for i in (ts.index(t) for t in (*inner, t1)) if i < len(solution.ys)]
        return Trajectory(solution.ys if len(wanted) == len(ts) else solution.ys[wanted], solution)


@dataclass(frozen=True)
class Prediction:
    """A model's output and the solve behind it."""

    output: Tensor
    term: ODETerm | SDETerm  # has counted the evaluations
    solution: Solution
    others: tuple[Solution, ...] = ()  # along further paths, where a stochastic model predicts with several


class SolvingModel(nn.Module, ABC):
    """A model whose forward pass solves one differential equation, a stochastic one maybe along several paths."""

    grid: Grid
    is_stochastic: ClassVar[bool] = False  # whether it follows random paths

    @abstractmethod
    def forward(self, inputs: Any, request: SolveRequest) -> Prediction:
        """Predict, solving as requested."""
