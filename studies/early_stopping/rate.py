"""The gain in hypervolume that a trial promises per epoch, against what the others promised."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Annotated, ClassVar

import numpy as np

from ndecore.keys import AtLeast, check_fields
from studies.early_stopping.base import LeastTrials, StoppingRule, Verdict, rungs
from studies.early_stopping.curves import Curves
from studies.early_stopping.prediction import predicted_ends

_RUNGS = (0.1, 0.3, 0.5)
_SEEN = 20  # trials with which one is compared, the last ones


@dataclass(frozen=True)
class Rate(StoppingRule):
    """A trial goes on iff g / (E - e) >= share mean(g of the trials seen at this epoch) / E.

    g is the gain in hypervolume over the front of the complete trials, mean over the predicted ends of a trial, and 0
    for an end that misses a bound of the study; e the epoch, of E. All are predicted anew, over the front as it is now:
    what was a gain while the front was young is none any more. Of the trials seen the last 20 count. Costs that are
    always positive count by their logarithms. It looks at a tenth, three tenths and half of a training.

    Args:
        share: of the mean gain per epoch that a trial must promise, dimensionless.
        least_trials: complete ones.
    """

    share: Annotated[float, AtLeast(0), "Of the others' mean gain per epoch, that a trial must promise."] = 0.5
    least_trials: LeastTrials = 5
    needs_gap: ClassVar[bool] = True
    figure: ClassVar[str] = "hypervolume gain per epoch left"

    def __post_init__(self) -> None:
        check_fields(self)

    def looks_at(self, n_epochs: int) -> Sequence[int]:
        """At a tenth, three tenths and half."""
        return rungs(n_epochs, _RUNGS)

    def judge(self, curves: Curves, number: int, epoch: int) -> Verdict | None:
        """The gain per epoch that is left; see the class."""
        n_epochs = curves.n_epochs(number)
        if len(curves.completed(n_epochs, epoch, self.least_trials)) < self.least_trials:
            return None
        seen = curves.reached(n_epochs, epoch)[-_SEEN:]
        gains = [_gain(curves, each, epoch) for each in seen]
        return Verdict(_gain(curves, number, epoch) / (n_epochs - epoch), self.share * fmean(gains) / n_epochs)


def _gain(curves: Curves, number: int, epoch: int) -> float:
    """Dimensionless, a part of the box."""
    ends = predicted_ends(curves, number, epoch)
    return float(np.where(curves.is_feasible(ends), curves.region.gains(curves.in_box(ends)), 0.0).mean())
