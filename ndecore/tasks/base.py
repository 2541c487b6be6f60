"""The contract of a task: data, model, loss, metrics and defaults."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from ndecore.datasets.base import Batch, Part, Splits
from ndecore.datasets.source import Source, source
from ndecore.errors import InputError
from ndecore.hyperparameters import Hyperparameters
from ndecore.metrics import ACCURACY, CROSS_ENTROPY, Metric
from ndecore.regularizers.schedules import Moment
from ndecore.seeding import seeded
from ndecore.tasks.metering import Collected, Meter, Output
from ndecore.types import Logits, Scalar

__all__ = ["Classification", "Hyperparameters", "Task"]


class Task(ABC):
    """A problem to train on; the annotated fields of one that is a dataclass are keys of a config.

    Where the model solves several equations in a forward pass, each is counted, penalized and measured: NFE of a batch
    is the sum over its solves.
    """

    metrics: ClassVar[tuple[Metric, ...]]  # what `scores` or `meter` gives, in the same order
    defaults: ClassVar[Hyperparameters]
    inputs: ClassVar[tuple[str, ...]] = ("inputs",)  # of a batch, what the model is called with
    calculus: ClassVar[Literal["ito"] | None] = None  # of the stochastic equations of its model; None: ordinary ones
    tolerance: ClassVar[float] = 1e-6  # rtol and atol of a config that is silent
    n_paths: ClassVar[int] = 1  # random paths that the model averages over at prediction; counts are of one of them
    n_workers: ClassVar[int] = 0  # processes that read a `Dataset`; 0: the training's own

    @abstractmethod
    def splits(self) -> Splits:
        """The data, always in the same three parts; each a dict of tensors, or a `torch.utils.data.Dataset`."""

    @abstractmethod
    def model(self, generator: torch.Generator) -> nn.Module:
        """A fresh model, its parameters drawn from `generator`, or from torch's global stream, which is seeded."""

    @abstractmethod
    def loss(self, output: Any, batch: Batch, moment: Moment) -> Tensor | Mapping[str, Tensor]:
        """What training minimizes, before the penalty: a mean over the batch; or named parts, which are summed.

        Args:
            output: of the model, whole.
            batch: whole, on the device.
            moment: when in the training; for a weight that grows, say.
        """

    def scores(self, output: Any, batch: Batch) -> Mapping[str, float]:
        """The task's metrics over a whole split, by `Metric.name`; not called where `meter` gives another one."""
        raise NotImplementedError(f"{type(self).__name__} has neither `scores` nor a `meter` of its own")

    def meter(self) -> Meter:
        """A fresh meter of the metrics; by default it keeps the outputs of the split and asks `scores` once."""
        return Collected(self.scores)

    def forward(self, model: nn.Module, batch: Batch) -> Output:
        """What the model puts out for a batch; a tensor, or tuples, lists and dicts of such.

        Raises:
            InputError: the batch lacks one of `inputs`.
        """
        missing = [name for name in self.inputs if name not in batch]
        if missing:
            raise InputError(f"inputs: got {', '.join(missing)}, allowed: the names of a batch: {', '.join(batch)}")
        return model(*(batch[name] for name in self.inputs))

    def collate(self, examples: Sequence[Any]) -> Mapping[str, Tensor]:
        """One batch of examples of a `Dataset`; by default tensors of one shape are stacked."""
        batch: Mapping[str, Tensor] = default_collate(list(examples))
        return batch

    def source(self, part: Part, device: str = "cpu") -> Source:
        """The batches of one part of the data."""
        return source(part, device, self.collate, self.n_workers)


class Classification(Task, ABC):
    """A task whose model gives the logits of classes, and whose batches have them as `targets`."""

    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY, CROSS_ENTROPY)

    def loss(self, output: Logits, batch: Batch, moment: Moment) -> Scalar:
        """Cross-entropy, nats."""
        return nn.functional.cross_entropy(output, batch["targets"])

    def scores(self, output: Logits, batch: Batch) -> Mapping[str, float]:
        """Accuracy in [0, 1] and cross-entropy in nats."""
        targets = batch["targets"]
        return {
            "accuracy": (output.argmax(dim=1) == targets).sum().item() / len(targets),
            "loss": nn.functional.cross_entropy(output, targets).item(),
        }


def fresh_model(task: Task, seed: int) -> nn.Module:
    """The task's model with the parameters of a seed; the global random state is as it was afterwards."""
    with seeded(seed):
        return task.model(torch.Generator().manual_seed(seed))
