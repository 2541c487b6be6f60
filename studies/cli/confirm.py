"""Train the front, and the vanilla baseline, again with new seeds, one at a time, and judge them on the test split.

What the search found best of many is flattered by its luck; the confirmed front is the one to publish. Each training
is kept as it ends: after Ctrl-C or a crash the same command goes on.
"""

import argparse
import math
import os
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from ndecore.metrics import Metric
from reports.confirmed import front_sentence
from reports.confirmed_table import confirmed_metrics, confirmed_rows
from reports.records import Confirmation, StudyRecord
from reports.statistics import Interval
from reports.wording import value_text
from studies.arguments import whole_number
from studies.cli import INTERRUPTED
from studies.cli.options import add_root, print_json, root_option
from studies.confirmation import Standing, confirm
from studies.ledger import open_ledger
from studies.run import sync_study

EXAMPLES = """  nde-study confirm quickstart
  nde-study confirm quickstart --seeds 10
  nde-study confirm quickstart --json | jq '.[] | select(.is_knee)'"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("study", help="its name; `nde-study ls` lists them")
    parser.add_argument(
        "--seeds",
        type=whole_number(1),
        default=5,
        metavar="N",
        help="new seeds of each trial, earlier ones included; of fewer than five the intervals are very wide",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, every number with all its digits")
    add_root(parser)


def main(args: argparse.Namespace) -> int:
    """Train, then print what the seeds say."""
    ledger, told = open_ledger(args.study, args.root), Console(stderr=args.json)
    if os.getloadavg()[0] >= 1.0:
        told.print(
            "this machine is busy with other programs: training and prediction seconds will be too long", style="yellow"
        )
    with ledger.writing():
        try:
            with _Watch(told, ledger.record().by_name) as watch:
                study = confirm(ledger, args.seeds, watch)
        except KeyboardInterrupt:
            told.print(f"interrupted {watch.so_far}; the same command goes on")
            return INTERRUPTED
    if args.json:
        print_json(confirmed_rows(study))
    else:
        print_confirmed(study, Console())
        print(f"export:  nde-study export {study.name}{root_option(args.root)} --top knee -o knee")
    sync_study(args.study, args.root, None)
    return 0


class _Watch:
    """The progress: a bar on a terminal, else a line per training."""

    def __init__(self, console: Console, metrics: Mapping[str, Metric]) -> None:
        self._console, self._metrics = console, metrics
        self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task("confirming", total=None)
        self.so_far = "before the first training ended"

    def __enter__(self) -> "_Watch":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, standing: Standing) -> None:
        epochs = standing.trial.config["epochs"]
        where = f"trial {standing.trial.number}, seed {standing.seed}"
        done = standing.n_done + (0.0 if standing.found else standing.epoch / epochs)
        doing = f"{where}, epoch {standing.epoch} of {epochs}"
        self._bar.update(self._task, description=doing, total=standing.n_asked, completed=done)
        if standing.found:
            self.so_far = f"after {standing.n_done} of {standing.n_asked} trainings"
            line = f"[{standing.n_done}/{standing.n_asked}] {where}: {_told(standing.found, self._metrics)}"
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _told(found: Confirmation, metrics: Mapping[str, Metric]) -> str:
    if found.test is None:
        return f"{found.status.value}: {found.reason}"
    measured = found.test.objectives()
    names = (*found.test.scores, "nfe", "train_s")
    return "test " + ", ".join(f"{name} {value_text(metrics[name], measured[name])}" for name in names)


def print_confirmed(study: StudyRecord, console: Console) -> None:
    """Print which front is published, and its rows: means with 95 % intervals over the seeds."""
    console.print(front_sentence(study), highlight=False)
    metrics = confirmed_metrics(study)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("trial", *(metric.name for metric in metrics), "on front"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for row in confirmed_rows(study):
        cells = [_interval_text(m, row.intervals[m.name]) if row.intervals else "" for m in metrics]
        marks = ["◆ knee"] * row.is_knee + [row.label] * bool(row.label) + [row.reason] * bool(row.reason)
        sure = "" if math.isnan(row.probability) else f"{100 * row.probability:.0f} %"
        table.add_row(str(row.trial), *cells, sure, " ".join(marks), style="bold" if row.is_knee else "")
    console.print(table)
    console.print(
        "means over the new seeds [95 % intervals], measured on the test split", markup=False, highlight=False
    )


def _interval_text(metric: Metric, interval: Interval) -> str:
    mean, half = interval.mean, interval.high - interval.mean
    if math.isnan(half):
        return value_text(metric, mean)
    if metric.is_share:
        return f"{100 * mean:.2f}±{100 * half:.2f} %"
    return f"{mean:.3g}±{half:.2g}"
