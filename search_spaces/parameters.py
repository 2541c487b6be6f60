"""The vocabulary of a flat config: every key that a trial may have, what it may be, and what it means.

The defaults are not here: they live with the task, the solver and the regularizer that use them.
"""

import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS, TORCHDIFFEQ_METHODS, TORCHSDE_METHODS
from ndecore.controllers import CONTROLLERS
from ndecore.models import SDES
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from search_spaces.document import Node
from search_spaces.domains import Value
from search_spaces.problems import Problem, did_you_mean

Check = Callable[[object], Value | None]

SUM, NOTHING = "+", "none"  # how regularizers are added, and the one that cannot be
MAX_SEED = 2**32 - 1  # numpy, and with it every search library, takes no larger one


@dataclass(frozen=True)
class Parameter:
    """One key of a config.

    Args:
        name: the key.
        type: of its value; a float may be written as an integer.
        check: value as written -> value as used, or None if it is not allowed.
        allowed: what `check` lets pass, in words.
        doc: what it means, with its unit.
        names: what the value is chosen from, where it is a name.
    """

    name: str
    type: type
    check: Check
    allowed: str
    doc: str
    names: Collection[str] = ()


def _name(name: str, names: Collection[str], doc: str) -> Parameter:
    def check(value: object) -> Value | None:
        return value if isinstance(value, str) and value in names else None

    return Parameter(name, str, check, ", ".join(names), doc, names)


def _flag(name: str, doc: str) -> Parameter:
    return Parameter(name, bool, lambda value: value if isinstance(value, bool) else None, "true or false", doc)


def _whole(name: str, least: int, doc: str, most: int | None = None) -> Parameter:
    def check(value: object) -> Value | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return None
        return value if least <= value and (most is None or value <= most) else None

    allowed = f"a whole number >= {least}" if most is None else f"a whole number from {least} to {most}"
    return Parameter(name, int, check, allowed, doc)


def _real(name: str, passes: Callable[[float], bool], allowed: str, doc: str) -> Parameter:
    def check(value: object) -> Value | None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return None
        return float(value) if abs(value) <= sys.float_info.max and passes(value) else None

    return Parameter(name, float, check, allowed, doc)


def _positive(name: str, doc: str) -> Parameter:
    return _real(name, lambda value: value > 0, "a finite number > 0", doc)


def _not_negative(name: str, doc: str) -> Parameter:
    return _real(name, lambda value: value >= 0, "a finite number >= 0", doc)


def _part(name: str, doc: str) -> Parameter:
    return _real(name, lambda value: 0 < value < 1, "a number 0 < x < 1", doc)


def _sum(name: str, names: Collection[str], doc: str) -> Parameter:
    def check(value: object) -> Value | None:
        parts = value.split(SUM) if isinstance(value, str) else []
        is_sum = len(set(parts)) == len(parts) and NOTHING not in parts and all(part in names for part in parts)
        return value if isinstance(value, str) and (value in names or is_sum) else None

    return Parameter(name, str, check, f"{', '.join(names)}, or several joined by {SUM}", doc, names)


# What each summand of a sum may have for itself too, as in `error.weight`.
_OF_PENALTIES = (
    _name("agg", ("sum", "mean", "max"), "How a penalty gathers what the accepted steps recorded."),
    _whole("power", 1, "Of each step's error in the penalty.", 2),
    _flag("weight_by_dt", "Whether each step's part in the penalty is multiplied by its step size."),
    _flag("scaled", "Whether the penalty takes tolerance-scaled estimates (the published code) or raw ones."),
    _name("sampling", ("unbiased", "biased"), "How a local penalty draws times: from the span, or from the steps."),
    _whole("n_times", 1, "The times that a local penalty draws in each solve."),
    _flag("full_derivative", "Whether a local penalty's gradient flows through the sampled state too."),
    _part("spread", "How far STEER moves a time, as a part of the gap before it, dimensionless."),
    _name("distribution", ("uniform", "gaussian"), "Of STEER's times."),
    _whole("taylor_order", 2, "The derivative of the solution that TayNODE penalizes.", 3),
    _not_negative("kinetic", "The factor of RNODE's kinetic term, dimensionless."),
    _not_negative("jacobian", "The factor of RNODE's Jacobian term, dimensionless."),
    _name("schedule", SCHEDULES, "How the penalty's weight changes over the training."),
    _name("pace", ("epoch", "step"), "Whether a schedule moves with every epoch or with every step."),
    _not_negative("weight", "The penalty's weight, at first; dimensionless."),
    _positive("weight_end", "The penalty's weight at the end of a schedule that changes it, dimensionless."),
    _real(
        "warmup",
        lambda value: 0 < value <= 1,
        "a number 0 < x <= 1",
        "The part of the training in which the schedule `warmup` raises the weight from 0, dimensionless.",
    ),
    _positive("budget", "What the schedule `dual_ascent` keeps to by changing the weight; see `budget_of`."),
    _name("budget_of", ("nfe", "penalty"), "Whose budget: evaluations of a training solve, or the penalty itself."),
    _positive("gain", "How fast `dual_ascent` changes the weight, dimensionless."),
    _not_negative("damping", "How far `dual_ascent` holds back while its budget is being approached, dimensionless."),
)

