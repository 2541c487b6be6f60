"""Batches of a data set on the device, whether it lies in memory or comes example by example."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ndecore.datasets.base import Batch, Part
from ndecore.errors import InputError

Collate: TypeAlias = Callable[[Sequence[Any]], Mapping[str, Tensor]]


class Source(ABC):
    """Examples, and the batches of them on a device."""

    @abstractmethod
    def __len__(self) -> int:
        """Examples."""

    @abstractmethod
    def taken(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """Batches of the examples whose numbers [examples] each part has."""

    def shuffled(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Batches of all examples in an order drawn from `generator`.

        The incomplete last batch is dropped, as in both papers: NFE belongs to a batch size.
        """
        size, n = min(size, len(self)), len(self)
        order = torch.randperm(n, generator=generator)
        return self.taken(order[: n - n % size].split(size))

    def in_order(self, size: int) -> Iterator[Batch]:
        """Batches of all examples as they lie; the last may be smaller."""
        return self.taken(torch.arange(len(self)).split(size))

    def n_batches(self, size: int) -> int:
        """How many batches `shuffled` gives."""
        return len(self) // min(size, len(self))


class InMemory(Source):
    """Tensors that lie on the device as a whole."""

    def __init__(self, tensors: Mapping[str, Tensor], device: str) -> None:
        self._tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        self._device = device

    def __len__(self) -> int:
        return len(next(iter(self._tensors.values())))

    def taken(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """See `Source.taken`."""
        for part in parts:
            chosen = part.to(self._device)
            yield {name: tensor[chosen] for name, tensor in self._tensors.items()}

    def in_order(self, size: int) -> Iterator[Batch]:
        """See `Source.in_order`; views, without a copy."""
        for at in range(0, len(self), size):
            yield {name: tensor[at : at + size] for name, tensor in self._tensors.items()}


class Loaded(Source):
    """A map-style data set, read batch by batch: it need not fit on the device, nor in memory.

    Args:
        examples: of `len`, each a dict of tensors.
        device: to which each batch is moved.
        collate: a list of examples -> a batch.
        n_workers: processes that read; 0 for this one.
    """

    def __init__(self, examples: Dataset[Any], device: str, collate: Collate, n_workers: int) -> None:
        self._examples, self._device, self._collate, self._n_workers = examples, device, collate, n_workers

    def __len__(self) -> int:
        assert isinstance(self._examples, Sized), "checked when it was made"
        return len(self._examples)

    def taken(self, parts: Sequence[Tensor]) -> Iterator[Batch]:
        """See `Source.taken`."""
        on_gpu = torch.device(self._device).type == "cuda"
        loader = DataLoader(
            self._examples,
            batch_sampler=[part.tolist() for part in parts],
            collate_fn=self._collate,
            num_workers=self._n_workers,
            pin_memory=on_gpu,
            generator=torch.Generator(),  # it draws a seed for its workers: not from the global stream
        )
        for batch in loader:
            _check_batch(batch, "collate: got a batch")
            yield {name: tensor.to(self._device, non_blocking=on_gpu) for name, tensor in batch.items()}


def source(part: Part | object, device: str, collate: Collate, n_workers: int) -> Source:
    """The batches of one part of the data.

    Raises:
        InputError: it is neither a dict of tensors of equal length nor a data set with a length, or it is empty.
    """
    made: Source
    if isinstance(part, Mapping):
        _check_batch(part, "splits: got a part")
        made = InMemory(part, device)
    elif isinstance(part, Dataset) and isinstance(part, Sized):
        made = Loaded(part, device, collate, n_workers)
    else:
        raise InputError(
            f"splits: got a part of {type(part).__name__}, allowed: a dict of tensors, or a torch.utils.data.Dataset "
            "with __len__ and __getitem__"
        )
    if not len(made):
        raise InputError("splits: got a part of no examples, allowed: at least one in each")
    return made


def _check_batch(batch: object, what: str) -> None:
    """Raise `InputError` unless it is a dict of tensors with one length."""
    if not isinstance(batch, Mapping) or not batch:
        raise InputError(f"{what} of {type(batch).__name__}, allowed: a dict of at least one name to a tensor")
    for name, tensor in batch.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor) or not tensor.ndim:
            got = f"{type(tensor).__name__} as {name!r}"
            raise InputError(f"{what} with {got}, allowed: tensors whose first axis is that of the examples")
    lengths = {name: len(tensor) for name, tensor in batch.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {n}" for name, n in lengths.items())
        raise InputError(f"{what} of unequal lengths ({told}), allowed: the same number of examples in each tensor")
