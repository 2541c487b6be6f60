"""Classification through a neural SDE."""

import torch
from torch import Tensor, nn

from ndecore.blocks import NeuralSDE as Block
from ndecore.models.initialization import glorot_linear
from ndecore.models.neural_sde import NeuralSDE


class NeuralSDEClassifier(nn.Module):
    """logits = mean over paths of W z(1) + b, with dz = f dt + g dW on [0, 1] and z(0) = W0 x + b0.

    In training mode it follows one path, in evaluation mode (`eval()`) the mean is over `n_paths`. Each path is a solve
    of its own; P1 stacks ten paths into one solve of ten times as many.

    Args:
        sde: of n_state elements.
        n_inputs: pixels.
        n_state: state size.
        n_classes: number of logits.
        generator: draws the weights of both layers.
        n_paths: at prediction.

    Reference: P1, MNIST neural SDE.
    """

    def __init__(
        self,
        sde: NeuralSDE,
        n_inputs: int,
        n_state: int,
        n_classes: int,
        generator: torch.Generator,
        *,
        n_paths: int = 10,
    ) -> None:
        super().__init__()
        self.encoder = glorot_linear(n_inputs, n_state, generator)
        self.block = Block(sde)
        self.head = glorot_linear(n_state, n_classes, generator)
        self.n_paths = n_paths

    def forward(self, inputs: Tensor) -> Tensor:
        """[batch, n_inputs] -> logits [batch, n_classes]."""
        start = self.encoder(inputs)
        n_paths = 1 if self.training else self.n_paths
        return torch.stack([self.head(self.block(start)) for _ in range(n_paths)]).mean(dim=0)
