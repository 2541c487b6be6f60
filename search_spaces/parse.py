"""A file's mapping to a checked Space, and a Space back to such a mapping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ndecore.errors import InputError
from search_spaces.conditions import MAX_OUTLINES, CyclicConditions, conflicts, count_bound, never_active, ordered
from search_spaces.document import Node
from search_spaces.domains import Domain, Value, same, text
from search_spaces.parameters import OWN, Vocabulary, located_data, located_key, unknown_key
from search_spaces.parse_domain import domain_data, read_domain
from search_spaces.problems import Problem, did_you_mean
from search_spaces.space import Condition, Dimension, Space


@dataclass(frozen=True)
class _Variant:
    """One domain of a key, where it stands, and whether the key has no other."""

    key: str
    node: Node
    domain: Domain | None  # None: it was refused
    is_alone: bool


def read_space(node: Node, problems: list[Problem], vocabulary: Vocabulary = OWN) -> Space | None:
    """Return the space that the mapping at `node` describes; None, and more problems, if it describes none."""
    if not isinstance(node.value, dict):
        problems.append(node.problem("a mapping of parameters to domains"))
        return None
    known = len(problems)
    try:
        vocabulary = vocabulary.knowing(located_data(node.value, node.document))
        variants = [variant for child in node.children() for variant in _read_key(child, problems, vocabulary)]
    except InputError as error:  # of a member's own file or package
        problems.append(node.problem("members that load", "one that does not", str(error)))
        return None
    dimensions = [_dimension(variant, variants, problems) for variant in variants]
    complete = tuple(dimension for dimension in dimensions if dimension is not None)
    if len(problems) > known:
        return None
    try:
        complete = ordered(complete)
    except CyclicConditions as error:
        got = f"conditions in a cycle, {' -> '.join(error.cycle)}"
        problems.append(node.at(error.cycle[0]).problem("conditions on keys that do not depend on this one", got))
        return None
    problems.extend(_activity_problems(complete, node))
    return Space(complete) if len(problems) == known else None


def space_data(space: Space) -> dict[str, Any]:
    """Return the mapping that `read_space` reads as this space."""
    data: dict[str, list[dict[str, Any]]] = {}
    for dimension in space.dimensions:
        variant = domain_data(dimension.domain)
        if dimension.when:
            variant["when"] = {condition.parent: list(condition.allowed) for condition in dimension.when}
        data.setdefault(dimension.key, []).append(variant)
    return {key: variants[0] if len(variants) == 1 else variants for key, variants in data.items()}


def _read_key(node: Node, problems: list[Problem], vocabulary: Vocabulary) -> list[_Variant]:
    key = located_key(node)
    parameter = vocabulary.find(key)
    if parameter is None:
        problems.append(unknown_key(node, list(vocabulary.parameters)))
        return []
    if not isinstance(node.value, list):
        return [_Variant(key, node, read_domain(node, parameter, problems), True)]
    if not node.value:
        problems.append(node.problem("a value, a domain, or a list of domains with conditions"))
    alone = len(node.value) == 1
    return [_Variant(key, child, read_domain(child, parameter, problems), alone) for child in node.children()]


def _dimension(variant: _Variant, variants: Sequence[_Variant], problems: list[Problem]) -> Dimension | None:
    """Return the variant with its conditions, which can be checked only when every other key has been read."""
    when: list[Condition | None] = []
    if isinstance(variant.node.value, dict) and "when" in variant.node.value:
        node = variant.node.at("when")
        if isinstance(node.value, dict):
            when = [_read_condition(child, variant.key, variants, problems) for child in node.children()]
        else:
            problems.append(node.problem("a mapping of other keys to the values that they must have"))
    conditions = tuple(condition for condition in when if condition is not None)
    if variant.domain is None or len(conditions) < len(when):
        return None
    described = "&".join(sorted(condition.describe() for condition in conditions))
    name = variant.key if variant.is_alone else f"{variant.key}|{described}"
    return Dimension(variant.key, variant.domain, conditions, name)


def _read_condition(node: Node, key: str, variants: Sequence[_Variant], problems: list[Problem]) -> Condition | None:
    others = list(dict.fromkeys(variant.key for variant in variants if variant.key != key))
    domains = [variant.domain for variant in variants if variant.key == node.name]
    if node.name not in others:
        got = "the key itself" if node.name == key else f"the key {node.name!r}, which this space does not have"
        allowed = f"another key of this space: {', '.join(others)}" if others else "nothing, there is no other key"
        problems.append(node.problem(allowed, got, did_you_mean(node.name, others)))
        return None
    if any(domain is None for domain in domains):
        return None  # its own problem is known already
    options = [value for domain in domains if domain is not None for value in domain.options or ()]
    if any(domain is not None and domain.options is None for domain in domains):
        got = f"a condition on {node.name}, which is a range"
        problems.append(node.problem("a key with a choice or a fixed value", got))
        return None
    return _read_allowed(node, options, problems)


def _read_allowed(node: Node, options: Sequence[Value], problems: list[Problem]) -> Condition | None:
    items = list(node.children()) if isinstance(node.value, list) else [node]
    allowed: list[Value] = []
    for item in items:
        # The parent's own value, not the one written here: 1 where the parent has 1.0.
        wanted = located_data(item.value, item.document)
        found = [option for option in options if same(option, wanted)]
        if found:
            allowed.append(found[0])
        else:
            names = list(dict.fromkeys(map(text, options)))
            remedy = did_you_mean(item.value, names)
            problems.append(item.problem(f"what {node.name} can be: {', '.join(names)}", remedy=remedy))
    if not items:
        problems.append(node.problem(f"at least one of what {node.name} can be"))
    if len(set(allowed)) < len(allowed):
        problems.append(node.problem("each value once"))
    return Condition(node.name, tuple(allowed)) if allowed and len(allowed) == len(items) else None


def _activity_problems(dimensions: Sequence[Dimension], node: Node) -> list[Problem]:
    if count_bound(dimensions) > MAX_OUTLINES:
        allowed = f"conditions on keys with at most {MAX_OUTLINES} combinations of values"
        return [node.problem(allowed, got="conditions on more", remedy="split the space")]
    unreached = [
        node.at(dimension.key).problem(
            "conditions that can hold together",
            got=f"a condition that never holds, {' and '.join(condition.describe() for condition in dimension.when)}",
        )
        for dimension in never_active(dimensions)
    ]
    together = [
        node.at(one.key).problem(
            "domains of which one at most is active",
            got=f"conflicting conditions, two domains at once {_where(one, other, way)}",
            remedy="give each a `when` that excludes the others",
        )
        for one, other, way in conflicts(dimensions)
    ]
    return unreached + together


def _where(one: Dimension, other: Dimension, way: Mapping[str, Value]) -> str:
    named = dict.fromkeys(condition.parent for condition in one.when + other.when)
    return "where " + ", ".join(f"{key}={text(way[key])}" for key in named) if named else "always"
