"""P1's MNIST neural ODE in miniature."""

from typing import ClassVar

import torch
from torch import nn

from ndecore.blocks import NeuralODE
from ndecore.datasets.base import Splits
from ndecore.datasets.digits import digits
from ndecore.models.initialization import glorot_linear
from ndecore.models.time_mlp import TimeMLP
from ndecore.tasks.base import Classification, Hyperparameters


class DigitsNode(Classification):
    """Classify 8x8 digits by a neural ODE on the pixels over [0, 1]: 64 -> 100 -> 64 tanh with time; a linear head.

    As in P1: momentum 0.9, no normalization, the pixels in [0, 1]. Held-out data is one batch, so its NFE is a whole
    number.

    Reference: P1, MNIST neural ODE.
    """

    defaults: ClassVar[Hyperparameters] = Hyperparameters(
        epochs=30, learning_rate=0.1, batch_size=128, eval_batch_size=360
    )

    def splits(self) -> Splits:
        """Digits, split by seed 0."""
        return digits()

    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh classifier."""
        return nn.Sequential(NeuralODE(TimeMLP(64, 100, generator)), glorot_linear(64, 10, generator))
