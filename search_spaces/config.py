"""A flat config, read once: what of it goes to which member, checked as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ndecore.compatibility import refuse
from ndecore.errors import InputError
from ndecore.keys import Key, keys_of
from ndecore.regularizers import REGULARIZERS
from ndecore.tasks import TASKS
from search_spaces.consistency import clashes, default_solver, missing_parameters
from search_spaces.domains import Value
from search_spaces.member_names import summands
from search_spaces.parameters import (
    FAMILIES,
    HYPERPARAMETERS,
    NOTHING,
    OPTION,
    SETTINGS,
    Choices,
    Vocabulary,
    own_parameters,
)
from search_spaces.problems import shown


@dataclass(frozen=True)
class Member:
    """A member of a family, and the values of its own keys that a config gives."""

    family: str
    name: str
    own: Mapping[str, Value]

    def make(self) -> Any:
        """The object."""
        return FAMILIES[self.family][self.name](**self.own)


@dataclass(frozen=True)
class Penalty:
    """A summand of the penalty, and the schedule of its weight, if it has one."""

    regularizer: Member
    schedule: Member | None


@dataclass(frozen=True)
class Config:
    """What a flat config says, by who takes it."""

    task: Member
    solver: Member
    controller: Member
    adjoint: Member
    settings: Mapping[str, Any]  # of `SolveSettings`
    hyperparameters: Mapping[str, Any]
    optimizer_options: Mapping[str, Value]  # by name, without the prefix
    penalties: tuple[Penalty, ...]
    seed: int
    n_seeds: int
    threads: int


def read_config(task: str, config: Mapping[str, Any]) -> Config:
    """Read a flat config for a task.

    Parameters that no chosen member takes are ignored, and those that are None.

    Raises:
        InputError: an unknown name, a value that is not allowed, a missing one, choices that do not work together.
    """
    given = _checked(task, config)
    for key, where in missing_parameters(given, given, task):
        raise InputError(f"{key}: got nothing {where}, allowed: a value; add it to the config")
    refuse(clashes(given, task))
    choices = Choices(**_taken(keys_of(Choices), given))
    settings = {"rtol": TASKS.facts(task).tolerance} | _taken(keys_of(SETTINGS), given)
    settings.setdefault("atol", settings["rtol"])  # as in both papers
    return Config(
        task=_member("task", task, given),
        solver=_member("solver", choices.solver or default_solver(task), given),
        controller=_member("controller", choices.controller, given),
        adjoint=_member("adjoint", choices.adjoint, given),
        settings=settings,
        hyperparameters=_taken(keys_of(HYPERPARAMETERS), given),
        optimizer_options={key.removeprefix(OPTION): given[key] for key in given if key.startswith(OPTION)},
        penalties=tuple(_penalty(name, given) for name in summands(choices.regularizer) if name != NOTHING),
        seed=choices.seed,
        n_seeds=choices.n_seeds,
        threads=choices.threads,
    )


def _checked(task: str, config: Mapping[str, Any]) -> dict[str, Value]:
    """What is not open, each value as its key has it."""
    given = {key: value for key, value in config.items() if value is not None}
    vocabulary = Vocabulary().knowing({**given, "task": task})
    for key, value in given.items():
        parameter = vocabulary.find(key)
        if parameter is not None and (checked := parameter.check(value)) is None:
            raise InputError(f"{key}: got {shown(value)}, allowed: {parameter.allowed}")
        if parameter is not None:
            given[key] = checked
    return given


def _penalty(name: str, given: Mapping[str, Value]) -> Penalty:
    own = own_parameters(name, given)
    regularizer = _member("regularizer", name, own)
    if not REGULARIZERS.facts(name).is_weighted:
        return Penalty(regularizer, None)
    schedule = str(own.get("schedule", keys_of(Choices)["schedule"].default))
    return Penalty(regularizer, _member("schedule", schedule, own))


def _member(family: str, name: str, given: Mapping[str, Value]) -> Member:
    return Member(family, name, _taken(FAMILIES[family].keys_of(name), given))


def _taken(keys: Mapping[str, Key], given: Mapping[str, Value]) -> dict[str, Any]:
    return {name: given[name] for name in keys if name in given}
