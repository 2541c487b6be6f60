"""Flat config -> objects: the only place where names become a task, a solver, a regularizer and a schedule."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any

from ndecore.controllers import CONTROLLERS
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.regularizers.base import Regularizer
from ndecore.regularizers.schedules import Constant, Schedule
from ndecore.solvers import SOLVERS
from ndecore.tasks import TASKS
from ndecore.training import TrainPlan

_DEFAULTS: dict[str, Any] = {
    "solver": "tsit5",
    "controller": "i",
    "regularizer": "none",
    "schedule": "constant",
    "seed": 0,
    "threads": 1,
}


def build(task_name: str, config: Mapping[str, Any], device: str = "cpu") -> TrainPlan:
    """The plan that a flat config describes; what it leaves open is the task's, the solver's, the penalty's default.

    Args:
        task_name: a name in `TASKS`.
        config: parameter name -> value, the vocabulary of `search_spaces.parameters`; parameters that the chosen
            regularizer or schedule does not take are ignored.
        device: where to train.

    Raises:
        InputError: an unknown name, a value that is not allowed, a missing weight.
    """
    chosen = _DEFAULTS | dict(config)
    task = TASKS[task_name]()
    return TrainPlan(
        task=task,
        settings=_settings(chosen),
        hyperparameters=replace(task.defaults, **_taken(type(task.defaults), chosen)),
        regularizer=_regularizer(chosen),
        schedule=_schedule(chosen),
        seed=chosen["seed"],
        threads=chosen["threads"],
        device=device,
    )


def complete(task_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The same config with every default written out, so that it means the same in another version.

    `build(task, complete(task, config))` equals `build(task, config)`; what has no effect is left out.
    """
    chosen = _DEFAULTS | dict(config)
    plan = build(task_name, config)
    tolerances = {name: getattr(plan.settings, name) for name in ("rtol", "atol", "max_steps")}
    named = {name: chosen[name] for name in ("solver", "controller")} | tolerances
    penalty = {"regularizer": chosen["regularizer"]}
    if chosen["regularizer"] != "none":
        penalty |= asdict(plan.regularizer) | {"schedule": chosen["schedule"]} | asdict(plan.schedule)  # type: ignore[call-overload]
    return named | penalty | asdict(plan.hyperparameters) | {"seed": plan.seed, "threads": plan.threads}


def _taken(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the config that a dataclass has fields for."""
    return {f.name: config[f.name] for f in fields(cls) if config.get(f.name) is not None}


def _settings(config: Mapping[str, Any]) -> SolveSettings:
    tolerances = _taken(SolveSettings, {name: config.get(name) for name in ("rtol", "atol", "max_steps")})
    if "rtol" in tolerances:
        tolerances.setdefault("atol", tolerances["rtol"])  # as in both papers
    return SolveSettings(SOLVERS[config["solver"]](), CONTROLLERS[config["controller"]](), **tolerances)


def _regularizer(config: Mapping[str, Any]) -> Regularizer:
    cls = REGULARIZERS[config["regularizer"]]
    found: Regularizer = cls(**_taken(cls, config))
    return found


def _schedule(config: Mapping[str, Any]) -> Schedule:
    if config["regularizer"] == "none":
        return Constant(0.0)
    cls = SCHEDULES[config["schedule"]]
    missing = [f.name for f in fields(cls) if config.get(f.name) is None]
    if missing:
        raise InputError(
            f"regularizer {config['regularizer']!r} with a {config['schedule']} schedule: "
            f"got no {' and no '.join(missing)}, allowed: a number; add it to the config"
        )
    found: Schedule = cls(**_taken(cls, config))
    return found
