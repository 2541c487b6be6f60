"""Times of a solve as plain numbers, whatever the caller has them in."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, SupportsFloat, TypeAlias

import numpy as np
import torch
from torch import Tensor

from ndecore.errors import InputError

Time: TypeAlias = SupportsFloat  # a number, of Python or of NumPy, or a tensor of one element; unit of time
_ROUNDINGS = 2  # by which a time may miss another that is meant to be the same


class Span(NamedTuple):
    """From where to where, and the output times in between, sorted from t0 to t1."""

    t0: float
    t1: float
    ts: tuple[float, ...]


def span_of(t0: Time, t1: Time, ts: Iterable[Time]) -> Span:
    """The times as numbers; raise `InputError` unless they are finite and in order.

    A float32 tensor does not hold 0.3: an output time that misses t0 or t1 by two roundings of the coarsest type among
    the times is taken to be that end.
    """
    outputs = ts if isinstance(ts, Tensor) else tuple(ts)
    start, end = _number("t0", t0), _number("t1", t1)
    if not (math.isfinite(start) and math.isfinite(end)):
        raise InputError(f"t0, t1: got {start!r}, {end!r}, allowed: finite numbers")
    if not len(outputs):
        return Span(start, end, ())
    rounding = _rounding(
        (t0, t1, outputs) if isinstance(outputs, Tensor) else (t0, t1, *outputs), max(start, end, key=abs)
    )
    numbers = outputs.tolist() if isinstance(outputs, Tensor) and outputs.dim() == 1 else _numbers(outputs)
    snapped = tuple(start if abs(t - start) <= rounding else end if abs(t - end) <= rounding else t for t in numbers)
    sign = 1 if end >= start else -1
    if not all(sign * (b - a) >= 0 for a, b in pairwise((start, *snapped, end))):
        raise InputError(f"ts: got {tuple(numbers)!r}, allowed: times sorted from t0 = {start!r} to t1 = {end!r}")
    return Span(start, end, snapped)


def inside(span: Span, name: str, times: Iterable[Time]) -> tuple[float, ...]:
    """The different times between the ends of a span, in its direction."""
    if isinstance(times, tuple) and not times:
        return ()
    sign = 1 if span.t1 >= span.t0 else -1
    numbers = {_number(name, t) for t in times}
    low, high = sorted((span.t0, span.t1))
    return tuple(sorted((t for t in numbers if low < t < high), key=lambda t: sign * t))


def index_of(t: Time, times: Sequence[float], size: float) -> int | None:
    """Where in `times` t stands, to the rounding of its type at times of some size; None if it does not."""
    number = _number("t", t)
    if not times:
        return None
    nearest = min(times, key=lambda time: abs(time - number))
    is_same = nearest == number or abs(nearest - number) <= _rounding((t,), size)
    return times.index(nearest) if is_same else None


def _rounding(times: Iterable[Any], size: float) -> float:
    return _ROUNDINGS * max(map(_epsilon, times)) * abs(size)


def _epsilon(time: Any) -> float:
    if isinstance(time, Tensor):
        return torch.finfo(time.dtype).eps if time.dtype.is_floating_point else 0.0
    return float(np.finfo(time.dtype).eps) if isinstance(time, np.floating) else torch.finfo(torch.float64).eps


def _numbers(ts: Iterable[Any]) -> list[float]:
    return [_number(f"ts[{i}]", t) for i, t in enumerate(ts)]


def _number(name: str, time: Any) -> float:
    if isinstance(time, Tensor) and time.numel() != 1:
        raise InputError(f"{name}: got a tensor of shape {tuple(time.shape)}, allowed: a number, or a tensor of one")
    try:
        return float(time.detach() if isinstance(time, Tensor) else time)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name}: got {time!r}, allowed: a real number") from None
