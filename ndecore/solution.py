"""What a solve returns: data only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from ndecore.errors import InputError, SolveFailed
from ndecore.solvers.base import Solver
from ndecore.states import map_tensors, tensors_of
from ndecore.status import Status
from ndecore.times import Time, index_of, span_of
from ndecore.types import PerStep, StateTree


class Rounding(NamedTuple):
    """The parts of a step's estimates that may be rounding of the dtype, dimensionless; 0 where the estimate itself is.

    From about a third on, an estimate is not to be trusted.
    """

    error: PerStep  # eps |dt| ||f|| / ||error||, with f at the end of the step
    stiffness: PerStep  # eps ||y1|| / ||arguments||, see `StepSizes`


@dataclass(frozen=True)
class StepRecords:
    """One entry per accepted step. `t` and `dt` are float64 on the host, without gradient; the rest has the state's
    dtype, and the gradient to the parameters where the solve was asked for differentiable records.
    """

    t: PerStep  # start of the step
    dt: PerStep  # step size, negative backwards in time
    error_ratio: PerStep  # dimensionless, tolerance-scaled, at most 1
    error: PerStep  # rms of the raw error estimate, unit of y
    stiffness: PerStep  # estimate of the largest |eigenvalue| of the Jacobian, 1/time
    rounding: Rounding | None = None  # on the host; where the records are differentiable, of an ordinary equation


@dataclass(frozen=True)
class SolveStats:
    """Counts of one solve."""

    n_evaluations: int  # of the vector field: NFE, rejected steps and the initial-step probe included
    n_differentiated: int  # of those, the evaluations on which y1 and differentiable records depend
    n_accepted: int
    n_rejected: int
    n_diffusion_evaluations: int = 0  # of a stochastic equation; those above are of its drift
    n_unstable: int = 0  # accepted steps with stiffness |dt| above the method's stability size, as far as it tells


@dataclass(frozen=True)
class Solution:
    """The end of a solve; where it ended early, `y1` is the last accepted state and `ys` is shorter than `ts`."""

    t0: float
    t1: float
    y1: StateTree
    ts: tuple[float, ...]  # requested output times
    ys: StateTree  # [times, *state], the solution at `ts`, by dense output
    records: StepRecords
    stats: SolveStats
    status: Status
    costs: Tensor | None = None  # [n_costs], the integral of the running cost over |dt|, if one was asked for
    reached: float | None = None  # where `y1` is, if dense output was asked for
    dense: Callable[[float], StateTree] | None = None  # the state at any time up to there, if it was
    solver: Solver | None = None  # that took the steps; None if another library did

    def at(self, t: Time) -> StateTree:
        """The state at the requested time `t`; raise `InputError` for another time or one that was not reached."""
        reached = self.ts[: len(tensors_of(self.ys)[0])]
        place = index_of(t, reached, max(abs(self.t0), abs(self.t1)))
        if place is None:
            raise InputError(f"no output at t = {t!r}, available: {reached}; request it with `ts`")
        return map_tensors(lambda values: values[place], self.ys)

    def interpolate(self, t: Time) -> StateTree:
        """The state at any time between t0 and the end of the solve, of a solve with `dense=True`.

        Gradients flow through it as through `ys`. Raise `InputError` for another time or another solve.
        """
        if self.dense is None or self.reached is None:
            raise InputError("interpolate: got a solve without dense output, allowed: one with `dense=True`")
        (time,) = span_of(self.t0, self.reached, (t,)).ts
        return self.dense(time)

    def check(self) -> "Solution":
        """Return self if the solve reached t1, else raise `SolveFailed` with the status and its remedy."""
        if self.status is not Status.SUCCESS:
            raise SolveFailed(self.ending())
        return self

    def ending(self) -> str:
        """How the solve ended and what to do about it, in one line."""
        steps = f"after {self.stats.n_accepted} accepted and {self.stats.n_rejected} rejected steps"
        return f"{self.status.name}: {self.status.sentence} {steps}; {self.status.remedy}"
