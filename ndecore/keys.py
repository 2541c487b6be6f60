"""Keys of a config, each declared by the dataclass field that it fills: type, bounds and sentence stand there alone.

    @dataclass(frozen=True)
    class Constant(Schedule):
        weight: Annotated[float, AtLeast(0), "The penalty's weight, dimensionless."]

        def __post_init__(self) -> None:
            check_fields(self)

A field without `Annotated` is no key. `int` stands for whole numbers, `float` for finite ones, `Literal` for its
values; `float | None` may be left open. Without torch.
"""

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, TypeAlias, Union, get_args, get_origin, runtime_checkable

from ndecore.declarations import Declaration, NotInSource, declared_by, declared_in_source
from ndecore.errors import InputError

Value: TypeAlias = bool | int | float | str  # of one key in a flat config


@runtime_checkable
class Constraint(Protocol):
    """What narrows the values of a type."""

    @property
    def words(self) -> str:
        """What is allowed, as it follows "a number "."""

    def allows(self, value: Any) -> bool:
        """Whether a value of the right type is allowed."""


@dataclass(frozen=True)
class Above:
    """Numbers larger than the bound."""

    bound: float

    @property
    def words(self) -> str:
        """The bound in words."""
        return f"> {self.bound}"

    def allows(self, value: float) -> bool:
        """Whether it is larger."""
        return value > self.bound


@dataclass(frozen=True)
class AtLeast:
    """Numbers not smaller than the bound."""

    bound: float

    @property
    def words(self) -> str:
        """The bound in words."""
        return f">= {self.bound}"

    def allows(self, value: float) -> bool:
        """Whether it is not smaller."""
        return value >= self.bound


@dataclass(frozen=True)
class Below:
    """Numbers smaller than the bound."""

    bound: float

    @property
    def words(self) -> str:
        """The bound in words."""
        return f"< {self.bound}"

    def allows(self, value: float) -> bool:
        """Whether it is smaller."""
        return value < self.bound


@dataclass(frozen=True)
class AtMost:
    """Numbers not larger than the bound."""

    bound: float

    @property
    def words(self) -> str:
        """The bound in words."""
        return f"<= {self.bound}"

    def allows(self, value: float) -> bool:
        """Whether it is not larger."""
        return value <= self.bound


class OneOf:
    """One of the values listed."""

    def __init__(self, *values: Value) -> None:
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OneOf) and self.values == other.values

    def __hash__(self) -> int:
        return hash(self.values)

    @property
    def words(self) -> str:
        """The values."""
        return ", ".join(map(str, self.values))

    def allows(self, value: Value) -> bool:
        """Whether it is listed."""
        return value in self.values


@dataclass(frozen=True)
class Named:
    """A name in a registry."""

    values: Collection[str]

    @property
    def words(self) -> str:
        """The names."""
        return ", ".join(self.values)

    def allows(self, value: str) -> bool:
        """Whether it is a name."""
        return value in self.values


@dataclass(frozen=True)
class Key:
    """One key of a config.

    Args:
        name: the key.
        type: of its value, one of bool, int, float, str; a float may be written as an integer.
        constraints: all must allow a value.
        doc: what it means, with its unit: one sentence.
        is_required: whether the class cannot do without.
        is_optional: whether None may stand in the field.
        default: what stands in the field otherwise.
    """

    name: str
    type: type
    constraints: tuple[Constraint, ...] = ()
    doc: str = ""
    is_required: bool = False
    is_optional: bool = False
    default: Value | None = None

    def check(self, value: object) -> Value | None:
        """Return the value as it is used, a float where a float is meant; None if it is not allowed."""
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.type is float and is_number:
            assert isinstance(value, int | float)
            if not abs(value) <= sys.float_info.max:  # an integer may be too large to become a float
                return None
            value = float(value)
        is_typed = isinstance(value, self.type) and (self.type is bool or not isinstance(value, bool))
        if not is_typed or not all(each.allows(value) for each in self.constraints):
            return None
        assert isinstance(value, bool | int | float | str)
        return value

    @property
    def allowed(self) -> str:
        """What `check` lets pass, in words."""
        if self._listed:
            return self._listed.words
        if self.type is bool or self.type is str:
            return "true or false" if self.type is bool else "a text"
        return _words(self.type, self.constraints)

    @property
    def names(self) -> Collection[str]:
        """What the value is chosen from, where it is a name."""
        listed = self._listed if self.type is str else None
        return listed.values if isinstance(listed, Named) else tuple(map(str, listed.values)) if listed else ()

    @property
    def options(self) -> tuple[Value, ...]:
        """Every value, where they are listed; else none."""
        return (False, True) if self.type is bool else tuple(self._listed.values) if self._listed else ()

    @property
    def _listed(self) -> "OneOf | Named | None":
        return next((each for each in self.constraints if isinstance(each, OneOf | Named)), None)


