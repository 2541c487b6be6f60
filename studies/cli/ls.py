"""List the studies that were run, with how far they came."""

import argparse
import json

from rich.console import Console
from rich.table import Table

from reports.pareto import front, study_hypervolume
from reports.records import StudyRecord, TrialStatus
from studies.cli.options import add_root
from studies.ledger import Ledger, study_names

EXAMPLES = """  nde-study ls
  nde-study ls --json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Print one line per study."""
    studies = [Ledger(args.root / name).record() for name in study_names(args.root)]
    rows = [_row(study) for study in studies]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    if not rows:
        print(f"no study under {args.root} yet; try: nde-study run quickstart")
        return 0
    table = Table(box=None, header_style="bold")
    for head in rows[0]:
        table.add_column(head)
    for row in rows:
        table.add_row(*(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)
    return 0


def _row(study: StudyRecord) -> dict[str, str | int | float]:
    complete = sum(trial.status is TrialStatus.COMPLETE for trial in study.trials)
    return {
        "study": study.name,
        "task": study.task,
        "complete": complete,
        "other": len(study.trials) - complete,
        "asked for": study.n_trials,
        "front": len(front(study)),
        "hypervolume": study_hypervolume(study),
    }
