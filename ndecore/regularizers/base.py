"""The contract of a penalty on what the solver computes."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.models.base import Grid, Wishes
from ndecore.solution import Solution
from ndecore.solvers.base import Solver
from ndecore.terms import ODETerm, SDETerm
from ndecore.types import PerStep, Scalar

Aggregation: TypeAlias = Literal["sum", "mean", "max"]
AGGREGATIONS: tuple[Aggregation, ...] = ("sum", "mean", "max")


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
    is_weighted: ClassVar[bool] = True  # whether it adds to the loss; else it has no weight and no schedule
    moves_grid: ClassVar[bool] = False  # whether it changes the times at which a model reads the solution

    def check(self, settings: SolveSettings) -> None:
        """Raise `InputError` if a solve with such settings cannot give the penalty what it needs."""
        self.check_solver(settings.solver)
        if self.needs_differentiable_records and not settings.adjoint.differentiates_records:
            raise InputError(
                f"regularizer: got {type(self).__name__} with {type(settings.adjoint).__name__}, which does not "
                "differentiate the steps of the solve, allowed: a discrete adjoint (tape, checkpointed), or a local "
                "penalty (local_error)"
            )

    def check_solver(self, solver: Solver) -> None:
        """Raise `InputError` if the solver does not estimate what the penalty looks at."""
        lacking = ""
        if self.needs_error and solver.error_order is None:
            lacking = "error"
        # Without two stages at one time every step's stiffness is recorded as 0, and so would the penalty be.
        if self.needs_stiffness and not solver.tells_stiffness:
            lacking = "stiffness"
        if lacking:
            raise InputError(
                f"regularizer: got {type(self).__name__} with {type(solver).__name__}, which has no {lacking} "
                "estimate, allowed: a solver that has one, such as tsit5; or another penalty"
            )

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """What the penalty wants of the coming solve on `grid`; its random choices are drawn from `generator`."""
        return Wishes(grid, differentiable_records=self.needs_differentiable_records)

    @abstractmethod
    def penalty(self, context: PenaltyContext) -> Scalar:
        """The penalty, dimensionless."""


def drawn_seed(generator: torch.Generator) -> int:
    """A seed for random choices that are made while the solve goes on."""
    return int(torch.randint(2**63 - 1, (), generator=generator).item())


def check_aggregation(agg: str) -> None:
    """Raise `InputError` unless `agg` is one of the aggregations."""
    if agg not in AGGREGATIONS:
        raise InputError(f"agg: got {agg!r}, allowed: {', '.join(AGGREGATIONS)}")


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
