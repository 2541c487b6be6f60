"""Butcher tableaus that check themselves when they are made."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_ROUNDING = 1e-13  # published coefficients carry 14 to 18 digits


@dataclass(frozen=True)
class Tableau:
    """An embedded explicit Runge-Kutta pair of s stages with dense output; all coefficients dimensionless.

    Args:
        order: the order p of the solution that is propagated.
        c: s nodes; stage i is evaluated at t0 + c_i dt.
        a: s - 1 rows; row i holds the i + 1 weights of stage i + 1's argument.
        b: s weights of the solution at t1.
        b_error: s weights of the error estimate, b minus the embedded method's weights.
        dense: s polynomials without constant term; y(t0 + theta dt) = y0 + dt sum_i k_i sum_j dense[i][j] theta^(j+1).
        stiffness_stages: two stages with equal nodes, or None if the method has none.
    """

    order: int
    c: tuple[float, ...]
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    b_error: tuple[float, ...]
    dense: tuple[tuple[float, ...], ...]
    stiffness_stages: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        stages = len(self.c)
        assert len(self.a) == stages - 1, "one row of a for each stage but the first"
        assert all(len(row) == i + 1 for i, row in enumerate(self.a)), "a is strictly lower triangular"
        assert len(self.b) == len(self.b_error) == len(self.dense) == stages, "one weight for each stage"
        assert self.c[0] == 0.0, "the first stage is at t0"
        for node, row in zip(self.c[1:], self.a, strict=True):
            _equal(sum(row), node, "row sums of a equal c")
        for power in range(self.order):
            moment = sum(b * c**power for b, c in zip(self.b, self.c, strict=True))
            _equal(moment, 1 / (power + 1), "the quadrature conditions up to the order")
        _equal(sum(self.b_error), 0.0, "error weights sum to 0")
        for weight, polynomial in zip(self.b, self.dense, strict=True):
            _equal(sum(polynomial), weight, "dense output ends at the solution")
        if self.stiffness_stages:
            first, second = self.stiffness_stages
            assert self.c[first] == self.c[second], "stiffness is read off two stages at one time"

    @property
    def is_fsal(self) -> bool:
        """Whether the last stage is the first of the next step ("first same as last")."""
        return self.b[-1] == 0.0 and self.a[-1] == self.b[:-1]

    def dense_weights(self, theta: float) -> tuple[float, ...]:
        """The weight of each stage in y(t0 + theta dt), by Horner's rule."""
        weights = []
        for polynomial in self.dense:
            value = 0.0
            for coefficient in reversed(polynomial):
                value = (value + coefficient) * theta
            weights.append(value)
        return tuple(weights)


def _equal(got: float, wanted: float, rule: str) -> None:
    # Sums cancel numbers of size 10 to 100 in the dense output, hence the absolute bound.
    assert abs(got - wanted) < _ROUNDING * 100, f"{rule}: {got!r} is not {wanted!r}"


@lru_cache(maxsize=64)
def stage_weights(tableau: Tableau, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The rows of a, padded with zeros to [stages - 1, stages], followed by b_error: [stages, stages]."""
    stages = len(tableau.c)
    rows = [list(row) + [0.0] * (stages - len(row)) for row in tableau.a]
    return torch.tensor([*rows, list(tableau.b_error)], dtype=dtype, device=device)
