"""A density by a continuous normalizing flow."""

import math

import torch
from torch import Tensor, nn

from ndecore.blocks import NeuralODE
from ndecore.models.initialization import glorot_linear, glorot_uniform_
from ndecore.models.time_mlp import TimeLinear
from ndecore.types import Scalar

_FIRST_SCALE = 3.0  # of the first layer's weights, so that fine structure is found early


class FlowMLP(nn.Module):
    """d(z, l)/dt = (f(t, z), tr df/dz) with f = W3 tanh(W2 tanh(W1 z + b1 + t c1) + b2 + t c2) + b3.

    With h1 and h2 the outputs of the two tanh, the trace is exact and costs one more product of matrices:

        tr df/dz = sum_jk (1 - h2_j^2) M_jk (1 - h1_k^2),    M_jk = W2_jk sum_i W3_ij W1_ki

    Args:
        n_inputs: elements of z; the state is [batch, n_inputs + 1], l last.
        n_hidden: size of both hidden layers.
        generator: draws the weights; also the first layer's biases and both time weights, from N(0, 1).
    """

    def __init__(self, n_inputs: int, n_hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.first = TimeLinear(n_inputs, n_hidden, generator)
        self.second = TimeLinear(n_hidden, n_hidden, generator)
        self.third = glorot_linear(n_hidden, n_inputs, generator)
        with torch.no_grad():
            glorot_uniform_(self.first.weight.detach(), generator).mul_(_FIRST_SCALE)
            for drawn in (self.first.bias, self.first.time_weight, self.second.time_weight):
                drawn.normal_(generator=generator)

    def forward(self, t: Scalar, state: Tensor) -> Tensor:
        """The slope of (z, l) at t."""
        h1 = torch.tanh(self.first(t, state[:, :-1]))
        h2 = torch.tanh(self.second(t, h1))
        mixing = self.second.weight * (self.first.weight @ self.third.weight).T
        trace = ((1 - h2 * h2) * nn.functional.linear(1 - h1 * h1, mixing)).sum(dim=1, keepdim=True)
        return torch.cat([self.third(h2), trace], dim=1)


class DensityFlow(nn.Module):
    """log p(x) = log N(z(1); 0, I) + l(1), with dz/dt = f(t, z), z(0) = x, dl/dt = tr df/dz, l(0) = 0.

    Args:
        field: the slope of the state [batch, n_inputs + 1], l last.

    Reference: Chen et al., Neural Ordinary Differential Equations, NeurIPS 2018; Grathwohl et al., FFJORD, ICLR 2019,
    which estimates the trace.
    """

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.block = NeuralODE(field)

    def forward(self, inputs: Tensor) -> Tensor:
        """[batch, n_inputs] -> log density [batch], nats."""
        state: Tensor = self.block(nn.functional.pad(inputs, (0, 1)))
        z, change = state[:, :-1], state[:, -1]
        return change - 0.5 * (z.square().sum(dim=1) + z.shape[1] * math.log(2 * math.pi))
