"""What of a config is missing or does not work together: by the facts and the keys of the members that it chooses."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from ndecore.compatibility import (
    Chosen,
    Clash,
    Method,
    calculus_clashes,
    length_clashes,
    method_clashes,
    penalty_clashes,
    sampling_clashes,
    task_clashes,
)
from ndecore.facts import Equations
from ndecore.keys import keys_of
from ndecore.regularizers import REGULARIZERS
from ndecore.solvers import EVERY_SOLVER
from ndecore.tasks import TASKS
from search_spaces.conditions import outlines, parents
from search_spaces.document import Node
from search_spaces.domains import Choice, Domain, Fixed, Value
from search_spaces.member_names import summands
from search_spaces.parameters import FAMILIES, NOTHING, Choices, own_parameters
from search_spaces.problems import Problem
from search_spaces.space import Space

Config = Mapping[str, Value]
DEFAULT_SOLVERS: Mapping[Equations, str] = {"ordinary": "tsit5", "stochastic": "sosri"}
_DEFAULTS = {name: key.default for name, key in keys_of(Choices).items() if key.default is not None}


def default_solver(task: str | None) -> str:
    """The solver of a config that names none, by the equations of the task's model."""
    return DEFAULT_SOLVERS["ordinary" if task is None else TASKS.facts(task).equations]


def chosen_member(family: str, name: str, config: Config) -> Chosen[Any]:
    """A member of a family, with the part of the config that it takes over its own defaults."""
    keys = FAMILIES[family].keys_of(name)
    own = {key: value for key in keys if (value := _or(config.get(key), keys[key].default)) is not None}
    return Chosen(name, FAMILIES[family].facts(name), own)


