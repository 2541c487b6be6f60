"""Local error regularizer."""

from dataclasses import dataclass

from ndecore.regularizers.base import Scaled, WeightByStep
from ndecore.regularizers.local import LocalPenalty, LocalStep
from ndecore.solution import Rounding
from ndecore.solvers.base import Solver
from ndecore.types import PerStep, Scalar


@dataclass(frozen=True)
class LocalError(LocalPenalty):
    """R_E = E(t_reg) |dt_reg| of one fresh step at a random time of the solve; `LocalPenalty` says how it is drawn.

    Gradient path: u(t_reg), dt and the first stage k1 are constants; the gradient reaches the parameters through
    stages 2 to s and the new state alone. There is none to the input, unless `full_derivative`. Costs s + 1 evaluations
    per sampled time (8 for Tsit5: k1, the probe of the step size, six stages) and none at prediction. Of a stochastic
    equation through the first stage too; 5 evaluations each of drift and diffusion, where P2 counts none.

    Args:
        weight_by_dt: multiply by |dt|, as the text and the code do.
        scaled: E is the tolerance-scaled error ratio (dimensionless), the default because the published weights were
            tuned for it; else the rms of the raw error (unit of y). The scaled penalty depends on rtol and atol.

    Reference: P2 (Pal et al., Locally Regularized Neural Differential Equations, ICML 2023), algorithms 1 (unbiased)
    and 2 (biased).
    """

    weight_by_dt: WeightByStep = True
    scaled: Scaled = True

    def suits(self, solver: Solver) -> bool:
        """Whether it has an error estimate."""
        return solver.error_order is not None

    def size(self, step: LocalStep) -> Scalar:
        """E |dt| of a step."""
        size = step.sizes.error_ratio(step.n) if self.scaled else step.sizes.rms_error(step.n)
        return size * abs(step.dt) if self.weight_by_dt else size

    def rounded(self, rounding: Rounding) -> PerStep:
        """That of the error."""
        return rounding.error
