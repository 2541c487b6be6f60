"""Run a study, or what is left of it.

Finished trials stay: running the same spec again does only what is missing. Ctrl-C ends the study cleanly and keeps
what is finished. Everything is in the root folder: the ledger, the weights, and MLflow's store unless another is named.
"""

import argparse
import shlex
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

from rich.console import Console

from reports.pareto import front
from reports.records import StudyRecord, TrialStatus
from studies.asked import More
from studies.cli import FAILURE, INTERRUPTED
from studies.cli.detached import add_detach, detach, is_to_detach, news_of
from studies.cli.front_table import print_study
from studies.cli.options import DEFAULT_ROOT, root_option
from studies.cli.place import Trials, add_place, place_of, study_name, trials
from studies.cli.progress import StudyProgress
from studies.cli.tried import add_debug, try_spec
from studies.earlier import front_configs
from studies.spec import load_spec

EXAMPLES = """  nde-study run quickstart
  nde-study run my_study.yaml --trials 100 --workers 8
  nde-study run my_study.yaml --detach        in a process of its own; see `attach` and `stop`
  nde-study run quickstart --trials +50
  nde-study run my_study.yaml --address 10.0.0.1:6379
  nde-study run quickstart --name again --tracking-uri http://127.0.0.1:5000"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="a YAML file, or the name of a shipped study")
    parser.add_argument("--name", type=study_name, help="run it under another name")
    parser.add_argument("--trials", type=trials, metavar="N", help="instead of the spec's; +N adds to a study's")
    add_debug(parser)
    add_detach(parser)
    add_place(parser)


def main(args: argparse.Namespace) -> int:
    """Run, then print the front and where to go from here."""
    if is_to_detach(args):
        return detach("run", args)
    asked = args.trials or Trials(None, 0)
    changes = {"name": args.name, "trials": asked.total, "workers": args.workers, "storage": args.storage}
    given = {key: value for key, value in changes.items() if value is not None}
    fronts = partial(front_configs, args.root)
    try_spec(args, given, fronts)
    spec = load_spec(args.spec, given, fronts)
    more = More(trials=asked.added)
    where = place_of(args, spec.tracking_uri)
    return watched(args, lambda driver, on_change: driver.run_study(spec, where, on_change, more))


def watched(args: argparse.Namespace, run: Callable[[ModuleType, Callable[[StudyRecord], None]], StudyRecord]) -> int:
    """Run with a view of the progress, then print the front and where to go from here; return the exit code.

    Args:
        args: of the command.
        run: called with `studies.run` and what it is to tell of each change.
    """
    console = Console()
    driver = import_module("studies.run")  # torch, ray and mlflow: not for who asks for --help, or has made a mistake
    with StudyProgress(console) as progress:
        study = run(driver, news_of(args, progress))
    if not progress.has_begun:
        print(f"study {study.name} is complete already")
    return conclude(study, args.root, console)


def conclude(study: StudyRecord, root: Path, console: Console) -> int:
    """Print the front of a study that has ended, and where to go from here; return the exit code."""
    print_study(study, console)
    n_ended = sum(t.status not in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED) for t in study.trials)
    if study.stopped:
        print(f"ended after {n_ended} of {study.n_trials} trials: {study.stopped}")
    elif n_ended < study.n_trials:
        print(f"interrupted after {n_ended} of {study.n_trials} trials; the same command goes on")
        return INTERRUPTED
    retried = {t.parent for t in study.trials}
    n_failed = sum(t.status is TrialStatus.FAILED and t.number not in retried for t in study.trials)
    if n_failed:
        again = f"nde-study resume {study.name}{root_option(root)} --retry-failed"
        count = f"{n_failed} trial{'s' * (n_failed > 1)} failed"
        print(f"{count}, tracebacks: {root / study.name}/trials/*/error.txt; after a fix: {again}")
    n_stopped = sum(t.status is TrialStatus.STOPPED for t in study.trials)
    if n_stopped:
        again = f"nde-study resume {study.name}{root_option(root)} --take-up all"
        print(f"{n_stopped} trial{'s' * (n_stopped > 1)} stopped early; to train them to their end: {again}")
    if not front(study):
        return FAILURE
    where = "" if root == DEFAULT_ROOT else f" --root {shlex.quote(str(root))}"
    print(f"browse:  nde-study ui {study.name}{where}")
    print(f"export:  nde-study export {study.name}{where} --top knee -o knee.yaml")
    print(f"confirm: nde-study confirm {study.name}{where}    # new seeds, the test split: before you publish")
    return 0
