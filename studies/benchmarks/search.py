"""Samplers and early stopping rules against each other, on recorded learning curves, in simulated time.

Each method gets as many epochs of training as random search needs for 60 whole trials. Two worlds answer: the recorded
curves themselves, drawn in a random order (for the rules alone), and a random forest over them (for samplers too).
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from ndecore.errors import InputError
from reports.pareto import non_dominated
from reports.records import TrialStatus
from studies.arguments import names, whole_number
from studies.benchmarks.machine import machine_lines
from studies.benchmarks.search_report import Found, Run, draw, markdown
from studies.early_stopping import RULES
from studies.simulation.course import Scale, course, recorded_scale
from studies.simulation.recorded import RecordedCurve, read_table
from studies.simulation.run import Simulated, in_memory
from studies.simulation.worlds import Forest, Shuffled, World
from studies.spec import load_spec
from studies.spec_search import SAMPLERS

_HERE = Path(__file__).parent
_TRIALS, _WORKERS = 60, 2  # of random search without a rule, whose epochs all get; workers of every study
_MOST_TRIALS = 1000  # that a rule may begin within the epochs
_RECORDED, _FOREST = "recorded", "forest"


@dataclass(frozen=True)
class Setting:
    """A problem.

    Args:
        task: whose curves.
        spec: a shipped study, or a file beside this one.
        max_solver_gap: of a feasible trial.
    """

    task: str
    spec: str
    max_solver_gap: float


_SETTINGS = {
    "digits, gap 1e-5": Setting("digits_node", "search_digits.yaml", 1e-5),
    "digits, gap 1e-4": Setting("digits_node", "search_digits.yaml", 1e-4),
    "digits, gap 1e-2": Setting("digits_node", "search_digits.yaml", 1e-2),
    "spiral, gap 1e-4": Setting("spiral_ode", "spiral_ode", 1e-4),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--seeds", type=whole_number(2), default=10, metavar="N", help="studies of each (default: 10)")
    parser.add_argument("--worlds", type=names, default=(_RECORDED, _FOREST), help=f"{_RECORDED},{_FOREST}")
    parser.add_argument("--settings", type=whole_number(1), action="append", help="1 to 4; all by default")
    parser.add_argument("--samplers", type=names, default=("random", "tpe"), help="of the forest's world")
    parser.add_argument("--rules", type=names, default=tuple(RULES), help="early stopping rules (default: all)")


def main(args: argparse.Namespace) -> int:
    """Measure what is asked for and write the report; what was measured before and is not now is kept."""
    for option, asked, known in (("--samplers", args.samplers, SAMPLERS), ("--rules", args.rules, RULES)):
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise InputError(f"{option}: got {', '.join(unknown)}, allowed: {', '.join(known)}")
    stem, console = args.output / "search", Console()
    found = _measured(stem.with_suffix(".json"))
    chosen = [list(_SETTINGS)[i - 1] for i in args.settings or range(1, len(_SETTINGS) + 1)]
    jobs = [(setting, world, sampler, rule) for setting in chosen for world in args.worlds
            for sampler in (args.samplers if world == _FOREST else ("random",)) for rule in args.rules]  # fmt: skip
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("", total=len(jobs) * args.seeds)
        for setting, world, sampler, rule in jobs:
            progress.update(bar, description=f"{setting}: {sampler}, {rule}")
            runs = []
            for run in _runs(_SETTINGS[setting], world, sampler, rule, args.seeds):
                runs.append(run)
                progress.advance(bar)
            found = [each for each in found if each.key != (setting, world, sampler, rule)]
            found.append(Found(setting, world, sampler, rule, tuple(runs)))
            _write(stem, found)
    console.print(f"written: {stem}.md, .json and .png", soft_wrap=True)
    return 0


def _runs(setting: Setting, world: str, sampler: str, rule: str, n_seeds: int) -> Iterator[Run]:
    curves, spec, scale = _problem(setting)
    own = load_spec(spec, _changes(setting) | {"sampler": sampler, "early_stopping": rule})
    budget = _TRIALS * int(own.fixed["epochs"])
    for seed in range(n_seeds):
        is_finite = world == _RECORDED
        answers: World = Shuffled(curves, seed) if is_finite else _forest(setting)
        study = own.model_copy(update={"seed": seed, "trials": len(curves) if is_finite else _MOST_TRIALS, "start": ()})
        yield _run(in_memory(study, answers, _WORKERS, budget), answers, scale)


def _run(simulated: Simulated, world: World, scale: Scale) -> Run:
    """A study's course, and what the trials that were stopped would have come to."""
    study = simulated.study
    ends = {t.number: world.curve(t.config, t.number) for t in study.trials}
    whole = [
        n
        for n, curve in ends.items()
        if curve.status is TrialStatus.COMPLETE and _is_feasible(curve, study.max_solver_gap)
    ]
    values = np.array([[ends[n].epochs[-1].objectives()[m.name] for m in study.objectives] for n in whole])
    values = values.reshape(len(whole), len(study.objectives))
    is_stopped = np.array([study.trials[n].status is TrialStatus.STOPPED for n in whole], dtype=bool)
    members = non_dominated(scale(values))
    everything = scale.share(values)
    own = course(study, scale, 1.0)
    return Run(
        trials=len(study.trials),
        stopped=sum(trial.status is TrialStatus.STOPPED for trial in study.trials),
        epochs=simulated.epochs,
        seconds=simulated.seconds,
        members=int(members.sum()),
        members_stopped=int((members & is_stopped).sum()),
        kept=scale.share(values[~is_stopped]) / everything if everything else 1.0,
        steps=tuple((float(e), round(float(s), 5)) for e, s in zip(own.epochs, own.shares, strict=True)),
    )


