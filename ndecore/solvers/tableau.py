"""Butcher tableaus that check themselves when they are made."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_ROUNDING = 1e-13  # published coefficients carry 14 to 18 digits
Weights = tuple[float, ...]


@dataclass(frozen=True)
class Tableau:
    """An explicit Runge-Kutta method of s stages with dense output; all coefficients dimensionless.

    Every method is written with its last stage at the solution, f(t0 + dt, y1), which is the first of the next step
    ("first same as last"). A method that does not have that stage by itself gets it appended: the next step needs it
    anyway, and cubic Hermite interpolation and stiffness estimates find it there.

    Args:
        order: the order p of the solution that is propagated.
        c: s nodes; stage i is evaluated at t0 + c_i dt.
        a: s - 1 rows; row i holds the i + 1 weights of stage i + 1's argument.
        b: s weights of the solution at t1.
        dense: a polynomial without constant term for each of the s stages and then each of the further ones;
            y(t0 + theta dt) = y0 + dt sum_i k_i sum_j dense[i][j] theta^(j+1).
        b_error: s weights of the error estimate, b minus the embedded method's; None if there is no estimate.
        b_error_low: s weights of a second estimate of lower order, which damps the first; None if there is none.
        stiffness_stages: two stages with equal nodes, or None if the method has none.
        further_c: nodes of stages that the dense output alone needs, evaluated when an output is asked for.
        further_a: their rows, each over all stages before.
    """

    order: int
    c: Weights
    a: tuple[Weights, ...]
    b: Weights
    dense: tuple[Weights, ...]
    b_error: Weights | None = None
    b_error_low: Weights | None = None
    stiffness_stages: tuple[int, int] | None = None
    further_c: Weights = ()
    further_a: tuple[Weights, ...] = ()

    def __post_init__(self) -> None:
        stages, slopes = self.n_stages, self.n_stages + len(self.further_c)
        nodes, rows = (*self.c, *self.further_c), (*self.a, *self.further_a)
        assert len(self.a) == stages - 1, "one row of a for each stage but the first"
        assert len(self.further_a) == len(self.further_c), "one row for each further stage"
        assert all(len(row) == i + 1 for i, row in enumerate(rows)), "a is strictly lower triangular"
        assert len(self.b) == stages, "one weight for each stage"
        assert len(self.dense) == slopes, "one polynomial for each stage"
        assert self.c[0] == 0.0, "the first stage is at t0"
        assert self.b[-1] == 0.0, "the last stage is at the solution"
        assert self.a[-1] == self.b[:-1], "the last stage is at the solution"
        for node, row in zip(nodes[1:], rows, strict=True):
            _equal(sum(row), node, "row sums of a equal c")
        for power in range(self.order):
            moment = sum(b * c**power for b, c in zip(self.b, self.c, strict=True))
            _equal(moment, 1 / (power + 1), "the quadrature conditions up to the order")
        for weights in (self.b_error, self.b_error_low):
            if weights is not None:
                assert len(weights) == stages, "one error weight for each stage"
                _equal(sum(weights), 0.0, "error weights sum to 0")
        for weight, polynomial in zip((*self.b, *(0.0,) * len(self.further_c)), self.dense, strict=True):
            _equal(sum(polynomial), weight, "dense output ends at the solution")
        if self.stiffness_stages:
            first, second = self.stiffness_stages
            assert 0 < first < second, "stiffness is read off two stages after the first"
            assert self.c[first] == self.c[second], "stiffness is read off two stages at one time"

    @property
    def n_stages(self) -> int:
        """The stages of a step, the one at the solution included."""
        return len(self.c)


def hermite(b: Weights) -> tuple[Weights, ...]:
    """Dense output of order 3 from both ends: the cubic with their values and slopes, as polynomials for `Tableau`.

    y(theta) = y0 + (3 theta^2 - 2 theta^3) (y1 - y0) + dt ((theta - 2 theta^2 + theta^3) k_first
    + (theta^3 - theta^2) k_last), with y1 - y0 = dt sum_i b_i k_i.

    Reference: Hairer, Norsett, Wanner I, II.6 (6.7).
    """
    polynomials = [[0.0, 3.0 * weight, -2.0 * weight] for weight in b]
    for polynomial, ends in ((polynomials[0], (1.0, -2.0, 1.0)), (polynomials[-1], (0.0, -1.0, 1.0))):
        polynomial[:] = [own + end for own, end in zip(polynomial, ends, strict=True)]
    return tuple(map(tuple, polynomials))


def _equal(got: float, wanted: float, rule: str) -> None:
    # Sums cancel numbers of size 10 to 100 in the dense output, hence the absolute bound.
    assert abs(got - wanted) < _ROUNDING * 100, f"{rule}: {got!r} is not {wanted!r}"


@dataclass(frozen=True)
class Coefficients:
    """A tableau's coefficients as tensors where a solve needs them, so that no step copies anything from the host."""

    n_slopes: int  # of the stages and of the further ones
    arguments: tuple[Tensor, ...]  # the rows of a, [1, 1], [1, 2], ...
    columns: tuple[Tensor, ...]  # for each slope its weights in the arguments after it, [1, 0 to s - 1]
    estimates: Tensor  # b_error, b_error_low and the difference of the stages that tell the stiffness, [0 to 3, slopes]
    further: Tensor  # the rows for the further stages, [further stages, slopes]
    dense: Tensor  # [degree, slopes], float64: polynomials are evaluated before they are rounded
    exponents: Tensor  # [degree], float64: 1, 2, ...


def _difference(tableau: Tableau) -> Weights | None:
    """The second less the first of the stages that tell the stiffness."""
    if tableau.stiffness_stages is None:
        return None
    first, second = tableau.stiffness_stages
    return tuple(float((i == second) - (i == first)) for i in range(tableau.n_stages))


@lru_cache(maxsize=64)
def coefficients(tableau: Tableau, dtype: torch.dtype, device: torch.device) -> Coefficients:
    """Return the tableau's coefficients in a dtype, on a device."""
    n_slopes = tableau.n_stages + len(tableau.further_c)

    def matrix(rows: Sequence[Weights]) -> Tensor:
        padded = [[*row, *(0.0,) * (n_slopes - len(row))] for row in rows]
        return torch.tensor(padded, dtype=dtype, device=device).reshape(len(rows), n_slopes)

    arguments = matrix(tableau.a)
    dense = torch.tensor(tableau.dense, dtype=torch.float64, device=device).t().contiguous()
    return Coefficients(
        n_slopes=n_slopes,
        arguments=tuple(arguments[i : i + 1, : i + 1] for i in range(len(arguments))),
        columns=tuple(arguments[i:, i].reshape(1, -1) for i in range(n_slopes)),
        estimates=matrix(
            [row for row in (tableau.b_error, tableau.b_error_low, _difference(tableau)) if row is not None]
        ),
        further=matrix(tableau.further_a),
        dense=dense,
        exponents=torch.arange(1, len(dense) + 1, dtype=torch.float64, device=device),
    )
