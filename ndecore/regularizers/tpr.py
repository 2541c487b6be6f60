"""Distance of the solution from a polynomial (TPR)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.keys import AtLeast, check_fields
from ndecore.observing import Grid, Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.types import Scalar


@dataclass(frozen=True)
class TPR(Regularizer):
    """R_P = mean((z - P z)^2) over n random times and all elements of the state; unit of z squared.

    P z is the least squares polynomial in time through the states at these times, one for each element. The times are
    uniform on the solved span and drawn for each solve. Nothing is changed at prediction. On a stochastic equation the
    noise of the path is penalized too.

    Gradient path: through the states at these times, to the initial state and the parameters, by the adjoint of the
    solve. The penalty does not depend on the tolerance but through the steps.

    Args:
        degree: of the polynomial, >= 0; 1 (straight lines) in the paper's illustration.
        n_points: times, > degree + 1: fewer lie on a polynomial always; 4 in the paper's illustration.

    Raises:
        InputError: too few points.

    Reference: Huang and Yeh, Accelerating Continuous Normalizing Flow with Trajectory Polynomial Regularization, AAAI
    2021 (arXiv 2012.04228). Theirs is a sum over the times and elements; the mean keeps a weight when these change.
    """

    degree: Annotated[int, AtLeast(0), "The degree of TPR's polynomial."] = 1
    n_points: Annotated[int, AtLeast(2), "The random times at which TPR looks at the solution."] = 4
    needs_differentiable_records: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.n_points < self.degree + 2:
            raise InputError(f"n_points: got {self.n_points}, allowed: >= {self.degree + 2}, the degree and two more")

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """The times."""
        fractions = torch.rand(self.n_points, dtype=torch.float64, generator=generator).tolist()
        return Wishes(grid, times=tuple(grid[0] + fraction * (grid[-1] - grid[0]) for fraction in fractions))

    def penalty(self, context: PenaltyContext) -> Scalar:
        """R_P of the solve."""
        times, solution = context.wishes.times, context.solution
        if solution.t1 == solution.t0:
            return solution.y1.new_zeros(())
        states = torch.stack([solution.at(t) for t in times]).flatten(1)
        return (beside_polynomials(times, self.degree).to(states) @ states).square().mean()


def beside_polynomials(times: tuple[float, ...], degree: int) -> Tensor:
    """The orthogonal projection [n, n] of values at n times on what no polynomial of the degree has, in float64.

    Times are shifted and scaled to [-1, 1], which leaves the polynomials what they are and the powers well conditioned.
    """
    t = torch.tensor(times, dtype=torch.float64)
    middle, half = (t.max() + t.min()) / 2, (t.max() - t.min()) / 2
    powers = ((t - middle) / half).unsqueeze(1) ** torch.arange(degree + 1)
    basis = torch.linalg.qr(powers).Q
    return torch.eye(len(times), dtype=torch.float64) - basis @ basis.T
