"""The perceptron that both papers take as the drift of their classifiers."""

import torch
from torch import Tensor, nn

from ndecore.models.initialization import glorot_linear
from ndecore.models.time_mlp import TimeLinear
from ndecore.types import Scalar


class DriftMLP(nn.Module):
    """f(t, y) = W2 tanh(W1 y + b1) + b2, [batch, n_state] -> [batch, n_state].

    Args:
        n_state: state size.
        n_hidden: size of the hidden layer.
        generator: draws the weights.
        sees_time: give [y; t] to the first layer in the place of y.

    Reference: P1, MNIST neural SDE; `experiments/mnist_nsde.jl`.
    """

    def __init__(self, n_state: int, n_hidden: int, generator: torch.Generator, *, sees_time: bool = False) -> None:
        super().__init__()
        self.sees_time = sees_time
        layer = TimeLinear if sees_time else glorot_linear
        self.inner = layer(n_state, n_hidden, generator)
        self.outer = glorot_linear(n_hidden, n_state, generator)

    def forward(self, t: Scalar, y: Tensor) -> Tensor:
        """The drift at (t, y)."""
        hidden = self.inner(t, y) if self.sees_time else self.inner(y)
        return self.outer(torch.tanh(hidden))
