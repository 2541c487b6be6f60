"""States that are tuples, lists or dicts of tensors: one vector inside the solver, the caller's structure outside."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.types import State, StateTree, VectorField


class _Leaf(NamedTuple):
    """A tensor of a state, and where it stands there."""

    path: str
    tensor: Tensor


@dataclass(frozen=True)
class Structure:
    """How a state is built, and the shapes of its tensors in order."""

    example: StateTree
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype
    device: torch.device

    def flatten(self, tree: StateTree, name: str = "state", dtype: torch.dtype | None = None) -> State:
        """The tensors one after the other: a vector [n]; raise `InputError` if `tree` is not built like the state.

        `dtype` is that of the state unless given: a local penalty evaluates a field of float32 in float64.
        """
        leaves, wanted = list(_leaves(self.example, tree, name)), dtype or self.dtype
        for (path, tensor), shape in zip(leaves, self.shapes, strict=True):
            if (tuple(tensor.shape), tensor.dtype, tensor.device) != (shape, wanted, self.device):
                raise InputError(
                    f"{path}: got {tuple(tensor.shape)} of {tensor.dtype} on {tensor.device}, allowed: {shape} of "
                    f"{wanted} on {self.device}, as in the initial state"
                )
        return torch.cat([tensor.reshape(-1) for _, tensor in leaves])

    def unflatten(self, vector: Tensor) -> StateTree:
        """The state whose vector is the last axis of `vector` [..., n]; the axes before come first in each tensor."""
        sizes = [prod(shape) for shape in self.shapes]
        starts = accumulate(sizes, initial=0)
        # One slice each: views that come of one `split` cannot be changed in place.
        pieces = (vector[..., start : start + size] for start, size in zip(starts, sizes, strict=False))
        shaped = (piece.reshape((*vector.shape[:-1], *shape)) for piece, shape in zip(pieces, self.shapes, strict=True))
        return _build(self.example, shaped)

    def flat(self, vector_field: Callable[[Tensor, Any], Any]) -> VectorField:
        """The same vector field on vectors."""
        name = "vector field returned a state whose part"
        return lambda t, y: self.flatten(vector_field(t, self.unflatten(y)), name, y.dtype)


def structure_of(tree: StateTree) -> Structure | None:
    """How `tree` is built, or None if it is a tensor by itself.

    Raises:
        InputError: it holds anything but tensors, none at all, or tensors of different dtypes or devices.
    """
    if isinstance(tree, Tensor):
        return None
    leaves = list(_leaves(tree, tree, "y0"))
    if not leaves:
        raise InputError(f"y0: got {tree!r}, allowed: a tensor, or tuples, lists and dicts with at least one")
    first = leaves[0].tensor
    example = _build(tree, (leaf.tensor.detach() for leaf in leaves))  # the caller may change its own lists and dicts
    structure = Structure(example, tuple(tuple(leaf.tensor.shape) for leaf in leaves), first.dtype, first.device)
    structure.flatten(tree, "y0")
    return structure


def tensors_of(tree: StateTree) -> list[Tensor]:
    """The tensors of a state, in order."""
    return [leaf.tensor for leaf in _leaves(tree, tree, "state")]


def map_tensors(function: Callable[[Tensor], Tensor], tree: StateTree) -> StateTree:
    """A state built like `tree` of `function` of its tensors."""
    return _build(tree, map(function, tensors_of(tree)))


def _leaves(example: Any, tree: Any, path: str) -> Iterator[_Leaf]:
    """The tensors of `tree` in the order of `example`; raise `InputError` where it is built otherwise."""
    if isinstance(example, Tensor):
        if not isinstance(tree, Tensor):
            raise InputError(f"{path}: got {type(tree).__name__}, allowed: a tensor")
        yield _Leaf(path, tree)
    elif isinstance(example, Mapping):
        if not isinstance(tree, Mapping) or set(tree) != set(example):
            got = sorted(map(str, tree)) if isinstance(tree, Mapping) else type(tree).__name__
            raise InputError(f"{path}: got {got}, allowed: a dict with the keys {sorted(map(str, example))}")
        for key, part in example.items():
            yield from _leaves(part, tree[key], f"{path}[{key!r}]")
    elif isinstance(example, tuple | list):
        if not isinstance(tree, tuple | list) or len(tree) != len(example):
            got = f"{len(tree)} parts" if isinstance(tree, tuple | list) else type(tree).__name__
            raise InputError(f"{path}: got {got}, allowed: a {type(example).__name__} of {len(example)} parts")
        for i, (part, own) in enumerate(zip(example, tree, strict=True)):
            yield from _leaves(part, own, f"{path}[{i}]")
    else:
        raise InputError(f"{path}: got {type(example).__name__}, allowed: tensors, or tuples, lists and dicts of them")


def _build(example: Any, tensors: Iterator[Tensor]) -> Any:
    if isinstance(example, Tensor):
        return next(tensors)
    if isinstance(example, Mapping):
        return {key: _build(part, tensors) for key, part in example.items()}
    parts = [_build(part, tensors) for part in example]
    if isinstance(example, list):
        return parts
    return type(example)(*parts) if hasattr(example, "_fields") else tuple(parts)  # a named tuple takes its fields
