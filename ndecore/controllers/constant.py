"""Steps of one size."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

from ndecore.controllers.base import Controller, ControllerState, Start, Verdict
from ndecore.keys import Above, check_fields


@dataclass(frozen=True)
class ConstantStep(Controller):
    """dt <- dt: takes steps of one size and accepts each; the last one is what is left of the span.

    For methods without an error estimate, and for comparisons with them.

    Args:
        step_size: in units of time, > 0 in either direction of time.

    Reference: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, II.3.
    """

    step_size: Annotated[float, Above(0), "The step of the controller `constant`; unit of time."]
    needs_error: ClassVar[bool] = False
    stretch: ClassVar[float] = 1 + 1e-6  # room for the rounding of a sum of steps, not for a longer step

    def __post_init__(self) -> None:
        check_fields(self)

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        """Begin with the step; the probe is not called, and there is nothing to remember."""
        return Start(math.copysign(self.step_size, span), None)

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: float) -> Verdict:
        """Accept, and go on with the same step."""
        # Not dt itself, which was rounded on its way, and again at each step.
        return Verdict(True, math.copysign(self.step_size, dt), None)
