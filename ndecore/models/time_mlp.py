"""The time-dependent perceptron that both papers use as a vector field."""

import torch
from torch import Tensor, nn

from ndecore.models.initialization import glorot_uniform_
from ndecore.types import Scalar


class TimeLinear(nn.Module):
    """W [x; t] + b without building [x; t]: the column of W that meets t joins the bias."""

    def __init__(self, n_in: int, n_out: int, generator: torch.Generator) -> None:
        super().__init__()
        joint = glorot_uniform_(torch.empty(n_out, n_in + 1), generator).detach()
        self.weight = nn.Parameter(joint[:, :n_in].clone())
        self.time_weight = nn.Parameter(joint[:, n_in].clone())
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, t: Scalar, x: Tensor) -> Tensor:
        """[batch, n_in] -> [batch, n_out]."""
        return nn.functional.linear(x, self.weight, torch.addcmul(self.bias, self.time_weight, t))


class TimeMLP(nn.Module):
    """f(t, x) = tanh(W2 [tanh(W1 [x; t] + b1); t] + b2), [batch, n_state] -> [batch, n_state].

    The tanh on the output is P1's (P2's code leaves it out); it bounds the field.

    Reference: P1, MNIST neural ODE; `experiments/mnist_node.jl`.
    """

    def __init__(self, n_state: int, n_hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.inner = TimeLinear(n_state, n_hidden, generator)
        self.outer = TimeLinear(n_hidden, n_state, generator)

    def forward(self, t: Scalar, x: Tensor) -> Tensor:
        """The slope at (t, x)."""
        return torch.tanh(self.outer(t, torch.tanh(self.inner(t, x))))
