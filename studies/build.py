"""Flat config -> objects: the only place where names become a task, a solver, a regularizer and a schedule."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.hyperparameters import Hyperparameters
from ndecore.integrate import SolveSettings, Tape
from ndecore.keys import keys_of
from ndecore.optimizers import check_options
from ndecore.regularizers.schedules import Constant
from ndecore.regularizers.weighted import Weighted
from ndecore.solvers import EVERY_SOLVER
from ndecore.tasks.base import Task
from ndecore.training import TrainPlan
from reports.export import ExportedConfig
from reports.records import Deployment
from search_spaces.config import Config, Penalty, read_config
from search_spaces.member_names import located, relative
from search_spaces.parameters import OPTION


def build(task_name: str, config: Mapping[str, Any], device: str = "cpu", *, folder: Path | None = None) -> TrainPlan:
    """The plan that a flat config describes; what it leaves open is the task's, the solver's, the penalty's default.

    Args:
        task_name: a name in `TASKS`, or a file such as `my_task.py`.
        config: parameter name -> value, the vocabulary of `search_spaces.parameters`; parameters that the chosen
            controller, adjoint, regularizer or schedule does not take are ignored, and those that are None.
        device: where to train.
        folder: from where files of members are looked for, a study's or an export's; from here if None.

    Raises:
        InputError: an unknown name, a value that is not allowed, a missing weight or step size, choices that do not
            work together.
    """
    return _plan(read_config(located(task_name, folder), located(config, folder)), device)


def deployed(settings: SolveSettings, deployment: Deployment) -> SolveSettings:
    """How a model that was trained with `settings` is solved in another way, by a method of ours.

    The controller stays if it adapts the step. No gradient is asked for, so the adjoint is the plain one.

    Raises:
        InputError: the solver is not of such equations, or has no error estimate: then it has no tolerance.
    """
    facts = EVERY_SOLVER.facts(deployment.solver)
    if facts.calculus != settings.solver.calculus or not facts.estimates_error:
        every = {name: EVERY_SOLVER.facts(name) for name in EVERY_SOLVER.own}
        of_equation = {name: each for name, each in every.items() if each.calculus == settings.solver.calculus}
        adaptive = ", ".join(name for name, each in of_equation.items() if each.estimates_error)
        why = "has no error estimate" if facts.calculus == settings.solver.calculus else "is for other equations"
        raise InputError(f"solver: got {deployment.solver!r}, which {why}, allowed: {adaptive}")
    return SolveSettings(
        EVERY_SOLVER[deployment.solver](),
        settings.controller if settings.controller.needs_error else IController(),
        Tape(),
        rtol=deployment.rtol,
        atol=deployment.atol,
        max_steps=settings.max_steps,
    )


def build_exported(exported: ExportedConfig, folder: Path | None = None) -> TrainPlan:
    """The plan of an exported config, with the settings by which its model is solved once it is trained.

    `folder`: where the export lies, whose files of members it names; see `build`.
    """
    plan = build(exported.task, exported.config, folder=folder)
    return replace(plan, settings=deployed(plan.settings, exported.deployment)) if exported.deployment else plan


def complete(task_name: str, config: Mapping[str, Any], folder: Path | None = None) -> dict[str, Any]:
    """The same config with every default written out, so that it means the same in another version.

    `build(task, complete(task, config))` equals `build(task, config)`; what has no effect is left out. `folder`: see
    `build`; files in it are named as the config names them.
    """
    found = _written(read_config(located(task_name, folder), located(config, folder)))
    return found if folder is None else relative(found, folder)


def _written(read: Config) -> dict[str, Any]:
    plan = _plan(read)
    settings = plan.settings
    chosen = {each.family: each.name for each in (read.solver, read.controller, read.adjoint)}
    parts = (plan.task, settings.solver, settings.controller, settings.adjoint, settings, plan.hyperparameters)
    written = {key: value for part in parts for key, value in _values(part).items()}
    penalty = {"regularizer": "+".join(each.regularizer.name for each in read.penalties) or "none"}
    for said, weighted in zip(read.penalties, plan.penalties, strict=True):
        own = _values(weighted.regularizer)
        if said.schedule is not None:
            own |= {"schedule": said.schedule.name} | _values(weighted.schedule)
        prefix = f"{said.regularizer.name}." if len(plan.penalties) > 1 else ""
        penalty |= {f"{prefix}{key}": value for key, value in own.items()}
    options = {f"{OPTION}{name}": value for name, value in plan.hyperparameters.optimizer_options.items()}
    seeds = {"n_seeds": plan.n_seeds} if plan.n_seeds > 1 else {}
    return chosen | written | options | penalty | {"seed": plan.seed, "threads": plan.threads} | seeds


def _plan(config: Config, device: str = "cpu") -> TrainPlan:
    task: Task = config.task.make()
    parts = (config.solver.make(), config.controller.make(), config.adjoint.make())
    return TrainPlan(
        task=task,
        settings=SolveSettings(*parts, **config.settings),
        hyperparameters=_hyperparameters(task.defaults, config),
        penalties=tuple(map(_weighted, config.penalties)),
        seed=config.seed,
        n_seeds=config.n_seeds,
        threads=config.threads,
        device=device,
    )


def _hyperparameters(defaults: Hyperparameters, config: Config) -> Hyperparameters:
    """The defaults with what a config says; the arguments of an optimizer are for that one alone."""
    changed = replace(defaults, **config.hyperparameters)
    own = defaults.optimizer_options if changed.optimizer == defaults.optimizer else {}
    check_options(changed.optimizer, config.optimizer_options)
    return replace(changed, optimizer_options={**own, **config.optimizer_options})


def _weighted(penalty: Penalty) -> Weighted:
    schedule = Constant(0.0) if penalty.schedule is None else penalty.schedule.make()
    return Weighted(penalty.regularizer.make(), schedule)


def _values(made: object) -> dict[str, Any]:
    """What a config says of an object: its keys with their values, but those that are open."""
    return {name: value for name in keys_of(type(made)) if (value := getattr(made, name)) is not None}
