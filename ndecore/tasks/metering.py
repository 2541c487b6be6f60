"""Metrics over a whole split, from what a model puts out batch by batch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ndecore.datasets.base import Batch
from ndecore.states import map_tensors, tensors_of
from ndecore.types import StateTree

Output: TypeAlias = StateTree  # of a model: a tensor, or tuples, lists and dicts of such


class Meter(ABC):
    """Takes in a split batch by batch; one for each pass."""

    @abstractmethod
    def update(self, output: Output, batch: Batch) -> None:
        """Take in a batch and what the model put out for it."""

    @abstractmethod
    def compute(self) -> Mapping[str, float]:
        """The metrics of all that was taken in, by `Metric.name`."""


class Collected(Meter):
    """Keeps all outputs and batches, and scores them at once; examples lie along the first axis of every output."""

    def __init__(self, scores: Callable[[Any, Batch], Mapping[str, float]]) -> None:
        self._scores = scores
        self._outputs, self._batches = list[Output](), list[Batch]()

    def update(self, output: Output, batch: Batch) -> None:
        """See `Meter.update`."""
        self._outputs.append(output)
        self._batches.append(batch)

    def compute(self) -> Mapping[str, float]:
        """See `Meter.compute`."""
        batch = {name: torch.cat([each[name] for each in self._batches]) for name in self._batches[0]}
        return self._scores(joined(self._outputs), batch)


def joined(outputs: Sequence[Output]) -> Output:
    """Outputs of several batches as one, by tensor, along the first axis."""
    if len(outputs) == 1:
        return outputs[0]
    if isinstance(outputs[0], Tensor):
        return torch.cat(list(outputs))
    columns = zip(*map(tensors_of, outputs), strict=True)
    whole = iter([torch.cat(column) for column in columns])
    return map_tensors(lambda tensor: next(whole), outputs[0])
