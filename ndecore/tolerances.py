"""Tolerances by part or by element, and norms other than one root mean square over everything."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ndecore.errors import InputError
from ndecore.norms import Norm, rms_norm
from ndecore.states import Structure, tensors_of
from ndecore.types import State

# A number; or a tensor that broadcasts to the state; or, for a state that is a structure, one with such in its place.
Tolerance: TypeAlias = Any
# "rms", one root mean square over the whole state; "parts", the largest of those of a structure's tensors; or a
# function from what is built like the state to a 0-d tensor, 1 where each element is 1.
NormChoice: TypeAlias = str | Callable[[Any], Tensor]
NORMS = ("rms", "parts")


def tolerance(name: str, given: Tolerance) -> Tolerance:
    """What was given with its numbers as floats; raise `InputError` unless all are finite and >= 0."""
    if isinstance(given, Mapping):
        return {key: tolerance(f"{name}[{key!r}]", part) for key, part in given.items()}
    if isinstance(given, tuple | list):
        return tuple(tolerance(f"{name}[{i}]", part) for i, part in enumerate(given))
    if isinstance(given, Tensor) and given.numel() != 1:
        if not bool((given.isfinite() & (given >= 0)).all()):
            raise InputError(f"{name}: got a tensor with other numbers, allowed: finite ones >= 0")
        return given.detach()
    try:
        value = float(given)
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name}: got {given!r}, allowed: a finite number >= 0")
    return value


def on_state(name: str, given: Tolerance, state: State, structure: Structure | None) -> float | Tensor:
    """The tolerance of each element of the state; a number stays one."""
    if isinstance(given, float):
        return given
    if structure is None:
        return _spread_over(name, torch.tensor(given) if isinstance(given, tuple) else given, state)
    parts = zip(_by_part(name, given, structure.example), structure.shapes, structure.are_complex, strict=True)
    spread = [part.real.unsqueeze(-1).expand(shape) if is_complex else part for part, shape, is_complex in parts]
    return torch.cat([part.reshape(-1) for part in spread]).to(state)


def check_tolerances(rtol: float | Tensor, atol: float | Tensor) -> None:
    """Raise `InputError` where both are 0."""
    total = rtol + atol
    if not (bool((total > 0).all()) if isinstance(total, Tensor) else total > 0):
        raise InputError("rtol, atol: got 0 and 0 for an element, allowed: at least one of them > 0 everywhere")


def least(given: float | Tensor) -> float:
    """The smallest tolerance of all elements."""
    return float(given.min()) if isinstance(given, Tensor) else given


def same(left: Any, right: Any) -> bool:
    """Whether two settings are equal, tensors by their elements."""
    if isinstance(left, Tensor) or isinstance(right, Tensor):
        return isinstance(left, Tensor) and isinstance(right, Tensor) and torch.equal(left, right)
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(part, right[key]) for key, part in left.items())
    return bool(left == right)


def norm_of(choice: NormChoice, state: State, structure: Structure | None) -> Norm | None:
    """The norm of a scaled error as a function of the state's elements in order; None for one root mean square."""
    if choice == "rms" or (choice == "parts" and structure is None):
        return None
    if structure is None:
        assert callable(choice), "SolveSettings has checked it"
        return lambda error: choice(error.reshape(state.shape))
    if callable(choice):
        return lambda error: choice(structure.unflatten(error.reshape(-1)))
    sizes = [math.prod(shape) for shape in structure.shapes if math.prod(shape)]
    return lambda error: torch.stack([rms_norm(part) for part in error.reshape(-1).split(sizes)]).max()


def _spread_over(name: str, given: Any, like: Tensor) -> Tensor:
    try:
        return torch.broadcast_to(torch.as_tensor(given, dtype=like.dtype, device=like.device), like.shape)
    except (RuntimeError, TypeError):
        got = tuple(given.shape) if isinstance(given, Tensor) else given
        raise InputError(
            f"{name}: got {got} for a part of shape {tuple(like.shape)}, allowed: a number, or what broadcasts to it"
        ) from None


def _by_part(name: str, given: Any, example: Any) -> Iterator[Tensor]:
    """The tolerance of each tensor of the state in order; a number counts for all that it stands for."""
    if isinstance(given, float):
        yield from (torch.full_like(part, given) for part in tensors_of(example))
    elif isinstance(example, Tensor):
        yield _spread_over(name, given, example)
    elif isinstance(example, Mapping) and isinstance(given, Mapping) and given.keys() == example.keys():
        for key, part in example.items():
            yield from _by_part(f"{name}[{key!r}]", given[key], part)
    elif isinstance(example, tuple | list) and isinstance(given, tuple) and len(given) == len(example):
        for i, part in enumerate(example):
            yield from _by_part(f"{name}[{i}]", given[i], part)
    else:
        raise InputError(f"{name}: got {given!r}, allowed: a number, or what is built like y0, of numbers and tensors")
