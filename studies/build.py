"""Flat config -> objects: the only place where names become a task, a solver, a regularizer and a schedule."""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from typing import Any

import torch

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS
from ndecore.controllers import CONTROLLERS
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.registry import Registry
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.regularizers.base import Regularizer
from ndecore.regularizers.schedules import Constant
from ndecore.regularizers.weighted import Weighted
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.base import Solver
from ndecore.tasks import TASKS
from ndecore.tasks.base import Task
from ndecore.training import TrainPlan
from reports.export import ExportedConfig
from reports.records import Deployment
from search_spaces.parameters import NOTHING, find_parameter, own_parameters, summands
from search_spaces.penalty import ITO_METHODS
from search_spaces.problems import shown

_SOLVERS = {None: "tsit5", "ito": "sosri"}  # of a task's calculus, the default
_DEFAULTS: dict[str, Any] = {
    "controller": "i",
    "adjoint": "tape",
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
            controller, adjoint, regularizer or schedule does not take are ignored, and those that are None.
        device: where to train.

    Raises:
        InputError: an unknown name, a value that is not allowed, a missing weight or step size, choices that do not
            work together.
    """
    chosen = _chosen(task_name, config)
    task = _task(task_name, chosen)
    settings, penalties = _settings(task, chosen), _penalties(chosen)
    for penalty in penalties:
        penalty.regularizer.check(settings)
        _check_equation(task, penalty.regularizer)
    return TrainPlan(
        task=task,
        settings=settings,
        hyperparameters=replace(task.defaults, **_taken(type(task.defaults), chosen)),
        penalties=penalties,
        seed=chosen["seed"],
        threads=chosen["threads"],
        device=device,
    )


def deployed(settings: SolveSettings, deployment: Deployment) -> SolveSettings:
    """How a model that was trained with `settings` is solved in another way, by a method of ours.

    The controller stays if it adapts the step. No gradient is asked for, so the adjoint is the plain one.

    Raises:
        InputError: the solver is not of such equations, or has no error estimate: then it has no tolerance.
    """
    solvers: Mapping[str, type[Solver]] = SOLVERS if settings.solver.calculus is None else SDE_SOLVERS
    solver = solvers[deployment.solver]()
    if solver.error_order is None:
        adaptive = ", ".join(name for name in solvers if solvers[name]().error_order is not None)
        raise InputError(f"solver: got {deployment.solver!r}, which has no error estimate, allowed: {adaptive}")
    controller = settings.controller if settings.controller.needs_error else CONTROLLERS[_DEFAULTS["controller"]]()
    return SolveSettings(
        solver,
        controller,
        ADJOINTS[_DEFAULTS["adjoint"]](),
        rtol=deployment.rtol,
        atol=deployment.atol,
        max_steps=settings.max_steps,
    )


def build_exported(exported: ExportedConfig, device: str = "cpu") -> TrainPlan:
    """The plan of an exported config, with the settings by which its model is solved once it is trained."""
    plan = build(exported.task, exported.config, device)
    return replace(plan, settings=deployed(plan.settings, exported.deployment)) if exported.deployment else plan


def complete(task_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The same config with every default written out, so that it means the same in another version.

    `build(task, complete(task, config))` equals `build(task, config)`; what has no effect is left out.
    """
    chosen = _chosen(task_name, config)
    plan = build(task_name, config)
    of_task = _keys(plan.task)
    tolerances = {name: getattr(plan.settings, name) for name in ("rtol", "atol", "max_steps")}
    parts = (plan.settings.controller, plan.settings.adjoint)
    own = ((name, getattr(part, name, None)) for part in parts for name in ("method", "step_size"))
    given = {name: value for name, value in own if value is not None}
    named = {name: chosen[name] for name in ("solver", "controller", "adjoint")} | given | tolerances
    penalty = {"regularizer": chosen["regularizer"]}
    for name, weighted in zip(_names(chosen), plan.penalties, strict=True):
        own = asdict(weighted.regularizer)  # type: ignore[call-overload]
        if weighted.regularizer.is_weighted:
            own |= {"schedule": own_parameters(name, chosen)["schedule"]} | asdict(weighted.schedule)  # type: ignore[call-overload]
        prefix = f"{name}." if len(plan.penalties) > 1 else ""
        penalty |= {f"{prefix}{key}": value for key, value in own.items()}
    return of_task | named | penalty | asdict(plan.hyperparameters) | {"seed": plan.seed, "threads": plan.threads}


def _chosen(task_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config over the defaults; raise `InputError` for a value that is not allowed."""
    given = {key: value for key, value in config.items() if value is not None}
    for key, value in given.items():
        parameter = find_parameter(key)
        if parameter is not None and parameter.check(value) is None:
            raise InputError(f"{key}: got {shown(value)}, allowed: {parameter.allowed}")
    cls: type[Task] = TASKS[task_name]
    return _DEFAULTS | {"solver": _SOLVERS[cls.calculus], "rtol": cls.tolerance} | given


def _task(name: str, config: Mapping[str, Any]) -> Task:
    cls: type[Task] = TASKS[name]
    return cls(**_taken(cls, config)) if is_dataclass(cls) else cls()


def _keys(task: Task) -> dict[str, Any]:
    """What of a config has gone into the task."""
    cls: type[Any] = type(task)
    named = [f.name for f in fields(cls)] if is_dataclass(cls) else []
    return {name: getattr(task, name) for name in named if find_parameter(name)}


def _taken(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the config that a dataclass has fields for."""
    return {f.name: config[f.name] for f in fields(cls) if config.get(f.name) is not None}


def _made(cls: type, config: Mapping[str, Any], what: str) -> Any:
    """One of a dataclass, with the part of the config that it has fields for; `what` it is, for the message."""
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in needed if config.get(name) is None]
    if missing:
        raise InputError(f"{what}: got no {' and no '.join(missing)}, allowed: a number; add it to the config")
    return cls(**_taken(cls, config))


def _settings(task: Task, config: Mapping[str, Any]) -> SolveSettings:
    tolerances = _taken(SolveSettings, {name: config.get(name) for name in ("rtol", "atol", "max_steps")})
    tolerances.setdefault("atol", tolerances["rtol"])  # as in both papers
    solvers, adjoints = (SOLVERS, ADJOINTS) if task.calculus is None else (SDE_SOLVERS, SDE_ADJOINTS)
    classes: dict[str, type[Solver]] = {name: solvers[name] for name in solvers}
    of_calculus = [name for name, cls in classes.items() if cls.calculus == task.calculus]
    solver = _of_equation(task, "solver", solvers, config["solver"], of_calculus)
    controller = _made(CONTROLLERS[config["controller"]], config, f"controller {config['controller']!r}")
    kind = _of_equation(task, "adjoint", adjoints, config["adjoint"], list(adjoints))
    adjoint = _made(kind, config, f"adjoint {config['adjoint']!r}")
    if task.calculus and adjoint.is_closed and adjoint.method not in ITO_METHODS:
        raise InputError(
            f"method: got {adjoint.method!r} for a task of Ito equations, allowed: {', '.join(ITO_METHODS)}"
        )
    return SolveSettings(solver(), controller, adjoint, **tolerances)


def _of_equation(task: Task, what: str, family: Registry, name: str, allowed: list[str]) -> type:
    """The class of this name, or an `InputError` if it is for equations of another kind than the task's."""
    if name not in allowed:
        equations = "ordinary" if task.calculus is None else "Ito"
        raise InputError(
            f"{what}: got {name!r} for {type(task).__name__}, whose model solves {equations} equations, allowed: "
            f"{', '.join(allowed)}"
        )
    return family[name]


def _check_equation(task: Task, regularizer: Regularizer) -> None:
    """Raise `InputError` if a penalty is an integral along the solution, and the solution a random path."""
    wishes = regularizer.prepare((0.0, 1.0), torch.Generator())
    if task.calculus is not None and wishes.running_cost is not None:
        raise InputError(
            f"regularizer: got {type(regularizer).__name__} for {type(task).__name__}, whose model solves stochastic "
            "equations, allowed: a penalty on steps, such as error or local_error"
        )


def _names(config: Mapping[str, Any]) -> list[str]:
    return [name for name in summands(config["regularizer"]) if name != NOTHING]


def _penalties(config: Mapping[str, Any]) -> tuple[Weighted, ...]:
    return tuple(_penalty(name, own_parameters(name, config)) for name in _names(config))


def _penalty(name: str, config: Mapping[str, Any]) -> Weighted:
    regularizer: Regularizer = _made(REGULARIZERS[name], config, f"regularizer {name!r}")
    if not regularizer.is_weighted:
        return Weighted(regularizer, Constant(0.0))
    schedule = config["schedule"]
    what = f"regularizer {name!r} with the schedule {schedule!r}"
    return Weighted(regularizer, _made(SCHEDULES[schedule], config, what))
