"""The contract of a task: data, model, loss, metrics and defaults."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ndecore.datasets.base import Splits
from ndecore.metrics import METRICS, Metric
from ndecore.models.base import SolvingModel
from ndecore.types import Labels, Logits, Scalar


@dataclass(frozen=True)
class Hyperparameters:
    """How the optimizer runs; a task's own are what a config that is silent gets."""

    epochs: int
    learning_rate: float
    batch_size: int
    eval_batch_size: int
    optimizer: str = "sgd"  # or adam, adamax
    momentum: float = 0.9  # of sgd


class Task(ABC):
    """A problem to train on; the fields of one that is a dataclass are keys of a config."""

    metrics: ClassVar[tuple[Metric, ...]]  # what `scores` returns, in the same order
    defaults: ClassVar[Hyperparameters]
    calculus: ClassVar[Literal["ito"] | None] = None  # of the stochastic equations of its model; None: ordinary ones
    tolerance: ClassVar[float] = 1e-6  # rtol and atol of a config that is silent

    @abstractmethod
    def splits(self) -> Splits:
        """The data, always in the same three parts."""

    @abstractmethod
    def model(self, generator: torch.Generator) -> SolvingModel:
        """A fresh model, its parameters drawn from `generator`."""

    @abstractmethod
    def loss(self, output: Tensor, targets: Tensor) -> Scalar:
        """What training minimizes, before the penalty: a mean over the batch."""

    @abstractmethod
    def scores(self, output: Tensor, targets: Tensor) -> Mapping[str, float]:
        """The task's metrics over a whole split, by `Metric.name`."""


class Classification(Task, ABC):
    """A task whose model gives the logits of classes."""

    metrics: ClassVar[tuple[Metric, ...]] = (METRICS["accuracy"], METRICS["loss"])

    def loss(self, output: Logits, targets: Labels) -> Scalar:
        """Cross-entropy, nats."""
        return nn.functional.cross_entropy(output, targets)

    def scores(self, output: Logits, targets: Labels) -> Mapping[str, float]:
        """Accuracy in [0, 1] and cross-entropy in nats."""
        return {
            "accuracy": (output.argmax(dim=1) == targets).sum().item() / len(targets),
            "loss": self.loss(output, targets).item(),
        }
