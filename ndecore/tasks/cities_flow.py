"""Where cities are: the density of a real table by a continuous normalizing flow."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ndecore.datasets.base import Batch, Splits
from ndecore.datasets.cities import cities
from ndecore.keys import AtLeast
from ndecore.metrics import CROSS_ENTROPY, Metric
from ndecore.models.density_flow import DensityFlow, FlowMLP
from ndecore.regularizers.schedules import Moment
from ndecore.tasks.base import Hyperparameters, Task
from ndecore.types import Scalar


@dataclass(frozen=True)
class CitiesFlow(Task):
    """The density of the positions of cities by a continuous normalizing flow on their two coordinates.

    Continents, coasts and valleys take a transport that bends, and a solver pays for bends. Held-out data is one batch,
    so its NFE is a whole number.

    Args:
        n_hidden: size of the two hidden layers.

    Reference: Chen et al., Neural Ordinary Differential Equations, NeurIPS 2018, for the flow.
    """

    n_hidden: Annotated[int, AtLeast(1), "The units of each hidden layer."] = 32
    metrics: ClassVar[tuple[Metric, ...]] = (CROSS_ENTROPY,)
    defaults: ClassVar[Hyperparameters] = Hyperparameters(
        epochs=6,
        learning_rate=0.05,
        batch_size=512,
        eval_batch_size=3072,
        optimizer="adam",
        lr_schedule="cosine",
        clip_norm=1.0,
    )
    tolerance: ClassVar[float] = 1e-3

    def splits(self) -> Splits:
        """Cities, split by seed 0."""
        return cities()

    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh flow."""
        return DensityFlow(FlowMLP(2, self.n_hidden, generator))

    def loss(self, output: Tensor, batch: Batch, moment: Moment) -> Scalar:
        """Mean negative log density, nats."""
        return -output.mean()

    def scores(self, output: Tensor, batch: Batch) -> Mapping[str, float]:
        """The same as a number: the cross-entropy of the cities and the model."""
        return {"loss": -output.mean().item()}
