"""Step methods for initial value problems, by name."""

from ndecore.registry import Registry

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
    },
)
