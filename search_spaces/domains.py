"""What one key of a config may be: a range of reals or integers, a choice, or a fixed value. Plain, frozen data."""

from dataclasses import dataclass

from ndecore.errors import InputError

Value = bool | int | float | str  # of one key in a flat config


class DomainError(InputError):
    """A domain that is empty or cannot be searched; `got` and `allowed` are the two parts of its message."""

    def __init__(self, got: str, allowed: str) -> None:
        self.got, self.allowed = got, allowed
        super().__init__(got, allowed)

    def __str__(self) -> str:
        return f"got {self.got}, allowed: {self.allowed}"


@dataclass(frozen=True)
class Float:
    """The reals from `low` to `high`, both included; to be searched by their logarithm if `log`."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        check_bounds(self.low, self.high, self.log)

    @property
    def options(self) -> None:
        """A range lists no values."""

    def contains(self, value: object) -> bool:
        """Whether `value` is a number in the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def describe(self) -> str:
        """Return the range in words."""
        return f"a number from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Int:
    """The integers from `low` to `high`, both included; to be searched by their logarithm if `log`."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        check_bounds(self.low, self.high, self.log)

    @property
    def options(self) -> None:
        """A range lists no values."""

    def contains(self, value: object) -> bool:
        """Whether `value` is an integer in the range."""
        return isinstance(value, int) and not isinstance(value, bool) and self.low <= value <= self.high

    def describe(self) -> str:
        """Return the range in words."""
        return f"a whole number from {self.low} to {self.high}"


@dataclass(frozen=True)
class Choice:
    """One of the values listed."""

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise DomainError("no value", "at least one value")
        for i, value in enumerate(self.values):
            if any(same(value, earlier) for earlier in self.values[:i]):
                raise DomainError(f"{text(value)} twice", "each value once")

    @property
    def options(self) -> tuple[Value, ...]:
        """Every value, in order."""
        return self.values

    def contains(self, value: object) -> bool:
        """Whether `value` is listed."""
        return any(same(value, own) for own in self.values)

    def describe(self) -> str:
        """Return the values in words."""
        return ", ".join(map(text, self.values))


@dataclass(frozen=True)
class Fixed:
    """A single value: nothing to search."""

    value: Value

    @property
    def options(self) -> tuple[Value, ...]:
        """The one value."""
        return (self.value,)

    def contains(self, value: object) -> bool:
        """Whether `value` is the one."""
        return same(value, self.value)

    def describe(self) -> str:
        """Return the value in words."""
        return f"{text(self.value)}, which is fixed"


Domain = Float | Int | Choice | Fixed


def same(a: object, b: object) -> bool:
    """Whether two values of a config are one: as numbers compare, but True is not 1."""
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def text(value: Value) -> str:
    """Return a value as YAML has it."""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def check_bounds(low: float, high: float, log: bool) -> None:
    """Raise DomainError unless a range between these bounds holds something, and has logarithms if `log`."""
    allowed = "two numbers 0 < low < high" if log else "two numbers low < high"
    if log and low <= 0:
        raise DomainError(text(low), allowed)
    if not low < high:
        raise DomainError(f"{text(low)} and {text(high)}", allowed)
