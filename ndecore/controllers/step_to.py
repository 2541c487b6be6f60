"""Replay of a recorded step sequence."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ndecore.controllers.base import Controller, ControllerState, Start, Verdict
from ndecore.errors import InputError


@dataclass(frozen=True)
class StepTo(Controller):
    """Takes exactly the given steps and accepts each: the solve as a smooth function of its inputs, for gradcheck.

    Args:
        dts: step sizes in the direction of time that add up to t1 - t0, such as `tuple(solution.records.dt.tolist())`.
    """

    dts: tuple[float, ...]
    needs_error: ClassVar[bool] = False
    stretch: ClassVar[float] = 1 + 1e-6  # room for the rounding of a sum of steps, not for a step that was not given

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        """Begin with the first step; the probe is not called. Raise `InputError` if the steps do not fill the span."""
        total = math.fsum(self.dts)
        if not (all(dt * span > 0 for dt in self.dts) and abs(total - span) <= 1e-9 * abs(span)):
            raise InputError(
                f"StepTo: got {len(self.dts)} steps that add up to {total!r}, allowed: steps in one direction that "
                f"add up to t1 - t0 = {span!r}; replay the records of a solve over the same span"
            )
        return Start(self.dts[0], 1)

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: float) -> Verdict:
        """Accept, and go on with the next recorded step."""
        assert isinstance(state, int), "the state counts the steps that were given out"
        following = self.dts[state] if state < len(self.dts) else dt
        return Verdict(True, following, state + 1)
