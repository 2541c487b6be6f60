"""The Euler-Maruyama method."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ndecore.solvers.stochastic import StochasticSolver, StochasticStep, stochastic
from ndecore.terms import Term
from ndecore.types import Calculus, Carry, Noise, State


class EulerMaruyama(StochasticSolver):
    """y1 = y0 + f dt + g dW: strong order 1/2, and 1 where the noise is additive; Ito.

    Reference: Maruyama (1955); Kloeden, Platen, Numerical Solution of Stochastic Differential Equations, 10.2.
    """

    order: ClassVar[float] = 0.5
    stability_size: ClassVar[float] = 2.0
    calculus: ClassVar[Calculus | None] = "ito"
    noise_types: ClassVar[Mapping[Noise, float]] = {"diagonal": 0.5, "scalar": 0.5, "additive": 1.0, "general": 0.5}

    def step(  # noqa: PLR0917
        self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Any = None
    ) -> StochasticStep:
        """One evaluation each of drift and diffusion; see `Solver.step`."""
        sde = stochastic(term)
        W, _ = sde.increment(t0, dt)
        y1 = y0 + dt * sde(t0, y0) + sde.spread(sde.diffusion(t0, y0), W)
        return StochasticStep(t0, dt, y0, y1, carry)
