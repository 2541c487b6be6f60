"""What the methods for stochastic equations share."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from ndecore.norms import Differences
from ndecore.solvers.base import Solver, StepResult
from ndecore.terms import SDETerm, Term
from ndecore.types import Carry, State, States

_NOTHING = Differences(None)


class StochasticStep(StepResult):
    """A step with linear dense output: between both ends the path is not known better than that.

    Args:
        t0: start of the step.
        dt: its size.
        y0: where it began.
        y1: where it ended.
        carry: see `StepResult`.
        differences: see `StepResult`.
    """

    def __init__(  # noqa: PLR0917 - all that a step is
        self, t0: float, dt: float, y0: State, y1: State, carry: Carry, differences: Differences | None = None
    ) -> None:
        self._t0, self._dt, self._y0 = t0, dt, y0
        self.y1, self.carry = y1, carry
        self._differences = differences or _NOTHING

    def differences(self) -> Differences:
        """What the method has left; nothing where it has no estimates."""
        return self._differences

    def interpolate(self, ts: Sequence[float]) -> States:
        """The line from y0 to y1 at `ts`."""
        return torch.stack([torch.lerp(self._y0, self.y1, (t - self._t0) / self._dt) for t in ts])


class StochasticSolver(Solver):
    """A method for stochastic equations; the facts here are those of one without estimates."""

    error_order: ClassVar[float | None] = None
    tells_stiffness: ClassVar[bool] = False
    evaluations_per_step: ClassVar[int] = 1  # of the drift
    evaluations_per_output: ClassVar[int] = 0
    evaluations_for_estimates: ClassVar[int] = 0

    def start(self, term: Term, t0: float, y0: State) -> Carry:
        """Nothing: a step evaluates what it needs."""
        return y0.new_empty(0)

    def scratch(self, y0: State) -> Any:
        """Nothing."""
        return None


def stochastic(term: Term) -> SDETerm:
    """The term, of which `Solver.check` has made sure that it is one of a stochastic equation."""
    assert isinstance(term, SDETerm), "Solver.check comes before the first step"
    return term
