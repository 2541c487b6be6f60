"""The solution of a finished solve at any time."""

from bisect import bisect_right

from torch import Tensor

from ndecore.solvers.base import StepResult
from ndecore.types import State


class Path:
    """y(t) by the dense output of the accepted steps, which it keeps.

    Args:
        y0: the state before any step.
        sign: 1 forwards in time, -1 backwards.
    """

    def __init__(self, y0: State, sign: float) -> None:
        self._y0, self._sign = y0, sign
        self._starts: list[float] = []
        self._steps: list[tuple[float, State, StepResult]] = []

    @property
    def n_steps(self) -> int:
        """The steps that were accepted."""
        return len(self._steps)

    def add(self, t: float, y0: State, step: StepResult) -> None:
        """Take in the next accepted step, from (t, y0)."""
        self._starts.append(self._sign * t)
        self._steps.append((t, y0, step))

    def at(self, t: float) -> Tensor:
        """The state at t."""
        if not self._steps:
            return self._y0
        start, y0, step = self._steps[max(0, bisect_right(self._starts, self._sign * t) - 1)]
        return y0 if t == start else step.interpolate([t])[0]
