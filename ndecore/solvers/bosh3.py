"""Bogacki and Shampine's 3(2) pair."""

from typing import ClassVar

from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite

_B = (2 / 9, 1 / 3, 4 / 9, 0.0)


class Bosh3(ExplicitRungeKutta):
    """Bogacki and Shampine's 3(2) pair: 4 stages, the last one reused; cubic dense output, no stages with equal nodes.

    Reference: Bogacki, Shampine, A 3(2) pair of Runge-Kutta formulas, Applied Mathematics Letters 2 (1989) 321-325.
    """

    error_order: ClassVar[int | None] = 3
    stability_size: ClassVar[float] = 2.5127
    tableau: ClassVar[Tableau] = Tableau(
        order=3,
        c=(0.0, 0.5, 0.75, 1.0),
        a=((0.5,), (0.0, 0.75), _B[:-1]),
        b=_B,
        b_error=(-5 / 72, 1 / 12, 1 / 9, -1 / 8),
        dense=hermite(_B),
    )
