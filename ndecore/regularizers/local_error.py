"""Local error regularizer, unbiased sampling."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from ndecore.controllers.initial_step import initial_step
from ndecore.errors import InputError
from ndecore.norms import sizes_of_step
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.solvers.tsit5 import Tsit5
from ndecore.types import Scalar


@dataclass(frozen=True)
class LocalError(Regularizer):
    """R_E = E(t_reg) |dt_reg| of one fresh step at one random time, t_reg ~ U[t0, t1] drawn before the solve.

    The state u(t_reg) is the solve's dense output; the step starts from it with a new automatic step size, as a new
    integrator on (t_reg, t1) would. The solve may be by any adjoint: it gives a state, and the step is made here. The
    step is one of the solver that the settings name, or of Tsit5 where that one has no error estimate (P2's code takes
    Tsit5 always).

    Gradient path: u(t_reg), dt and the first stage k1 are constants; the gradient reaches the parameters through
    stages 2 to s and the new state alone. There is none to the input. Costs s + 1 evaluations per training step (8
    for Tsit5: k1, the probe of the step size, six stages) and none at prediction.

    Args:
        weight_by_dt: multiply by |dt|, as the text and the code do.
        scaled: E is the tolerance-scaled error ratio (dimensionless), the default because the published weights were
            tuned for it; else the rms of the raw error (unit of y). The scaled penalty depends on rtol and atol.

    Reference: P2 (Pal et al., Locally Regularized Neural Differential Equations, ICML 2023), algorithm 1 (unbiased).
    """

    weight_by_dt: bool = True
    scaled: bool = True
    needs_differentiable_records: ClassVar[bool] = False

    def sample_times(self, t0: float, t1: float, generator: torch.Generator) -> tuple[float, ...]:
        """One time, uniform over the span."""
        fraction = torch.rand((), dtype=torch.float64, generator=generator).item()
        return (t0 + fraction * (t1 - t0),)

    def penalty(self, context: PenaltyContext) -> Scalar:
        """R_E of one step at the sampled time; see the class."""
        if len(context.times) != 1:
            raise InputError(f"LocalError: got {len(context.times)} times, allowed: the one that sample_times drew")
        settings, solution = context.settings, context.solution
        solver = settings.solver if settings.solver.error_order is not None else Tsit5()
        t = context.times[0]
        with torch.no_grad():
            u = solution.at(t).detach()
            k1 = solver.start(context.term, t, u)
            span = solution.t1 - t
            dt = initial_step(context.term, t, u, k1, span, solver.order, settings.rtol, settings.atol)
        step = solver.step(context.term, t, dt, u, k1)
        sizes = sizes_of_step(step.differences(), u, step.y1, settings.rtol, settings.atol)
        size = sizes.error_ratio(u.numel()) if self.scaled else sizes.rms_error(u.numel())
        return size * abs(dt) if self.weight_by_dt else size
