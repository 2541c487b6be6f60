"""Global stiffness regularizer (SRNODE)."""

from dataclasses import dataclass
from typing import ClassVar

from ndecore.keys import check_fields
from ndecore.regularizers.base import Aggregation, Scaled, WeightByStep, aggregate
from ndecore.regularizers.recorded import RecordedPenalty
from ndecore.reliability import warn_of_rounding
from ndecore.solution import StepRecords
from ndecore.solvers.base import Solver
from ndecore.types import Scalar


@dataclass(frozen=True)
class GlobalStiffness(RecordedPenalty):
    """R_S = agg_j S_j over the accepted steps j, S_j the stiffness estimate of the step.

    The default is the variant of P1's code, for which its weight (0.1) was tuned: the maximum over the steps of S
    divided by the solver's stability size, without dt. P1's text has the sum with dt: `agg="sum", weight_by_dt=True,
    scaled=False`. The constant record that P1's code makes at t0 (a floor of 0.285 without gradient) is left out.

    Gradient path: through the stages of the accepted steps that the aggregation selects; step sizes are constants. An
    estimate whose denominator vanishes counts as 0, with gradient 0. The penalty does not depend on the tolerance but
    through the steps.

    Args:
        agg: "sum", "mean" (over n + 1 records) or "max" over the steps.
        weight_by_dt: multiply each step's estimate by |dt|.
        scaled: divide by the solver's stability size (3.5068 for Tsit5), if stability limits its steps at all.

    Reference: P1 (Pal et al., Opening the Blackbox, ICML 2021), definition of R_S; Shampine (1977) for the estimate.
    """

    agg: Aggregation = "max"
    weight_by_dt: WeightByStep = False
    scaled: Scaled = True
    needs_stiffness: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    def of_records(self, records: StepRecords, solver: Solver) -> Scalar:
        """R_S of a solve; see the class."""
        values = records.stiffness
        if self.scaled:
            values = values / solver.stiffness_unit
        if self.weight_by_dt:
            values = values * records.dt.abs().to(values)
        if records.rounding is not None:
            # The maximum is one step's.
            chosen = values == values.detach().max() if self.agg == "max" else values > 0
            warn_of_rounding("GlobalStiffness", values * chosen, records.rounding.stiffness)
        return aggregate(values, self.agg)
