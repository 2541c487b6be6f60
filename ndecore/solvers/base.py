"""The contract of a step method: one step, without side effects, differentiable."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from ndecore.terms import ODETerm
from ndecore.types import Scalar, State, States


class StepResult(ABC):
    """One attempted step from (t0, y0) over dt. What nobody asks for is not computed."""

    y1: State  # the solution at t0 + dt

    @property
    @abstractmethod
    def carry(self) -> State:
        """What the next step from y1 starts with: f(t0 + dt, y1)."""

    @abstractmethod
    def error(self) -> State:
        """Estimate of the local error of y1, unit of y."""

    @abstractmethod
    def stiffness(self) -> Scalar:
        """Estimate of the largest |eigenvalue| of df/dy along the step, 1/time; 0 where it cannot be told."""

    @abstractmethod
    def interpolate(self, ts: Sequence[float]) -> States:
        """The solution at times `ts` inside the step, by the method's dense output."""


class Solver(ABC):
    """A one-step method. Facts about it are class attributes: generic code asks, it never names a method."""

    order: ClassVar[int]  # global error of the solution is O(dt^order)
    error_order: ClassVar[int]  # the error estimate of one step is O(dt^error_order)
    stability_size: ClassVar[float]  # extent of the stability region along the negative real axis, dimensionless
    evaluations_per_step: ClassVar[int]  # of the vector field, the carry reused

    @abstractmethod
    def start(self, term: ODETerm, t0: float, y0: State) -> State:
        """The carry of the first step: f(t0, y0)."""

    @abstractmethod
    def step(self, term: ODETerm, t0: float, dt: float, y0: State, carry: State) -> StepResult:
        """Attempt one step.

        Args:
            term: the vector field.
            t0: start of the step.
            dt: step size, negative backwards in time; a plain number, so no gradient flows into it.
            y0: state at t0.
            carry: f(t0, y0), from `start` or from the step before.
        """
