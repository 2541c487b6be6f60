"""Bring MLflow up to date with a study's ledger, after an outage say. Nothing is added twice."""

import argparse

from reports.records import TrialStatus
from studies.cli.options import add_root, add_tracking_uri
from studies.run import sync_study

EXAMPLES = """  nde-study sync quickstart
  nde-study sync quickstart --tracking-uri http://127.0.0.1:5000      from now on the study is tracked there"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Sync and say where the study is tracked."""
    study = sync_study(args.study, args.root, args.tracking_uri)
    n_ended = sum(trial.status not in (TrialStatus.RUNNING, TrialStatus.INTERRUPTED) for trial in study.trials)
    print(f"{study.tracking_uri} has all of {study.name}: {len(study.trials)} trials, {n_ended} of them ended")
    return 0
