"""What cannot do without something else: a penalty without a weight, a method without a controller that suits it.

Names and what they can do, so that a spec is checked without importing torch; a test holds them against the classes.
"""

from collections.abc import Container, Iterator, Mapping

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS, TORCHDIFFEQ_ADAPTIVE, TORCHDIFFEQ_METHODS
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.tasks import STOCHASTIC
from search_spaces.conditions import outlines
from search_spaces.document import Node
from search_spaces.domains import Value
from search_spaces.parameters import own_parameters, summands
from search_spaces.problems import Problem
from search_spaces.space import Mismatch, Space

UNWEIGHTED = ("none", "steer")  # the regularizers that add nothing to the loss
RECORDING = ("error", "predicted_steps", "stiffness")  # those that differentiate what the steps of the solve recorded
LOCAL = ("local_error", "local_stiffness")  # those that sample times
DISCRETE = ("tape", "checkpointed")  # the adjoints that differentiate recorded steps
RUNNING = ("taynode", "rnode")  # those that are integrals along the solution, and for ordinary equations alone
TAPING = ("tape", "torchdiffeq", "torchsde")  # those that keep the states on the tape
MUTE = ("torchsde", "torchsde_adjoint")  # those that tell their steps with no method
CLOSED = ("torchdiffeq", "torchdiffeq_adjoint")  # those that tell their steps with some methods alone
TELLING = TORCHDIFFEQ_ADAPTIVE  # these methods
ITO_METHODS = ("euler", "milstein", "srk")  # the methods of torchsde for Ito equations
METHODS: Mapping[str, tuple[str, ...]] = dict.fromkeys(CLOSED, TORCHDIFFEQ_METHODS) | dict.fromkeys(MUTE, ITO_METHODS)
STRATONOVICH = ("euler_heun", "reversible_heun")  # the solvers of other equations than those of our stochastic tasks
ITO = tuple(name for name in SDE_SOLVERS if name not in STRATONOVICH)
UNESTIMATED = ("euler", "midpoint", "rk4", "milstein", "euler_maruyama", *STRATONOVICH)  # without an error estimate
UNCONTROLLED = ("constant",)  # the controllers that can do without one
BLIND: Mapping[str, tuple[str, ...]] = {  # regularizer -> the solvers that do not estimate what it looks at
    "error": UNESTIMATED,
    "predicted_steps": UNESTIMATED,
    "stiffness": ("euler", "midpoint", "bosh3", *(name for name in SDE_SOLVERS if name != "sosri2")),
}
ENDING = ("exponential", "linear")  # the schedules with a weight_end


def missing_parameters(config: Mapping[str, Value], present: Container[str]) -> Iterator[tuple[str, str]]:
    """Yield each parameter that such a config needs and that is not `present`, and where it is needed, in words."""
    regularizer = config.get("regularizer", "none")
    for name in summands(regularizer):
        schedule = own_parameters(name, config).get("schedule", "constant")
        needs = [] if name in UNWEIGHTED else [("weight", "")]
        if needs and schedule in ENDING:
            needs.append(("weight_end", f" and schedule is {schedule}"))
        if needs and schedule == "dual_ascent":
            needs.append(("budget", f" and schedule is {schedule}"))
        for key, reason in needs:
            if key not in present and f"{name}.{key}" not in present:
                yield key if regularizer == name else f"{name}.{key}", f"where regularizer is {regularizer}{reason}"
    if config.get("controller") == "constant" and "step_size" not in present:
        yield "step_size", "where controller is constant"


def clashes(config: Mapping[str, Value]) -> Iterator[Mismatch]:
    """Yield what such a config has that does not work with what else it has."""
    yield from _step_clashes(config)
    yield from _sampling_clashes(config)


