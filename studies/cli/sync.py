"""Bring MLflow up to date with a study's ledger, after an outage say. Nothing is added twice."""

import argparse
from pathlib import Path

from reports.records import StudyRecord, TrialStatus
from studies.cli.options import add_root, add_tracking_uri
from studies.ledger import Ledger, study_names
from studies.run import sync_study

EXAMPLES = """  nde-study sync quickstart
  nde-study sync quickstart --rebuild                                 where its store was damaged
  nde-study sync quickstart --tracking-uri http://127.0.0.1:5000      from now on the study is tracked there"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="make the SQLite store anew from the ledgers; the old file stays beside",
    )
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Sync and say where the study is tracked."""
    study = sync_study(args.study, args.root, args.tracking_uri, args.rebuild)
    if args.rebuild:
        _sync_others(study, args.root)
    n_ended = sum(trial.status not in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED) for trial in study.trials)
    print(f"{study.tracking_uri} has all of {study.name}: {len(study.trials)} trials, {n_ended} of them ended")
    return 0


def _sync_others(study: StudyRecord, root: Path) -> None:
    """The store had the other studies of the root, too."""
    for name in study_names(root):
        if name != study.name and Ledger(root / name).tracking.uri == study.tracking_uri:
            sync_study(name, root, None)
            print(f"also sent: {name}")
