"""Classification through a neural SDE."""

from typing import ClassVar

import torch

from ndecore.models.base import Prediction, SolveRequest, SolvingModel
from ndecore.models.initialization import glorot_linear
from ndecore.models.neural_sde import NeuralSDE
from ndecore.types import Images


class NeuralSDEClassifier(SolvingModel):
    """logits = mean over paths of W z(t1) + b, with dz = f dt + g dW and z(0) = W0 x + b0.

    In training mode it follows one path, in evaluation mode (`eval()`) the mean is over `n_paths`. Each path is a solve
    of its own, so that NFE is that of one solve of the batch; P1 stacks ten paths into one solve of ten times as many.

    Args:
        sde: of n_state elements.
        n_inputs: pixels.
        n_state: state size.
        n_classes: number of logits.
        generator: draws the weights of both layers.
        t1: end of the span [0, t1].
        n_paths: at prediction.

    Reference: P1, MNIST neural SDE.
    """

    is_stochastic: ClassVar[bool] = True

    def __init__(
        self,
        sde: NeuralSDE,
        n_inputs: int,
        n_state: int,
        n_classes: int,
        generator: torch.Generator,
        *,
        t1: float = 1.0,
        n_paths: int = 10,
    ) -> None:
        super().__init__()
        self.encoder = glorot_linear(n_inputs, n_state, generator)
        self.sde = sde
        self.head = glorot_linear(n_state, n_classes, generator)
        self.grid = (0.0, t1)
        self.n_paths = n_paths

    def forward(self, inputs: Images, request: SolveRequest) -> Prediction:
        """[batch, n_inputs] -> logits [batch, n_classes]."""
        start = self.encoder(inputs)
        paths = request.paths(start, self.grid, 1 if self.training else self.n_paths)
        terms = [self.sde.along(path) for path in paths]
        trajectories = [request.solve(term, start, self.grid) for term in terms]
        logits = torch.stack([self.head(states[-1]) for states, _ in trajectories]).mean(dim=0)
        first, *others = (solution for _, solution in trajectories)
        return Prediction(logits, terms[0], first, tuple(others))
