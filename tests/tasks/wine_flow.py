"""The density of a table of wines: a continuous normalizing flow (Grathwohl et al., 2019) with an exact trace.

The trace of the Jacobian of one hidden layer has a closed form, so no noise estimates it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from sklearn.datasets import load_wine
from torch import Tensor, nn

from ndecore import Direction, Hyperparameters, Metric, Moment, NeuralODE, Splits, Task
from ndecore.keys import AtLeast

N_COLUMNS = 13


class Transport(nn.Module):
    """d(y, log density)/dt = (f, tr df/dy) of f(t, y) = V tanh(W y + b + t c)."""

    def __init__(self, n_hidden: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(N_COLUMNS, n_hidden), nn.Linear(n_hidden, N_COLUMNS, bias=False)
        self.drift = nn.Parameter(torch.zeros(n_hidden))

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """[batch, columns] and [batch] -> their derivatives."""
        hidden = torch.tanh(self.inner(state[0]) + t * self.drift)
        diagonal = (self.outer.weight.T * self.inner.weight).sum(dim=1)  # of W V, unit by unit
        return self.outer(hidden), (1 - hidden.square()) @ diagonal


class Flow(nn.Module):
    """Rows -> their log density: they are carried to a standard normal distribution."""

    def __init__(self, n_hidden: int) -> None:
        super().__init__()
        self.solve = NeuralODE(Transport(n_hidden))

    def forward(self, rows: Tensor) -> Tensor:
        """[batch, columns] -> [batch], nats."""
        carried, growth = self.solve((rows, torch.zeros_like(rows[:, 0])))
        return growth - 0.5 * (carried.square() + math.log(2 * math.pi)).sum(dim=1)


@dataclass(frozen=True)
class WineFlow(Task):
    """Each column is standardized by mean and spread of the training rows."""

    n_hidden: Annotated[int, AtLeast(1), "The hidden units of the transport."] = 32

    metrics: ClassVar = (Metric("nll", "nats", Direction.MINIMIZE, title="negative log likelihood"),)
    defaults: ClassVar = Hyperparameters(
        epochs=2, learning_rate=0.01, batch_size=38, eval_batch_size=32, optimizer="adam"
    )
    inputs: ClassVar = ("rows",)
    tolerance: ClassVar = 1e-4

    def splits(self) -> Splits:
        """114, 32 and 32 rows, by a fixed permutation."""
        table = torch.from_numpy(load_wine().data).float()
        table = table[torch.randperm(len(table), generator=torch.Generator().manual_seed(0))]
        mean, spread = table[:114].mean(dim=0), table[:114].std(dim=0)
        return Splits(*({"rows": part} for part in ((table - mean) / spread).split([114, 32, 32])))

    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh model."""
        return Flow(self.n_hidden)

    def loss(self, output: Tensor, batch: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """The mean negative log likelihood, nats."""
        return -output.mean()

    def scores(self, output: Tensor, batch: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The same."""
        return {"nll": -output.mean().item()}
