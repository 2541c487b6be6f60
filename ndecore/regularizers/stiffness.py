"""Global stiffness regularizer (SRNODE)."""

from dataclasses import dataclass
from typing import ClassVar

from ndecore.regularizers.base import Aggregation, PenaltyContext, Regularizer, aggregate, check_aggregation
from ndecore.types import Scalar


@dataclass(frozen=True)
class GlobalStiffness(Regularizer):
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
        scaled: divide by the solver's stability size (3.5068 for Tsit5).

    Reference: P1 (Pal et al., Opening the Blackbox, ICML 2021), definition of R_S; Shampine (1977) for the estimate.
    """

    agg: Aggregation = "max"
    weight_by_dt: bool = False
    scaled: bool = True
    needs_differentiable_records: ClassVar[bool] = True
    needs_stiffness: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_aggregation(self.agg)

    def penalty(self, context: PenaltyContext) -> Scalar:
        """R_S of the solve; see the class. Raise `InputError` if the solver has no stiffness estimate."""
        self.check_solver(context.settings.solver)
        values = context.solution.records.stiffness
        if self.scaled:
            values = values / context.settings.solver.stability_size
        if self.weight_by_dt:
            values = values * context.solution.records.dt.abs().to(values)
        return aggregate(values, self.agg)
