"""Integral control of the step size."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ndecore.controllers.base import Controller, ControllerState, Start, StepBounds, Verdict


@dataclass(frozen=True)
class IController(Controller):
    """dt <- dt clip(safety q^(-1/k)), q the error ratio and k its order: the step that would have met the tolerance.

    Reference: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.4 (4.13).
    """

    bounds: StepBounds = field(default_factory=StepBounds)

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        """Begin with the automatic step; nothing to remember."""
        return Start(probe(), None)

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: float) -> Verdict:
        """Accept below 1; see `Controller.judge`."""
        factor = error_ratio ** (-1 / error_order) if error_ratio > 0 else float("inf")
        return Verdict(error_ratio < 1, dt * self.bounds.clip(factor), None)