def missing_parameters(config: Config, present: Container[str], task: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield each parameter that such a config needs and that is not `present`, and where it is needed, in words."""
    regularizer = str(config.get("regularizer", NOTHING))
    for name in summands(regularizer):
        schedule = str(own_parameters(name, config).get("schedule", _DEFAULTS["schedule"]))
        needs = [("regularizer", key, "") for key in _required("regularizer", name)]
        if _is_weighted(name):
            where = "" if schedule == _DEFAULTS["schedule"] else f" and schedule is {schedule}"
            needs += [("schedule", key, where) for key in _required("schedule", schedule)]
        for _, key, where in needs:
            if key not in present and f"{name}.{key}" not in present:
                yield key if regularizer == name else f"{name}.{key}", f"where regularizer is {regularizer}{where}"
    for family, default in (("controller", None), ("adjoint", None), ("solver", default_solver(task)), ("task", task)):
        member = _or(config.get(family), default, _DEFAULTS.get(family))
        for key in _required(family, str(member)) if member is not None else ():
            if key not in present:
                yield key, f"where {family} is {member}"


def clashes(config: Config, task: str | None = None) -> Iterator[Clash]:
    """Yield what such a config has that does not work with what else it has, or with its task."""
    found = (*_step_clashes(config, task), *_sampling_clashes(config, task), *_value_clashes(config))
    for clash in dict.fromkeys(found):
        yield _with_names(clash, config, task)


def _step_clashes(config: Config, task: str | None = None) -> Iterator[Clash]:
    solver, adjoint = str(config.get("solver") or default_solver(task)), _name("adjoint", config)
    yield from _method_clashes(solver, _name("controller", config), adjoint, task)
    for name in summands(config.get("regularizer", NOTHING)):
        yield from _penalty_clashes(name, solver, adjoint)


def _sampling_clashes(config: Config, task: str | None = None) -> Iterator[Clash]:
    solver = config.get("solver", task and default_solver(task))
    calculus = EVERY_SOLVER.facts(str(solver)).calculus if solver else "ito"
    adjoint = _name("adjoint", config), _or(config.get("method"), _default_method(_name("adjoint", config)))
    yield from _adjoint_clashes(*adjoint, calculus)
    for name in summands(config.get("regularizer", NOTHING)):
        own = own_parameters(name, config)
        needs = ((key, value) for key in _needs(name) if (value := own.get(key)) is not None)
        yield from _told_clashes(name, tuple(needs), *adjoint)


# By names alone, since a space has the same few together again and again; own keys that are left out are at their
# defaults, with which everything works.
@cache
def _method_clashes(solver: str, controller: str, adjoint: str, task: str | None) -> tuple[Clash, ...]:
    named = {"solver": solver, "controller": controller, "adjoint": adjoint}
    method = Method(*(chosen_member(family, name, {}) for family, name in named.items()))
    of_task = () if task is None else task_clashes(Chosen(task, TASKS.facts(task)), method)
    return (*of_task, *method_clashes(method))


@cache
def _penalty_clashes(name: str, solver: str, adjoint: str) -> tuple[Clash, ...]:
    parts = (chosen_member(family, each, {}) for family, each in (("solver", solver), ("adjoint", adjoint)))
    return tuple(penalty_clashes(chosen_member("regularizer", name, {}), *parts))


@cache
def _adjoint_clashes(adjoint: str, method: str | None, calculus: str | None) -> tuple[Clash, ...]:
    member = chosen_member("adjoint", adjoint, {} if method is None else {"method": method})
    return (*calculus_clashes(member, calculus), *_own_clashes("adjoint", member))


@cache
def _told_clashes(
    name: str, needs: tuple[tuple[str, Value], ...], adjoint: str, method: str | None
) -> tuple[Clash, ...]:
    member = chosen_member("adjoint", adjoint, {} if method is None else {"method": method})
    return tuple(sampling_clashes(chosen_member("regularizer", name, dict(needs)), member))


@cache
def _needs(regularizer: str) -> frozenset[str]:
    """The keys on which it depends whether a penalty must see the steps."""
    facts = REGULARIZERS.facts(regularizer)
    return frozenset({**(facts.needs_told_steps or {}), **(facts.needs_taped_states or {})})


def _default_method(adjoint: str) -> Value | None:
    keys = FAMILIES["adjoint"].keys_of(adjoint)
    return keys["method"].default if "method" in keys else None


def _value_clashes(config: Config) -> Iterator[Clash]:
    """Values that some member allows, and not the one that is chosen."""
    for family in ("controller", "adjoint"):
        yield from _own_clashes(family, chosen_member(family, _name(family, config), config))
    for name in summands(config.get("regularizer", NOTHING)):
        own = own_parameters(name, config)
        yield from _own_clashes("regularizer", chosen_member("regularizer", name, own))
        if _is_weighted(name):
            yield from _own_clashes("schedule", chosen_member("schedule", _name("schedule", own), own))

    epochs, stop_after = config.get("epochs"), config.get("stop_after")
    if isinstance(epochs, int) and isinstance(stop_after, int):
        yield from length_clashes(epochs, stop_after)


def _own_clashes(family: str, member: Chosen[Any]) -> Iterator[Clash]:
    for name, key in FAMILIES[family].keys_of(member.name).items():
        if name in member.own and key.check(member.own[name]) is None:
            yield Clash(name, f"{member.own[name]} where {family} is {member.name}", key.allowed)


def _with_names(clash: Clash, config: Config, task: str | None) -> Clash:
    """The same with the names that would do in the place of the one that does not."""
    if clash.key not in {"solver", "controller", "adjoint"}:
        return clash

    def does(name: str) -> bool:
        changed = {**config, clash.key: name}
        told = (*_step_clashes(changed, task), *_sampling_clashes(changed, task))
        return all(other.key != clash.key for other in told)

    names = ", ".join(filter(does, FAMILIES[clash.key].own))
    return replace(clash, allowed=f"{names} ({clash.allowed})") if names else clash


def _name(family: str, config: Config) -> str:
    return str(_or(config.get(family), _DEFAULTS[family]))


def _or(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


@cache
def _is_weighted(regularizer: str) -> bool:
    return REGULARIZERS.facts(regularizer).is_weighted


@cache
def _required(family: str, name: str) -> list[str]:
    return [key.name for key in FAMILIES[family].keys_of(name).values() if key.is_required]


# What each of them looks at: together they would be too many combinations.
_OF_NEEDS = ("regularizer", "schedule", "controller", "adjoint")
_OF_STEPS = ("regularizer", "adjoint", "solver", "controller")
_OF_SAMPLING = ("regularizer", "adjoint", "method")


def space_problems(space: Space, node: Node, task: str | None = None) -> list[Problem]:
    """Return a problem for each thing that some config of `space` needs and does not have, or cannot have together."""
    missing: dict[tuple[str, str], None] = {}
    clashing: dict[Clash, Config] = {}  # each with the first config that has it
    for outline in _different(_outlines(space, _OF_NEEDS), parents(space.dimensions) | {*_OF_NEEDS}):
        active = [dimension for dimension in space.dimensions if dimension.is_active(outline)]
        present = {dimension.key for dimension in active}
        missing.update(dict.fromkeys(missing_parameters(outline, present, task)))
        for clash in _bound_clashes(outline, {d.key: d.domain for d in active}):
            clashing.setdefault(clash, outline)
    of_sampling = (*_OF_SAMPLING, *_sampling_keys(space))
    for rule, keys in ((_step_clashes, _OF_STEPS), (_sampling_clashes, of_sampling)):
        for outline in _different(_outlines(space, keys), keys):
            for clash in rule(outline, task):
                clashing.setdefault(clash, outline)
    # One config stands for all that clash for one reason.
    examples = {(clash.key, clash.allowed): (clash, config) for clash, config in clashing.items()}
    allowed = {reason: _with_names(*example, task).allowed for reason, example in examples.items()}
    lacking = [
        node.problem(f"a space or a fixed value that gives {key} there", got=f"no {key} {reason}")
        for key, reason in missing
    ]
    return lacking + [node.problem(f"{c.key}: {allowed[c.key, c.allowed]}", f"{c.key} {c.got}") for c in clashing]


def solver_problems(space: Space, task: str, node: Node) -> list[Problem]:
    """Return a problem if a space has solvers that are not for the equations of the task."""
    facts = TASKS.facts(task)
    named = [str(each) for d in space.dimensions if d.key == "solver" for each in d.domain.options or ()]
    wrong = [name for name in dict.fromkeys(named) if EVERY_SOLVER.facts(name).calculus != facts.calculus]
    allowed = [name for name in EVERY_SOLVER.own if EVERY_SOLVER.facts(name).calculus == facts.calculus]
    got = f"solver {', '.join(wrong)} for {task}"
    remedy = f"its equations are {facts.equations}; choose another space, or fix a solver of these"
    return [node.problem(", ".join(allowed), got, remedy)] if wrong else []


def _bound_clashes(outline: Config, domains: Mapping[str, Domain]) -> Iterator[Clash]:
    """Domains that go beyond what the member that takes the key allows."""
    for name in summands(outline.get("regularizer", NOTHING)):
        schedule = _name("schedule", own_parameters(name, outline))
        is_weighted = _is_weighted(name)
        for family, member in (("regularizer", name), *((("schedule", schedule),) if is_weighted else ())):
            for key in FAMILIES[family].keys_of(member):
                domain = domains.get(f"{name}.{key}", domains.get(key))
                if domain is not None:
                    yield from _beyond(family, member, key, domain)
    if "epochs" in domains and "stop_after" in domains:
        yield from length_clashes(min(_ends(domains["epochs"])), max(_ends(domains["stop_after"])))


@cache
def _beyond(family: str, member: str, name: str, domain: Domain) -> tuple[Clash, ...]:
    """That a domain has a value which a member's key does not allow."""
    key = FAMILIES[family].keys_of(member)[name]
    wrong = [value for value in _ends(domain) if key.check(value) is None]
    return tuple(Clash(name, f"{value} where {family} is {member}", key.allowed) for value in wrong[:1])


def _ends(domain: Domain) -> Sequence[Any]:
    """The values of a domain; of an interval its ends."""
    return domain.options if isinstance(domain, Choice | Fixed) else (domain.low, domain.high)


def _sampling_keys(space: Space) -> set[str]:
    named = [each for d in space.dimensions if d.key == "regularizer" for each in d.domain.options or ()]
    return {key for each in named for name in summands(each) for key in _needs(name)}


def _outlines(space: Space, keys: Container[str]) -> list[dict[str, Value]]:
    return outlines(space.dimensions, also={key for key in space.keys if key.rpartition(".")[2] in keys})


def _different(found: Iterable[dict[str, Value]], keys: Container[str]) -> Iterator[dict[str, Value]]:
    """Yield the outlines that differ in these keys, of which the rest is left out."""
    parts = ({key: value for key, value in outline.items() if key.rpartition(".")[2] in keys} for outline in found)
    yield from {tuple(sorted(part.items(), key=lambda item: item[0])): part for part in parts}.values()
