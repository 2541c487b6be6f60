"""The classical Runge-Kutta method."""

from typing import ClassVar

from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite

_B = (1 / 6, 1 / 3, 1 / 3, 1 / 6, 0.0)


class RK4(ExplicitRungeKutta):
    """The classical method of order 4: four evaluations a step, no error estimate; cubic dense output.

    Reference: Kutta (1901); Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.1 (table 1.2).
    """

    error_order: ClassVar[int | None] = None
    stability_size: ClassVar[float] = 2.7853
    tells_stiffness: ClassVar[bool] = True
    tableau: ClassVar[Tableau] = Tableau(
        order=4,
        c=(0.0, 0.5, 0.5, 1.0, 1.0),
        a=((0.5,), (0.0, 0.5), (0.0, 0.0, 1.0), _B[:-1]),
        b=_B,
        dense=hermite(_B),
        # Stages 2 and 3 have equal nodes too, but their arguments differ by z^2 / 4 (z the eigenvalue times dt), those
        # of the last two by z^3 (z - 2) / 24: the largest eigenvalue rules sooner, and the estimate is of time t1, as
        # in the methods with an error estimate.
        stiffness_stages=(3, 4),
    )
