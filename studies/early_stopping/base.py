"""What every rule is: after an epoch, a figure of a trial and the bound below which the trial is stopped."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, ClassVar, NamedTuple, TypeAlias

from ndecore.keys import Above, AtLeast, AtMost
from studies.early_stopping.curves import Curves

LeastTrials: TypeAlias = Annotated[int, AtLeast(1), "Trials to compare with, before which no trial is stopped."]
Fraction: TypeAlias = Annotated[float, Above(0), AtMost(1), "Of the epochs, before which no trial is stopped."]


class Verdict(NamedTuple):
    """What a rule found after an epoch."""

    figure: float  # the rule says of what
    bound: float  # in the same unit

    @property
    def stops(self) -> bool:
        """Whether the trial is stopped."""
        return self.figure < self.bound


class StoppingRule(ABC):
    """Whether a trial goes on, by its own curve and those of the others. A value: it remembers nothing.

    A rule is a function of what the ledger has, in its order, so that a resumed study decides the same.
    """

    needs_gap: ClassVar[bool]  # whether the solver gap must be measured after the epochs at which it looks
    figure: ClassVar[str]  # what its figure is, in words

    @abstractmethod
    def looks_at(self, n_epochs: int) -> Sequence[int]:
        """The epochs, from 1, after which it judges a trial of so many epochs."""

    @abstractmethod
    def judge(self, curves: Curves, number: int, epoch: int) -> Verdict | None:
        """What it finds of a trial that has just completed an epoch; None where it has nothing to compare with."""


def rungs(n_epochs: int, fractions: Sequence[float]) -> tuple[int, ...]:
    """These parts of a training as whole epochs before the last, each once."""
    found = {min(max(1, math.floor(n_epochs * each + 0.5)), n_epochs) for each in fractions}
    return tuple(sorted(found - {n_epochs}))
