"""No trial is stopped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from studies.early_stopping.base import StoppingRule, Verdict
from studies.early_stopping.curves import Curves


@dataclass(frozen=True)
class NoStopping(StoppingRule):
    """Every trial is trained to its end."""

    needs_gap: ClassVar[bool] = False
    figure: ClassVar[str] = ""

    def looks_at(self, n_epochs: int) -> Sequence[int]:
        """At none."""
        return ()

    def judge(self, curves: Curves, number: int, epoch: int) -> Verdict | None:
        """Nothing."""
        return None
