"""Euler's method."""

from typing import ClassVar

from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau, hermite

_B = (1.0, 0.0)


class Euler(ExplicitRungeKutta):
    """Euler's method: order 1, one evaluation a step, no error estimate; the cubic between both ends as dense output.

    Reference: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, I.7 (7.3).
    """

    error_order: ClassVar[int | None] = None
    stability_size: ClassVar[float] = 2.0
    tableau: ClassVar[Tableau] = Tableau(order=1, c=(0.0, 1.0), a=((1.0,),), b=_B, dense=hermite(_B))
