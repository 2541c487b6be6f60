"""Higher derivatives of the solution (TayNODE)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.func import jvp

from ndecore.errors import InputError
from ndecore.models.base import Grid, Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.running_cost import Charged, RunningCost
from ndecore.types import Scalar, State, VectorField

_ORDERS = (2, 3)


@dataclass(frozen=True)
class TayNODE(Regularizer):
    """R_K = int_t0^t1 mean((d^K z / dt^K)^2) dt, the mean over all elements of the state.

    d^K z / dt^K is the total derivative along the solution, by K - 1 nested directional derivatives in forward mode:
    K = 2 takes two evaluations of the field for one, K = 3 four. The integral is a further state outside the error
    control. Nothing is changed at prediction.

    Gradient path: through the integral, to the initial state and the parameters, by the adjoint of the solve; step
    sizes are constants. The penalty does not depend on the tolerance but through the steps.

    Args:
        derivative: K, 2 or 3; P1 has 3 for MNIST (weight 3.02e-3) and 2 for PhysioNet (weight 0.01).

    Reference: Kelly et al., Learning Differential Equations that are Easy to Solve, NeurIPS 2020, and its code (mean
    over dimensions); P1 prints the norm without the square.
    """

    derivative: int = 2
    needs_differentiable_records: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.derivative not in _ORDERS:
            raise InputError(f"derivative: got {self.derivative!r}, allowed: {', '.join(map(str, _ORDERS))}")

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """The running cost."""
        return Wishes(grid, running_cost=_SquaredDerivative(self.derivative))

    def penalty(self, context: PenaltyContext) -> Scalar:
        """R_K of the solve."""
        return context.costs[0]


class _SquaredDerivative(RunningCost):
    n_costs = 1

    def __init__(self, derivative: int) -> None:
        self._derivative = derivative

    def __call__(self, field: VectorField, t: Scalar, y: State) -> Charged:
        slope = field(t, y)
        along = _total_derivative(field, slope) if self._derivative == 2 else _second_total_derivative(field)
        return Charged(slope, along(t, y).square().mean().reshape(1))


def _total_derivative(field: VectorField, slope: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """d/dt f(t, z(t)) = df/dt + df/dz f, where f is known."""
    return lambda t, y: jvp(field, (t, y), (torch.ones_like(t), slope))[1]


def _second_total_derivative(field: VectorField) -> Callable[[Tensor, Tensor], Tensor]:
    """d^2/dt^2 f(t, z(t))."""

    def first(t: Tensor, y: Tensor) -> Tensor:
        return _total_derivative(field, field(t, y))(t, y)

    return lambda t, y: jvp(first, (t, y), (torch.ones_like(t), field(t, y)))[1]
