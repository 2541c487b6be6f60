"""Parameters drawn from a generator of the caller's: no global seeding."""

import torch
from torch import nn


def glorot_uniform_(weight: torch.Tensor, generator: torch.Generator) -> nn.Parameter:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)) in place, as a parameter; the initialization of P1's dense layers.

    Reference: Glorot, Bengio, AISTATS 2010, eq. 16.
    """
    return nn.Parameter(nn.init.xavier_uniform_(weight, generator=generator))
