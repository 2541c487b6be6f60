"""The explicit midpoint rule."""

from typing import ClassVar

from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite

_B = (0.0, 1.0, 0.0)


class Midpoint(ExplicitRungeKutta):
    """Runge's method: order 2 by the slope in the middle of the step, no error estimate; cubic dense output.

    Reference: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.1 (1.4).
    """

    error_order: ClassVar[int | None] = None
    stability_size: ClassVar[float] = 2.0
    tableau: ClassVar[Tableau] = Tableau(order=2, c=(0.0, 0.5, 1.0), a=((0.5,), _B[:-1]), b=_B, dense=hermite(_B))
