"""The median rule, of several objectives."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ndecore.keys import check_fields
from studies.early_stopping.base import Fraction, LeastTrials, StoppingRule, Verdict
from studies.early_stopping.curves import Curves


@dataclass(frozen=True)
class Median(StoppingRule):
    """A trial is stopped where it is worse than the median of the others at the same epoch in every objective.

    Of one objective it is the median rule, with values in the place of running averages.

    Args:
        after: the part of a training before which it does not look.
        least_trials: others that have completed the epoch.

    Reference: D. Golovin et al., "Google Vizier: a service for black-box optimization", KDD 2017.
    """

    after: Fraction = 0.1
    least_trials: LeastTrials = 5
    needs_gap: ClassVar[bool] = False
    figure: ClassVar[str] = "objectives in which it is no worse than the median"

    def __post_init__(self) -> None:
        check_fields(self)

    def looks_at(self, n_epochs: int) -> Sequence[int]:
        """At every epoch from `after` on."""
        return range(max(1, round(self.after * n_epochs)), n_epochs)

    def judge(self, curves: Curves, number: int, epoch: int) -> Verdict | None:
        """The objectives in which the trial is no worse; at least one is needed."""
        others = [n for n in curves.reached(curves.n_epochs(number), epoch) if n != number]
        if len(others) < self.least_trials:
            return None
        own, theirs = (curves.at(numbers, epoch)[:, : curves.n_objectives] for numbers in ([number], others))
        return Verdict(float((own[0] <= np.median(theirs, axis=0)).sum()), 1.0)
