"""Heun's 2(1) pair."""

from typing import ClassVar

from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite

_B = (0.5, 0.5, 0.0)


class Heun(ExplicitRungeKutta):
    """The trapezoidal rule with Euler's step in the place of y1, order 2; the error estimate is against that step.

    Euler's step and the solution are both at t1, so their slopes tell the stiffness. Cubic dense output.

    Reference: Heun (1900); Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.1 and II.4 (4.8).
    """

    error_order: ClassVar[int | None] = 2
    stability_size: ClassVar[float] = 2.0
    tells_stiffness: ClassVar[bool] = True
    tableau: ClassVar[Tableau] = Tableau(
        order=2,
        c=(0.0, 1.0, 1.0),
        a=((1.0,), _B[:-1]),
        b=_B,
        b_error=(-0.5, 0.5, 0.0),
        dense=hermite(_B),
        stiffness_stages=(1, 2),
    )
