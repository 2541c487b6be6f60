"""One domain of a file: a bare value, or a mapping of its kind to its bounds or values, checked for its parameter."""

from typing import Any

from search_spaces.document import Node
from search_spaces.domains import Choice, Domain, DomainError, Fixed, Float, Int, Value, check_bounds
from search_spaces.parameters import Parameter, read_parameter
from search_spaces.problems import Problem, did_you_mean

# Kind -> the type of the parameters that it fits, and whether it is searched by logarithm.
_RANGES: dict[str, tuple[type, bool]] = {
    "float": (float, False),
    "log_float": (float, True),
    "int": (int, False),
    "log_int": (int, True),
}
_LISTED = ("choice", "fixed")


def read_domain(node: Node, parameter: Parameter, problems: list[Problem]) -> Domain | None:
    """Return the domain at `node`; None, and more problems, if that is none, or goes beyond what `parameter` may be."""
    if not isinstance(node.value, dict):
        value = read_parameter(node, parameter, problems)
        return None if value is None else Fixed(value)
    kinds = [kind for kind, (type_, _) in _RANGES.items() if type_ in {key.type for key in parameter.keys}] + [*_LISTED]
    got = [key for key in node.value if key != "when"]
    unknown = [key for key in got if key not in kinds]
    for key in unknown:
        text = f"the domain {key!r}"
        problems.append(node.at(key).problem(f"{', '.join(kinds)}; when", text, did_you_mean(key, kinds)))
    if not unknown and len(got) != 1:
        problems.append(node.problem(f"one of {', '.join(kinds)}", got=" and ".join(got) or "no domain"))
    if unknown or len(got) != 1:
        return None
    return _read_kind(node.at(got[0]), parameter, problems)


def domain_data(domain: Domain) -> dict[str, Any]:
    """Return the mapping that `read_domain` reads as this domain."""
    if isinstance(domain, Choice):
        return {"choice": list(domain.values)}
    if isinstance(domain, Fixed):
        return {"fixed": domain.value}
    kind = "float" if isinstance(domain, Float) else "int"
    return {f"log_{kind}" if domain.log else kind: [domain.low, domain.high]}


def _read_kind(node: Node, parameter: Parameter, problems: list[Problem]) -> Domain | None:
    if node.name == "fixed":
        value = read_parameter(node, parameter, problems)
        return None if value is None else Fixed(value)
    read = _read_choice if node.name == "choice" else _read_range
    try:
        return read(node, parameter, problems)
    except DomainError as error:
        problems.append(node.problem(error.allowed, got=error.got))
        return None


def _read_choice(node: Node, parameter: Parameter, problems: list[Problem]) -> Choice | None:
    if not isinstance(node.value, list):
        problems.append(node.problem(f"a list of values, each {parameter.allowed}"))
        return None
    values = [read_parameter(item, parameter, problems) for item in node.children()]
    if any(value is None for value in values):
        return None
    return Choice(tuple(value for value in values if value is not None))


def _read_range(node: Node, parameter: Parameter, problems: list[Problem]) -> Float | Int | None:
    kind, log = _RANGES[node.name]
    bounds = node.value if isinstance(node.value, list) else []
    if len(bounds) != 2 or not all(_is_number(bound, kind) for bound in bounds):
        numbers = "whole numbers" if kind is int else "numbers"
        problems.append(node.problem(f"two {numbers} {'0 < ' if log else ''}low < high"))
        return None
    # Before the parameter's own check, whose "a number >= 0" would hide that a logarithm needs more.
    check_bounds(bounds[0], bounds[1], log)
    low, high = (read_parameter(bound, parameter, problems) for bound in node.children())
    if not (isinstance(low, int | float) and isinstance(high, int | float)):
        return None
    return Int(int(low), int(high), log) if kind is int else Float(float(low), float(high), log)


def _is_number(value: Value, kind: type) -> bool:
    return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
