"""What does not work together, told from facts alone: the one place of these rules.

A config is checked by it before anything is imported, and the objects by it when they meet.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ndecore.errors import InputError
from ndecore.facts import (
    AdjointFacts,
    ControllerFacts,
    Equations,
    RegularizerFacts,
    Settings,
    SolverFacts,
    TaskFacts,
    facts_of,
)
from ndecore.keys import keys_of

Facts = TypeVar("Facts")


@dataclass(frozen=True)
class Clash:
    """What a config has at `key` that does not work with what else it has.

    Args:
        key: of the config.
        got: what stands there, and what stands against it.
        allowed: what would work, in words.
    """

    key: str
    got: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.key}: got {self.got}, allowed: {self.allowed}"


@dataclass(frozen=True)
class Chosen(Generic[Facts]):
    """A member of a family, as a config or an object has it.

    Args:
        name: of the member, for messages.
        facts: of it.
        own: its own keys and their values.
    """

    name: str
    facts: Facts
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """How a solve is done: a step method, its step size control, and what differentiates it."""

    solver: Chosen[SolverFacts]
    controller: Chosen[ControllerFacts]
    adjoint: Chosen[AdjointFacts]


def chosen(kind: type[Facts], made: object) -> Chosen[Facts]:
    """An object as the rules see it; by the name of its class."""
    cls = type(made)
    return Chosen(cls.__name__, facts_of(kind, cls), {name: getattr(made, name) for name in keys_of(cls)})


def refuse(clashes: Iterable[Clash]) -> None:
    """Raise `InputError` with the first of the clashes, if there is one."""
    for clash in clashes:
        raise InputError(str(clash))


def method_clashes(method: Method) -> Iterator[Clash]:
    """What of a solve does not work together."""
    yield from control_clashes(method.solver, method.controller)
    yield from _adjoint_clashes(method.adjoint, method.solver.facts.equations, f"solver is {method.solver.name}")
    yield from calculus_clashes(method.adjoint, method.solver.facts.calculus)
    yield from implicit_clashes(method.solver, method.adjoint)


def control_clashes(solver: Chosen[SolverFacts], controller: Chosen[ControllerFacts]) -> Iterator[Clash]:
    """A controller that judges by an error which the solver does not estimate."""
    if controller.facts.needs_error and not solver.facts.estimates_error:
        yield Clash(
            "controller",
            f"{controller.name} where solver is {solver.name}, which has no error estimate",
            "one that needs none, such as constant with a step_size; or another solver",
        )


def implicit_clashes(solver: Chosen[SolverFacts], adjoint: Chosen[AdjointFacts]) -> Iterator[Clash]:
    """An implicit method whose steps are not what is differentiated: an adjoint equation has a Jacobian far larger."""
    if solver.facts.is_implicit and not adjoint.facts.differentiates_records:
        yield Clash("adjoint", f"{adjoint.name} where solver is {solver.name}, which is implicit", "tape, checkpointed")


def task_clashes(task: Chosen[TaskFacts], method: Method) -> Iterator[Clash]:
    """A method for other equations than those of the task's model."""
    of_task, of_solver = task.facts, method.solver.facts
    if of_solver.calculus != of_task.calculus:
        yield Clash(
            "solver",
            f"{method.solver.name} for {task.name}, whose model solves {_equations(of_task)} equations",
            "one for those",
        )
    else:
        yield from _adjoint_clashes(method.adjoint, of_task.equations, f"task is {task.name}")


def penalty_clashes(
    regularizer: Chosen[RegularizerFacts], solver: Chosen[SolverFacts], adjoint: Chosen[AdjointFacts]
) -> Iterator[Clash]:
    """A penalty on what the solve does not tell."""
    yield from estimate_clashes(regularizer, solver)
    facts, name = regularizer.facts, regularizer.name
    if facts.is_integral and solver.facts.equations == "stochastic":
        yield Clash(
            "regularizer",
            f"{name} where solver is {solver.name}, which is for stochastic equations",
            "a penalty on steps, such as error or local_error",
        )
    if facts.needs_differentiable_records and not adjoint.facts.differentiates_records:
        yield Clash(
            "adjoint",
            f"{adjoint.name} where regularizer is {name}, whose gradient goes through the steps of the solve",
            "one that differentiates them; or a local penalty",
        )
    yield from sampling_clashes(regularizer, adjoint)


def estimate_clashes(regularizer: Chosen[RegularizerFacts], solver: Chosen[SolverFacts]) -> Iterator[Clash]:
    """A penalty on an estimate that the solver does not have."""
    facts, lacking = regularizer.facts, ""
    if facts.needs_error and not solver.facts.estimates_error:
        lacking = "error"
    # Without two stages at one time every step's stiffness is recorded as 0, and so would the penalty be.
    if facts.needs_stiffness and not solver.facts.tells_stiffness:
        lacking = "stiffness"
    if lacking:
        yield Clash(
            "solver",
            f"{solver.name} where regularizer is {regularizer.name}, and it has no {lacking} estimate",
            f"one that estimates the {lacking}; or another penalty",
        )


def sampling_clashes(regularizer: Chosen[RegularizerFacts], adjoint: Chosen[AdjointFacts]) -> Iterator[Clash]:
    """A penalty that looks at steps which nobody tells it, or at states without gradients."""
    facts = regularizer.facts
    if _holds(facts.needs_told_steps, regularizer.own) and not adjoint.facts.tells_steps(adjoint.own.get("method")):
        key, value = next(iter((facts.needs_told_steps or {}).items()), ("regularizer", regularizer.name))
        method, telling = adjoint.own.get("method"), ", ".join(adjoint.facts.telling_methods or ())
        yield Clash(
            key,
            f"{_text(value)} where adjoint is {adjoint.name} with {method}, which does not tell its steps",
            f"another {key}, or " + (f"the method {telling}" if telling else "another adjoint"),
        )
    elif _holds(facts.needs_taped_states, regularizer.own) and not adjoint.facts.tapes_states:
        why = " and ".join(f"{key} {_text(value)}" for key, value in (facts.needs_taped_states or {}).items())
        yield Clash(
            "adjoint",
            f"{adjoint.name}, which keeps no tape of the states, where {why or f'there is {regularizer.name}'}",
            "one that does; or no gradient through sampled states",
        )


def length_clashes(epochs: int, stop_after: int | None) -> Iterator[Clash]:
    """A training that is to end after the end of its schedules."""
    if stop_after is not None and stop_after > epochs:
        yield Clash("stop_after", f"{stop_after} where epochs is {epochs}", "at most epochs")


def _adjoint_clashes(adjoint: Chosen[AdjointFacts], equations: Equations, where: str) -> Iterator[Clash]:
    if equations not in adjoint.facts.equations:
        yield Clash("adjoint", f"{adjoint.name} where {where}", f"one for {equations} equations")


def calculus_clashes(adjoint: Chosen[AdjointFacts], calculus: str | None) -> Iterator[Clash]:
    """A method of the adjoint's own for equations of another calculus."""
    method, allowed = adjoint.own.get("method"), adjoint.facts.ito_methods
    if calculus == "ito" and allowed is not None and method is not None and method not in allowed:
        yield Clash("method", f"{method} of {adjoint.name} for Ito equations", ", ".join(allowed))


def _holds(settings: Settings, own: Mapping[str, Any]) -> bool:
    return settings is not None and all(own.get(key) == value for key, value in settings.items())


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _equations(task: TaskFacts) -> str:
    return "ordinary" if task.calculus is None else task.calculus.capitalize()
