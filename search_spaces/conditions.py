"""What conditions amount to: an order of the keys, and every way in which those that others depend on may turn out."""

import math
from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import combinations

from ndecore.errors import InputError
from search_spaces.domains import Value
from search_spaces.space import Dimension

MAX_OUTLINES = 20_000  # a second's work; far more than a space that a person can read


class CyclicConditions(InputError):
    """Keys that depend on each other; `cycle` has them in order, the first again at the end."""

    def __init__(self, cycle: Sequence[str]) -> None:
        self.cycle = tuple(cycle)
        super().__init__(self.cycle)


def ordered(dimensions: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Return the dimensions with parents before children, otherwise as they came; raise CyclicConditions."""
    depends: dict[str, dict[str, None]] = {}  # dicts as sets in the file's order, so that messages do not vary
    for dimension in dimensions:
        depends.setdefault(dimension.key, {}).update((condition.parent, None) for condition in dimension.when)
    try:
        TopologicalSorter(depends).prepare()
    except CycleError as error:
        raise CyclicConditions(error.args[1][::-1]) from error
    # Not the sorter's own order: it goes generation by generation and would move keys that depend on nothing.
    placed: list[str] = []
    while waiting := [key for key in depends if key not in placed]:
        placed.append(next(key for key in waiting if depends[key].keys().isdisjoint(waiting)))
    return tuple(sorted(dimensions, key=lambda dimension: placed.index(dimension.key)))


def parents(dimensions: Iterable[Dimension]) -> frozenset[str]:
    """Return the keys that conditions name."""
    return frozenset(condition.parent for dimension in dimensions for condition in dimension.when)


def count_bound(dimensions: Sequence[Dimension]) -> int:
    """Return a bound on the number of outlines, without making them."""
    named = parents(dimensions)
    return math.prod(len(d.domain.options or ()) + 1 for d in dimensions if d.key in named)


def outlines(dimensions: Sequence[Dimension], also: Iterable[str] = ()) -> list[dict[str, Value]]:
    """Return every joint assignment of the keys that conditions name (and those in `also`) that a config may have.

    Each decides which dimensions are active. The dimensions come in order, and these keys list their values.
    """
    named = parents(dimensions) | frozenset(also)
    found: list[dict[str, Value]] = [{}]
    for dimension in dimensions:
        if dimension.key in named:
            found = [longer for outline in found for longer in _extended(outline, dimension)]
    return found


def _extended(outline: dict[str, Value], dimension: Dimension) -> list[dict[str, Value]]:
    if dimension.key in outline or not dimension.is_active(outline):
        return [outline]
    return [outline | {dimension.key: value} for value in dimension.domain.options or ()]


def never_active(dimensions: Sequence[Dimension]) -> list[Dimension]:
    """Return the dimensions whose conditions hold in no outline."""
    ways = outlines(dimensions)
    return [dimension for dimension in dimensions if not any(map(dimension.is_active, ways))]


def conflicts(dimensions: Sequence[Dimension]) -> list[tuple[Dimension, Dimension, dict[str, Value]]]:
    """Return the pairs of dimensions of one key that are active together, each with an outline in which they are."""
    ways = outlines(dimensions)
    found = []
    for one, other in combinations(dimensions, 2):
        together = [way for way in ways if one.key == other.key and one.is_active(way) and other.is_active(way)]
        if together:
            found.append((one, other, together[0]))
    return found
