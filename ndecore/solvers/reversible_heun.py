"""The reversible Heun method."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from torch import Tensor

from ndecore.solvers.stochastic import StochasticSolver, StochasticStep, stochastic
from ndecore.terms import SDETerm, Term
from ndecore.types import Calculus, Carry, Noise, State


class _Slopes(NamedTuple):
    """What was evaluated at the end of the step before."""

    at: State
    f: State
    g: Tensor


class Scratch:
    """The slopes that a step leaves for the next: they are those at its carry, which tells whether they are meant."""

    def __init__(self) -> None:
        self._last: _Slopes | None = None

    def slopes(self, sde: SDETerm, t: float, z: State) -> _Slopes:
        """f and g at (t, z), evaluated unless they were the last."""
        if self._last is None or self._last.at is not z:
            self._last = _Slopes(z, sde(t, z), sde.diffusion(t, z))
        return self._last


class ReversibleHeun(StochasticSolver):
    """z1 = 2 y0 - z0 + f0 dt + g0 dW, with f1, g1 at (t1, z1): y1 = y0 + (f0 + f1) dt / 2 + (g0 + g1) dW / 2.

    Stratonovich; strong order 1/2, and 1 where the noise is additive; one evaluation a step. A step can be undone from
    its end. The carry is z.

    Reference: Kidger, Foster, Li, Lyons, Efficient and accurate gradients for neural SDEs, NeurIPS 2021.
    """

    order: ClassVar[float] = 0.5
    # As the leapfrog method, it is stable on the imaginary interval [-i, i] alone; this is its end.
    stability_size: ClassVar[float] = 1.0
    calculus: ClassVar[Calculus | None] = "stratonovich"
    noise_types: ClassVar[Mapping[Noise, float]] = {"diagonal": 0.5, "scalar": 0.5, "additive": 1.0, "general": 0.5}

    def start(self, term: Term, t0: float, y0: State) -> Carry:
        """z = y."""
        return y0

    def scratch(self, y0: State) -> Scratch:
        """Room for the slopes at z."""
        return Scratch()

    def step(  # noqa: PLR0917
        self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Scratch | None = None
    ) -> StochasticStep:
        """One evaluation each of drift and diffusion, two where the step before did not leave them."""
        sde, room = stochastic(term), scratch or Scratch()
        W, _ = sde.increment(t0, dt)
        _, f0, g0 = room.slopes(sde, t0, carry)
        z1 = 2 * y0 - carry + dt * f0 + sde.spread(g0, W)
        _, f1, g1 = room.slopes(sde, t0 + dt, z1)
        y1 = y0 + (0.5 * dt) * (f0 + f1) + sde.spread(0.5 * (g0 + g1), W)
        return StochasticStep(t0, dt, y0, y1, z1)
