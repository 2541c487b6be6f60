"""Names to classes, one registry per family, without importing a class before it is used.

A registry is what makes `regularizer: error` in a file an object. Listing its names must not import torch (a spec is
checked in well under a second), so a registry holds "module:Class" texts and imports on look-up.
"""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points

from ndecore.errors import InputError


class Registry(Mapping[str, type]):
    """A family of classes under the names that specs, configs and the command line use.

    Args:
        family: what the members are, in the singular, for messages ("solver").
        targets: name -> "module:Class".
        group: entry point group under which other packages add members; none if None.
    """

    def __init__(self, family: str, targets: dict[str, str], group: str | None = None) -> None:
        self.family = family
        self._own = targets
        self._group = group

    @cached_property
    def _targets(self) -> dict[str, str]:
        added = {point.name: point.value for point in entry_points(group=self._group)} if self._group else {}
        return added | self._own

    @property
    def own(self) -> Collection[str]:
        """The names that no other package has added."""
        return self._own.keys()

    def __getitem__(self, name: str) -> type:
        """Return the class called `name`; raise `InputError` naming what is allowed."""
        if name not in self._targets:
            raise InputError(f"unknown {self.family}: got {name!r}, allowed: {', '.join(self)}")
        module, _, attribute = self._targets[name].partition(":")
        found: type = getattr(import_module(module), attribute)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)
