"""W4: a neural SDE of 32 states for a batch of 512, drift MLP 32-64-32 tanh, diagonal noise."""

import math
from dataclasses import dataclass

import torch
import torchsde
from torch import Tensor, nn

from ndecore.brownian import BrownianPath, BrownianTree
from ndecore.terms import SDETerm

_BATCH, _STATES, _HIDDEN = 512, 32, 64


class _Drift(nn.Module):
    """f(y) = W2 tanh(W1 y + b1) + b2."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(_STATES, _HIDDEN), nn.Linear(_HIDDEN, _STATES)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The drift, [batch, 32]."""
        return self.second(torch.tanh(self.first(y)))


class Mixing(nn.Module):
    """g(y) = W y + b."""

    def __init__(self) -> None:
        super().__init__()
        self.only = nn.Linear(_STATES, _STATES)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion, [batch, 32]."""
        return self.only(y)


class Elementwise(nn.Module):
    """g_i(y_i) = a_i y_i + b_i."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.start = nn.Parameter(torch.empty(_STATES)), nn.Parameter(torch.empty(_STATES))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The diffusion, [batch, 32]."""
        return self.slope * y + self.start


@dataclass(frozen=True)
class Workload:
    """W4 with one of its diffusions, on a device; always the same."""

    drift: nn.Module
    diffusion: nn.Module
    y0: Tensor

    def term(self, path: BrownianPath) -> SDETerm:
        """The equation along a path."""
        return SDETerm(self.drift, self.diffusion, path, is_mixing=isinstance(self.diffusion, Mixing))

    def tree(self, cells: int = 1) -> BrownianTree:
        """Always the same path."""
        return BrownianTree(1, tuple(self.y0.shape), 0.0, 1.0, cells=cells, device=self.y0.device)

    def interval(self, halfway_tree: bool = False) -> torchsde.BrownianInterval:
        """torchsde's path, which keeps to itself for any steps with the halfway tree alone."""
        return torchsde.BrownianInterval(
            0.0,
            1.0,
            tuple(self.y0.shape),
            device=self.y0.device,
            entropy=1,
            levy_area_approximation="space-time",
            halfway_tree=halfway_tree,
            tol=1e-6 if halfway_tree else 0.0,
        )


def workload(diffusion: nn.Module, device: str) -> Workload:
    """W4 with weights N(0, 1 / inputs) and no bias in the drift; diffusions of size 0.3."""
    draw_from, drift = torch.Generator().manual_seed(0), _Drift()
    with torch.no_grad():
        for parameter in drift.parameters():
            scale = 1 / math.sqrt(parameter.shape[-1]) if parameter.dim() == 2 else 0.0
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draw_from))
        for parameter in diffusion.parameters():
            scale = 0.3 / math.sqrt(parameter.shape[-1]) if parameter.dim() == 2 else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=draw_from))
    y0 = torch.randn(_BATCH, _STATES, generator=draw_from)
    return Workload(drift.to(device), diffusion.to(device), y0.to(device))
