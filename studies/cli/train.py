"""Train an exported config, and print its metrics beside those of the study it comes from."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ndecore.errors import InputError, SolveFailed
from ndecore.metrics import EpochRecord
from ndecore.training import TrainState, train
from reports.config_files import read_yaml
from reports.deployments import deployed_record
from reports.export import ExportedConfig
from studies.build import build
from studies.cli.options import add_run_code
from studies.code_files import check_trusted
from studies.sweeping import swept_points

EXAMPLES = """  nde-study export quickstart --top knee -o knee.yaml && nde-study train knee.yaml
  nde-study train knee                                    a folder from `nde-study export`"""

# Seconds depend on what else the machine does; the rest is the same on the same machine with the same versions.
_SECONDS = ("train_s", "predict_s")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, help="a YAML file from `nde-study export`, or a folder with one")
    add_run_code(parser)
    parser.add_argument("--trial", type=int, metavar="N", help="which one, if the file holds several")
    parser.add_argument("--json", action="store_true", help="print the last epoch's record as JSON")


def main(args: argparse.Namespace) -> int:
    """Train and compare."""
    chosen = _choose(read_yaml(args.config), args.trial, args.config)
    folder = args.config if args.config.is_dir() else args.config.parent
    check_trusted([chosen.task, chosen.config], folder, args.run_code)
    record = _train(chosen, folder, Console(stderr=True))
    if args.json:
        print(json.dumps(asdict(record), indent=2))
    else:
        _compare(chosen, record, Console())
    return 0


def _choose(configs: tuple[ExportedConfig, ...], trial: int | None, path: Path) -> ExportedConfig:
    numbers = ", ".join(str(config.trial) for config in configs)
    if trial is None and len(configs) > 1:
        raise InputError(f"{path}: holds trials {numbers}; name one with --trial")
    for config in configs:
        if trial in (None, config.trial):
            return config
    raise InputError(f"--trial: got {trial}, {path} holds: {numbers}")


def _train(chosen: ExportedConfig, folder: Path, console: Console) -> EpochRecord:
    """The last epoch, with its held-out values as the model is deployed."""
    plan = build(chosen.task, chosen.config, folder=folder)
    state = TrainState(plan)
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("training", total=plan.hyperparameters.last_epoch)
        for record in train(plan, state):
            progress.update(bar, advance=1, description=f"training, NFE {record.nfe:g}")
    if chosen.deployment is None:
        return record
    (point,) = swept_points(plan, state.model, chosen.trial, (chosen.deployment,))
    if not point.scores:
        raise SolveFailed(f"trained, and cannot be solved with {chosen.deployment}: {point.reason}")
    return deployed_record(record, point)


def _compare(chosen: ExportedConfig, record: EpochRecord, console: Console) -> None:
    measured = record.objectives() | ({"solver_gap": record.solver_gap} if record.solver_gap is not None else {})
    heading = f"trial {chosen.trial} of {chosen.study} ({chosen.role})"
    table = Table(box=None, header_style="bold", title=heading, title_justify="left")
    for head in ("metric", "this run", "study", ""):
        table.add_column(head, justify="left" if head == "metric" else "right")
    missed, differing = [], []
    for name, expected in chosen.expected.items():
        got = measured.get(name, float("nan"))
        is_same, is_near = got == expected, abs(got - expected) <= chosen.tolerances.get(name, 0.0)
        verdict = "same" if is_same else "" if name in _SECONDS else "close" if is_near else "differs"
        differing += [name] * (verdict in ("close", "differs"))
        missed += [name] * (verdict == "differs")
        table.add_row(name, f"{got:.6g}", f"{expected:.6g}", verdict)
    console.print(table)
    if missed:
        console.print(
            f"differs from the study: {', '.join(missed)}; "
            "an edited config trains another model, and another machine, another number of threads or other versions "
            "change the last digits, which training magnifies"
        )
    elif differing:
        console.print("reproduced: everything but the seconds is as expected, within the tolerances of the file")
    else:
        console.print("reproduced: everything but the seconds is the same to the last digit")
