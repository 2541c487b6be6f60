"""Warnings of numbers that are not to be trusted; their texts do not vary between solves, so they are shown once."""

import warnings
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ndecore.errors import RoundingWarning, UnstableGradientWarning
from ndecore.solution import Rounding, Solution
from ndecore.solvers.base import Solver
from ndecore.types import PerStep

ROUNDED = 1 / 3  # the part of an estimate that may be rounding: from here on gradients begin to fail
_MANY = 8  # unstable steps: solves with good gradients were measured to have one or two


def rounding(steps: Iterable[tuple[Sequence[float], float]], eps: float) -> Rounding:
    """The parts of estimates that may be rounding.

    Each stage's slope is rounded, so the error is to |dt| ||f|| eps; each argument is, to ||y1|| eps.

    Args:
        steps: of each the values of its `StepSizes`, and |dt| ||f||, 2-norm, unit of y.
        eps: of the dtype in which the field answers.
    """
    # In numbers, not tensors: it is looked at after each training step, and steps are few.
    parts = [
        (eps * move / error if error > 0 else 0.0, eps * y1 / arguments if arguments > 0 else 0.0)
        for (_, error, _, arguments, y1), move in steps
    ]
    return Rounding(*torch.tensor(parts, dtype=torch.float64).unbind(1))


def warn_of_rounding(what: str, values: Tensor, part: PerStep | None) -> None:
    """Warn if much of what a penalty gathers is rounding.

    Args:
        what: the penalty's name.
        values: [steps], what it gathers, each by its weight; not negative.
        part: [steps], see `Rounding`; nothing is known if None.
    """
    # The first look is at numbers on the host, and is nearly always the last.
    if part is None or not len(part) or part.max().item() < ROUNDED:
        return
    weights = values.detach().double().cpu()
    total = weights.sum().item()
    if total > 0 and weights.dot(part).item() >= ROUNDED * total:
        warnings.warn(
            f"{what}: much of the estimate is rounding, and so is its gradient; loosen rtol and atol or use float64 "
            "(a local penalty: in_float64)",
            RoundingWarning,
            stacklevel=3,
        )


def warn_of_instability(solution: Solution, solver: Solver) -> None:
    """Warn if a gradient is to pass through many steps that are as long as stability allows.

    There a part of the state that has decayed to rounding grows back to the size of the tolerance, by a factor of
    tolerance / rounding; the solution does not show it, and its gradient has the factor whole.
    """
    if solution.stats.n_unstable >= _MANY and solution.y1.requires_grad:
        warnings.warn(
            f"stability, not accuracy, limits the steps of {type(solver).__name__} here, and a gradient through them "
            "may be wrong by orders of magnitude; set within_stability in SolveSettings, or use the adjoint "
            "interpolating, tighter tolerances or a stiffness penalty",
            UnstableGradientWarning,
            stacklevel=3,
        )
