"""What a penalty cannot do without: a weight, and the end of a weight that changes."""

from collections.abc import Container, Iterator, Mapping

from search_spaces.conditions import outlines
from search_spaces.document import Node
from search_spaces.domains import Value
from search_spaces.problems import Problem
from search_spaces.space import Space


def missing_parameters(config: Mapping[str, Value], present: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield each parameter that such a config needs and that is not `present`, and where it is needed, in words."""
    regularizer, schedule = config.get("regularizer", "none"), config.get("schedule", "constant")
    if regularizer == "none":
        return
    if "weight" not in present:
        yield "weight", f"where regularizer is {regularizer}"
    if schedule == "exponential" and "weight_end" not in present:
        yield "weight_end", f"where regularizer is {regularizer} and schedule is {schedule}"


def penalty_problems(space: Space, node: Node) -> list[Problem]:
    """Return a problem for each parameter that some config of `space` needs and does not have."""
    missing: dict[tuple[str, str], None] = {}
    for outline in outlines(space.dimensions, also=("regularizer", "schedule")):
        present = {dimension.key for dimension in space.dimensions if dimension.is_active(outline)}
        missing.update(dict.fromkeys(missing_parameters(outline, present)))
    return [
        node.problem(f"a space or a fixed value that gives {key} there", got=f"no {key} {reason}")
        for key, reason in missing
    ]
