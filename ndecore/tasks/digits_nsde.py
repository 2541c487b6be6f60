"""P1's and P2's MNIST neural SDE in miniature."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import nn

from ndecore.datasets.base import Splits
from ndecore.datasets.digits import digits
from ndecore.keys import Named, check_fields
from ndecore.models import SDES
from ndecore.models.drift_mlp import DriftMLP
from ndecore.models.neural_sde import NeuralSDE
from ndecore.models.sde_classifier import NeuralSDEClassifier
from ndecore.tasks.base import Classification, Hyperparameters


@dataclass(frozen=True)
class DigitsNSDE(Classification):
    """Classify 8x8 digits by a neural SDE over [0, 1]: linear layer 64 -> 32, drift 32 -> 64 -> 32 tanh, linear head.

    As in P1: one path in training, at prediction the mean logits of ten; Adam at 0.01, tolerance 0.14. Held-out data is
    one batch, and NFE is the mean of its ten solves. P1 counts one solve of all ten stacked; P2 predicts with one path.

    Args:
        sde: a name in `ndecore.models.SDES`.

    Reference: P1, MNIST neural SDE; P2.
    """

    sde: Annotated[str, Named(SDES), "The equation of a stochastic task's model."] = "naive"
    defaults: ClassVar[Hyperparameters] = Hyperparameters(
        epochs=30, learning_rate=0.01, batch_size=128, eval_batch_size=360, optimizer="adam"
    )
    calculus: ClassVar[Literal["ito"] | None] = "ito"
    tolerance: ClassVar[float] = 0.14  # both papers
    n_paths: ClassVar[int] = 10

    def __post_init__(self) -> None:
        check_fields(self)

    def splits(self) -> Splits:
        """Digits, split by seed 0."""
        return digits()

    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh classifier."""
        kind: type[NeuralSDE] = SDES[self.sde]
        sde = kind(DriftMLP(32, 64, generator, sees_time=kind.sees_time), 32, generator)
        return NeuralSDEClassifier(
            sde, n_inputs=64, n_state=32, n_classes=10, generator=generator, n_paths=self.n_paths
        )
