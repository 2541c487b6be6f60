"""Local stiffness regularizer."""

from dataclasses import dataclass

from ndecore.regularizers.base import Scaled
from ndecore.regularizers.local import LocalPenalty, LocalStep
from ndecore.solution import Rounding
from ndecore.solvers.base import Solver
from ndecore.types import PerStep, Scalar


@dataclass(frozen=True)
class LocalStiffness(LocalPenalty):
    """R_S = S(t_reg) of one fresh step at a random time of the solve; `LocalPenalty` says how it is drawn.

    S is the stiffness estimate divided by the solver's stability size (3.5068 for Tsit5), without dt, as in P2's code.
    P2 reports that it "did not yield positive results", without numbers.

    Gradient path: as that of `LocalError`: through stages 2 to s of one step, none to the input unless
    `full_derivative`. An estimate whose denominator vanishes counts as 0, with gradient 0.

    Args:
        scaled: divide by the solver's stability size, if stability limits its steps at all; else 1/time.

    Reference: P2 (Pal et al., Locally Regularized Neural Differential Equations, ICML 2023), discussion, and its code,
    `src/perform_step.jl`; Shampine (1977) for the estimate.
    """

    scaled: Scaled = True

    def suits(self, solver: Solver) -> bool:
        """Whether it has two stages at one time."""
        return solver.tells_stiffness

    def size(self, step: LocalStep) -> Scalar:
        """S of a step."""
        stiffness = step.sizes.stiffness(step.dt)
        return stiffness / step.solver.stiffness_unit if self.scaled else stiffness

    def rounded(self, rounding: Rounding) -> PerStep:
        """That of the stiffness."""
        return rounding.stiffness
