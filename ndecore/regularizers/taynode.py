"""Higher derivatives of the solution (TayNODE)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ndecore.keys import OneOf, check_fields
from ndecore.observing import Grid, Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.running_cost import RunningCost, directional_derivative
from ndecore.types import Scalar, State


@dataclass(frozen=True)
class TayNODE(Regularizer):
    """R_K = int_t0^t1 mean((d^K z / dt^K)^2) dt, the mean over all elements of the state.

    d^K z / dt^K is the total derivative along the solution, by K - 1 nested directional derivatives of the field, which
    are not counted as evaluations. The integral is a further state outside the error control. Nothing is changed at
    prediction.

    Gradient path: through the integral, to the initial state and the parameters, by the adjoint of the solve; step
    sizes are constants. The penalty does not depend on the tolerance but through the steps.

    Args:
        taylor_order: K, 2 or 3; P1 has 3 for MNIST (weight 3.02e-3) and 2 for PhysioNet (weight 0.01).

    Reference: Kelly et al., Learning Differential Equations that are Easy to Solve, NeurIPS 2020, and its code (mean
    over dimensions); P1 prints the norm without the square.
    """

    taylor_order: Annotated[int, OneOf(2, 3), "The derivative of the solution that TayNODE penalizes."] = 2
    needs_differentiable_records: ClassVar[bool] = False
    is_integral: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """The running cost."""
        return Wishes(grid, running_cost=_SquaredDerivative(self.taylor_order))

    def penalty(self, context: PenaltyContext) -> Scalar:
        """R_K of the solve."""
        return context.costs[0]


class _SquaredDerivative(RunningCost):
    n_costs = 1

    def __init__(self, taylor_order: int) -> None:
        self._taylor_order = taylor_order

    def __call__(self, t: Scalar, y: State, slope: State) -> Tensor:
        derivative, along = slope, (torch.ones_like(t), slope)  # the direction of the solution in (t, z)
        for _ in range(self._taylor_order - 1):
            derivative = directional_derivative(derivative, (t, y), along)
        return derivative.square().mean().reshape(1)
