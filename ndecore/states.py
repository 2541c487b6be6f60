"""States that are tuples, lists or dicts of tensors, or complex: one real vector inside, the caller's form outside."""

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
    """How a state is built, and the shapes of its tensors in order; of complex ones with a last axis of two parts."""

    example: StateTree
    shapes: tuple[tuple[int, ...], ...]
    are_complex: tuple[bool, ...]
    dtype: torch.dtype  # of the vector, real
    device: torch.device

    def flatten(self, tree: StateTree, name: str = "state", dtype: torch.dtype | None = None) -> State:
        """The tensors one after the other: a vector [n]; raise `InputError` if `tree` is not built like the state.

        `dtype` is that of the vector unless given: a local penalty evaluates a field of float32 in float64.
        """
        leaves, real, parts = list(_leaves(self.example, tree, name)), dtype or self.dtype, []
        for (path, tensor), shape, is_complex in zip(leaves, self.shapes, self.are_complex, strict=True):
            wanted, own = (real.to_complex(), shape[:-1]) if is_complex else (real, shape)
            if (tuple(tensor.shape), tensor.dtype, tensor.device) != (own, wanted, self.device):
                raise InputError(
                    f"{path}: got {tuple(tensor.shape)} of {tensor.dtype} on {tensor.device}, allowed: {own} of "
                    f"{wanted} on {self.device}, as in the initial state"
                )
            parts.append((torch.stack([tensor.real, tensor.imag], -1) if is_complex else tensor).reshape(-1))
        return torch.cat(parts)

    def unflatten(self, vector: Tensor) -> StateTree:
        """The state whose vector is the last axis of `vector` [..., n]; the axes before come first in each tensor."""
        starts = accumulate(map(prod, self.shapes), initial=0)
        # One slice each: views that come of one `split` cannot be changed in place.
        pieces = (vector[..., start : start + prod(shape)] for start, shape in zip(starts, self.shapes, strict=False))
        shaped = (piece.reshape((*vector.shape[:-1], *shape)) for piece, shape in zip(pieces, self.shapes, strict=True))
        made = (
            torch.complex(*part.unbind(-1)) if is_complex else part
            for part, is_complex in zip(shaped, self.are_complex, strict=True)
        )
        return _build(self.example, made)

    def flat(self, vector_field: Callable[[Tensor, Any], Any]) -> VectorField:
        """The same vector field on vectors."""
        name = "vector field returned a state whose part"
        return lambda t, y: self.flatten(vector_field(t, self.unflatten(y)), name, y.dtype)


def structure_of(tree: StateTree) -> Structure | None:
    """How `tree` is built, or None if it is a real tensor by itself.

    Raises:
        InputError: it holds anything but tensors, none at all, or tensors of different precision or devices.
    """
    if isinstance(tree, Tensor) and not tree.is_complex():
        return None
    leaves = list(_leaves(tree, tree, "y0"))
    if not leaves:
        raise InputError(f"y0: got {tree!r}, allowed: a tensor, or tuples, lists and dicts with at least one")
    first = leaves[0].tensor
    example = _build(tree, (leaf.tensor.detach() for leaf in leaves))  # the caller may change its own lists and dicts
    are_complex = tuple(leaf.tensor.is_complex() for leaf in leaves)
    shapes = tuple(
        (*leaf.tensor.shape, 2) if is_complex else tuple(leaf.tensor.shape)
        for leaf, is_complex in zip(leaves, are_complex, strict=True)
    )
    structure = Structure(example, shapes, are_complex, first.dtype.to_real(), first.device)
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
