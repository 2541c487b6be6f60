"""Random paths as solutions of a neural SDE."""

from collections.abc import Sequence
from typing import ClassVar

from ndecore.models.base import Prediction, SolveRequest, SolvingModel
from ndecore.models.neural_sde import NeuralSDE
from ndecore.types import State


class NeuralSDEPaths(SolvingModel):
    """z(t1), ..., z(tn) with dz = f dt + g dW and z(0) = x, each of the batch along a path of its own.

    Args:
        sde: of as many elements as x.
        times: t1 to tn, after 0, ascending.

    Reference: P1, spiral SDE.
    """

    is_stochastic: ClassVar[bool] = True

    def __init__(self, sde: NeuralSDE, times: Sequence[float]) -> None:
        super().__init__()
        self.sde = sde
        self.grid = (0.0, *times)

    def forward(self, inputs: State, request: SolveRequest) -> Prediction:
        """[batch, n_state] -> [batch, times, n_state]."""
        (path,) = request.paths(inputs, self.grid)
        term = self.sde.along(path)
        states, solution = request.solve(term, inputs, self.grid)
        return Prediction(states.movedim(0, 1), term, solution)
