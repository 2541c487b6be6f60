"""Every preset against the unregularized model, like for like: the same task, tolerances, epochs and seeds.

The learning rate is tuned for the unregularized model, on other seeds. Runs go one at a time, in an order that rotates
from seed to seed. Beside the presets, a weight that adapts to a budget of function evaluations is compared with fixed
weights of the same penalty. What is measured is written after every seed.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from ndecore.errors import InputError, NDEError
from ndecore.observation import observe
from ndecore.training import TrainPlan, TrainState, train
from search_spaces.presets import load_presets
from studies.arguments import whole_number
from studies.benchmarks.machine import machine_lines
from studies.benchmarks.regularizers_report import ADAPTIVE, FIXED, VANILLA, Comparison, Run, draw, markdown
from studies.build import build

_TUNING_SEEDS = (100, 101)  # none of those that are compared
_ERROR = {"regularizer": "error", "agg": "mean", "weight_by_dt": True, "scaled": True}
_FIXED = {f"{FIXED} {weight:g}": _ERROR | {"schedule": "constant", "weight": weight} for weight in (0.3, 1, 3, 10, 30)}
_SOSRI2 = "vanilla by SOSRI2"  # beside the stiffness penalty, which takes that method
_BY_SOSRI2: Mapping[str, Any] = {"solver": "sosri2"}  # which alone of the stochastic methods estimates stiffness
_OURS: dict[str, dict[str, Any]] = {
    _SOSRI2: {"regularizer": "none", **_BY_SOSRI2},
    "predicted steps 0.1": {"regularizer": "predicted_steps", "schedule": "constant", "weight": 0.1},
    "predicted steps 0.3": {"regularizer": "predicted_steps", "schedule": "constant", "weight": 0.3},
    # The order that P2 published for its SDEs; with its 2.5 the models of digits_node become dearer to solve.
    "local-unbiased 1000": {"regularizer": "local_error", "schedule": "constant", "weight": 1000.0},
    **_FIXED,
}


@dataclass(frozen=True)
class Setting:
    """What is particular to a task.

    Args:
        learning_rates: that are tried for the unregularized model.
        weight_scale: of all published weights, which were tuned for losses of order 0.1 (cross-entropy, nats).
        budget: function evaluations of a training solve that the adapting weight is asked for.
        left_out: presets that were published for tasks of the other kind.
        tolerance: rtol and atol of all.
        common: what else all configs have.
        presets: the only ones beside vanilla; None: all but those left out.
        rounds: of timed predictions, each of ten solves where a neural SDE classifies.
    """

    learning_rates: tuple[float, ...]
    weight_scale: float
    budget: float
    left_out: tuple[str, ...] = ()
    tolerance: float = 1e-6
    common: Mapping[str, Any] = field(default_factory=dict)
    presets: tuple[str, ...] | None = None
    rounds: int = 21


_STOCHASTIC = ("er-nsde", "sr-nsde", "er-spiral-sde", "local-nsde-unbiased", "local-nsde-biased", _SOSRI2)
_SETTINGS = {
    "digits_node": Setting((0.03, 0.05, 0.1, 0.2, 0.3, 0.5), 1.0, 32.0, ("taynode-2", *_STOCHASTIC)),
    "spiral_ode": Setting((0.01, 0.03, 0.1), 0.01, 120.0, ("taynode", *_STOCHASTIC)),
}


def _digits(sde: str, *presets: str) -> Setting:
    return Setting(
        (0.001, 0.003, 0.01, 0.03), 1.0, 80.0, tolerance=0.14, common={"sde": sde}, presets=presets, rounds=5
    )


def _spiral(sde: str, *presets: str) -> Setting:
    return Setting((0.01, 0.03, 0.1, 0.3), 1.0, 80.0, tolerance=0.3, common={"sde": sde}, presets=presets)


# At the published tolerances, which the weights were tuned for.
_SDE_SETTINGS = {
    "digits_nsde": _digits(
        "naive", "er-nsde", _SOSRI2, "sr-nsde", "local-nsde-unbiased", "local-nsde-biased", ADAPTIVE
    ),
    **{
        f"digits_nsde {sde}": _digits(sde, "er-nsde", "local-nsde-unbiased", ADAPTIVE)
        for sde in ("langevin", "linear_noise", "geometric")
    },
    "spiral_sde": _spiral("naive", "er-spiral-sde", _SOSRI2, "sr-nsde"),
    **{f"spiral_sde {sde}": _spiral(sde, "er-spiral-sde") for sde in ("langevin", "linear_noise")},
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--sde", action="store_true", help="neural SDEs instead of neural ODEs")
    known = " or ".join(",".join(settings) for settings in (_SETTINGS, _SDE_SETTINGS))
    parser.add_argument(
        "--tasks", type=_names, metavar="NAMES", help=f"the report keeps what it has of others (default: {known})"
    )
    parser.add_argument("--presets", type=_names, metavar="NAMES", help="beside vanilla, by comma (default: all)")
    parser.add_argument("--seeds", type=whole_number(2), default=5, metavar="N", help="compared, from 0 (default: 5)")
    parser.add_argument("--epochs", type=whole_number(1), metavar="N", help="of a run (default: the task's)")


def main(args: argparse.Namespace) -> int:
    """Measure, print and write the report."""
    settings, stem = (_SDE_SETTINGS, "sde_regularizers") if args.sde else (_SETTINGS, "regularizers")
    tasks = _chosen("--tasks", args.tasks, list(settings))
    presets = _chosen("--presets", args.presets, [*load_presets(), ADAPTIVE, *_OURS])
    console = Console()
    found = _measured(args.output / stem)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for task in tasks:
            for comparison in _compared(task, settings[task], presets, args, progress):
                found[task] = comparison
                text = _write(args.output / stem, [found[name] for name in settings if name in found])
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print(f"written: {args.output / stem}.md, .json and .png", soft_wrap=True)
    return 0


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _chosen(option: str, asked: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise InputError(f"{option}: got {', '.join(unknown)}, allowed: {', '.join(known)}")
    return [name for name in known if asked is None or name in asked]


def _configs(setting: Setting, presets: Sequence[str]) -> dict[str, dict[str, Any]]:
    adapting = {"schedule": "dual_ascent", "weight": 1.0, "budget": setting.budget, "budget_of": "nfe"}
    unscaled = dict(load_presets()) | {ADAPTIVE: _ERROR | adapting} | _OURS
    known = {name: _scaled(config, setting.weight_scale) for name, config in unscaled.items()}
    own = [*known] if setting.presets is None else setting.presets
    wanted = [name for name in presets if name in own and name not in setting.left_out]
    common = {"rtol": setting.tolerance, "atol": setting.tolerance, **setting.common}
    known |= {"sr-nsde": known["sr-nsde"] | dict(_BY_SOSRI2)}
    return {name: known[name] | common for name in dict.fromkeys((VANILLA, *wanted))}


def _scaled(config: Mapping[str, Any], scale: float) -> dict[str, Any]:
    weights = {key for key in config if key.rpartition(".")[2] in {"weight", "weight_end"}}
    return {key: value * scale if key in weights else value for key, value in config.items()}


def _compared(
    title: str, setting: Setting, presets: Sequence[str], args: argparse.Namespace, progress: Progress
) -> Iterator[Comparison]:
    """Yield the comparison after each seed from the second on."""
    task, configs = title.split(maxsplit=1)[0], _configs(setting, presets)
    n_tuning = len(setting.learning_rates) * len(_TUNING_SEEDS)
    bar = progress.add_task(f"{title}: tuning the baseline", total=n_tuning + args.seeds * len(configs))
    tuning = {}
    for rate in setting.learning_rates:
        plans = [_plan(task, configs[VANILLA], rate, args.epochs, seed) for seed in _TUNING_SEEDS]
        # By the loss: accuracy moves in steps of 1/360, and rates a factor 5 apart tie in it.
        tuning[rate] = statistics.fmean(_held_out_loss(plan) for plan in plans)
        progress.advance(bar, len(plans))
    rate = min(tuning, key=lambda rate: tuning[rate])
    runs: dict[str, list[Run | None]] = {name: [] for name in configs}
    for seed in range(args.seeds):
        shift = seed * 7 % len(configs)
        trained: dict[str, tuple[TrainPlan, TrainState]] = {}
        for name in [*configs][shift:] + [*configs][:shift]:
            progress.update(bar, description=f"{title}: seed {seed}, {name}")
            plan = _plan(task, configs[name], rate, args.epochs, seed)
            run, state = _trained(plan)
            runs[name].append(run)
            if state is not None:
                trained[name] = plan, state
            progress.advance(bar)
        for name, seconds in _prediction_seconds(trained, setting.rounds).items():
            run = runs[name][-1]
            assert run is not None, "it was trained"
            runs[name][-1] = run._replace(predict_s=seconds)
        if seed:
            baseline = _plan(task, configs[VANILLA], rate, args.epochs, 0)
            epochs, method = baseline.hyperparameters.epochs, type(baseline.settings.solver).__name__
            own = (setting.tolerance, method, setting.weight_scale, setting.budget)
            yield Comparison(title, rate, tuning, epochs, *own, configs, runs)


def _plan(task: str, config: Mapping[str, Any], rate: float, epochs: int | None, seed: int) -> TrainPlan:
    same: dict[str, Any] = {"learning_rate": rate, "seed": seed}
    return build(task, dict(config) | same | ({} if epochs is None else {"epochs": epochs}))


def _held_out_loss(plan: TrainPlan) -> float:
    """Of one training; infinite where it diverged."""
    try:
        *_, last = train(plan)
    except NDEError:
        return math.inf
    return last.scores.get("loss", last.scores[plan.task.metrics[0].name])


def _trained(plan: TrainPlan) -> tuple[Run | None, TrainState | None]:
    """One training; nothing where it diverged."""
    state = TrainState(plan)
    try:
        *_, last = train(plan, state)
    except NDEError:
        return None, None
    metric = plan.task.metrics[0].name
    gap = last.solver_gap or 0.0
    score = last.scores[metric]
    run = Run(score, last.nfe, last.nfe_train, last.train_s, float(last.train_work), 0.0, gap, last.weight)
    return run, state


def _prediction_seconds(trained: Mapping[str, tuple[TrainPlan, TrainState]], n_rounds: int) -> dict[str, float]:
    """Median wall seconds of predicting the held-out batch, the models in turn: all meet the same disturbances."""
    seconds: dict[str, list[float]] = {name: [] for name in trained}
    task = next(iter(trained.values()))[0].task
    held_out = next(task.source(task.splits().validation).in_order(task.defaults.eval_batch_size))
    with torch.no_grad():
        for _ in range(n_rounds):
            for name, (plan, state) in trained.items():
                began = time.perf_counter()
                with observe(settings=plan.settings, path_seed=-1):
                    task.forward(state.model.eval(), held_out)
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _measured(stem: Path) -> dict[str, Comparison]:
    """What an earlier report has, by task."""
    path = stem.with_suffix(".json")
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for each in found:
        each["tuning"] = {float(rate): loss for rate, loss in each["tuning"].items()}
        each["runs"] = {name: [run and Run(*run) for run in runs] for name, runs in each["runs"].items()}
    return {each["task"]: Comparison(**each) for each in found}


def _write(stem: Path, comparisons: Sequence[Comparison]) -> str:
    text = markdown(comparisons, machine_lines("numpy"), f"{stem.name}.png")
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    data = json.dumps([asdict(comparison) for comparison in comparisons], indent=1)
    stem.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
    draw(comparisons, stem.with_suffix(".png"))
    return text
