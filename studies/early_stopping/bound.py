"""How likely a trial is to end on the front."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from ndecore.keys import Above, AtMost, check_fields
from studies.early_stopping.base import LeastTrials, StoppingRule, Verdict, rungs
from studies.early_stopping.curves import Curves
from studies.early_stopping.prediction import predicted_ends

_RUNGS = (0.1, 0.3, 0.5)


@dataclass(frozen=True)
class Bound(StoppingRule):
    """A trial goes on iff at least a share of its predicted ends keep the study's bounds and are not dominated.

    It is careful: a trial is stopped only where hardly anything that complete trials did from here on would bring it to
    the front. It looks at a tenth, three tenths and half of a training.

    Args:
        share: of the predicted ends, dimensionless.
        least_trials: complete ones.
    """

    share: Annotated[float, Above(0), AtMost(1), "Of its predicted ends that must be on the front."] = 0.1
    least_trials: LeastTrials = 5
    needs_gap: ClassVar[bool] = True
    figure: ClassVar[str] = "share of predicted ends on the front"

    def __post_init__(self) -> None:
        check_fields(self)

    def looks_at(self, n_epochs: int) -> Sequence[int]:
        """At a tenth, three tenths and half."""
        return rungs(n_epochs, _RUNGS)

    def judge(self, curves: Curves, number: int, epoch: int) -> Verdict | None:
        """The share of ends; see the class."""
        if len(curves.completed(curves.n_epochs(number), epoch, self.least_trials)) < self.least_trials:
            return None
        ends = predicted_ends(curves, number, epoch)
        region = curves.region
        is_good = curves.is_feasible(ends) & ~region.dominates(curves.in_box(ends))
        return Verdict(float(is_good.mean()), self.share)
