"""The perceptron on the cubed state that P1 fits spirals with."""

import torch
from torch import Tensor, nn

from ndecore.models.initialization import glorot_linear
from ndecore.types import Scalar


class CubicMLP(nn.Module):
    """f(t, y) = W2 tanh(W1 y^3 + b1) + b2, [batch, n_state] -> [batch, n_state]; the same at all times.

    Reference: P1, spiral SDE, its drift; `experiments/sde_toy_problem.jl`.
    """

    def __init__(self, n_state: int, n_hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.inner = glorot_linear(n_state, n_hidden, generator)
        self.outer = glorot_linear(n_hidden, n_state, generator)

    def forward(self, t: Scalar, y: Tensor) -> Tensor:
        """The slope at y."""
        return self.outer(torch.tanh(self.inner(y**3)))