PARAMETERS: Mapping[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        _name("solver", (*SOLVERS, *SDE_SOLVERS), "The step method."),
        _name("controller", CONTROLLERS, "What chooses the step sizes."),
        _name("adjoint", dict.fromkeys((*ADJOINTS, *SDE_ADJOINTS)), "How the solve is differentiated."),
        _name(
            "method",
            dict.fromkeys((*TORCHDIFFEQ_METHODS, *TORCHSDE_METHODS)),
            "The step method of torchdiffeq or torchsde, where the adjoint is one of theirs.",
        ),
        _positive(
            "step_size",
            "The step of the controller `constant`, or of a method of torchdiffeq or torchsde; unit of time.",
        ),
        _positive("rtol", "The relative tolerance of a step, dimensionless."),
        _positive("atol", "The absolute tolerance of a step, in the state's unit; the same as rtol if absent."),
        _whole("max_steps", 1, "The attempted steps after which a solve is given up."),
        _sum("regularizer", REGULARIZERS, "The penalty added to the loss, or several."),
        *_OF_PENALTIES,
        _name("optimizer", ("sgd", "adam", "adamax"), "The optimizer."),
        _positive("learning_rate", "The size of the optimizer's steps, dimensionless."),
        _real("momentum", lambda value: 0 <= value < 1, "a number 0 <= x < 1", "Of sgd, dimensionless."),
        _whole("batch_size", 1, "The samples in one training solve."),
        _whole("epochs", 1, "The passes over the training data."),
        _whole(
            "seed",
            0,
            "Of the initial weights, the batches' order, a penalty's random times and random paths.",
            MAX_SEED,
        ),
        _whole("threads", 1, "The CPU threads that one trial computes with."),
        _whole("eval_batch_size", 1, "The samples in one held-out solve; NFE is counted per solve."),
        _name("sde", SDES, "The equation of a stochastic task's model."),
    )
}


_SUMMAND_KEYS = frozenset(parameter.name for parameter in _OF_PENALTIES)


def find_parameter(key: str) -> Parameter | None:
    """Return what `key` means: a parameter, or one of a summand, as in `error.weight`; None if it means nothing."""
    summand, dot, name = key.rpartition(".")
    if not dot:
        return PARAMETERS.get(key)
    return PARAMETERS[name] if summand in REGULARIZERS and summand != NOTHING and name in _SUMMAND_KEYS else None


def summands(regularizer: Value) -> list[str]:
    """Return the names that a regularizer is the sum of."""
    return str(regularizer).split(SUM)


def own_parameters(summand: str, config: Mapping[str, Value]) -> dict[str, Value]:
    """Return the config as one summand sees it: what is its own, `error.weight`, goes over what is everyone's."""
    shared = {key: value for key, value in config.items() if "." not in key}
    return shared | {key.rpartition(".")[2]: value for key, value in config.items() if key.startswith(f"{summand}.")}


def read_parameter(node: Node, parameter: Parameter, problems: list[Problem]) -> Value | None:
    """Return the value at `node` as `parameter` has it; None, and a problem more, if it is not allowed."""
    value = parameter.check(node.value)
    if value is None:
        problems.append(node.problem(parameter.allowed, remedy=did_you_mean(node.value, parameter.names)))
    return value


def read_parameters(node: Node, problems: list[Problem], other: Collection[str] = ()) -> dict[str, Value]:
    """Return the parameters of the mapping at `node`, adding problems for wrong ones; keys in `other` are left out."""
    if not isinstance(node.value, dict):
        problems.append(node.problem("a mapping of parameters to values"))
        return {}
    read: dict[str, Value] = {}
    for child in node.children():
        if child.name in other:
            continue
        parameter = find_parameter(child.name)
        if parameter is None:
            problems.append(unknown_key(child, (*other, *PARAMETERS)))
        elif (value := read_parameter(child, parameter, problems)) is not None:
            read[child.name] = value
    return read


def unknown_key(node: Node, allowed: Collection[str]) -> Problem:
    """Return the problem that the key at `node` is none of those allowed."""
    remedy = did_you_mean(node.name, allowed)
    return node.problem(", ".join(allowed), got=f"the unknown key {node.name!r}", remedy=remedy)
