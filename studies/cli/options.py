"""Options and look-ups that several subcommands share."""

import argparse
import json
import math
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

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


def add_run_code(parser: argparse.ArgumentParser) -> None:
    """--run-code: trust the files of a task of somebody's own that come with a config."""
    parser.add_argument(
        "--run-code", action="store_true", help="run the code that comes with it, of a task that is not ours"
    )


def print_json(data: Any) -> None:
    """Print data classes, lists and mappings of them as JSON, every number with all its digits; NaN as null."""
    print(json.dumps(_plain(data), indent=2, allow_nan=False))


def _plain(data: Any) -> Any:
    if is_dataclass(data) and not isinstance(data, type):
        return _plain(asdict(data))
    if isinstance(data, Mapping):
        return {key: _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return list(map(_plain, data))
    return None if isinstance(data, float) and not math.isfinite(data) else data


def root_option(root: Path) -> str:
    """What a command that we suggest needs to find the same studies; with a space before it, or nothing."""
    return "" if root == DEFAULT_ROOT else f" --root {shlex.quote(str(root))}"


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
