"""What cannot do without something else: a penalty without a weight, a method without a controller that suits it.

Names and what they can do, so that a spec is checked without importing torch; a test holds them against the classes.
"""

from collections.abc import Container, Iterator, Mapping

from search_spaces.conditions import outlines
from search_spaces.document import Node
from search_spaces.domains import Value
from search_spaces.problems import Problem
from search_spaces.space import Mismatch, Space

RECORDING = ("error", "stiffness")  # the regularizers that differentiate what the steps of the solve recorded
DISCRETE = ("tape", "checkpointed")  # the adjoints that can
UNESTIMATED = ("euler", "midpoint", "rk4")  # the solvers without an error estimate
UNCONTROLLED = ("constant",)  # the controllers that can do without one
BLIND: Mapping[str, tuple[str, ...]] = {  # regularizer -> the solvers that do not estimate what it looks at
    "error": UNESTIMATED,
    "stiffness": ("euler", "midpoint", "bosh3"),
}

_DECIDING = ("regularizer", "schedule", "adjoint", "solver", "controller")


def missing_parameters(config: Mapping[str, Value], present: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield each parameter that such a config needs and that is not `present`, and where it is needed, in words."""
    regularizer, schedule = config.get("regularizer", "none"), config.get("schedule", "constant")
    if regularizer != "none" and "weight" not in present:
        yield "weight", f"where regularizer is {regularizer}"
    if regularizer != "none" and schedule == "exponential" and "weight_end" not in present:
        yield "weight_end", f"where regularizer is {regularizer} and schedule is {schedule}"
    if config.get("controller") == "constant" and "step_size" not in present:
        yield "step_size", "where controller is constant"


def clashes(config: Mapping[str, Value]) -> Iterator[Mismatch]:
    """Yield what such a config has that does not work with what else it has."""
    regularizer, solver = config.get("regularizer", "none"), config.get("solver", "tsit5")
    adjoint, controller = config.get("adjoint", "tape"), config.get("controller")
    if regularizer in RECORDING and adjoint not in DISCRETE:
        allowed = f"{', '.join(DISCRETE)}; or a local penalty, which needs no gradient of the steps"
        yield Mismatch("adjoint", f"adjoint {adjoint} where regularizer is {regularizer}", allowed)
    if solver in BLIND.get(str(regularizer), ()):
        allowed = f"one that estimates the {regularizer}, such as tsit5; or another regularizer"
        yield Mismatch("solver", f"solver {solver} where regularizer is {regularizer}", allowed)
    if solver in UNESTIMATED and controller not in UNCONTROLLED:
        allowed = f"{', '.join(UNCONTROLLED)} with a step_size, since {solver} has no error estimate"
        got = f"controller {controller}" if controller else "no controller"
        yield Mismatch("controller", f"{got} where solver is {solver}", allowed)


def penalty_problems(space: Space, node: Node) -> list[Problem]:
    """Return a problem for each thing that some config of `space` needs and does not have, or cannot have together."""
    missing: dict[tuple[str, str], None] = {}
    clashing: dict[Mismatch, None] = {}
    for outline in outlines(space.dimensions, also=_DECIDING):
        present = {dimension.key for dimension in space.dimensions if dimension.is_active(outline)}
        missing.update(dict.fromkeys(missing_parameters(outline, present)))
        clashing.update(dict.fromkeys(clashes(outline)))
    lacking = [
        node.problem(f"a space or a fixed value that gives {key} there", got=f"no {key} {reason}")
        for key, reason in missing
    ]
    return lacking + [node.problem(f"{clash.key}: {clash.allowed}", clash.got) for clash in clashing]
