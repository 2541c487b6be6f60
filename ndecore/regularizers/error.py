"""Global error regularizer (ERNODE)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from ndecore.keys import OneOf, check_fields
from ndecore.regularizers.base import Aggregation, Scaled, WeightByStep, aggregate
from ndecore.regularizers.recorded import RecordedPenalty
from ndecore.reliability import warn_of_rounding
from ndecore.solution import StepRecords
from ndecore.solvers.base import Solver
from ndecore.types import Scalar


@dataclass(frozen=True)
class GlobalError(RecordedPenalty):
    """R_E = agg_j E_j^power |dt_j| over the accepted steps j of the solve.

    The default is the variant of P1's code, for which its weights (100 -> 10) were tuned: the mean over n + 1 records
    of the tolerance-scaled error ratio times the step. P1's text has the sum: `agg="sum", scaled=False`; and, for
    PhysioNet, the sum of squares without the step: `agg="sum", power=2, weight_by_dt=False`.

    Gradient path: through every stage of every accepted step, to the initial state and the parameters; step sizes are
    constants. The scaled penalty depends on rtol and atol: another tolerance gives the same weight another meaning.

    Args:
        agg: "sum", "mean" or "max" over the steps.
        power: 1 or 2, of each step's error.
        weight_by_dt: multiply each step's error by |dt|, as both the text and the code do.
        scaled: E is the tolerance-scaled error ratio (dimensionless); else the rms of the raw error (unit of y).

    Reference: P1 (Pal et al., Opening the Blackbox, ICML 2021), definition of R_E; its code,
    `experiments/mnist_node.jl`.
    """

    agg: Aggregation = "mean"
    power: Annotated[int, OneOf(1, 2), "Of each step's error in the penalty."] = 1
    weight_by_dt: WeightByStep = True
    scaled: Scaled = True
    needs_error: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    def of_records(self, records: StepRecords, solver: Solver) -> Scalar:
        """R_E of a solve; see the class."""
        values = records.error_ratio if self.scaled else records.error
        if self.power == 2:
            values = values.square()
        if self.weight_by_dt:
            values = values * records.dt.abs().to(values)
        warn_of_rounding("GlobalError", values, records.rounding and records.rounding.error)
        return aggregate(values, self.agg)
