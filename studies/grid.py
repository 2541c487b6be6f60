"""Every config of a space, its ranges cut into a few points each: what the sampler `grid` goes through."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import cast

from search_spaces.domains import Domain, Float, Int, Value
from search_spaces.space import Dimension, Space

Values = Mapping[str, Value]  # by the names of dimensions


@lru_cache(maxsize=4)
def grid_values(space: Space, n_points: int, seed: int) -> Sequence[Values]:
    """The grid in the order of a study's trials."""
    found = list(_configs(space.dimensions, n_points, {}, {}))
    random.Random(seed).shuffle(found)
    return found


def grid_size(space: Space, n_points: int, limit: int) -> int:
    """How many configs the grid has; counting ends at `limit`."""
    return sum(1 for _ in zip(_configs(space.dimensions, n_points, {}, {}), range(limit), strict=False))


def _configs(left: Sequence[Dimension], n_points: int, config: Values, chosen: Values) -> Iterator[Values]:
    if not left:
        yield chosen
        return
    first, rest = left[0], left[1:]
    if not first.is_active(config):
        yield from _configs(rest, n_points, config, chosen)
        return
    for value in _points(first.domain, n_points):
        named = {} if first.only is not None else {first.name: value}
        yield from _configs(rest, n_points, {**config, first.key: value}, {**chosen, **named})


def _points(domain: Domain, n_points: int) -> Sequence[Value]:
    if isinstance(domain, Float | Int):
        return _spaced(domain, n_points)
    return cast(Sequence[Value], domain.options)


def _spaced(domain: Float | Int, n_points: int) -> Sequence[Value]:
    """Both ends and what lies evenly between, by the domain's own measure."""
    low, high = domain.low, domain.high
    shares = [i / (n_points - 1) for i in range(n_points)]
    values = [low * math.exp(x * math.log(high / low)) if domain.log else low + x * (high - low) for x in shares]
    inside = [min(max(value, low), high) for value in values]
    return tuple(dict.fromkeys(map(round, inside))) if isinstance(domain, Int) else inside
