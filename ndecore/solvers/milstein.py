"""Milstein's method."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from ndecore.graphs import unknown_leaf
from ndecore.running_cost import directional_derivative
from ndecore.solvers.stochastic import StochasticSolver, StochasticStep, stochastic
from ndecore.terms import SDETerm, Term
from ndecore.types import Calculus, Carry, Noise, State


@dataclass(frozen=True)
class Milstein(StochasticSolver):
    """y1 = y0 + f dt + g dW + (dg/dy g) (dW^2 - dt) / 2: strong order 1; Ito.

    Args:
        gradient_free: take (g(t0, y0 + f dt + g sqrt(dt)) - g) / sqrt(dt) for the derivative: one evaluation of the
            diffusion more, and none of its graph.

    Reference: Milstein (1974); Kloeden, Platen, Numerical Solution of Stochastic Differential Equations, 10.3 and, for
    the gradient-free form, 11.1 (1.3).
    """

    gradient_free: bool = False
    order: ClassVar[float] = 1.0
    stability_size: ClassVar[float] = 2.0
    calculus: ClassVar[Calculus | None] = "ito"
    noise_types: ClassVar[Mapping[Noise, float]] = {"diagonal": 1.0, "scalar": 1.0, "additive": 1.0}

    def step(  # noqa: PLR0917
        self, term: Term, t0: float, dt: float, y0: State, carry: Carry, scratch: Any = None
    ) -> StochasticStep:
        """One evaluation each of drift and diffusion, one more of the diffusion if gradient-free."""
        sde = stochastic(term)
        W, _ = sde.increment(t0, dt)
        f = sde(t0, y0)
        if sde.noise == "additive":
            return StochasticStep(t0, dt, y0, y0 + dt * f + sde.spread(sde.diffusion(t0, y0), W), carry)
        if self.gradient_free:
            g = sde.diffusion(t0, y0)
            root = math.sqrt(dt)
            correction = (sde.diffusion(t0, y0 + dt * f + root * g) - g) / root
        else:
            g, correction = _derivative(sde, t0, y0)
        y1 = y0 + dt * f + g * W + correction * (W.square() - dt) * 0.5
        return StochasticStep(t0, dt, y0, y1, carry)


def _derivative(sde: SDETerm, t0: float, y0: State) -> tuple[State, State]:
    """g and (dg/dy) g, the latter with its graph where something needs gradients."""
    is_taping = torch.is_grad_enabled()
    with torch.enable_grad():
        state = y0 if is_taping and y0.requires_grad else y0.detach().requires_grad_()
        g = sde.diffusion(t0, state)
        # The state needs one for the derivative alone: that must not make a tape of a solve that needs none.
        is_taping = is_taping and (state is y0 or unknown_leaf(g, [state]) is not None)
        along = directional_derivative(g, [state], [g])
    return (g, along) if is_taping else (g.detach(), along.detach())
