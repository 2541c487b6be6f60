"""Random times of reading the solution (STEER)."""

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, ClassVar, Literal

import torch

from ndecore.errors import InputError
from ndecore.keys import Above, Below, check_fields
from ndecore.observing import Grid, Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.types import Scalar

_MOST_OF_THE_SPAN = 0.999  # by which the end may be drawn back: a solve over no time trains nothing
_HALF = 0.5  # of the smaller gap beside a time: beyond it times could change places


@dataclass(frozen=True)
class STEER(Regularizer):
    """R_T = 0; instead, each time t_i at which the model reads the solution is drawn anew for every training solve.

    Uniform: t_i ~ U(t_i - b_i, t_i + b_i) with b_i = spread (t_i - t_{i-1}); gaussian: t_i ~ N(t_i, b_i^2). With one
    time this is the end of the solve; P1 has U(0.5, 1.5) for the span [0, 1]. With several, each is compared with the
    data of its nominal time, and all stay inside the span, as in P1's PhysioNet; the gap is the smaller of the two
    beside t_i, so that times of unequal gaps keep their order too. A gaussian draw is cut at half the gap, or at the
    start of the span. Nothing is changed at prediction.

    Gradient path: none of its own; the loss's gradient is that at the drawn times.

    Args:
        spread: of each time, as a part of the gap; below 1, and at most 0.5 with several times.
        distribution: "uniform" or "gaussian".

    Reference: Ghosh et al., STEER: Simple Temporal Regularization for Neural ODEs, NeurIPS 2020; P1, baselines.
    """

    spread: Annotated[
        float, Above(0), Below(1), "How far STEER moves a time, as a part of the gap before it, dimensionless."
    ] = 0.5
    distribution: Annotated[Literal["uniform", "gaussian"], "Of STEER's times."] = "uniform"
    needs_differentiable_records: ClassVar[bool] = False
    is_weighted: ClassVar[bool] = False
    moves_grid: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self)

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """The same grid with its times moved; raise `InputError` if they could change places."""
        is_series = len(grid) > 2
        if is_series and self.spread > _HALF:
            raise InputError(f"spread: got {self.spread!r} with {len(grid) - 1} times, allowed: at most {_HALF}")
        if self.distribution == "uniform":
            draws = (2 * torch.rand(len(grid) - 1, dtype=torch.float64, generator=generator) - 1).tolist()
        else:
            draws = torch.randn(len(grid) - 1, dtype=torch.float64, generator=generator).tolist()
        most = _HALF if is_series else _MOST_OF_THE_SPAN
        moves = (max(-most, min(most, self.spread * draw)) for draw in draws)
        gaps = [t - before for before, t in pairwise(grid)]
        smaller = [min(pair, key=abs) for pair in zip(gaps, [*gaps[1:], gaps[-1]], strict=True)]
        moved = [t + move * gap for t, move, gap in zip(grid[1:], moves, smaller, strict=True)]
        sign = math.copysign(1.0, grid[-1] - grid[0])
        inside = [min(t, grid[-1], key=lambda x: sign * x) for t in moved] if is_series else moved
        # Times that meet may change places by a rounding.
        ordered = accumulate(inside, lambda before, t: max(before, t, key=lambda x: sign * x))
        return Wishes((grid[0], *ordered))

    def penalty(self, context: PenaltyContext) -> Scalar:
        """Zero."""
        return context.solution.y1.new_zeros(())
