"""Run a study, or what is left of it.

Finished trials stay: running the same spec again does only what is missing. Ctrl-C ends the study cleanly and keeps
what is finished. Everything is in the root folder: the ledger, the weights, and MLflow's store unless another is named.
"""

import argparse
import re
import shlex
from pathlib import Path

from rich.console import Console

from reports.pareto import front
from reports.records import StudyRecord, TrialStatus
from studies.arguments import whole_number
from studies.cli import FAILURE, INTERRUPTED
from studies.cli.front_table import print_study
from studies.cli.options import DEFAULT_ROOT, add_root, add_tracking_uri
from studies.cli.progress import StudyProgress
from studies.run import run_study
from studies.spec import NAME_PATTERN, StudySpec, load_spec
from studies.tracking import default_uri

EXAMPLES = """  nde-study run quickstart
  nde-study run my_study.yaml --trials 100 --workers 8
  nde-study run quickstart --name again --tracking-uri http://127.0.0.1:5000"""


def _study_name(text: str) -> str:
    if not re.fullmatch(NAME_PATTERN, text):
        allowed = StudySpec.model_fields["name"].description
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed: {allowed}")
    return text


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="a YAML file, or the name of a shipped study")
    parser.add_argument("--name", type=_study_name, help="run it under another name")
    parser.add_argument("--trials", type=whole_number(1), metavar="N", help="instead of the spec's")
    parser.add_argument("--workers", type=whole_number(1), metavar="N", help="trials at once, instead of the spec's")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Run, then print the front and where to go from here."""
    changes = {key: getattr(args, key) for key in ("name", "trials", "workers")}
    spec = load_spec(args.spec, {key: value for key, value in changes.items() if value is not None})
    uri = args.tracking_uri or spec.tracking_uri or default_uri(args.root)
    console = Console()
    with StudyProgress(console) as progress:
        study = run_study(spec, args.root, uri, progress)
    if not progress.has_begun:
        print(f"study {study.name} is complete already")
    print_study(study, console)
    return _conclude(study, args.root)


def _conclude(study: StudyRecord, root: Path) -> int:
    n_ended = sum(t.status not in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED) for t in study.trials)
    if n_ended < study.n_trials:
        print(f"interrupted after {n_ended} of {study.n_trials} trials; the same command goes on")
        return INTERRUPTED
    if not front(study):
        return FAILURE
    where = "" if root == DEFAULT_ROOT else f" --root {shlex.quote(str(root))}"
    print(f"browse:  nde-study ui {study.name}{where}")
    print(f"export:  nde-study export {study.name}{where} --top knee -o node.yaml")
    return 0
