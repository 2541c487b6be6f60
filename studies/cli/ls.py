"""List the studies that were run, with what they are doing, how far they came and what they take of the disk."""

import argparse
import json

from ndecore.errors import NDEError
from reports.pareto import front, study_hypervolume
from reports.records import TrialStatus
from studies.cli.options import add_root
from studies.cli.terminal import table_of, terminal
from studies.disk import bytes_text, study_bytes
from studies.ledger import Ledger, study_names

EXAMPLES = """  nde-study ls
  nde-study ls --json"""

_HEADS = ("study", "task", "status", "complete", "other", "front", "hypervolume", "disk")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_root(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def main(args: argparse.Namespace) -> int:
    """Print one line per study."""
    rows, damaged = [], []
    for name in study_names(args.root):
        try:
            rows.append(_row(Ledger(args.root / name)))
        except NDEError as error:  # one that cannot be read hides no other
            damaged.append(str(error))
    _print(rows, args)
    if damaged:
        raise NDEError("\n".join(damaged))
    return 0


def _print(rows: list[dict[str, str | int | float]], args: argparse.Namespace) -> None:
    if args.json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print(f"no study under {args.root} yet; try: nde-study run quickstart")
        return
    table = table_of(_HEADS, right=_HEADS[3:])
    for row in rows:
        shown = row | {
            "complete": f"{row['complete']} of {row['asked for']}",
            "hypervolume": f"{row['hypervolume']:.3f}",
            "disk": bytes_text(float(row["bytes"])),
        }
        table.add_row(*(str(shown[head]) for head in _HEADS))
    terminal().print(table)


def _row(ledger: Ledger) -> dict[str, str | int | float]:
    study = ledger.record()
    complete = sum(trial.status is TrialStatus.COMPLETE for trial in study.trials)
    return {
        "study": study.name,
        "task": study.task,
        "status": ledger.state,
        "complete": complete,
        "other": len(study.trials) - complete,
        "asked for": study.n_trials,
        "front": len(front(study)),
        "hypervolume": study_hypervolume(study),
        "bytes": study_bytes(ledger.folder),
    }
