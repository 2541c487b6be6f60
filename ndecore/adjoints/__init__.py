"""How a solve is differentiated, by name, and the methods of the back end that has its own."""

from ndecore.facts import AdjointFacts
from ndecore.registry import Registry

_BASE = "ndecore.integrate:Adjoint"
ADJOINTS = Registry(
    "adjoint",
    {
        "tape": "ndecore.integrate:Tape",
        "checkpointed": "ndecore.adjoints.checkpointed:Checkpointed",
        "interpolating": "ndecore.adjoints.interpolating:Interpolating",
        "torchdiffeq": "ndecore.adjoints.torchdiffeq:Torchdiffeq",
        "torchdiffeq_adjoint": "ndecore.adjoints.torchdiffeq:TorchdiffeqAdjoint",
    },
    AdjointFacts,
    _BASE,
)
# Of stochastic equations.
SDE_ADJOINTS = Registry(
    "adjoint for stochastic equations",
    {
        "tape": "ndecore.integrate:Tape",
        "checkpointed": "ndecore.adjoints.checkpointed:Checkpointed",
        "torchsde": "ndecore.adjoints.torchsde:Torchsde",
        "torchsde_adjoint": "ndecore.adjoints.torchsde:TorchsdeAdjoint",
    },
    AdjointFacts,
    _BASE,
)
# Those of other packages and of files too, whose facts tell the equations.
EVERY_ADJOINT = Registry("adjoint", {**ADJOINTS.own, **SDE_ADJOINTS.own}, AdjointFacts, _BASE, "ndecore.adjoints")
# Of torchdiffeq 0.2.5; a list here, so that a spec is checked without importing it.
TORCHDIFFEQ_ADAPTIVE = ("dopri5", "dopri8", "bosh3", "fehlberg2", "adaptive_heun")
TORCHDIFFEQ_METHODS = (
    *TORCHDIFFEQ_ADAPTIVE,
    "euler",
    "midpoint",
    "heun2",
    "heun3",
    "rk4",
    "explicit_adams",
    "implicit_adams",
    "scipy_solver",
)
# Of torchsde 0.2.6, without those that want the area between motions.
TORCHSDE_METHODS = ("euler", "milstein", "srk", "euler_heun", "heun", "midpoint", "reversible_heun")
TORCHSDE_ITO_METHODS = ("euler", "milstein", "srk")  # those for Ito equations
