"""Step methods for initial value problems, by name."""

from ndecore.registry import Registry

SOLVERS = Registry("solver", {"tsit5": "ndecore.solvers.tsit5:Tsit5"})
