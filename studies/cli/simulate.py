"""Run a study on recorded learning curves, in simulated time: what it would find, and how long it would take.

Sampler, early stopping rule and ledger are those of a real run; nothing is trained, and Ray is not started. A config
that was not recorded measures what a random forest over the curves predicts (its error is told), or what the nearest
recorded config did. Nothing of it is kept.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from ndecore.errors import InputError
from reports.records import TrialStatus
from studies.arguments import whole_number
from studies.cli.options import add_root, print_json
from studies.earlier import front_configs
from studies.ledger import open_ledger, study_names
from studies.simulation.course import Course, course, recorded_scale
from studies.simulation.recorded import RecordedCurve, curves_of_study, read_table
from studies.simulation.run import Simulated, in_memory
from studies.simulation.worlds import Forest, Nearest, World
from studies.spec import StudySpec, load_spec

EXAMPLES = """  nde-study simulate my_study.yaml --curves finished_study --workers 1,8,64,1000
  nde-study simulate my_study.yaml --curves curves.jsonl.gz --trials 500 --seeds 10 --rule rate"""

_PARTS = (0.25, 0.5, 1.0)  # of the epochs, at which hypervolume is told


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("spec", help="a YAML file, or the name of a shipped study")
    parser.add_argument("--curves", required=True, help="a finished study, or a table: a .jsonl or .jsonl.gz file")
    parser.add_argument("--workers", type=_numbers, default=(1,), metavar="N,N", help="trials at once (default: 1)")
    parser.add_argument(
        "--seeds", type=whole_number(1), default=1, metavar="N", help="studies, from the spec's seed on"
    )
    parser.add_argument("--trials", type=whole_number(1), metavar="N", help="instead of the spec's")
    parser.add_argument("--epochs", type=whole_number(1), metavar="N", help="of all trials; then no further one begins")
    parser.add_argument("--sampler", help="instead of the spec's")
    parser.add_argument("--rule", help="of early stopping, instead of the spec's")
    parser.add_argument("--world", choices=("forest", "nearest"), default="forest", help="what fills in between curves")
    parser.add_argument("--json", action="store_true", help="print JSON, with the whole course of each study")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Simulate, and print what came of it."""
    changes = {"trials": args.trials, "sampler": args.sampler, "early_stopping": args.rule}
    given = {key: value for key, value in changes.items() if value is not None}
    spec = load_spec(args.spec, given, partial(front_configs, args.root))
    curves = _curves(args.curves, spec, args.root)
    world: World = Nearest(curves) if args.world == "nearest" else Forest(curves, spec.scores, spec.seed)
    scale = recorded_scale(curves, spec)
    runs = [(workers, spec.seed + seed) for workers in args.workers for seed in range(args.seeds)]
    console = Console(stderr=True)
    found = []
    for workers, seed in track(runs, "simulating", console=console, transient=True, disable=not console.is_terminal):
        own = spec.model_copy(update={"seed": seed, "storage": None})
        run = in_memory(own, world, workers, args.epochs)
        found.append((seed, run, course(run.study, scale, 1.0)))
    if args.json:
        print_json(_data(world, found))
    else:
        _print(spec, curves, world, found)
    return 0


def _curves(name: str, spec: StudySpec, root: Path) -> tuple[RecordedCurve, ...]:
    if Path(name).suffix in (".jsonl", ".gz"):
        return read_table(Path(name), spec.task)
    if name not in study_names(root):
        known = ", ".join(study_names(root)) or "none yet"
        raise InputError(
            f"--curves: got {name!r}, allowed: a .jsonl or .jsonl.gz file, or a study under {root}: {known}"
        )
    found = curves_of_study(open_ledger(name, root))
    if not found:
        raise InputError(f"--curves: got study {name!r}, which has no complete trial yet")
    return found


def _numbers(text: str) -> tuple[int, ...]:
    parse = whole_number(1)
    return tuple(dict.fromkeys(parse(part) for part in text.split(",")))


def _print(
    spec: StudySpec, curves: Sequence[RecordedCurve], world: World, found: Sequence[tuple[int, Simulated, Course]]
) -> None:
    console = Console()
    print(f"{spec.name}: {spec.sampler}, {spec.early_stopping.rule}, {len(curves)} recorded curves of {spec.task}")
    if isinstance(world, Forest):
        told = ", ".join(f"{name} {error:.2f}" for name, error in world.errors.items())
        print(f"the forest explains, of configs that it has not seen (R^2 at the last epoch): {told}")
    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    heads = ("workers", "seed", "trials", "stopped", "epochs", "hours", "idle", "ms")
    for head in (*heads, *(f"{part:.0%}" for part in _PARTS)):
        table.add_column(head, justify="right", no_wrap=True)
    for seed, run, own in found:
        n_stopped = Counter(trial.status for trial in run.study.trials)[TrialStatus.STOPPED]
        cells = [str(run.workers), str(seed), str(len(run.study.trials)), str(n_stopped), str(run.epochs)]
        cells += [f"{run.seconds / 3600:.3g}", f"{run.idle:.1%}", f"{1000 * run.proposal_s:.1f}"]
        shares = own.at_epochs([part * run.epochs for part in _PARTS])
        table.add_row(*cells, *(f"{share:.3f}" for share in shares))
    console.print(table)
    print(
        "Hours are simulated, without the driver's; idle is the workers' time without a trial, most of it at the end."
    )
    print(
        "Ms: of the driver for a proposal. At a part of the epochs: hypervolume, costs by their logarithms, a share of"
    )
    print("the box of recorded ends; above 1 it is beyond them.")


def _data(world: World, found: Sequence[tuple[int, Simulated, Course]]) -> dict[str, Any]:
    return {
        "r_squared": world.errors if isinstance(world, Forest) else None,
        "studies": [
            {
                "workers": run.workers,
                "seed": seed,
                "trials": dict(Counter(trial.status.value for trial in run.study.trials)),
                "epochs": run.epochs,
                "seconds": run.seconds,
                "idle": run.idle,
                "proposal_s": run.proposal_s,
                "course": {name: getattr(own, name).tolist() for name in ("epochs", "seconds", "shares")},
            }
            for seed, run, own in found
        ],
    }
