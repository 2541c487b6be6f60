"""Dormand and Prince's 5(4) pair."""

from typing import ClassVar

from ndecore.solvers.explicit_rk import ExplicitRungeKutta
from ndecore.solvers.tableau import Tableau

_B = (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)


class Dopri5(ExplicitRungeKutta):
    """Dormand and Prince's 5(4) pair: 7 stages, the last one reused, free interpolant of order 4.

    The interpolant is Shampine's, with his optimal weight at the end of the step.

    Reference: Dormand, Prince, A family of embedded Runge-Kutta formulae, Journal of Computational and Applied
    Mathematics 6 (1980) 19-26; Shampine, Some practical Runge-Kutta formulas, Mathematics of Computation 46 (1986)
    135-150; stiffness stages as in Hairer, Wanner II, IV.2.
    """

    error_order: ClassVar[int | None] = 5
    stability_size: ClassVar[float] = 3.3066
    tells_stiffness: ClassVar[bool] = True
    tableau: ClassVar[Tableau] = Tableau(
        order=5,
        c=(0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
        a=(
            (1 / 5,),
            (3 / 40, 9 / 40),
            (44 / 45, -56 / 15, 32 / 9),
            (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
            (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
            _B,
        ),
        b=(*_B, 0.0),
        b_error=(71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
        dense=(
            (1.0, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432),
            (0.0, 0.0, 0.0, 0.0),
            (0.0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799),
            (0.0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072),
            (0.0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632),
            (0.0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844),
            (0.0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423),
        ),
        stiffness_stages=(5, 6),
    )
