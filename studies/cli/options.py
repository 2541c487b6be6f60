"""Options and look-ups that several subcommands share."""

import argparse
import os
from importlib import import_module
from pathlib import Path

from ndecore.errors import InputError
from reports.records import StudyRecord

DEFAULT_ROOT = Path("nde-runs")
_ROOT_VARIABLE, _URI_VARIABLE = "NDE_STUDY_ROOT", "MLFLOW_TRACKING_URI"


def add_root(parser: argparse.ArgumentParser) -> None:
    """--root: the folder of all studies."""
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(os.environ.get(_ROOT_VARIABLE, DEFAULT_ROOT)),
        metavar="DIR",
        help=f"folder of all studies (default: nde-runs, or ${_ROOT_VARIABLE})",
    )


def add_tracking_uri(parser: argparse.ArgumentParser) -> None:
    """--tracking-uri: the MLflow store or server."""
    parser.add_argument(
        "--tracking-uri",
        default=os.environ.get(_URI_VARIABLE),
        metavar="URI",
        help=f"MLflow server or store (default: ${_URI_VARIABLE}, or an SQLite file in the root folder)",
    )


def find_study(name: str, root: Path, tracking_uri: str | None) -> StudyRecord:
    """The study from its ledger where that is at hand, else from MLflow; raise `InputError` if it is nowhere."""
    # Looked up only here: optuna takes half a second to import, and not every subcommand looks for a study.
    ledger = import_module("studies.ledger")
    found: StudyRecord
    if name in ledger.study_names(root):
        found = ledger.Ledger(root / name).record()
        return found
    if tracking_uri is None:
        known = ", ".join(ledger.study_names(root)) or "none yet"
        raise InputError(
            f"no study {name!r} under {root}, there are: {known}; run it, or name a store with --tracking-uri"
        )
    # Likewise: mlflow takes over a second, and the ledger is the common case.
    found = import_module("reports.load").load_study(tracking_uri, name)
    return found
