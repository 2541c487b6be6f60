"""How much memory a computation takes, counted by the tensors that it makes."""

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

_MIB = 2**20


def peak_memory_mib(compute: Callable[[], object], device: str) -> float:
    """The most memory that tensors made by `compute` take at one time, MiB; what was there before does not count.

    On a GPU the allocator tells. On the host every new storage is counted and followed to its end, which slows a
    computation by several times: not for one that is timed.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        compute()
        return (torch.cuda.max_memory_allocated(device) - before) / _MIB
    with _LiveStorages() as live:
        compute()
    return live.peak / _MIB


class _LiveStorages(TorchDispatchMode):
    """Bytes of the storages that operations make, while they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._now = 0
        self._known: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if not any(each.alias_info for each in func._schema.returns):
            for each in tree_iter(found):
                if isinstance(each, Tensor):
                    self._follow(each.untyped_storage())
        return found

    def _follow(self, storage: torch.UntypedStorage) -> None:
        place, size = id(storage), storage.nbytes()
        if place in self._known:
            return
        # No function of its own for each storage: the tests check types of each function that is made, which takes ms.
        self._known[place] = weakref.ref(storage, partial(self._forget, place, size))
        self._now += size
        self.peak = max(self.peak, self._now)

    def _forget(self, place: int, size: int, _: object) -> None:
        self._now -= size
        del self._known[place]
