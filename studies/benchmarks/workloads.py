"""What the solver benchmark solves: random fields of the shapes that neural ODEs have, and a trained one."""

import copy
import math
from dataclasses import dataclass, replace

import torch
import torchdiffeq
from torch import Tensor, nn

from ndecore.models.time_mlp import TimeMLP
from ndecore.training import TrainState, train
from studies.build import build

NAMES = ("W1", "W2", "W3a", "W3b", "digits")


@dataclass(frozen=True)
class Workload:
    """An initial value problem with a neural field."""

    name: str
    text: str
    field: nn.Module  # f(t, y)
    y0: Tensor
    ts: tuple[float, ...]  # output times, t0 and t1 included
    tolerance: float  # rtol = atol

    def doubled(self) -> nn.Module:
        """The same field in float64."""
        return copy.deepcopy(self.field).double()

    def reference(self) -> Tensor:
        """The solution at the output times in float64, by another library's eighth-order method at 1e-11."""
        ts = torch.tensor(self.ts, dtype=torch.float64, device=self.y0.device)
        with torch.no_grad():
            return torchdiffeq.odeint(self.doubled(), self.y0.double(), ts, rtol=1e-11, atol=1e-11, method="dopri8")


class _Latent(nn.Module):
    """f(y) = tanh(W3 tanh(W2 tanh(W1 y)))."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(20, 50), nn.Linear(50, 50), nn.Linear(50, 20)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope, [batch, 20]."""
        return torch.tanh(self.third(torch.tanh(self.second(torch.tanh(self.first(y))))))


class _Spiral(nn.Module):
    """f(y) = W2 tanh(W1 y^3)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(2, 50), nn.Linear(50, 2)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        """The slope, [batch, 2]."""
        return self.second(torch.tanh(self.first(y**3)))


def _randomized(field: nn.Module, gain: float, generator: torch.Generator) -> nn.Module:
    """The same field with weights N(0, gain^2 / inputs) and no bias: as stiff as one that has been trained."""
    with torch.no_grad():
        for name, parameter in field.named_parameters():
            if parameter.dim() == 2:
                parameter.copy_(
                    torch.randn(parameter.shape, generator=generator) * gain / math.sqrt(parameter.shape[1])
                )
            elif "bias" in name:
                parameter.zero_()
    return field


def mnist(device: str = "cpu") -> Workload:
    """W1 alone."""
    draw = torch.Generator().manual_seed
    field = _randomized(TimeMLP(784, 100, draw(0)), 2.2, draw(0))
    start = torch.rand(512, 784, generator=draw(3))
    return _on(device, Workload("W1", "784 x 512, MLP 784-100-784", field, start, (0.0, 1.0), 1e-6))


def workloads(device: str = "cpu") -> tuple[Workload, ...]:
    """W1 to W3 and the digits model, always the same."""
    draw = torch.Generator().manual_seed
    latent = _randomized(_Latent(), 2.5, draw(0))
    spiral = _randomized(_Spiral(), 11.3, draw(1))
    latent_start = torch.randn(512, 20, generator=draw(4))
    spiral_start = torch.tensor([2.0, 0.0]) + 0.1 * torch.randn(100, 2, generator=draw(2))
    thirty, forty_nine = (tuple(torch.linspace(0, 1, n, dtype=torch.float64).tolist()) for n in (30, 49))
    others = (
        Workload("W2", "20 x 512, MLP 20-50-50-20, 49 outputs", latent, latent_start, forty_nine, 1e-5),
        Workload("W3a", "2 x 1, MLP 2-50-2 on y^3, 30 outputs", spiral, spiral_start[:1], thirty, 1e-6),
        Workload("W3b", "2 x 100, the same", spiral, spiral_start, thirty, 1e-6),
        _digits(),
    )
    return mnist(device), *(_on(device, each) for each in others)


def _on(device: str, workload: Workload) -> Workload:
    return replace(workload, field=workload.field.to(device), y0=workload.y0.to(device))


def _digits() -> Workload:
    """The field of the digits model after ten epochs without a penalty, and its held-out batch."""
    plan = build("digits_node", {"epochs": 10, "learning_rate": 0.2, "rtol": 1e-6})
    state = TrainState(plan)
    for _ in train(plan, state):
        pass
    images = next(plan.task.source(plan.task.splits().validation).in_order(360))["inputs"]
    field: nn.Module = state.model[0].field  # type: ignore[index]
    return Workload("digits", "64 x 360, trained TimeMLP 64-100-64", field, images, (0.0, 1.0), 1e-6)
