"""The contract of a penalty on what the solver computes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Annotated, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from ndecore.compatibility import Chosen, Clash, chosen, estimate_clashes, penalty_clashes, refuse
from ndecore.facts import AdjointFacts, RegularizerFacts, Settings, SolverFacts, facts_of
from ndecore.integrate import SolveSettings
from ndecore.observing import Grid, Wishes
from ndecore.solution import Solution
from ndecore.solvers.base import Solver
from ndecore.terms import ODETerm, SDETerm
from ndecore.types import PerStep, Scalar

# The keys that several penalties have.
Aggregation: TypeAlias = Annotated[
    Literal["sum", "mean", "max"], "How a penalty gathers what the accepted steps recorded."
]
WeightByStep: TypeAlias = Annotated[bool, "Whether each step's part in the penalty is multiplied by its step size."]
Scaled: TypeAlias = Annotated[
    bool, "Whether the penalty takes tolerance-scaled estimates (the published code) or raw ones."
]


@dataclass(frozen=True)
class PenaltyContext:
    """A finished solve, as a penalty sees it."""

    term: ODETerm | SDETerm
    settings: SolveSettings
    solution: Solution
    wishes: Wishes  # what the penalty wished for, and got

    @property
    def costs(self) -> Tensor:
        """[n_costs], the integral of the running cost that was wished for."""
        assert self.solution.costs is not None, "what is wished for is integrated"
        return self.solution.costs


class Regularizer(ABC):
    """A dimensionless penalty that makes a model cheaper to solve; its weight and schedule are the caller's."""

    needs_differentiable_records: ClassVar[bool]  # whether the solve must record error and stiffness with gradients
    needs_error: ClassVar[bool] = False  # whether the solver must have an error estimate
    needs_stiffness: ClassVar[bool] = False  # whether the solver must have a stiffness estimate
    # For which values of its own keys it must be told where accepted steps began, and the states there must carry
    # gradients: {} for all, None for none.
    needs_told_steps: ClassVar[Settings] = None
    needs_taped_states: ClassVar[Settings] = None
    is_integral: ClassVar[bool] = False  # whether it is an integral along the solution, and so of ordinary equations
    is_weighted: ClassVar[bool] = True  # whether it adds to the loss; else it has no weight and no schedule
    moves_grid: ClassVar[bool] = False  # whether it changes the times at which a model reads the solution

    def check(self, settings: SolveSettings) -> None:
        """Raise `InputError` if a solve with such settings cannot give the penalty what it needs."""
        solver, adjoint = chosen(SolverFacts, settings.solver), chosen(AdjointFacts, settings.adjoint)
        refuse(penalty_clashes(chosen(RegularizerFacts, self), solver, adjoint))

    def check_solver(self, solver: Solver) -> None:
        """Raise `InputError` if the solver does not estimate what the penalty looks at."""
        refuse(_lacking(type(self), type(solver)))

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """What the penalty wants of the coming solve on `grid`; its random choices are drawn from `generator`."""
        return Wishes(grid, differentiable_records=self.needs_differentiable_records)

    @abstractmethod
    def penalty(self, context: PenaltyContext) -> Scalar:
        """The penalty, dimensionless."""


@cache  # it is asked after each solve
def _lacking(regularizer: type[Regularizer], solver: type[Solver]) -> tuple[Clash, ...]:
    asking = Chosen(regularizer.__name__, facts_of(RegularizerFacts, regularizer))
    return tuple(estimate_clashes(asking, Chosen(solver.__name__, facts_of(SolverFacts, solver))))


def drawn_seed(generator: torch.Generator) -> int:
    """A seed for random choices that are made while the solve goes on."""
    return int(torch.randint(2**63 - 1, (), generator=generator).item())


def aggregate(values: PerStep, agg: Aggregation) -> Scalar:
    """Gather one value per accepted step: their sum, their maximum, or their mean over n + 1 records.

    P1's code averages over n + 1 records because its callback fires once before the first step, with a value of 0; its
    published weights were tuned for that mean, so it is kept. A solve of no step has penalty 0.
    """
    if len(values) == 0:
        return values.sum()
    if agg == "sum":
        return values.sum()
    if agg == "mean":
        return values.sum() / (len(values) + 1)
    return values.max()
