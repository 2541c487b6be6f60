"""Frozen data classes as JSON and back: the one codec for all that crosses a process, a file or a tracking server.

What is read is checked: a field that is missing or of another type is named. Fields that are not known, of a later
version say, are passed over.
"""

import types
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from ndecore.errors import NDEError

T = TypeVar("T")
_Decoder = Callable[[Any], Any]
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class Unreadable(NDEError):
    """Data that does not have the form of what it should be; the message names the field."""


def encode(value: Any) -> Any:
    """A value as plain JSON types: data classes as mappings of their fields, enums by their values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: encode(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: encode(each) for key, each in value.items()}
    return list(map(encode, value)) if isinstance(value, list | tuple) else value


def decode(kind: type[T], data: Any) -> T:
    """The inverse of `encode` for a value of type `kind`.

    Raises:
        Unreadable: a field is missing, or what it holds is of another type.
    """
    found: T = _decoder(cast(Hashable, kind))(data)
    return found


@cache
def _decoder(kind: Hashable) -> _Decoder:
    """Made once for each type: a log of a hundred thousand lines is read by them."""
    if kind is Any:
        return lambda data: data
    if kind in _WORDS:
        return _plain(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if is_dataclass(kind):
        return _record(kind)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        (wanted,) = (each for each in inner if each is not type(None))
        own = _decoder(wanted)
        return lambda data: None if data is None else own(data)
    if origin is tuple:
        return _sequence(_decoder(inner[0]))
    assert origin is Mapping, f"no codec of {kind}"
    return _mapping(_decoder(inner[1]))


def _plain(kind: type) -> _Decoder:
    def read(data: Any) -> Any:
        is_number = kind is float and isinstance(data, int | float) and not isinstance(data, bool)
        if not is_number and type(data) is not kind:
            raise Unreadable(f"got {data!r:.80}, allowed: {_WORDS[kind]}")
        return float(data) if is_number else data

    return read


def _enum(kind: type[Enum]) -> _Decoder:
    members = {each.value: each for each in kind}

    def read(data: Any) -> Enum:
        if not isinstance(data, str | int) or data not in members:
            raise Unreadable(f"got {data!r:.80}, allowed: {', '.join(map(repr, members))}")
        return members[data]

    return read


def _sequence(own: _Decoder) -> _Decoder:
    def read(data: Any) -> tuple[Any, ...]:
        if not isinstance(data, list | tuple):
            raise Unreadable(f"got {data!r:.80}, allowed: a list")
        return tuple(map(own, data))

    return read


def _mapping(own: _Decoder) -> _Decoder:
    def read(data: Any) -> dict[str, Any]:
        if not isinstance(data, Mapping):
            raise Unreadable(f"got {data!r:.80}, allowed: a mapping")
        return {key: own(value) for key, value in data.items()}

    return read


def _record(kind: Any) -> _Decoder:
    hints = get_type_hints(kind)
    readers = {each.name: _decoder(hints[each.name]) for each in fields(kind)}
    needed = [each.name for each in fields(kind) if _is_needed(each)]

    def read(data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise Unreadable(f"got {data!r:.80}, allowed: a mapping with {', '.join(readers)}")
        for name in needed:
            if name not in data:
                raise Unreadable(f"{name}: is missing")
        given = {}
        for name, reader in readers.items():
            if name in data:
                try:
                    given[name] = reader(data[name])
                except Unreadable as error:
                    raise Unreadable(f"{name}: {error}") from None
        return kind(**given)

    return read


def _is_needed(each: "Field[Any]") -> bool:
    return each.default is MISSING and each.default_factory is MISSING
