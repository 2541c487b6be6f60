"""Step methods for initial value problems, by name: for ordinary equations, and for stochastic ones."""

from ndecore.facts import SolverFacts
from ndecore.registry import Registry

_BASE = "ndecore.solvers.base:Solver"
SOLVERS = Registry(
    "solver",
    {
        "euler": "ndecore.solvers.euler:Euler",
        "midpoint": "ndecore.solvers.midpoint:Midpoint",
        "rk4": "ndecore.solvers.rk4:RK4",
        "heun": "ndecore.solvers.heun:Heun",
        "bosh3": "ndecore.solvers.bosh3:Bosh3",
        "tsit5": "ndecore.solvers.tsit5:Tsit5",
        "dopri5": "ndecore.solvers.dopri5:Dopri5",
        "dop853": "ndecore.solvers.dop853:DOP853",
        "rodas5p": "ndecore.solvers.rodas5p:Rodas5P",
    },
    SolverFacts,
    _BASE,
)
SDE_SOLVERS = Registry(
    "solver for stochastic equations",
    {
        "sosri": "ndecore.solvers.sosri:SOSRI",
        "sosri2": "ndecore.solvers.sosri2:SOSRI2",
        "milstein": "ndecore.solvers.milstein:Milstein",
        "euler_maruyama": "ndecore.solvers.euler_maruyama:EulerMaruyama",
        "euler_heun": "ndecore.solvers.euler_heun:EulerHeun",
        "reversible_heun": "ndecore.solvers.reversible_heun:ReversibleHeun",
    },
    SolverFacts,
    _BASE,
)
# Those of other packages and of files too, whose facts tell the equations.
EVERY_SOLVER = Registry("solver", {**SOLVERS.own, **SDE_SOLVERS.own}, SolverFacts, _BASE, "ndecore.solvers")
