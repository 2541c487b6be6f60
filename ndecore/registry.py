"""Names to classes, one registry per family, without importing a class before it is used.

A registry is what makes `regularizer: error` in a file an object. Neither its names, nor what must be known of a member
(its facts, its keys), import torch: a spec is checked in well under a second.
"""

from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from ndecore.errors import InputError
from ndecore.facts import facts_of
from ndecore.keys import Key, keys_of
from ndecore.member_files import described, file_member, load_member

Facts = TypeVar("Facts")


class Registry(Mapping[str, type], Generic[Facts]):
    """A family of classes under the names that specs, configs and the command line use.

    A name is one of the package's own, one that an installed package adds by an entry point, or a file of the user's:
    `my_solver.py`, or `my_solver.py:MySolver`.

    Args:
        family: what the members are, in the singular, for messages ("solver").
        targets: name -> "module:Class", the package's own.
        facts: a dataclass; its fields name the class attributes that others must know.
        base: "module:Class" from which a member in a file is derived.
        group: entry point group under which other packages add members; none if empty.
    """

    def __init__(self, family: str, targets: Mapping[str, str], facts: type[Facts], base: str, group: str = "") -> None:
        self.family = family
        self._own, self._facts, self._base, self._group = targets, facts, base, group

    @cached_property
    def _added(self) -> Mapping[str, EntryPoint]:
        points = _entry_points().select(group=self._group) if self._group else ()
        return {point.name: point for point in points if point.name not in self._own}

    @property
    def own(self) -> Mapping[str, str]:
        """The package's own members: name -> "module:Class"."""
        return self._own

    def __getitem__(self, name: str) -> type:
        """Return the class called `name`; raise `InputError` naming what is allowed, or what keeps it from loading."""
        if name in self._own:
            return _imported(self._own[name])
        if name in self._added:
            return self._loaded(self._added[name])
        if member := file_member(name):
            return load_member(member, self.family, _imported(self._base))
        raise InputError(f"unknown {self.family}: got {name!r}, allowed: {', '.join(self)}")

    def __contains__(self, name: object) -> bool:
        """Whether it is a name, or a file that is there."""
        member = file_member(name)
        return name in self._own or name in self._added or (member is not None and member.path.is_file())

    def __iter__(self) -> Iterator[str]:
        return iter((*self._own, *self._added))

    def __len__(self) -> int:
        return len(self._own) + len(self._added)

    @property
    def allowed(self) -> str:
        """What may stand for a member, in words."""
        return f"{', '.join(self)}, or a file such as my_{self.family.replace(' ', '_')}.py"

    def facts(self, name: str) -> Facts:
        """What must be known of the member called `name`; raise `InputError` as look-up does.

        Those of our own members that are not imported are read off their source.
        """
        return facts_of(self._facts, self._owner(name))

    def keys_of(self, name: str) -> Mapping[str, Key]:
        """The keys of a config that the member called `name` takes; raise `InputError` as look-up does."""
        return keys_of(self._owner(name))

    def package_of(self, name: str) -> str:
        """The installed package that adds a member; empty for our own and those in files."""
        dist = self._added[name].dist if name in self._added else None
        return dist.name if dist else ""

    def _owner(self, name: str) -> type | str:
        return self._own.get(name) or self[name]

    def _loaded(self, point: EntryPoint) -> type:
        try:
            found: type = point.load()
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist else "an installed package"
            raise InputError(
                f"{self.family}: got {point.name!r} of {package}, which cannot be loaded ({described(error)}), "
                f"allowed: {', '.join(self._own)}; repair or remove that package"
            ) from error
        return found


def _imported(target: str) -> type:
    module, _, attribute = target.partition(":")
    found: type = getattr(import_module(module), attribute)
    return found


@cache
def _entry_points() -> Any:
    return entry_points()
