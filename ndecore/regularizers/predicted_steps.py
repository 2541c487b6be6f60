"""The steps that a tolerance of one would take: an error penalty that means the same at every tolerance."""

from dataclasses import dataclass
from typing import ClassVar

from ndecore.regularizers.recorded import RecordedPenalty
from ndecore.reliability import warn_of_rounding
from ndecore.solution import StepRecords
from ndecore.solvers.base import Solver
from ndecore.types import Scalar


@dataclass(frozen=True)
class PredictedSteps(RecordedPenalty):
    """R_N = sum_j E_j^(1/p) over the accepted steps j of the solve; E_j is the rms of the raw error, O(dt^p); unit of
    y^(1/p).

    Error control at tolerance tol takes a step in which E = tol, so it divides one step into (E / tol)^(1/p) of them:
    R_N tol^(-1/p) steps in all. The sum is thus proportional to the work itself, and does not depend on the steps by
    which it is measured, as an integral does not depend on its quadrature: raw errors grow with the tolerance, and
    scaled ones keep the size at which the controller holds them.

    Gradient path: through every stage of every accepted step, to the initial state and the parameters; step sizes are
    constants. Of a step whose error is 0 the gradient is 0.

    Reference: the step size rule of Hairer, Norsett, Wanner I, II.4 (4.13), read as a density of steps. Not
    in the papers.
    """

    needs_error: ClassVar[bool] = True

    def of_records(self, records: StepRecords, solver: Solver) -> Scalar:
        """R_N of a solve; see the class."""
        assert solver.error_order is not None, "checked"
        errors = records.error
        told = errors > 0
        # Both selects are needed: the infinite slope of the root at 0 would still send NaN backwards.
        values = told * errors.where(told, 1.0) ** (1 / solver.error_order)
        warn_of_rounding("PredictedSteps", values, records.rounding and records.rounding.error)
        return values.sum()
