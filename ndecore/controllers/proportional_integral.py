"""Proportional-integral control of the step size."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ndecore.controllers.base import Controller, ControllerState, Start, StepBounds, Verdict

_FIRST_RATIO = 1e-4  # stands for the ratio before the first, and bounds the remembered one from below


@dataclass(frozen=True)
class PIController(Controller):
    """dt <- dt clip(safety q_prev^beta2 / q^beta1), beta1 = 7/(10 k), beta2 = 2/(5 k), k the error estimate's order.

    A rejected step shrinks by safety q^(-beta1) and leaves the remembered ratio as it was. For Tsit5 beta1 = 0.14 and
    beta2 = 0.08, the controller of both papers; for SOSRI 7/15 and 4/15, there with `StepBounds(grow=9 / 8)`.

    Reference: Gustafsson, ACM TOMS 17 (1991) 533-554; constants of OrdinaryDiffEq.jl.
    """

    bounds: StepBounds = field(default_factory=StepBounds)

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        """Begin with the automatic step, as if the ratio before it had been 1e-4."""
        return Start(probe(), _FIRST_RATIO)

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: float) -> Verdict:
        """Accept below 1; see `Controller.judge`."""
        assert isinstance(state, float), "the state comes from start() or from the verdict before"
        proportional = error_ratio ** (-0.7 / error_order) if error_ratio > 0 else float("inf")
        if error_ratio >= 1:
            return Verdict(False, dt * self.bounds.clip(proportional), state)
        factor = self.bounds.clip(proportional * state ** (0.4 / error_order))
        return Verdict(True, dt * factor, max(error_ratio, _FIRST_RATIO))
