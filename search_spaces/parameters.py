"""The vocabulary of a flat config: every key that a trial may have, what it may be, and what it means.

Only the choice of members stands here: each other key is declared by the class that takes it, see `ndecore.keys`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Annotated, Any

from ndecore.adjoints import EVERY_ADJOINT
from ndecore.controllers import CONTROLLERS
from ndecore.errors import InputError
from ndecore.keys import AtLeast, AtMost, Constraint, Key, Named, keys_of
from ndecore.registry import Registry
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.solvers import EVERY_SOLVER
from ndecore.tasks import TASKS
from search_spaces.document import Document, Node
from search_spaces.domains import Value
from search_spaces.member_names import SUM, located, summands
from search_spaces.problems import Problem, did_you_mean

NOTHING = "none"  # the regularizer that cannot be added to others
OPTION = "optimizer."  # before the name of an argument of an optimizer; torch knows which there are
MAX_SEED = 2**32 - 1  # numpy, and with it every search library, takes no larger one
_PLAIN: tuple[type, ...] = (str, bool, int, float)  # of a value whose key nobody declares
HYPERPARAMETERS, SETTINGS = "ndecore.hyperparameters:Hyperparameters", "ndecore.integrate:SolveSettings"


@dataclass(frozen=True)
class MemberOf(Named):
    """A member of a family."""

    values: Registry[Any]

    @property
    def words(self) -> str:
        """The names, and that a file does too."""
        return self.values.allowed


@dataclass(frozen=True)
class SumOf(MemberOf):
    """A member of a family, or different ones that are added."""

    @property
    def words(self) -> str:
        """The names, and how they are added."""
        return f"{super().words}; or several joined by {SUM}"

    def allows(self, value: str) -> bool:
        """Whether it is a name, or a sum of different ones."""
        parts = summands(value)
        is_sum = len(set(parts)) == len(parts) and NOTHING not in parts and all(part in self.values for part in parts)
        return value in self.values or is_sum


@dataclass(frozen=True)
class Choices:
    """What a config chooses of each family, and what a run begins with."""

    solver: Annotated[str | None, MemberOf(EVERY_SOLVER), "The step method."] = None  # by the task's equations
    controller: Annotated[str, MemberOf(CONTROLLERS), "What chooses the step sizes."] = "i"
    adjoint: Annotated[str, MemberOf(EVERY_ADJOINT), "How the solve is differentiated."] = "tape"
    regularizer: Annotated[str, SumOf(REGULARIZERS), "The penalty added to the loss, or several."] = NOTHING
    schedule: Annotated[str, MemberOf(SCHEDULES), "How the penalty's weight changes over the training."] = "constant"
    seed: Annotated[
        int,
        AtLeast(0),
        AtMost(MAX_SEED),
        "Of the initial weights, the batches' order, a penalty's random times and random paths.",
    ] = 0
    n_seeds: Annotated[int, AtLeast(1), "The trainings of a trial, by seeds from `seed` on; it is their mean."] = 1
    threads: Annotated[int, AtLeast(1), "The CPU threads that one trial computes with."] = 1


FAMILIES: Mapping[str, Registry[Any]] = {
    "solver": EVERY_SOLVER,
    "controller": CONTROLLERS,
    "adjoint": EVERY_ADJOINT,
    "regularizer": REGULARIZERS,
    "schedule": SCHEDULES,
    "task": TASKS,
}


@dataclass(frozen=True)
class Parameter:
    """One key of a config, as all that declare it have it.

    Args:
        name: the key.
        keys: what each of them says of it, without doubles.
    """

    name: str
    keys: tuple[Key, ...]

    @property
    def type(self) -> type:
        """Of the value; a float may be written as an integer."""
        return self.keys[0].type

    def check(self, value: object) -> Value | None:
        """Return the value as one of them takes it; None if none does."""
        return next((checked for key in self.keys if (checked := key.check(value)) is not None), None)

    @property
    def allowed(self) -> str:
        """What `check` lets pass, in words."""
        if self.names:
            return self.keys[0].allowed if len(self.keys) == 1 else ", ".join(self.names)
        return ", or ".join({key.type: key.allowed for key in reversed(self.keys)}.values())

    @property
    def doc(self) -> str:
        """What it means, with its unit."""
        return " ".join(dict.fromkeys(key.doc for key in self.keys))

    @property
    def names(self) -> Collection[str]:
        """What the value is chosen from, where it is a name."""
        return list(dict.fromkeys(name for key in self.keys for name in key.names))

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        """Of the first that declares it."""
        return self.keys[0].constraints


@dataclass(frozen=True)
class Vocabulary:
    """The keys that a config may have: those of all members of ours, and of those of others that it names.

    Args:
        members: of others: (family, name).
        is_open: take any key and value: of a study whose members are not at hand.
        task: whose keys are known, of all tasks; those of all of ours if None.
    """

    members: frozenset[tuple[str, str]] = field(default=frozenset())
    is_open: bool = False
    task: str | None = None

    def knowing(self, value: Any) -> "Vocabulary":
        """The same with the members that plain data, such as a mapping of a file, names."""
        found = {
            (family, name)
            for family, text in _named(value)
            for name in summands(text)
            if name not in FAMILIES[family].own and name in FAMILIES[family]
        }
        return replace(self, members=self.members | found) if found and not self.is_open else self

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Every key but those of one summand."""
        return _merged(
            [*_own_keys(self.task), *(FAMILIES[family].keys_of(name) for family, name in sorted(self.members))]
        )

    @cached_property
    def _of_summand(self) -> Collection[str]:
        """What each summand of a sum may have for itself too, as in `error.weight`."""
        of_others = [FAMILIES[f].keys_of(name) for f, name in self.members if f in {"regularizer", "schedule"}]
        return {"schedule"}.union(*_of_summands(), *of_others)

    def find(self, key: str) -> Parameter | None:
        """Return what `key` means: a parameter, or one of a summand, as in `error.weight`; None if it means nothing."""
        if self.is_open:
            own = self.parameters.get(key.rpartition(".")[2], Parameter(key, ())).keys
            return Parameter(key, (*own, *(Key(key, each) for each in _PLAIN)))
        if key.startswith(OPTION):
            return Parameter(key, tuple(Key(key, each, doc="An argument of the optimizer.") for each in _PLAIN))
        summand, dot, name = key.rpartition(".")
        if not dot:
            return self.parameters.get(key)
        is_one = summand in REGULARIZERS and summand != NOTHING and name in self._of_summand
        return self.parameters[name] if is_one else None


