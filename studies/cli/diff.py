"""Compare two studies, trials or configs: what was asked for differently, and what came of it.

A and B are names of studies, trials as NAME:NUMBER, or YAML files: specs of studies, or exported configs.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ndecore.errors import InputError
from ndecore.metrics import METRICS, Metric
from reports.choice import knee_trial
from reports.config_files import read_yaml
from reports.pareto import best, front, study_hypervolume
from reports.records import StudyRecord, TrialRecord, TrialStatus
from reports.wording import gap_text, value_text
from studies.cli.options import add_root, add_tracking_uri, find_study
from studies.cli.terminal import table_of, terminal
from studies.ledger import Ledger, study_names
from studies.spec import load_spec

EXAMPLES = """  nde-study diff quickstart again
  nde-study diff quickstart:0 quickstart:12
  nde-study diff quickstart:12 node.yaml --json"""

Flat = Mapping[str, Any]


@dataclass(frozen=True)
class _Side:
    """One of the two that are compared."""

    settings: Flat  # what was asked for
    results: Flat  # what came of it, empty for a study: that depends on the other
    study: StudyRecord | None = None


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("a", metavar="A", help="a study, a trial as NAME:NUMBER, or a YAML file")
    parser.add_argument("b", metavar="B", help="what to compare it with")
    parser.add_argument("--json", action="store_true", help="print JSON, every number with all its digits")
    add_root(parser)
    add_tracking_uri(parser)


def main(args: argparse.Namespace) -> int:
    """Print what differs; two that are the same differ in nothing, which is no failure."""
    a, b = (_side(text, args) for text in (args.a, args.b))
    settings = _differing(a.settings, b.settings)
    results = _differing(*(_results(one, other) for one, other in ((a, b), (b, a))))
    if args.json:
        print(json.dumps({"settings": settings, "results": results}, indent=2))
        return 0
    console = terminal()
    metrics = {**METRICS, **(a.study.by_name if a.study else {}), **(b.study.by_name if b.study else {})}
    if not settings and not results:
        console.print("no difference")
    for heading, rows in (("setting", settings), ("result", results)):
        table = table_of((heading, args.a, args.b))
        for key, pair in rows.items():
            table.add_row(key, *(_text(key, value, metrics) for value in pair))
        if rows:
            console.print(table)
    return 0


def _side(text: str, args: argparse.Namespace) -> _Side:
    if text.endswith((".yaml", ".yml")):
        return _file(Path(text))
    name, colon, number = text.partition(":")
    study = find_study(name, args.root, args.tracking_uri)
    if colon:
        trial = next((t for t in study.trials if str(t.number) == number), None)
        if trial is None:
            raise InputError(f"{text}: study {name!r} has trials 0 to {len(study.trials) - 1}, and none is {number!r}")
        return _Side({"task": study.task, **trial.config}, _measured(trial))
    known = args.root / name if name in study_names(args.root) else None
    spec = Ledger(known).spec.to_yaml() if known else None
    return _Side(_flat(yaml.safe_load(spec)) if spec else {"task": study.task}, {}, study)


def _file(path: Path) -> _Side:
    try:
        document = next(iter(yaml.safe_load_all(path.read_text(encoding="utf-8"))), None)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    if isinstance(document, dict) and "config" in document:
        config, *others = read_yaml(path)
        if others:
            raise InputError(f"{path}: holds {1 + len(others)} configs, allowed: one; export them into a folder")
        return _Side({"task": config.task, **config.config}, config.expected)
    return _Side(_flat(yaml.safe_load(load_spec(str(path)).to_yaml())), {})


def _flat(document: Any, prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys; lists stay whole."""
    found: dict[str, Any] = {}
    for key, value in document.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _measured(trial: TrialRecord) -> dict[str, Any]:
    if not trial.epochs:
        return {"status": trial.status.value}
    last = trial.epochs[-1]
    return {"status": trial.status.value, **last.objectives(), "solver_gap": last.solver_gap}


def _results(side: _Side, other: _Side) -> Flat:
    if side.study is None or other.study is None or side.study.objectives != other.study.objectives:
        return side.results
    study = side.study
    both = replace(study, trials=(*study.trials, *other.study.trials))
    found: dict[str, Any] = {
        "complete": sum(trial.status is TrialStatus.COMPLETE for trial in study.trials),
        "front": len(front(study)),
        "hypervolume in one box": study_hypervolume(study, both),
    }
    for metric in study.objectives if front(study) else ():
        found[f"best {metric.name}"] = best(study, metric).epochs[-1].objectives()[metric.name]
    knee = _measured(knee_trial(study)) if front(study) else {}
    return found | {f"knee {name}": value for name, value in knee.items() if name in study.by_name}


def _differing(a: Flat, b: Flat) -> dict[str, tuple[Any, Any]]:
    """What stands otherwise in the two; None where one does not have it."""
    return {key: (a.get(key), b.get(key)) for key in {**a, **b} if a.get(key) != b.get(key)}


def _text(key: str, value: Any, metrics: Mapping[str, Metric]) -> str:
    name = key.rpartition(" ")[2]
    if isinstance(value, int | float) and not isinstance(value, bool):
        if name in metrics:
            return value_text(metrics[name], value)
        return gap_text(value) if name == "solver_gap" else f"{value:.4g}"
    return "" if value is None else str(value)
