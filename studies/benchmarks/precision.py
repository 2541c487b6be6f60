"""Each penalty in float32 against float64, by tolerance: its value and its gradient to the parameters, on equal steps.

The steps are those of an adaptive solve in float32. Weights and inputs are the same; of a random penalty the draws too.
"""

import argparse
import copy
import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from ndecore.blocks import NeuralODE
from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError, RoundingWarning
from ndecore.integrate import SolveSettings
from ndecore.observing import Grid, Wishes
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.local_stiffness import LocalStiffness
from ndecore.regularizers.predicted_steps import PredictedSteps
from ndecore.regularizers.schedules import Constant, Moment
from ndecore.regularizers.weighted import Session, Weighted
from ndecore.solution import Solution
from ndecore.solving import solve
from ndecore.status import Status
from ndecore.terms import ODETerm
from ndecore.training import TrainPlan, TrainState, train
from search_spaces.presets import load_presets
from studies.benchmarks.precision_report import Agreement, markdown
from studies.benchmarks.workloads import mnist
from studies.build import build

TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
NAMES = ("digits, untrained", "digits, trained", "spiral, untrained", "spiral, trained", "mnist-shaped")
_EPOCHS = 10  # of the trained ones
_BATCH = 32
_SEEDS = (0, 1, 2)  # of a penalty's draws
_START = Moment(0, 1, 0, 1)


@dataclass(frozen=True)
class Problem:
    """A field with its inputs, in float32."""

    name: str
    field: nn.Module
    y0: Tensor
    grid: Grid


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--only", metavar="NAME", help=f"one problem of {'; '.join(NAMES)} (default: all)")


def main(args: argparse.Namespace) -> int:
    """Measure, print and write the report."""
    if args.only not in (None, *NAMES):
        raise InputError(f"--only: got {args.only!r}, allowed: {'; '.join(NAMES)}")
    torch.set_num_threads(1)
    console, found = Console(), list[Agreement]()
    names = [name for name in NAMES if args.only in (None, name)]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(names) * len(TOLERANCES))
        for name in names:
            progress.update(bar, description=name)
            problem = _problem(name)
            for tolerance in TOLERANCES:
                found += agreements(problem, tolerance)
                text = _write(args.output / "precision", found)
                progress.advance(bar)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written: {args.output}/precision.md, .json", soft_wrap=True)
    return 0


def _write(stem: Path, found: Sequence[Agreement]) -> str:
    text = markdown(found)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    data = json.dumps([asdict(each) for each in found])
    stem.with_suffix(".json").write_text(data.replace("}, ", "},\n ") + "\n", encoding="utf-8")
    return text


def agreements(problem: Problem, tolerance: float) -> Iterator[Agreement]:
    """Each penalty at one tolerance; nothing where the solve in float32 fails."""
    for names, penalties in _penalties().items():
        is_random = any(each.regularizer.prepare(problem.grid, torch.Generator()).times for each in penalties)
        is_random |= any(getattr(each.regularizer, "sampling", "") == "biased" for each in penalties)
        for seed in _SEEDS if is_random else _SEEDS[:1]:
            agreement = _agreement(problem, tolerance, penalties, seed)
            if agreement is not None:
                yield replace(agreement, penalty=names)


def _penalties() -> dict[str, tuple[Weighted, ...]]:
    """What is compared, by the names of the presets that are the same but for their weights; then others."""
    by_penalty: dict[str, list[str]] = {}
    built: dict[str, tuple[Weighted, ...]] = {}
    for name, config in load_presets().items():
        penalties = build("digits_node", config).penalties
        if all(not each.regularizer.is_weighted for each in penalties):
            continue
        weights = [each.schedule(_START) for each in penalties if each.regularizer.is_weighted]
        key = repr([each.regularizer for each in penalties]) + repr([weight / weights[0] for weight in weights])
        by_penalty.setdefault(key, []).append(name)
        built[key] = penalties
    found = {", ".join(names): built[key] for key, names in by_penalty.items()}
    others = {
        "predicted_steps": PredictedSteps(),
        "local-unbiased, full_derivative": LocalError(full_derivative=True),
        "local-unbiased, in_float64: false": LocalError(in_float64=False),
        "local-stiffness, in_float64: false": LocalStiffness(in_float64=False),
    }
    return found | {name: (Weighted(each, Constant(1.0)),) for name, each in others.items()}


