"""A block's solution at its times, with the examples first."""

from torch import Tensor, nn

from ndecore.blocks import NeuralODE, NeuralSDE


class PathAtTimes(nn.Module):
    """z(t1), ..., z(tn) of z(t0) = x: the state itself is what is observed, of a random path or of an ordinary one.

    Args:
        block: with `return_times`; t0 first.

    Reference: P1, spiral and spiral SDE; Chen et al., Neural Ordinary Differential Equations, NeurIPS 2018.
    """

    def __init__(self, block: NeuralODE | NeuralSDE) -> None:
        super().__init__()
        self.block = block

    def forward(self, inputs: Tensor) -> Tensor:
        """[batch, n_state] -> [batch, times, n_state]."""
        states: Tensor = self.block(inputs)
        return states[1:].movedim(0, 1)
