"""Parameters drawn from a generator of the caller's: no global seeding."""

import torch
from torch import nn


def glorot_uniform_(weight: torch.Tensor, generator: torch.Generator) -> nn.Parameter:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) in place, as a parameter; the initialization of P1's dense layers.

    Reference: Glorot, Bengio, AISTATS 2010, eq. 16.
    """
    return nn.Parameter(nn.init.xavier_uniform_(weight, generator=generator))


def glorot_linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """A dense layer with such weights, and biases of zero."""
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out)
    layer.weight = glorot_uniform_(layer.weight.detach(), generator)
    nn.init.zeros_(layer.bias)
    return layer
