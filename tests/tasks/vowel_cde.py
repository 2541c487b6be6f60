"""Who says a vowel: a neural controlled differential equation (Kidger et al., 2020) on series of unequal lengths.

The Japanese Vowels data comes with the package: 12 coefficients a frame, 7 to 29 frames, 9 speakers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ndecore import Direction, Hyperparameters, Metric, Moment, NeuralODE, Splits, Task
from ndecore.datasets.japanese_vowels import japanese_vowels
from ndecore.keys import AtLeast

N_FRAMES, N_CHANNELS, N_SPEAKERS = 29, 12, 9


class Controlled(nn.Module):
    """dz/dt = F(z) dX/dt, with X the frames and time itself as one more channel.

    dX/dt is the central difference at each frame and a straight line in between: continuous, as a solver likes it.
    """

    def __init__(self, n_hidden: int) -> None:
        super().__init__()
        self.n_hidden = n_hidden
        self.layers = nn.Sequential(
            nn.Linear(n_hidden, 32), nn.Tanh(), nn.Linear(32, n_hidden * (N_CHANNELS + 1)), nn.Tanh()
        )
        self.slopes = torch.empty(0)  # [batch, frames, channels + 1] of the batch that is solved

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """[batch, hidden] -> the same; t from 0 to 1."""
        place = float(t) * (N_FRAMES - 1)
        frame = min(max(int(place), 0), N_FRAMES - 2)
        slope = torch.lerp(self.slopes[:, frame], self.slopes[:, frame + 1], place - frame)
        matrix = self.layers(z).view(-1, self.n_hidden, N_CHANNELS + 1)
        return (matrix @ slope.unsqueeze(2)).squeeze(2)


class Model(nn.Module):
    """First frame -> state -> the state that the series leads to -> speaker."""

    def __init__(self, n_hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(N_CHANNELS + 1, n_hidden)
        self.solve = NeuralODE(Controlled(n_hidden))
        self.last = nn.Linear(n_hidden, N_SPEAKERS)

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """[batch, frames, channels] and their numbers of frames -> logits [batch, speakers]."""
        frames = torch.arange(N_FRAMES, device=values.device).expand(len(values), -1)
        time = torch.minimum(frames, lengths.unsqueeze(1) - 1)  # it stands still when a series has ended,
        held = values.gather(1, time.unsqueeze(2).expand(-1, -1, N_CHANNELS))  # and so does the last frame
        path = torch.cat([time.unsqueeze(2) / (N_FRAMES - 1), held], dim=2)
        (self.solve.field.slopes,) = torch.gradient(path, spacing=1 / (N_FRAMES - 1), dim=1)
        return self.last(self.solve(self.first(path[:, 0])))


@dataclass(frozen=True)
class VowelCDE(Task):
    """Speaker by vowel; inputs are as recorded, which is of order one."""

    n_hidden: Annotated[int, AtLeast(1), "The size of the state."] = 8

    metrics: ClassVar = (Metric("hits", "1", Direction.MAXIMIZE, title="speakers found", is_share=True),)
    defaults: ClassVar = Hyperparameters(
        epochs=2, learning_rate=0.01, batch_size=60, eval_batch_size=370, optimizer="adam"
    )
    inputs: ClassVar = ("values", "lengths")
    tolerance: ClassVar = 1e-3

    def splits(self) -> Splits:
        """The published training part less 90 series, these, and the published test part."""
        data = japanese_vowels(split_seed=0, n_validation=90)
        return Splits(data.train.tensors(), data.validation.tensors(), data.test.tensors())

    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh model."""
        return Model(self.n_hidden)

    def loss(self, output: Tensor, batch: Mapping[str, Tensor], moment: Moment) -> Tensor:
        """Cross-entropy, nats."""
        return nn.functional.cross_entropy(output, batch["targets"])

    def scores(self, output: Tensor, batch: Mapping[str, Tensor]) -> Mapping[str, float]:
        """The part of the speakers that is found."""
        return {"hits": (output.argmax(dim=1) == batch["targets"]).double().mean().item()}
