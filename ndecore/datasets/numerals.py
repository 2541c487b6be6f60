"""Numbers and times as files spell them."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np

from ndecore.datasets.series import Array
from ndecore.errors import InputError

_MISSING = frozenset({"", "?", "nan", "na", "null"})  # in any case


def number(text: str) -> float:
    """A finite number, or NaN for a missing one: nothing, ?, NaN, NA, null. Raise `InputError` at anything else."""
    try:
        value = float(text)
    except ValueError:
        if text.strip().lower() not in _MISSING:
            raise InputError(f"got {_short(text)}, allowed: a number, or ? or NaN for a missing one") from None
        return math.nan
    if math.isinf(value):
        raise InputError(f"got {_short(text)}, allowed: a finite number, or ? or NaN for a missing one")
    return value


def numbers(texts: Sequence[str]) -> Array:
    """The same of many."""
    try:
        found = np.array(list(map(float, texts)), dtype=np.float64)  # three times as fast, and nearly always enough
    except ValueError:
        return np.array([number(text) for text in texts], dtype=np.float64)
    if np.isinf(found).any():
        return np.array([number(text) for text in texts], dtype=np.float64)  # says which
    return found


def instants(texts: Sequence[str]) -> tuple[Array, bool]:
    """Times, and whether they were dates: numbers as they stand, or ISO 8601 dates in seconds since 1970.

    A date without a zone counts as UTC. Raise `InputError` if one is missing or neither, or both kinds are met.
    """
    try:
        found = numbers(texts)
        dated = False
    except InputError:
        found = np.array([_seconds(text) for text in texts], dtype=np.float64)
        dated = True
    if np.isnan(found).any():
        raise InputError("got a missing time, allowed: a number, or a date as 2024-05-01 12:30:00")
    return found, dated


def _seconds(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(
            f"got {_short(text)} as a time, allowed: numbers alone, or dates alone, as 2024-05-01 12:30:00"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _short(text: str) -> str:
    return repr(text if len(text) <= 30 else f"{text[:30]}...")
