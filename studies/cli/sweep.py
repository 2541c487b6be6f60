"""Solve the trained models of the front by other methods and at other tolerances, without training.

Each trial becomes a curve of accuracy against NFE, with its solver gap. What was swept already is not solved again.
"""

import argparse

import torch
from rich.console import Console
from rich.table import Table

from ndecore.errors import InputError
from reports.deployments import cheapest_point, points_of
from reports.records import StudyRecord, TrialRecord
from reports.wording import gap_text, value_text
from studies.arguments import TOLERANCES_ALLOWED, names, tolerances, whole_number
from studies.build import build
from studies.cli.options import add_root, print_json, root_option
from studies.confirmation import trials_that_matter
from studies.ledger import Ledger, open_ledger
from studies.run import sync_study
from studies.sweeping import deployments, swept_points
from studies.weights import trained_model

EXAMPLES = """  nde-study sweep quickstart
  nde-study sweep quickstart --rtol 1e-8..1e-1 --solver tsit5,dopri5,bosh3
  nde-study sweep quickstart --trial 7 --rtol 1e-3,3e-3,1e-2 --json"""
_RTOL, _SOLVERS = "1e-8..1e-1", "tsit5,dopri5,bosh3"
_RTOL_SDE, _SOLVERS_SDE = "1e-3..1", "sosri,sosri2"  # a strong order of 1.5 is far from 1e-8


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument(
        "--rtol",
        type=tolerances,
        metavar="LIST",
        help=f"{TOLERANCES_ALLOWED} (default: {_RTOL}; of a stochastic task {_RTOL_SDE})",
    )
    parser.add_argument(
        "--solver",
        type=names,
        metavar="LIST",
        help=f"default: {_SOLVERS}; of a stochastic task {_SOLVERS_SDE}",
    )
    parser.add_argument(
        "--trial", type=whole_number(0), metavar="N", help="this one (default: the front and the vanilla baseline)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, every number with all its digits")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Sweep, then print the cheapest way to solve each trial."""
    ledger, told = open_ledger(args.study, args.root), Console(stderr=args.json)
    with ledger.writing():
        trials = _trials(ledger.record(), args.trial)
        for trial in trials:
            with told.status(f"trial {trial.number}"):
                _sweep(ledger, trial, args)
    study = ledger.record()
    if args.json:
        print_json([point for trial in trials for point in points_of(study, trial.number)])
    else:
        _print(study, trials, Console())
        print(f"export:  nde-study export {study.name}{root_option(args.root)} --top knee --deploy cheapest -o knee")
    sync_study(args.study, args.root, None)
    return 0


def _trials(study: StudyRecord, number: int | None) -> tuple[TrialRecord, ...]:
    if number is None:
        return trials_that_matter(study)
    found = tuple(t for t in study.trials if t.number == number and t.values(study.objectives) is not None)
    if not found:
        raise InputError(f"--trial: got {number}, allowed: the number of a trial that completed")
    return found


def _sweep(ledger: Ledger, trial: TrialRecord, args: argparse.Namespace) -> None:
    """One event per trial: all of its points or none."""
    device = "cuda" if ledger.spec.resources.gpu and torch.cuda.is_available() else "cpu"
    plan = build(ledger.spec.task, trial.config, device, folder=ledger.folder)
    rtol, solvers = (_RTOL, _SOLVERS) if plan.task.calculus is None else (_RTOL_SDE, _SOLVERS_SDE)
    wanted = deployments(plan, args.solver or names(solvers), args.rtol or tolerances(rtol))
    left = [each for each in wanted if (trial.number, each) not in ledger.history.swept]
    if left:
        model = trained_model(plan, ledger.whole_weights(trial.number))
        ledger.swept(list(swept_points(plan, model, trial.number, left)))


def _print(study: StudyRecord, trials: tuple[TrialRecord, ...], console: Console) -> None:
    metric = study.metric(next(iter(trials[0].epochs[-1].scores)))  # the task's first
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("trial", "trained with", metric.name, "NFE", "deployed with", metric.name, "NFE", "gap"):
        table.add_column(head, justify="right", no_wrap=True)
    for trial in trials:
        last, points = trial.epochs[-1], points_of(study, trial.number)
        best = cheapest_point(trial, points, study.max_solver_gap, study.thresholds)
        own = [f"{trial.config['solver']} at {trial.config['rtol']:.1e}", value_text(metric, last.scores[metric.name])]
        deployed = ["nothing within bounds", "", "", ""]
        if best:
            measured = value_text(metric, best.scores[metric.name])
            deployed = [str(best.deployment), measured, f"{best.nfe:g}", gap_text(best.solver_gap)]
        table.add_row(str(trial.number), *own, f"{last.nfe:g}", *deployed)
    console.print(table)
    within = f"a solver gap within {study.max_solver_gap:g}"
    console.print(f"deployed with: the fewest evaluations with {within}; --json has every point", highlight=False)
