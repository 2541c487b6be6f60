"""Kinetic energy and Jacobian norm (RNODE)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ndecore.keys import AtLeast, check_fields
from ndecore.observing import Grid, Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer, drawn_seed
from ndecore.running_cost import RunningCost
from ndecore.types import Scalar, State


@dataclass(frozen=True)
class RNODE(Regularizer):
    """R_K = int_t0^t1 kinetic 1/2 mean(f^2) + jacobian mean((eps^T df/dz)^2) dt, means over all elements of the state.

    eps is standard normal and drawn once for each solve (Hutchinson): E |eps^T df/dz|^2 is the squared Frobenius norm.
    The integral is a further state outside the error control. Nothing is changed at prediction.

    Gradient path: through the integral, to the initial state and the parameters, by the adjoint of the solve; step
    sizes are constants. The penalty does not depend on the tolerance but through the steps.

    Args:
        kinetic: factor of the kinetic term, dimensionless, >= 0.
        jacobian: factor of the Jacobian term, dimensionless, >= 0. With the defaults the published 0.01 and 0.01 are
            the weight 0.01.

    Reference: Finlay et al., How to Train Your Neural ODE: the World of Jacobian and Kinetic Regularization, ICML 2020,
    and its code, `example-scripts/mnist.sh`.
    """

    kinetic: Annotated[float, AtLeast(0), "The factor of RNODE's kinetic term, dimensionless."] = 1.0
    jacobian: Annotated[float, AtLeast(0), "The factor of RNODE's Jacobian term, dimensionless."] = 1.0
    needs_differentiable_records: ClassVar[bool] = False
    is_integral: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """The running cost, with a seed of its own."""
        return Wishes(grid, running_cost=_KineticAndJacobian(self.kinetic, self.jacobian, drawn_seed(generator)))

    def penalty(self, context: PenaltyContext) -> Scalar:
        """R_K of the solve."""
        return context.costs[0]


class _KineticAndJacobian(RunningCost):
    n_costs = 1

    def __init__(self, kinetic: float, jacobian: float, seed: int) -> None:
        self._kinetic, self._jacobian, self._seed = kinetic, jacobian, seed
        self._noise: Tensor | None = None

    def __call__(self, t: Scalar, y: State, slope: State) -> Tensor:
        if self._noise is None:
            # Drawn on the host in one dtype, so that a seed means the same on every device and in every dtype.
            generator = torch.Generator().manual_seed(self._seed)
            self._noise = torch.randn(y.shape, generator=generator, dtype=torch.float32).to(y)
        cost = 0.5 * self._kinetic * slope.square().mean()
        if slope.requires_grad:
            (pulled,) = torch.autograd.grad(slope, y, self._noise, create_graph=True, materialize_grads=True)
            cost = cost + self._jacobian * pulled.square().mean()
        return cost.reshape(1)
