"""No penalty: the baseline."""

from dataclasses import dataclass
from typing import ClassVar

from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.types import Scalar


@dataclass(frozen=True)
class NoRegularizer(Regularizer):
    """R = 0, without gradient."""

    needs_differentiable_records: ClassVar[bool] = False
    is_weighted: ClassVar[bool] = False

    def penalty(self, context: PenaltyContext) -> Scalar:
        """Zero."""
        return context.solution.y1.new_zeros(())
