"""Proportional-integral-derivative control of the step size."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ndecore.controllers.base import Controller, ControllerState, Start, StepBounds, Verdict

_LEAST_RATIO = 1e-10  # bounds the remembered ratios from below, as ARKODE's TINY: a power of 0 has no use


@dataclass(frozen=True)
class PIDController(Controller):
    """dt <- dt clip(safety q^(-0.58/k) q_prev^(0.21/k) q_prev2^(-0.10/k)), k the error estimate's order.

    The ratios before the first count as 1. A rejected step shrinks by safety q^(-0.58/k) and leaves the remembered
    ratios as they were.

    Reference: Kennedy, Carpenter, Additive Runge-Kutta schemes for convection-diffusion-reaction equations, Applied
    Numerical Mathematics 44 (2003) 139-181 for the form (there 0.49, 0.34, 0.10); constants of SUNDIALS' ARKODE (its
    PID controller's k1, k2, k3; there k is the embedded method's order, one less than the estimate's).
    """

    bounds: StepBounds = field(default_factory=StepBounds)

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        """Begin with the automatic step, as if both ratios before it had been 1."""
        return Start(probe(), (1.0, 1.0))

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: float) -> Verdict:
        """Accept below 1; see `Controller.judge`."""
        assert isinstance(state, tuple), "the state comes from start() or from the verdict before"
        proportional = error_ratio ** (-0.58 / error_order) if error_ratio > 0 else float("inf")
        if error_ratio >= 1:
            return Verdict(False, dt * self.bounds.clip(proportional), state)
        before, earlier = state
        factor = self.bounds.clip(proportional * before ** (0.21 / error_order) * earlier ** (-0.10 / error_order))
        return Verdict(True, dt * factor, (max(error_ratio, _LEAST_RATIO), before))
