"""The contract of a step size controller: it works on plain numbers, so step sizes carry no gradient.

Detached step sizes make the tape the exact derivative of the solve on its accepted step sequence. P1's code detaches
them too (growth factor and accept/reject); its one remaining path, through the initial step, is left out here on
purpose.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, TypeAlias

ControllerState: TypeAlias = float | int | tuple[float, float] | None


class Start(NamedTuple):
    """The first step to attempt."""

    dt: float  # negative backwards in time
    state: ControllerState


class Verdict(NamedTuple):
    """What to do after an attempted step."""

    accept: bool
    dt: float  # of the next attempt
    state: ControllerState


class Controller(ABC):
    """Judges attempted steps and proposes the next."""

    needs_error: ClassVar[bool] = True  # whether it judges by the error estimate, so that the method must have one
    stretch: ClassVar[float] = 1.01  # a step may be lengthened by this factor to end at t1, so that no sliver is left

    @abstractmethod
    def start(self, span: float, probe: Callable[[], float]) -> Start:
        """The first step of a solve over `span` = t1 - t0; `probe()` is the automatic one and costs one evaluation."""

    @abstractmethod
    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: float) -> Verdict:
        """Judge a step.

        Args:
            error_ratio: tolerance-scaled error, dimensionless; infinite where the step made a NaN or an infinity.
            dt: the step that was attempted.
            state: from the verdict before, or from `start`.
            error_order: the error estimate is O(dt^error_order).
        """


@dataclass(frozen=True)
class StepBounds:
    """By how much a step may change at once; dimensionless."""

    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 10.0

    def clip(self, factor: float) -> float:
        """The factor, safety applied, within the bounds."""
        return min(self.grow, max(self.shrink, self.safety * factor))