def _is_feasible(curve: RecordedCurve, max_solver_gap: float) -> bool:
    gap = curve.epochs[-1].solver_gap
    return gap is not None and gap <= max_solver_gap


def _changes(setting: Setting) -> dict[str, Any]:
    return {"max_solver_gap": setting.max_solver_gap, "start_from": [], "objectives": _objectives(setting)}


def _objectives(setting: Setting) -> list[str]:
    return ["accuracy" if setting.task == "digits_node" else "mse", "nfe", "train_work"]


@cache
def _problem(setting: Setting) -> tuple[tuple[RecordedCurve, ...], str, Scale]:
    """The curves, the spec's name or path, and the box of all recorded ends."""
    curves = read_table(_HERE / "curves" / f"{setting.task}.jsonl.gz", setting.task)
    spec = str(_HERE / setting.spec) if setting.spec.endswith(".yaml") else setting.spec
    return curves, spec, recorded_scale(curves, load_spec(spec, _changes(setting)))


@cache
def _forest(setting: Setting) -> Forest:
    curves, spec, _ = _problem(setting)
    return Forest(curves, load_spec(spec, _changes(setting)).scores)


def _measured(path: Path) -> list[Found]:
    return [Found.of(each) for each in json.loads(path.read_text(encoding="utf-8"))] if path.exists() else []


def _write(stem: Path, found: Sequence[Found]) -> None:
    order = {name: i for i, name in enumerate([*_SETTINGS, *SAMPLERS, *RULES])}
    found = sorted(
        found, key=lambda each: (each.world, *(order[name] for name in (each.setting, each.sampler, each.rule)))
    )
    by_forest = {each.setting for each in found if each.world == _FOREST}
    errors = {name: _forest(_SETTINGS[name]).errors for name in by_forest}
    text = markdown(found, errors, machine_lines("optuna", "scikit-learn"), f"{stem.name}.png", _TRIALS)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    stem.with_suffix(".json").write_text(json.dumps([asdict(each) for each in found]) + "\n", encoding="utf-8")
    draw(found, stem.with_suffix(".png"))