def _named(value: Any, family: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text below a key that is a family's, with the family."""
    if isinstance(value, str) and family:
        yield family, value
    elif isinstance(value, dict):
        for key, below in value.items():
            name = str(key).rpartition(".")[2]
            yield from _named(below, name if name in FAMILIES else family if key in {"choice", "fixed"} else "")
    elif isinstance(value, list | tuple):
        for below in value:
            yield from _named(below, family)


@cache
def _own_keys(task: str | None) -> tuple[Mapping[str, Key], ...]:
    named: dict[str, Iterable[str]] = {family: registry.own for family, registry in FAMILIES.items()}
    named |= {} if task is None else {"task": (task,)}
    members = (FAMILIES[family].keys_of(name) for family, names in named.items() for name in names)
    return keys_of(Choices), keys_of(SETTINGS), keys_of(HYPERPARAMETERS), *members


@cache
def _of_summands() -> tuple[Mapping[str, Key], ...]:
    return tuple(registry.keys_of(name) for registry in (REGULARIZERS, SCHEDULES) for name in registry.own)


def _merged(owners: Iterable[Mapping[str, Key]]) -> Mapping[str, Parameter]:
    found: dict[str, dict[tuple[Any, ...], Key]] = {}
    for keys in owners:
        for name, key in keys.items():
            found.setdefault(name, {}).setdefault((key.type, key.allowed, key.doc), key)
    return {name: Parameter(name, tuple(keys.values())) for name, keys in found.items()}


OWN = Vocabulary()


def own_parameters(summand: str, config: Mapping[str, Value]) -> dict[str, Value]:
    """Return the config as one summand sees it: what is its own, `error.weight`, goes over what is everyone's."""
    qualified = re.compile(rf"{re.escape(summand)}\.(\w+)")
    shared = {key: value for key, value in config.items() if "." not in key}
    return shared | {found[1]: value for key, value in config.items() if (found := qualified.fullmatch(key))}


def read_parameter(node: Node, parameter: Parameter, problems: list[Problem]) -> Value | None:
    """Return the value at `node` as `parameter` has it; None, and a problem more, if it is not allowed."""
    value = parameter.check(_located_value(node, parameter))
    if value is None:
        problems.append(node.problem(parameter.allowed, remedy=did_you_mean(node.value, parameter.names)))
    return value


def _located_value(node: Node, parameter: Parameter) -> Any:
    is_member = any(isinstance(each, Named) and isinstance(each.values, Registry) for each in parameter.constraints)
    return located_data(node.value, node.document) if is_member and isinstance(node.value, str) else node.value


def located_key(node: Node) -> str:
    """The key at `node`, of a summand that is a file by its whole path."""
    (key,) = located_data({node.name: None}, node.document)
    return str(key)


def located_data(value: Any, document: Document) -> Any:
    """Plain data of a document with each file of a member by its whole path, looked for from the document's folder."""
    return located(value, document.folder)


def read_parameters(
    node: Node, problems: list[Problem], other: Collection[str] = (), vocabulary: Vocabulary = OWN
) -> dict[str, Value]:
    """Return the parameters of the mapping at `node`, adding problems for wrong ones; keys in `other` are left out."""
    if not isinstance(node.value, dict):
        problems.append(node.problem("a mapping of parameters to values"))
        return {}
    read: dict[str, Value] = {}
    try:
        vocabulary = vocabulary.knowing(located_data(node.value, node.document))
        for child in node.children():
            if child.name in other:
                continue
            key = located_key(child)
            parameter = vocabulary.find(key)
            if parameter is None:
                problems.append(unknown_key(child, (*other, *vocabulary.parameters)))
            elif (value := read_parameter(child, parameter, problems)) is not None:
                read[key] = value
    except InputError as error:  # of a member's own file or package
        problems.append(node.problem("members that load", "one that does not", str(error)))
    return read


def unknown_key(node: Node, allowed: Collection[str]) -> Problem:
    """Return the problem that the key at `node` is none of those allowed."""
    remedy = did_you_mean(node.name, allowed)
    return node.problem(", ".join(allowed), got=f"the unknown key {node.name!r}", remedy=remedy)
