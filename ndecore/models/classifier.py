"""Classification through a neural ODE."""

import torch
from torch import nn

from ndecore.models.base import Prediction, SolveRequest, SolvingModel
from ndecore.models.initialization import glorot_linear
from ndecore.terms import ODETerm
from ndecore.types import Images


class NeuralODEClassifier(SolvingModel):
    """logits = W z(t1) + b with dz/dt = f(t, z), z(t0) = x.

    Args:
        field: f(t, z), [batch, n_state] -> [batch, n_state].
        n_state: state size.
        n_classes: number of logits.
        generator: draws the head's weights.
        t1: end of the span [0, t1].

    Reference: P1, MNIST neural ODE.
    """

    def __init__(
        self, field: nn.Module, n_state: int, n_classes: int, generator: torch.Generator, t1: float = 1.0
    ) -> None:
        super().__init__()
        self.field = field
        self.head = glorot_linear(n_state, n_classes, generator)
        self.grid = (0.0, t1)

    def forward(self, inputs: Images, request: SolveRequest) -> Prediction:
        """[batch, n_state] -> logits [batch, n_classes]."""
        term = ODETerm(self.field)
        states, solution = request.solve(term, inputs, self.grid)
        return Prediction(self.head(states[-1]), term, solution)