def _agreement(problem: Problem, tolerance: float, penalties: Sequence[Weighted], seed: int) -> Agreement | None:
    settings = SolveSettings(rtol=tolerance, atol=tolerance)
    session = _session(problem, penalties, seed)
    with torch.no_grad():
        solution = _solved(problem, ODETerm(problem.field), settings, replace(session.wishes, watch=None))
    if solution.status is not Status.SUCCESS or not solution.stats.n_accepted:
        return None
    equal = replace(settings, controller=StepTo(tuple(solution.records.dt.tolist())))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", RoundingWarning)
        value, gradient = _penalized(problem, equal, penalties, seed)
    double = replace(problem, field=copy.deepcopy(problem.field).double(), y0=problem.y0.double())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RoundingWarning)
        true, true_gradient = _penalized(double, equal, penalties, seed)
    cosine = torch.dot(gradient, true_gradient) / (gradient.norm() * true_gradient.norm())
    return Agreement(
        problem=problem.name,
        tolerance=tolerance,
        penalty="",
        n_steps=solution.stats.n_accepted,
        value=value / true,
        cosine=cosine.item(),
        norm=(gradient.norm() / true_gradient.norm()).item(),
        warned=any(issubclass(each.category, RoundingWarning) for each in told),
    )


def _session(problem: Problem, penalties: Sequence[Weighted], seed: int) -> Session:
    regularizers = [each.regularizer for each in penalties]
    return Session(regularizers, problem.grid, torch.Generator().manual_seed(seed))


def _solved(problem: Problem, term: ODETerm, settings: SolveSettings, wishes: Wishes) -> Solution:
    t0, *inner, t1 = wishes.grid
    return solve(
        term,
        problem.y0,
        t0,
        t1,
        settings=settings,
        ts=sorted({*inner, *wishes.times}),
        differentiable_records=wishes.differentiable_records,
        watch=wishes.watch,
        running_cost=wishes.running_cost,
        throw=False,
    )


def _penalized(
    problem: Problem, settings: SolveSettings, penalties: Sequence[Weighted], seed: int
) -> tuple[float, Tensor]:
    """The weighted penalties of a solve, and their gradient to all parameters in float64."""
    session, term = _session(problem, penalties, seed), ODETerm(problem.field)
    solution = _solved(problem, term, settings, session.wishes)
    values = session.penalties(term, settings, solution)
    total = values.dot(values.new_tensor([each.schedule(_START) for each in penalties]))
    gradients = torch.autograd.grad(total, tuple(problem.field.parameters()), allow_unused=True)
    return total.item(), torch.cat([each.double().reshape(-1) for each in gradients if each is not None])


def _problem(name: str) -> Problem:
    if name == "mnist-shaped":
        workload = mnist()
        return Problem(name, workload.field, workload.y0[:_BATCH], workload.ts)
    kind, state = name.split(", ")
    task, rate = ("digits_node", 0.2) if kind == "digits" else ("spiral_ode", 0.1)
    epochs = _EPOCHS if state == "trained" else 1
    plan = build(task, {"epochs": epochs, "learning_rate": rate, "rtol": 1e-6})
    return _of_model(name, plan, is_trained=state == "trained")


def _of_model(name: str, plan: TrainPlan, is_trained: bool) -> Problem:
    training = TrainState(plan)
    if is_trained:
        for _ in train(plan, training):
            pass
    block = next(module for module in training.model.modules() if isinstance(module, NeuralODE))
    assert isinstance(block.field, nn.Module), "these tasks' fields are"
    inputs = next(plan.task.source(plan.task.splits().train).in_order(_BATCH))["inputs"]
    assert isinstance(block.field, nn.Module), "of a task of ours"
    return Problem(name, block.field, inputs, block.t)
