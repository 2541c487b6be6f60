"""A latent ODE (Rubanova et al., 2019): what comes next in an irregular series of which values are missing.

A GRU reads what was seen, backwards; its state is where a solution begins. Each series is read off at its own times.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ndecore import Direction, Hyperparameters, Metric, Moment, Splits, Task, odeint
from ndecore.gathering import union_grid
from ndecore.keys import AtLeast

N_SEEN, N_ASKED = 10, 5


class Field(nn.Module):
    """dz/dt of the latent state."""

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_latent, 24), nn.Tanh(), nn.Linear(24, n_latent))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """[batch, latent] -> the same."""
        return self.layers(z)


class LatentODE(nn.Module):
    """Values seen -> a distribution of the state at time 0 -> its future."""

    def __init__(self, n_latent: int) -> None:
        super().__init__()
        self.encoder = nn.GRU(5, 16, batch_first=True)  # two values, two masks, the time since the observation before
        self.to_state = nn.Linear(16, 2 * n_latent)
        self.field, self.decoder = Field(n_latent), nn.Linear(n_latent, 2)

    def forward(self, values: Tensor, mask: Tensor, seen_at: Tensor, asked_at: Tensor) -> dict[str, Tensor]:
        """[batch, seen, 2] twice, times [batch, seen], times [batch, asked] -> values [batch, asked, 2] and the KL."""
        waits = seen_at.diff(dim=1, prepend=torch.zeros_like(seen_at[:, :1]))
        _, state = self.encoder(torch.cat([values * mask, mask, waits.unsqueeze(2)], dim=2).flip(1))
        mean, log_scale = self.to_state(state[0]).chunk(2, dim=1)
        noise = torch.randn_like(mean) if self.training else 0.0
        grid = union_grid(asked_at)
        times = torch.tensor((0.0, *grid.times), device=mean.device)
        states = grid.gather(odeint(self.field, mean + noise * log_scale.exp(), times)[1:])
        divergence = 0.5 * (mean.square() + (2 * log_scale).exp() - 2 * log_scale - 1).sum(dim=1)
        return {"values": self.decoder(states), "divergence": divergence}


@dataclass(frozen=True)
class LatentSeries(Task):
    """Values of order one, of two channels."""

    n_latent: Annotated[int, AtLeast(1), "The size of the latent state."] = 6

    metrics: ClassVar = (
        Metric("forecast_mse", "unit of y squared", Direction.MINIMIZE),
        Metric("divergence", "nats", Direction.MINIMIZE),
    )
    defaults: ClassVar = Hyperparameters(
        epochs=2, learning_rate=0.01, batch_size=32, eval_batch_size=32, optimizer="adamw", clip_norm=1.0
    )
    inputs: ClassVar = ("values", "mask", "seen_at", "asked_at")
    tolerance: ClassVar = 1e-3

    def splits(self) -> Splits:
        """Made up by a seed for each part."""
        return Splits(*(oscillations(n, seed) for seed, n in enumerate((96, 32, 32))))

    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh model."""
        return LatentODE(self.n_latent)

    def loss(self, output: Mapping[str, Tensor], batch: Mapping[str, Tensor], moment: Moment) -> dict[str, Tensor]:
        """The error where something was measured, and the KL divergence, which comes in slowly."""
        weight = 0.01 * moment.progress("step")
        return {"error": error(output, batch), "divergence": weight * output["divergence"].mean()}

    def scores(self, output: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The same, unweighted."""
        return {"forecast_mse": error(output, batch).item(), "divergence": output["divergence"].mean().item()}


def error(output: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> Tensor:
    """The mean square over what was measured."""
    squares = (output["values"] - batch["targets"]).square() * batch["targets_mask"]
    return squares.sum() / batch["targets_mask"].sum()


def oscillations(n: int, seed: int) -> dict[str, Tensor]:
    """Damped oscillations seen at random times in [0, 1], asked for in [1, 2]; a third of all values is missing."""
    draw = torch.Generator().manual_seed(seed)
    seen_at = torch.rand(n, N_SEEN, generator=draw).sort(dim=1).values
    asked_at = 1 + torch.rand(n, N_ASKED, generator=draw).sort(dim=1).values
    angle = 6.3 * torch.rand(n, 1, generator=draw)
    times = torch.cat([seen_at, asked_at], dim=1)
    phase = 4 * times + angle
    values = torch.stack([phase.cos(), phase.sin()], dim=2) * (-0.3 * times).exp().unsqueeze(2)
    values = values + 0.02 * torch.randn(values.shape, generator=draw)
    mask = (torch.rand(values.shape, generator=draw) > 1 / 3).float()
    seen, asked = (values * mask).split([N_SEEN, N_ASKED], dim=1)
    seen_mask, asked_mask = mask.split([N_SEEN, N_ASKED], dim=1)
    return {
        "values": seen,
        "mask": seen_mask,
        "seen_at": seen_at,
        "asked_at": asked_at,
        "targets": asked,
        "targets_mask": asked_mask,
    }
