"""Time series as the solution of a neural ODE."""

from collections.abc import Sequence

from torch import nn

from ndecore.models.base import Prediction, SolveRequest, SolvingModel
from ndecore.terms import ODETerm
from ndecore.types import State


class NeuralODETrajectory(SolvingModel):
    """z(t1), ..., z(tn) with dz/dt = f(t, z), z(t0) = x: the state itself is what is observed.

    Args:
        field: f(t, z), [batch, n_state] -> [batch, n_state].
        times: t1 to tn, after t0, ascending.
        t0: where the input is the state.

    Reference: P1, spiral; Chen et al., Neural Ordinary Differential Equations, NeurIPS 2018.
    """

    def __init__(self, field: nn.Module, times: Sequence[float], t0: float = 0.0) -> None:
        super().__init__()
        self.field = field
        self.grid = (t0, *times)

    def forward(self, inputs: State, request: SolveRequest) -> Prediction:
        """[batch, n_state] -> [batch, times, n_state]."""
        term = ODETerm(self.field)
        states, solution = request.solve(term, inputs, self.grid)
        return Prediction(states.movedim(0, 1), term, solution)
