"""A search space: which keys a config has, what each may be, and under which choices of others it is there at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from search_spaces.domains import Domain, Fixed, Value, same, text


@dataclass(frozen=True)
class Condition:
    """Holds where `parent` is in the config with one of the values in `allowed`."""

    parent: str
    allowed: tuple[Value, ...]

    def holds(self, config: Mapping[str, Value]) -> bool:
        """Whether `config` has the parent at an allowed value."""
        return self.parent in config and any(same(config[self.parent], value) for value in self.allowed)

    def describe(self) -> str:
        """Return the condition as one short text, the same whatever order its values were written in."""
        return f"{self.parent}={','.join(sorted(map(text, self.allowed)))}"


@dataclass(frozen=True)
class Dimension:
    """A key and what it may be where its conditions hold.

    Args:
        key: of the config.
        domain: what the key may be.
        when: all must hold; a key whose parent is absent is absent too.
        name: unique in its space, and kept by every edit of the file that does not touch this key's conditions:
            search libraries know the dimension by it. The key itself if the key has no other dimension, else
            the key and its conditions.
    """

    key: str
    domain: Domain
    when: tuple[Condition, ...]
    name: str

    @property
    def only(self) -> Value | None:
        """The value, if there is no other to choose."""
        options = self.domain.options
        return options[0] if options and len(options) == 1 else None

    def is_active(self, config: Mapping[str, Value]) -> bool:
        """Whether a config with these values of the parents has this key."""
        return all(condition.holds(config) for condition in self.when)


@dataclass(frozen=True)
class Mismatch:
    """What a config has at `key` and what a space allows there, both as text."""

    key: str
    got: str
    allowed: str


@dataclass(frozen=True)
class Space:
    """Dimensions, every parent before those that depend on it, of which at most one of a key is active in any config.

    `search_spaces.parse.read_space` builds spaces and checks that this holds.
    """

    dimensions: tuple[Dimension, ...]

    @property
    def keys(self) -> frozenset[str]:
        """Every key that a config of this space may have."""
        return frozenset(dimension.key for dimension in self.dimensions)

    def resolve(self, suggest: Callable[[Dimension], Value]) -> dict[str, Value]:
        """Return the flat config in which `suggest` chose every active key that leaves something to choose."""
        config: dict[str, Value] = {}
        for dimension in self.dimensions:
            if dimension.is_active(config):
                only = dimension.only
                config[dimension.key] = suggest(dimension) if only is None else only
        return config

    def settle(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values given that are active, and those of keys that have no choice; domains are not checked."""
        config: dict[str, Value] = {}
        for dimension in self.dimensions:
            value = given.get(dimension.key, dimension.only)
            if value is not None and dimension.is_active(config):
                config[dimension.key] = value
        return config

    def problems(self, config: Mapping[str, Value]) -> tuple[Mismatch, ...]:
        """Return what keeps a config from being one of this space: keys missing, outside their domain, or inactive.

        A key that has no choice may be missing. Keys that the space does not know are not its business. Inactive keys
        are only looked for where all else is right, since a wrong parent makes its children inactive.
        """
        settled = self.settle(config)
        active = {dimension.key: dimension for dimension in self.dimensions if dimension.is_active(settled)}
        wrong = tuple(
            Mismatch(key, text(settled[key]) if key in settled else "nothing", dimension.domain.describe())
            for key, dimension in active.items()
            if key not in settled or not dimension.domain.contains(settled[key])
        )
        idle = tuple(key for key in config if key in self.keys and key not in active)
        return wrong or tuple(Mismatch(key, text(config[key]), f"no value unless {self._needs(key)}") for key in idle)

    def contains(self, config: Mapping[str, Value]) -> bool:
        """Whether nothing keeps `config` from being one of this space."""
        return not self.problems(config)

    def fix(self, values: Mapping[str, Value]) -> "Space":
        """Return the space in which these keys have these values, whatever their domains were.

        A key keeps its conditions, so that a fixed `weight` gives no weight to `regularizer: none`; one that the space
        does not have is added, without conditions. A dimension whose condition can no longer hold stays, never active.
        """
        fixed = tuple(
            replace(dimension, domain=Fixed(values[dimension.key])) if dimension.key in values else dimension
            for dimension in self.dimensions
        )
        new = tuple(Dimension(key, Fixed(values[key]), (), key) for key in values if key not in self.keys)
        return Space(fixed + new)

    def _needs(self, key: str) -> str:
        variants = (dimension.when for dimension in self.dimensions if dimension.key == key)
        return " or ".join(" and ".join(condition.describe() for condition in when) for when in variants)