def _step_clashes(config: Mapping[str, Value]) -> Iterator[Mismatch]:
    regularizer, solver = config.get("regularizer", "none"), config.get("solver", "tsit5")
    adjoint, controller = config.get("adjoint", "tape"), config.get("controller")
    names, is_stochastic = summands(regularizer), solver in SDE_SOLVERS
    adjoints = SDE_ADJOINTS if is_stochastic else ADJOINTS
    if adjoint not in adjoints:
        yield Mismatch("adjoint", f"adjoint {adjoint} where solver is {solver}", ", ".join(adjoints))
    if is_stochastic and any(name in RUNNING for name in names):
        allowed = "a penalty on steps, such as error or local_error"
        yield Mismatch("regularizer", f"regularizer {regularizer} where solver is {solver}", allowed)
    if adjoint not in DISCRETE and any(name in RECORDING for name in names):
        allowed = f"{', '.join(DISCRETE)}; or a local penalty, which needs no gradient of the steps"
        yield Mismatch("adjoint", f"adjoint {adjoint} where regularizer is {regularizer}", allowed)
    for name in names:
        if solver in BLIND.get(name, ()):
            example = "sosri2" if is_stochastic else "tsit5"
            allowed = f"one that estimates the {name}, such as {example}; or another regularizer"
            yield Mismatch("solver", f"solver {solver} where regularizer is {regularizer}", allowed)
    if solver in UNESTIMATED and controller not in UNCONTROLLED:
        allowed = f"{', '.join(UNCONTROLLED)} with a step_size, since {solver} has no error estimate"
        got = f"controller {controller}" if controller else "no controller"
        yield Mismatch("controller", f"{got} where solver is {solver}", allowed)


def _sampling_clashes(config: Mapping[str, Value]) -> Iterator[Mismatch]:
    adjoint, method = config.get("adjoint", "tape"), config.get("method")
    if adjoint in METHODS and method is not None and method not in METHODS[str(adjoint)]:
        yield Mismatch("method", f"method {method} where adjoint is {adjoint}", ", ".join(METHODS[str(adjoint)]))
    for name in summands(config.get("regularizer", "none")):
        own = own_parameters(name, config)
        if name not in LOCAL or own.get("sampling") != "biased":
            continue
        if adjoint in MUTE:
            yield Mismatch("sampling", f"sampling biased where adjoint is {adjoint}", "unbiased")
        elif adjoint in CLOSED and (method or TELLING[0]) not in TELLING:
            allowed = f"{', '.join(TELLING)}, which tell their steps; or unbiased sampling"
            yield Mismatch("method", f"method {method} where sampling is biased", allowed)
        elif own.get("full_derivative") and adjoint not in TAPING:
            allowed = f"{', '.join(TAPING)} where full_derivative is true and sampling is biased"
            yield Mismatch("adjoint", f"adjoint {adjoint}", allowed)


# What each of them looks at: together they would be too many combinations.
_OF_NEEDS = ("regularizer", "schedule", "controller")
_OF_STEPS = ("regularizer", "adjoint", "solver", "controller")
_OF_SAMPLING = ("regularizer", "adjoint", "method", "sampling", "full_derivative")


def penalty_problems(space: Space, node: Node) -> list[Problem]:
    """Return a problem for each thing that some config of `space` needs and does not have, or cannot have together."""
    missing: dict[tuple[str, str], None] = {}
    clashing: dict[Mismatch, None] = {}
    for outline in _outlines(space, _OF_NEEDS):
        present = {dimension.key for dimension in space.dimensions if dimension.is_active(outline)}
        missing.update(dict.fromkeys(missing_parameters(outline, present)))
    for clashing_of, keys in ((_step_clashes, _OF_STEPS), (_sampling_clashes, _OF_SAMPLING)):
        for outline in _outlines(space, keys):
            clashing.update(dict.fromkeys(clashing_of(outline)))
    lacking = [
        node.problem(f"a space or a fixed value that gives {key} there", got=f"no {key} {reason}")
        for key, reason in missing
    ]
    return lacking + [node.problem(f"{clash.key}: {clash.allowed}", clash.got) for clash in clashing]


def solver_problems(space: Space, task: str, node: Node) -> list[Problem]:
    """Return a problem if a space has solvers that are not for the equations of a task of ours."""
    kind, allowed = ("stochastic", ITO) if task in STOCHASTIC else ("ordinary", tuple(SOLVERS))
    named = [str(each) for d in space.dimensions if d.key == "solver" for each in d.domain.options or ()]
    wrong = [name for name in dict.fromkeys(named) if name not in allowed]
    got = f"solver {', '.join(wrong)} for {task}"
    remedy = f"its equations are {kind}; choose another space, or fix a solver of these"
    return [node.problem(", ".join(allowed), got, remedy)] if wrong else []


def _outlines(space: Space, keys: Container[str]) -> list[dict[str, Value]]:
    return outlines(space.dimensions, also={key for key in space.keys if key.rpartition(".")[2] in keys})
