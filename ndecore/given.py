"""Arguments as people give them: a member of a family by its name, a number of any type."""

from collections.abc import Sequence
from operator import index
from typing import Any

from ndecore.errors import InputError
from ndecore.registry import Registry


def member(name: str, given: Any, families: Sequence[Registry]) -> Any:
    """What was given, or, for a name, the member of a family that goes by it, as it is without arguments.

    Raises:
        InputError: no member has the name, or it takes arguments.
    """
    if not isinstance(given, str):
        return given
    kind = next((family for family in families if given in family), families[0])[given]
    try:
        return kind()
    except TypeError:
        raise InputError(f"{name}: got {given!r}, which takes arguments, allowed: a {kind.__name__}(...)") from None


def whole(name: str, given: Any) -> int:
    """A whole number of any type; raise `InputError` for another."""
    try:
        return index(given)
    except TypeError:
        raise InputError(f"{name}: got {given!r}, allowed: an integer") from None