def _words(type_: type, constraints: Iterable[Constraint]) -> str:
    lower = next((each for each in constraints if isinstance(each, Above | AtLeast)), None)
    upper = next((each for each in constraints if isinstance(each, Below | AtMost)), None)
    others = [each.words for each in constraints if not isinstance(each, Above | AtLeast | Below | AtMost)]
    if type_ is int and isinstance(lower, AtLeast) and isinstance(upper, AtMost):
        text = f"a whole number from {lower.bound} to {upper.bound}"
    elif lower and upper:
        relation = "<" if isinstance(lower, Above) else "<="
        text = f"a {'whole ' * (type_ is int)}number {lower.bound:g} {relation} x {upper.words}"
    else:
        text = "a whole number" if type_ is int else "a finite number"
        text = " ".join([text, *(each.words for each in (lower, upper) if each)])
    return ", ".join([text, *others])


def keys_of(owner: type | str) -> Mapping[str, Key]:
    """The keys that a class takes, by name, in the order of its fields.

    Args:
        owner: the class; or "module:Class". That one is read from its source if it is ours and not loaded.

    Raises:
        InputError: a field's annotation is none that a config can have.
    """
    hashable: Any = owner  # as every class is
    return _keys_of(hashable)


@cache
def _keys_of(owner: Any) -> Mapping[str, Key]:
    if isinstance(owner, str):
        module, _, name = owner.partition(":")
        loaded = sys.modules.get(module)
        cls = getattr(loaded, name, None)
        if cls is not None:
            return keys_of(cls)
        try:
            found = declared_in_source(module, name)
        except (NotInSource, KeyError):
            found = declared_by(getattr(import_module(module), name))
    else:
        name, found = owner.__name__, declared_by(owner)
    return {each.name: _key(name, each) for each in found}


def check_fields(made: Any, besides: Collection[str] = ()) -> None:
    """Raise `InputError` unless every annotated field of a dataclass has an allowed value; for `__post_init__`."""
    for name, key in keys_of(type(made)).items():
        value = getattr(made, name)
        if name not in besides and not (value is None and key.is_optional) and key.check(value) is None:
            allowed = f"{key.allowed}, or None" if key.is_optional else key.allowed
            raise InputError(f"{name}: got {value!r}, allowed: {allowed}")


def taken(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a config that a class has keys for, without what is open."""
    return {name: config[name] for name in keys_of(cls) if config.get(name) is not None}


def _key(owner: str, declared: Declaration) -> Key:
    annotated, *notes = get_args(declared.annotation)
    options = get_args(annotated) if get_origin(annotated) in {Union, UnionType} else (annotated,)
    kinds = [option for option in options if option is not NoneType]
    constraints = [note for note in notes if not isinstance(note, str)]
    type_: Any = kinds[0]
    if get_origin(annotated if len(kinds) != 1 else type_) is Literal:
        values = get_args(type_)
        type_, constraints = type(values[0]), [OneOf(*values), *constraints]
    if len(kinds) != 1 or type_ not in {bool, int, float, str}:
        raise InputError(
            f"{owner}.{declared.name}: got the type {annotated}, allowed for a key: bool, int, float, str or Literal, "
            "or one of them | None; leave out Annotated if the field is no key"
        )
    doc = next((note for note in notes if isinstance(note, str)), "")
    return Key(
        declared.name,
        type_,
        tuple(constraints),
        doc,
        is_required=not declared.has_default,
        is_optional=len(kinds) < len(options),
        default=declared.default if isinstance(declared.default, bool | int | float | str) else None,
    )
