"""One step of an explicit Runge-Kutta pair, from its tableau."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ndecore.norms import rms_norm
from ndecore.solvers.base import Solver, StepResult
from ndecore.solvers.tableau import Tableau, stage_weights
from ndecore.terms import ODETerm
from ndecore.types import Scalar, State, States


@dataclass(frozen=True)
class RungeKuttaStep(StepResult):
    """The stages of one step, and what can be read off them."""

    tableau: Tableau
    t0: float
    dt: float
    y0: State
    y1: State
    stages: Tensor  # [stages, n]: k_i, flattened
    stage_arguments: tuple[Tensor, ...]  # [n] each: g_i, flattened, of all stages but the first

    @property
    def carry(self) -> State:
        """The last stage, f(t0 + dt, y1): the first of the next step."""
        return self.stages[-1].view(self.y0.shape)

    def error(self) -> State:
        """Dt sum_i (b_i - b~_i) k_i, unit of y."""
        weights = stage_weights(self.tableau, self.stages.dtype, self.stages.device)[-1] * self.dt
        return torch.mv(self.stages.t(), weights).view(self.y0.shape)

    def stiffness(self) -> Scalar:
        """||k_i - k_j|| / ||g_i - g_j|| over two stages with equal nodes, in the rms norm; 0 where arguments coincide.

        Reference: Shampine (1977), as used by P1 (global stiffness regularizer) on stages 6 and 7.
        """
        if self.tableau.stiffness_stages is None:
            return self.stages.new_zeros(())
        first, second = self.tableau.stiffness_stages
        change = rms_norm(self.stages[second] - self.stages[first])
        distance = rms_norm(self.stage_arguments[second - 1] - self.stage_arguments[first - 1])
        # Both selects are needed: a division by 0 in the branch not taken would still send NaN backwards.
        told = distance > 0
        return torch.where(told, change / torch.where(told, distance, 1.0), 0.0)

    def interpolate(self, ts: Sequence[float]) -> States:
        """y0 + dt sum_i b_i(theta) k_i at theta = (t - t0) / dt."""
        weights = [self.tableau.dense_weights((t - self.t0) / self.dt) for t in ts]
        moves = torch.tensor(weights, dtype=self.stages.dtype, device=self.stages.device).mul_(self.dt) @ self.stages
        return self.y0 + moves.view(len(ts), *self.y0.shape)


class ExplicitRungeKutta(Solver):
    """An explicit pair whose last stage is evaluated at the solution (FSAL); a method adds its tableau and its facts.

    k_i = f(t0 + c_i dt, y0 + dt sum_{j<i} a_ij k_j),  y1 = y0 + dt sum_j b_j k_j.
    """

    tableau: ClassVar[Tableau]

    def __init_subclass__(cls) -> None:
        assert cls.tableau.is_fsal, "the argument of the last stage is the solution"

    def start(self, term: ODETerm, t0: float, y0: State) -> State:
        """f(t0, y0)."""
        return term(t0, y0)

    def step(self, term: ODETerm, t0: float, dt: float, y0: State, carry: State) -> RungeKuttaStep:
        """Evaluate the stages; see `Solver.step`."""
        flat = y0.reshape(-1)
        weights = stage_weights(self.tableau, y0.dtype, y0.device) * dt
        stages, arguments = [carry.reshape(-1)], []
        for i, node in enumerate(self.tableau.c[1:]):
            # One matrix-vector product per stage sum: a chain of additions costs i kernels and i graph nodes.
            argument = torch.addmv(flat, torch.stack(stages).t(), weights[i, : i + 1])
            arguments.append(argument)
            stages.append(term(t0 + node * dt, argument.view(y0.shape)).reshape(-1))
        y1 = arguments[-1].view(y0.shape)
        return RungeKuttaStep(self.tableau, t0, dt, y0, y1, torch.stack(stages), tuple(arguments))
