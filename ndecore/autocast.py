"""A solve inside `torch.autocast`: the vector field runs in it, the solver's own algebra does not."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Wrapper = Callable[[Callable[[Tensor, Any], Any]], Callable[[Tensor, Any], Any]]  # of a vector field


@contextmanager
def outside_autocast(device: torch.device, caches_casts: bool = False) -> Iterator[Wrapper]:
    """Leave autocast, and yield what puts a vector field back into it, with its results in the state's dtype.

    Steps are sums of small differences: in bfloat16 they would keep two digits, and the tolerance would be met by none.

    Args:
        device: of the state.
        caches_casts: whether casts of parameters may be kept from one evaluation to the next, as autocast does. One
            that was made without gradients would serve later with them, so this is for a tape alone.
    """
    kind = device.type
    if not torch.is_autocast_enabled(kind):
        yield as_it_is
        return
    dtype, cache = torch.get_autocast_dtype(kind), caches_casts and torch.is_autocast_cache_enabled()

    def wrapped(field: Callable[[Tensor, Any], Any]) -> Callable[[Tensor, Any], Any]:
        def inside(t: Tensor, y: Any) -> Any:
            with torch.autocast(kind, dtype=dtype, cache_enabled=cache):
                return _cast(field(t, y), t.dtype)

        return inside

    with torch.autocast(kind, enabled=False):
        yield wrapped


def as_it_is(field: Callable[[Tensor, Any], Any]) -> Callable[[Tensor, Any], Any]:
    """The wrapper where there is no autocast."""
    return field


def _cast(found: Any, dtype: torch.dtype) -> Any:
    """The tensors of what a field returned, in the dtype."""
    if isinstance(found, Tensor):
        return found.to(dtype)
    if isinstance(found, Mapping):
        return {key: _cast(part, dtype) for key, part in found.items()}
    if isinstance(found, tuple | list):
        parts = [_cast(part, dtype) for part in found]
        return parts if isinstance(found, list) else tuple(parts)
    return found
