"""How the weight of a penalty changes over training."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from ndecore.errors import InputError


class Schedule(ABC):
    """The weight of the penalty, epoch by epoch; dimensionless."""

    @abstractmethod
    def __call__(self, epoch: int, n_epochs: int) -> float:
        """The weight in `epoch` of `n_epochs`, counted from 0."""


def _check_weight(name: str, value: float, lowest: str, is_allowed: bool) -> None:
    if not is_allowed:
        raise InputError(f"{name}: got {value!r}, allowed: a finite number {lowest}")


@dataclass(frozen=True)
class Constant(Schedule):
    """lambda(epoch) = weight."""

    weight: float

    def __post_init__(self) -> None:
        _check_weight("weight", self.weight, ">= 0", 0 <= self.weight < float("inf"))

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """The weight, whatever the epoch."""
        return self.weight


@dataclass(frozen=True)
class Exponential(Schedule):
    """lambda(epoch) = weight exp(-k epoch), k = ln(weight / weight_end) / n_epochs; decreasing or increasing.

    As in P1's code the last epoch, n_epochs - 1, is one factor short of weight_end.

    Reference: P1, coefficient annealing; `experiments/mnist_node.jl`.
    """

    weight: float
    weight_end: float

    def __post_init__(self) -> None:
        _check_weight("weight", self.weight, "> 0 with an exponential schedule", 0 < self.weight < float("inf"))
        _check_weight("weight_end", self.weight_end, "> 0", 0 < self.weight_end < float("inf"))

    def __call__(self, epoch: int, n_epochs: int) -> float:
        """The weight in `epoch`."""
        ratio: float = (self.weight_end / self.weight) ** (epoch / n_epochs)
        return self.weight * ratio
