"""The report of `nde-study bench search`: tables and a picture of what was measured."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

BASELINE = ("random", "none")
_RESAMPLES = 500
_LEAST_KEPT = 0.98  # dimensionless, of the hypervolume of the same trials, by a rule that could be the default
_GRID = 15.0  # epochs between two points of a mean curve
_COLOURS = {"none": "black", "rate": "tab:blue", "bound": "tab:green", "median": "tab:orange",
            "successive_halving": "tab:red"}  # fmt: skip
_DASHES = {"random": "-", "tpe": "--"}


@dataclass(frozen=True)
class Run:
    """A simulated study."""

    trials: int  # begun
    stopped: int  # by the rule
    epochs: int  # trained by all of them
    seconds: float  # simulated
    members: int  # of the front that its trials would have had, had all been trained to their ends
    members_stopped: int  # of these, by the rule
    kept: float  # dimensionless, hypervolume of the trials that were not stopped over that of all
    steps: tuple[tuple[float, float], ...]  # (epochs, share of the box) whenever the front grew

    def share(self, epochs: float) -> float:
        """The share of the box after so many epochs."""
        return max((share for at, share in self.steps if at <= epochs), default=0.0)


@dataclass(frozen=True)
class Found:
    """What a method came to on a problem, one study a seed."""

    setting: str
    world: str
    sampler: str
    rule: str
    runs: tuple[Run, ...]

    @property
    def key(self) -> tuple[str, str, str, str]:
        """By which it is told from others."""
        return self.setting, self.world, self.sampler, self.rule

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Found":
        """The inverse of `asdict`."""
        runs = tuple(Run(**{**run, "steps": tuple(map(tuple, run["steps"]))}) for run in data["runs"])
        return cls(**{**data, "runs": runs})


def markdown(
    found: Sequence[Found], errors: Mapping[str, Mapping[str, float]], machine: Sequence[str], picture: str, trials: int
) -> str:
    """The whole report."""
    lines = [
        "# Search: samplers and early stopping rules",
        "",
        _about(trials),
        "",
        *machine,
        "",
        f"![mean curves]({picture})",
        "",
    ]
    for world, told in _WORLDS.items():
        own = [each for each in found if each.world == world]
        for setting in dict.fromkeys(each.setting for each in own):
            lines += [f"## {setting}, {told}", ""]
            if world == "forest":
                lines += [_error(errors[setting]), ""]
            lines += [*_table([each for each in own if each.setting == setting]), ""]
    return "\n".join([*lines, *_verdict(found)])


_WORLDS = {
    "recorded": "recorded curves in random orders",
    "forest": "a forest over the curves",
}


def _about(trials: int) -> str:
    return (
        f"Every study gets the epochs of {trials} whole trials, two workers, in simulated time (`nde-study simulate`): "
        "the sampler, the rule and the ledger are those of a real run, training is not. Objectives: the score, NFE and "
        "training work; hypervolume is the share of the box of the feasible recorded ends, costs by their logarithms; "
        "above 1 it is beyond them. What it costs to measure the solver gap where a rule looks, about a tenth of an "
        "epoch each time, is not counted. *Epochs to random's* are those at which the mean curve over the seeds "
        "reaches what random search without a rule has at the end, as a share of its epochs, with the 10 % and 90 % "
        "quantiles of resampled seeds. *Front stopped* is the share that the rule stopped of the front that the same "
        "trials would have had, trained to their ends; *kept* is the hypervolume of what was not stopped over that "
        "of all these. "
        "The rules, and their parameters, were chosen on these curves: expect less elsewhere. The recorded curves are "
        "finite: a rule that stops much comes to their end (188 and 89 configs). "
        "See [where they come from](../../studies/benchmarks/curves/README.md)."
    )


def _error(errors: Mapping[str, float]) -> str:
    told = ", ".join(f"{name} {value:.2f}" for name, value in errors.items())
    return f"R^2 of the forest on configs that it has not seen, at the last epoch: {told}."


def _table(found: Sequence[Found]) -> list[str]:
    heads = (
        "method",
        "epochs to random's",
        "hypervolume at half",
        "at the end",
        "trials",
        "front stopped",
        "kept",
        "hours",
    )
    rows = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    target = baseline_share(found)
    for each in found:
        budget = _budget(found)
        reached = "" if target is None else _reached_text(each, target, budget)
        half, end = ([run.share(part * budget) for run in each.runs] for part in (0.5, 1.0))
        cells = [f"{each.sampler}, {each.rule}", reached, _spread(half), _spread(end)]
        cells += [f"{statistics.fmean(run.trials for run in each.runs):.0f}", f"{front_stopped(each):.2f}"]
        cells += [f"{statistics.fmean(run.kept for run in each.runs):.3f}"]
        cells += [f"{statistics.fmean(run.seconds for run in each.runs) / 3600:.3f}"]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def front_stopped(found: Found) -> float:
    """The share of the members of the fronts, of all seeds together, that the rule stopped."""
    return sum(run.members_stopped for run in found.runs) / max(1, sum(run.members for run in found.runs))


def baseline_share(found: Sequence[Found]) -> float | None:
    """The mean share of random search without a rule at the end of the epochs; None where it was not measured."""
    own = [each for each in found if (each.sampler, each.rule) == BASELINE]
    return statistics.fmean(run.share(_budget(found)) for run in own[0].runs) if own else None


def _budget(found: Sequence[Found]) -> float:
    """The epochs of random search without a rule."""
    own = [each for each in found if (each.sampler, each.rule) == BASELINE] or list(found)
    return float(min(run.epochs for run in own[0].runs))


def epochs_to(runs: Sequence[Run], target: float, budget: float) -> float:
    """Where the mean curve reaches a share, as a part of the budget; infinite where it does not within it."""
    grid = np.arange(0.0, budget + _GRID, _GRID)
    return _crossing(_curves(runs, grid).mean(axis=0), grid, target, budget)


def _curves(runs: Sequence[Run], grid: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([[run.share(epochs) for epochs in grid] for run in runs])


def _crossing(mean: NDArray[np.float64], grid: NDArray[np.float64], target: float, budget: float) -> float:
    reached = np.flatnonzero(mean >= target - 1e-9)
    return float(grid[reached[0]]) / budget if reached.size else math.inf


def _reached_text(found: Found, target: float, budget: float) -> str:
    grid = np.arange(0.0, budget + _GRID, _GRID)
    curves, generator = _curves(found.runs, grid), np.random.default_rng(0)
    drawn = generator.integers(len(curves), size=(_RESAMPLES, len(curves)))
    some = [_crossing(curves[each].mean(axis=0), grid, target, budget) for each in drawn]
    low, high = np.quantile(np.minimum(some, 9.0), (0.1, 0.9))
    return f"{_part(_crossing(curves.mean(axis=0), grid, target, budget))} [{_part(low)}, {_part(high)}]"


def _part(value: float) -> str:
    return "never" if value > 1.05 else f"{value:.2f}"


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.3f} [{min(values):.2f}, {max(values):.2f}]"


def _verdict(found: Sequence[Found]) -> list[str]:
    """For each method, over the problems: where it is sooner than its sampler alone, and where it loses."""
    heads = (
        "method",
        "world",
        "epochs to random's, each problem",
        "front stopped",
        "least kept",
        "ends below its sampler alone",
    )
    rows = ["## Over all problems", "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for key in dict.fromkeys((each.world, each.sampler, each.rule) for each in found):
        own = [each for each in found if (each.world, each.sampler, each.rule) == key]
        below = "; ".join(each.setting for each in own if _ends_below(each, found)) or "nowhere"
        kept = min(statistics.fmean(run.kept for run in each.runs) for each in own)
        stopped = ", ".join(f"{front_stopped(each):.2f}" for each in own)
        reached = ", ".join(_reached(each, found) for each in own)
        rows.append(f"| {key[1]}, {key[2]} | {key[0]} | {reached} | {stopped} | {kept:.3f} | {below} |")
    return [*rows, "", *_default(found), ""]


def _default(found: Sequence[Found]) -> list[str]:
    """The default follows from two bounds that a rule must keep everywhere."""
    rules = dict.fromkeys(each.rule for each in found if each.rule != BASELINE[1])
    told = []
    for rule in rules:
        own = [each for each in found if each.rule == rule]
        kept = min(statistics.fmean(run.kept for run in each.runs) for each in own)
        below = sum(_ends_below(each, found) for each in own)
        told.append(
            f"- {rule}: keeps at least {kept:.3f}, ends below its sampler alone on {below} of {len(own)} problems"
        )
    return [
        f"A rule would be the default if it kept {_LEAST_KEPT} of the hypervolume of the same trials on each problem, "
        "and never ended below its sampler without a rule; and that on problems that it was not chosen on, of which "
        "there are none here yet. Until then the default is none.",
        "",
        *told,
    ]


def _beside(each: Found, found: Sequence[Found]) -> list[Found]:
    return [other for other in found if (other.setting, other.world) == (each.setting, each.world)]


def _reached(each: Found, found: Sequence[Found]) -> str:
    beside = _beside(each, found)
    target = baseline_share(beside)
    return "" if target is None else _part(epochs_to(each.runs, target, _budget(beside)))


def _ends_below(each: Found, found: Sequence[Found]) -> bool:
    beside = _beside(each, found)
    alone = [other for other in beside if (other.sampler, other.rule) == (each.sampler, "none")]
    ends = [statistics.fmean(run.share(_budget(beside)) for run in other.runs) for other in (*alone[:1], each)]
    return len(ends) > 1 and ends[1] < ends[0] - 1e-9


def draw(found: Sequence[Found], path: Path) -> None:
    """Mean hypervolume against epochs, a panel for each problem and world."""
    panels = list(dict.fromkeys((each.world, each.setting) for each in found))
    n_columns = max(1, min(4, len(panels)))
    figure = Figure(figsize=(4.6 * n_columns, 4.2 * max(1, -(-len(panels) // n_columns))), layout="constrained")
    grids = figure.subplots(max(1, -(-len(panels) // n_columns)), n_columns, squeeze=False)
    for axes in list(grids.flat)[len(panels) :]:
        axes.set_axis_off()
    for axes, panel in zip(grids.flat, panels, strict=False):
        own = [each for each in found if (each.world, each.setting) == panel]
        grid = np.arange(0.0, _budget(own) + _GRID, _GRID)
        for each in own:
            axes.plot(
                grid,
                _curves(each.runs, grid).mean(axis=0),
                _DASHES.get(each.sampler, ":"),
                color=_COLOURS.get(each.rule, "tab:gray"),
                linewidth=1.2,
                label=f"{each.sampler}, {each.rule}",
            )
        target = baseline_share(own)
        if target is not None:
            axes.axhline(target, color="black", linewidth=0.5)
            axes.set_ylim(0.5 * target, None)
        axes.set(
            title=f"{panel[1]} ({panel[0]})", xlabel="epochs of all trials", ylabel="hypervolume, share of the box"
        )
        axes.legend(fontsize=6)
    figure.savefig(path, dpi=110)
