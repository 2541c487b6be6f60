"""P1's motivating spiral: a time series fitted by a neural ODE."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from ndecore.blocks import NeuralODE
from ndecore.datasets.base import Batch, Splits
from ndecore.datasets.spiral import TIMES, Paths, spiral
from ndecore.metrics import MSE, Metric
from ndecore.models.cubic_mlp import CubicMLP
from ndecore.models.path_at_times import PathAtTimes
from ndecore.regularizers.schedules import Moment
from ndecore.tasks.base import Hyperparameters, Task
from ndecore.types import Scalar


class SpiralODE(Task):
    """Continue the cubic spiral from its initial point by half a turn, t in [0, 0.5]: 2 -> 50 -> 2 tanh on y^3.

    P1 prints the NFE of its spiral ODE but not how it was set up: the equation, the field and the centre of the initial
    points are those of its spiral SDE. On [0, 0.5] instead of [0, 1] a training of seconds fits well; the whole turn is
    left with five times the error. Held-out data is one batch, so its NFE is a whole number.

    Reference: P1, figure of the spiral ODE; spiral SDE.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (MSE,)
    defaults: ClassVar[Hyperparameters] = Hyperparameters(
        epochs=40, learning_rate=0.03, batch_size=32, eval_batch_size=64, optimizer="adam"
    )

    def splits(self) -> Splits:
        """Initial points and their paths, drawn by seed 0."""
        return spiral()

    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh model."""
        return PathAtTimes(NeuralODE(CubicMLP(2, 50, generator), (0.0, *TIMES), return_times=True))

    def loss(self, output: Paths, batch: Batch, moment: Moment) -> Scalar:
        """Mean squared error over all points, times and coordinates, unit of y squared."""
        return nn.functional.mse_loss(output, batch["targets"])

    def scores(self, output: Paths, batch: Batch) -> Mapping[str, float]:
        """The same as a number."""
        return {"mse": nn.functional.mse_loss(output, batch["targets"]).item()}
