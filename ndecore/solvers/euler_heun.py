"""The Euler-Heun method."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ndecore.solvers.stochastic import StochasticSolver, StochasticStep, stochastic
from ndecore.terms import Term
from ndecore.types import Calculus, Carry, Noise, State


class EulerHeun(StochasticSolver):
    """y1 = y0 + f dt + (g(t0, y0) + g(t1, y0 + g dW)) dW / 2: Euler in the drift, Heun in the noise; Stratonovich.

    Strong order 1 where one motion drives each element, or all; else 1/2.

    Reference: Kloeden, Platen, Numerical Solution of Stochastic Differential Equations, 11.1; Burrage, Burrage, Tian,
    Numerical methods for strong solutions of stochastic differential equations, Proc. R. Soc. A 460 (2004).
    """

    order: ClassVar[float] = 0.5
    stability_size: ClassVar[float] = 2.0
    calculus: ClassVar[Calculus | None] = "stratonovich"
    noise_types: ClassVar[Mapping[Noise, float]] = {"diagonal": 1.0, "scalar": 1.0, "additive": 1.0, "general": 0.5}

    def step(  # noqa: PLR0917
        self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Any = None
    ) -> StochasticStep:
        """One evaluation of the drift, two of the diffusion; see `Solver.step`."""
        sde = stochastic(term)
        W, _ = sde.increment(t0, dt)
        g = sde.diffusion(t0, y0)
        g1 = sde.diffusion(t0 + dt, y0 + sde.spread(g, W))
        y1 = y0 + dt * sde(t0, y0) + sde.spread(0.5 * (g + g1), W)
        return StochasticStep(t0, dt, y0, y1, carry)
