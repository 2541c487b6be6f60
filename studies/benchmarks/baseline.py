"""One published penalty against the unregularized model, like for like and not the best of many.

P1's coded error penalty (preset er-code, 100 -> 10) is fixed in advance. Everything else is the same: task, tolerances
1e-6, epochs, and a learning rate tuned for the unregularized model on other seeds. Runs go one at a time, the two in
turn.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from ndecore.metrics import EpochRecord
from ndecore.models.base import SolveRequest
from ndecore.training import TrainPlan, TrainState, train
from reports.statistics import Interval, difference_interval, ratio_interval
from search_spaces.presets import load_presets
from studies.arguments import whole_number
from studies.benchmarks.machine import machine_lines
from studies.build import build

_TASK, _PRESET, _TOLERANCE = "digits_node", "er-code", 1e-6
_LEARNING_RATES = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
_TUNING_SEEDS = (100, 101)  # none of those that are compared
_PREDICTION_ROUNDS = 21
_RATIOS = {
    "nfe": "NFE, held-out",
    "nfe_train": "NFE, training (last epoch)",
    "train_s": "training time, s",
    "train_work": "training work, evaluations",
    "predict_s": "prediction time per batch, s",
}


@dataclass(frozen=True)
class Run:
    """One training, and the time of one prediction of the held-out batch."""

    record: EpochRecord
    predict_s: float


@dataclass(frozen=True)
class Comparison:
    """What was measured, seed by seed in the same order."""

    learning_rate: float
    tuning: Mapping[float, float]  # learning rate -> mean validation loss of the unregularized model, nats
    epochs: int
    vanilla: tuple[Run, ...]
    preset: tuple[Run, ...]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seeds", type=whole_number(2), default=5, metavar="N", help="compared, from 0 (default: 5)")
    parser.add_argument(
        "--epochs", type=whole_number(1), default=75, metavar="N", help="of a run (default: 75, as in P1)"
    )


def main(args: argparse.Namespace) -> int:
    """Measure, print and write the report."""
    console = Console()
    with Progress(console=Console(stderr=True), transient=True) as progress:
        comparison = _compare(args.seeds, args.epochs, progress)
    text = _markdown(comparison)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    (args.output / "baseline.md").write_text(text, encoding="utf-8")
    (args.output / "baseline.json").write_text(json.dumps(_measurements(comparison), indent=1) + "\n", encoding="utf-8")
    console.print(f"written: {args.output / 'baseline.md'}, {args.output / 'baseline.json'}", soft_wrap=True)
    return 0


def _compare(n_seeds: int, epochs: int, progress: Progress) -> Comparison:
    bar = progress.add_task("tuning the baseline", total=len(_LEARNING_RATES) * len(_TUNING_SEEDS) + 2 * n_seeds)
    tuning = {}
    for rate in _LEARNING_RATES:
        losses = []
        for seed in _TUNING_SEEDS:
            losses.append(_train(_plan("vanilla", rate, epochs, seed))[1].scores["loss"])
            progress.advance(bar)
        tuning[rate] = statistics.fmean(losses)
    # By the loss: accuracy moves in steps of 1/360, and rates a factor 5 apart tie in it.
    best = min(tuning, key=lambda rate: tuning[rate])
    runs: dict[str, list[Run]] = {"vanilla": [], _PRESET: []}
    for seed in range(n_seeds):
        progress.update(bar, description=f"seed {seed} of {n_seeds}")
        order = ("vanilla", _PRESET) if seed % 2 == 0 else (_PRESET, "vanilla")
        plans = {name: _plan(name, best, epochs, seed) for name in order}
        trained = {}
        for name in order:
            trained[name] = _train(plans[name])
            progress.advance(bar)
        seconds = _prediction_seconds({name: (plans[name], trained[name][0]) for name in order})
        for name in order:
            runs[name].append(Run(trained[name][1], seconds[name]))
    return Comparison(best, tuning, epochs, tuple(runs["vanilla"]), tuple(runs[_PRESET]))


def _plan(preset: str, learning_rate: float, epochs: int, seed: int) -> TrainPlan:
    same = {"rtol": _TOLERANCE, "atol": _TOLERANCE, "learning_rate": learning_rate, "epochs": epochs, "seed": seed}
    return build(_TASK, dict(load_presets()[preset]) | same)


def _train(plan: TrainPlan) -> tuple[TrainState, EpochRecord]:
    state = TrainState(plan)
    *_, last = train(plan, state)
    return state, last


def _prediction_seconds(trained: Mapping[str, tuple[TrainPlan, TrainState]]) -> dict[str, float]:
    """Median wall seconds of predicting the held-out batch, the models in turn: both meet the same disturbances."""
    seconds: dict[str, list[float]] = {name: [] for name in trained}
    held_out = {name: plan.task.splits().validation.inputs for name, (plan, _) in trained.items()}
    with torch.no_grad():
        for _ in range(_PREDICTION_ROUNDS):
            for name, (plan, state) in trained.items():
                began = time.perf_counter()
                state.model(held_out[name], SolveRequest(plan.settings))
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _columns(runs: tuple[Run, ...]) -> dict[str, list[float]]:
    return {
        "accuracy": [run.record.scores["accuracy"] for run in runs],
        "nfe": [run.record.nfe for run in runs],
        "nfe_train": [run.record.nfe_train for run in runs],
        "train_s": [run.record.train_s for run in runs],
        "train_work": [run.record.train_work for run in runs],
        "predict_s": [run.predict_s for run in runs],
        "solver_gap": [run.record.solver_gap or 0.0 for run in runs],
    }


def _measurements(comparison: Comparison) -> dict[str, Any]:
    return {
        "task": _TASK,
        "preset": _PRESET,
        "tolerance": _TOLERANCE,
        "epochs": comparison.epochs,
        "learning_rate": comparison.learning_rate,
        "tuning": {str(rate): loss for rate, loss in comparison.tuning.items()},
        "vanilla": _columns(comparison.vanilla),
        _PRESET: _columns(comparison.preset),
    }


def _markdown(comparison: Comparison) -> str:
    vanilla, preset = _columns(comparison.vanilla), _columns(comparison.preset)
    gaps = [f"{max(values['solver_gap']):.1e}" for values in (vanilla, preset)]
    lines = [
        f"# {_PRESET} against the unregularized model on {_TASK}",
        "",
        *_setting(comparison),
        "",
        f"| | unregularized (median) | {_PRESET} (median) | {_PRESET} against unregularized |",
        "|---|---|---|---|",
        _difference_row(vanilla["accuracy"], preset["accuracy"]),
        *(_ratio_row(title, vanilla[key], preset[key]) for key, title in _RATIOS.items()),
        f"| solver gap (largest) | {gaps[0]} | {gaps[1]} | |",
        "",
        f"Every seed, the unregularized model's value first and that with {_PRESET} second:",
        "",
        "| seed | accuracy, % | | NFE | | training, s | | prediction, ms | |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_seed_row(seed, vanilla, preset) for seed in range(len(comparison.vanilla))),
    ]
    return "\n".join(lines) + "\n"


def _setting(comparison: Comparison) -> list[str]:
    tuned = ", ".join(f"{rate:g}: {loss:.3f}" for rate, loss in comparison.tuning.items())
    return [
        "Like for like: the penalty and its weight (P1's coded error penalty, 100 -> 10) were fixed in advance,",
        "and the rest is identical.",
        "",
        f"- {len(comparison.vanilla)} seeds, {comparison.epochs} epochs, rtol = atol = {_TOLERANCE:g}, Tsit5 (I)",
        f"- one run at a time, the two in turn; the median of {_PREDICTION_ROUNDS} predictions, the two models in turn",
        f"- learning rate {comparison.learning_rate:g}, tuned for the unregularized model on seeds "
        f"{' and '.join(map(str, _TUNING_SEEDS))} (validation loss in nats: {tuned})",
        *machine_lines("numpy"),
        "- intervals: 95 %, Student's t, paired by seed; of ratios on their logarithm",
    ]


def _ratio_row(title: str, vanilla: list[float], preset: list[float]) -> str:
    medians = [f"{statistics.median(values):.4g}" for values in (vanilla, preset)]
    return f"| {title} | {medians[0]} | {medians[1]} | x {_interval(ratio_interval(preset, vanilla), '.2f')} |"


def _difference_row(vanilla: list[float], preset: list[float]) -> str:
    percent = [[100 * value for value in values] for values in (vanilla, preset)]
    medians = [f"{statistics.median(values):.2f} %" for values in percent]
    interval = _interval(difference_interval(percent[1], percent[0]), "+.2f")
    return f"| validation accuracy | {medians[0]} | {medians[1]} | {interval} points |"


def _interval(interval: Interval, form: str) -> str:
    return f"{interval.mean:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _seed_row(seed: int, vanilla: Mapping[str, list[float]], preset: Mapping[str, list[float]]) -> str:
    forms = {"accuracy": (100, ".2f"), "nfe": (1, "g"), "train_s": (1, ".2f"), "predict_s": (1000, ".1f")}
    cells = [
        f"{factor * values[key][seed]:{form}}" for key, (factor, form) in forms.items() for values in (vanilla, preset)
    ]
    return f"| {seed} | {' | '.join(cells)} |"
