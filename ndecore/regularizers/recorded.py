"""What the global penalties share: they are read off the records of finished solves, whoever made them."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch

from ndecore.errors import InputError
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.solution import Solution, StepRecords
from ndecore.solvers.base import Solver
from ndecore.states import tensors_of
from ndecore.types import Scalar


@runtime_checkable
class Solved(Protocol):
    """A finished solve."""

    @property
    def solution(self) -> Solution:
        """What it returned."""


@dataclass(frozen=True)
class RecordedPenalty(Regularizer):
    """R = a function of the error and stiffness records of a solve; of several solves the sum."""

    needs_differentiable_records: ClassVar[bool] = True

    @abstractmethod
    def of_records(self, records: StepRecords, solver: Solver) -> Scalar:
        """R of the records of one solve, whose steps `solver` took."""

    def penalty(self, context: PenaltyContext | Solution | Sequence[Solved]) -> Scalar:
        """R of a solve that was prepared for, of a solution, or of `ndecore.observe`'s solves: their sum.

        Raises:
            InputError: the solver does not estimate what the penalty looks at; gradients are enabled and the solve was
                not asked for differentiable records.
        """
        if isinstance(context, PenaltyContext):
            self.check_solver(context.settings.solver)
            return self.of_records(context.solution.records, context.settings.solver)
        if isinstance(context, Solution):
            return self._of_solution(context)
        if not len(context):
            raise InputError(f"{type(self).__name__}: got no solves, allowed: at least one; none was made by ndecore")
        return torch.stack([self._of_solution(each.solution) for each in context]).sum()

    def _of_solution(self, solution: Solution) -> Scalar:
        if solution.solver is None:
            raise InputError(
                f"{type(self).__name__}: got a solution of another library, which records no error and no stiffness, "
                "allowed: one by a solver of ours; or a local penalty"
            )
        self.check_solver(solution.solver)
        check_gradients(self, solution)
        return self.of_records(solution.records, solution.solver)


def check_gradients(regularizer: Regularizer, solution: Solution) -> None:
    """Raise `InputError` if a penalty on the records would do nothing in a loss, as they have no gradients."""
    is_cut = not solution.records.error.requires_grad and any(each.requires_grad for each in tensors_of(solution.y1))
    if torch.is_grad_enabled() and len(solution.records.t) and is_cut:
        raise InputError(
            f"{type(regularizer).__name__}: got records without gradients of a solution that has them, allowed: "
            "solve(..., differentiable_records=True), observe(differentiable=True) or observe(penalties=...); to look "
            "at the value alone: torch.no_grad()"
        )
