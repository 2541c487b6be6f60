"""The contract of a step method: one step, without side effects, differentiable."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from ndecore.norms import Differences
from ndecore.terms import Term
from ndecore.types import State, States


class StepResult(ABC):
    """One attempted step from (t0, y0) over dt. What nobody asks for is not computed."""

    y1: State  # the solution at t0 + dt
    carry: State  # what the next step from y1 starts with: f(t0 + dt, y1)

    @abstractmethod
    def differences(self) -> Differences:
        """What the error and the stiffness of the step are estimated from."""

    @abstractmethod
    def interpolate(self, ts: Sequence[float]) -> States:
        """The solution at times `ts` inside the step, by the method's dense output."""


class Solver(ABC):
    """A one-step method. Facts about it are class attributes: generic code asks, it never names a method."""

    order: ClassVar[int]  # global error of the solution is O(dt^order)
    error_order: ClassVar[int | None]  # the error estimate of one step is O(dt^error_order); None if there is none
    tells_stiffness: ClassVar[bool]  # whether it has two stages at one time, from which stiffness is estimated
    stability_size: ClassVar[float]  # extent of the stability region along the negative real axis, dimensionless
    evaluations_per_step: ClassVar[int]  # of the vector field, the carry reused
    evaluations_per_output: ClassVar[int]  # further ones of a step in which outputs are asked for

    @abstractmethod
    def start(self, term: Term, t0: float, y0: State) -> State:
        """The carry of the first step: f(t0, y0)."""

    @abstractmethod
    def scratch(self, y0: State) -> Any:
        """Memory that the steps of one solve from states like `y0` may share, whatever the method keeps in it."""

    @abstractmethod
    def step(self, term: Term, t0: float, dt: float, y0: State, carry: State, scratch: Any = None) -> StepResult:  # noqa: PLR0917
        """Attempt one step.

        Args:
            term: the vector field.
            t0: start of the step.
            dt: step size, negative backwards in time; a plain number, so no gradient flows into it.
            y0: state at t0.
            carry: f(t0, y0), from `start` or from the step before.
            scratch: from `scratch`; nothing can be read any more off the step that had it before. By default the step
                has its own, and no side effects.
        """
