"""What the front of the quickstart spans: reads the study that `run quickstart` and `confirm quickstart` left."""

import argparse
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ndecore.errors import InputError
from ndecore.evaluation import predicting
from ndecore.observation import observe
from ndecore.tasks.cities_flow import CitiesFlow
from reports.choice import by_seed, comparison_sentence, knee_trial
from reports.confirmed import confirmed_seeds, published_study
from reports.confirmed_table import ConfirmedRow, confirmed_rows
from reports.records import StudyRecord
from reports.report_confirmed import confirmed_report_table
from reports.statistics import Interval, difference_interval
from reports.table_formats import to_markdown
from studies.benchmarks.machine import machine_lines
from studies.build import build
from studies.ledger import Ledger, open_ledger
from studies.weights import trained_model

_GRID = 240  # points along each axis of a map
_EXTENT = 2.6  # standard deviations that a map shows
_CITIES = 3000  # that are drawn


@dataclass(frozen=True)
class TradeOff:
    """What the confirmed front spans.

    Args:
        n_members: with different means of NFE.
        nfe_factor: of the most expensive to the cheapest, dimensionless.
        gain: of the score at the expensive end over the cheap one, paired by seed, positive where it is better.
    """

    n_members: int
    nfe_factor: float
    gain: Interval
    standard_error: float  # of the gain, in its unit


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--study", default="quickstart", help="its name (default: quickstart)")
    parser.add_argument("--root", type=Path, default=Path("nde-runs"), help="folder of all studies (default: nde-runs)")


def main(args: argparse.Namespace) -> int:
    """Write the report and its picture."""
    ledger = open_ledger(args.study, args.root)
    study = ledger.record()
    if not confirmed_seeds(study):
        raise InputError(f"{args.study}: got no confirmation; `nde-study confirm {args.study}` makes one")
    text = markdown(study, trade_off(study))
    (args.output / "quickstart.md").write_text(text, encoding="utf-8")
    picture(ledger, study).savefig(args.output / "quickstart.png", dpi=110)
    print(text)
    print(f"written: {args.output}/quickstart.md, .png")
    return 0


def trade_off(study: StudyRecord) -> TradeOff:
    """What the confirmed front of a study of two or more seeds spans."""
    rows = _members(study)
    score, nfe = study.objectives[0], "nfe"
    cheap, dear = rows[0], rows[-1]
    sign = -1.0 if score.direction.value == "minimize" else 1.0
    values = [by_seed(study, row.trial, score) for row in (dear, cheap)]
    above, below = ([sign * values_of[seed] for seed in values[0]] for values_of in values)
    differences = [one - other for one, other in zip(above, below, strict=True)]
    return TradeOff(
        n_members=len({row.intervals[nfe].mean for row in rows}),
        nfe_factor=dear.intervals[nfe].mean / cheap.intervals[nfe].mean,
        gain=difference_interval(above, below),
        standard_error=statistics.stdev(differences) / math.sqrt(len(differences)),
    )


def _members(study: StudyRecord) -> list[ConfirmedRow]:
    """The members of the confirmed front, the cheapest first."""
    rows = [row for row in confirmed_rows(study) if row.is_on_front]
    return sorted(rows, key=lambda row: row.intervals["nfe"].mean)


def markdown(study: StudyRecord, found: TradeOff) -> str:
    """The report."""
    published = published_study(study)
    seconds = max(t.ended_s for t in study.trials) - min(t.began_s for t in study.trials if t.began_s)
    n_seeds = len(confirmed_seeds(study))
    score = study.objectives[0].name
    lines = [
        "# The quickstart's front",
        "",
        f"`nde-study run quickstart`: {len(study.trials)} trials of `{study.task}`, two at a time, {seconds:.0f} s "
        f"from the start of the first to the end of the last. `nde-study confirm quickstart`: {n_seeds} new seeds.",
        "",
        *machine_lines("ray", "optuna"),
        "",
        f"- {found.n_members} members with different NFE on the confirmed front; NFE spans a factor of "
        f"{found.nfe_factor:.1f}",
        f"- {score}: better by {found.gain.mean:.3f} at the expensive end than at the cheap one "
        f"[{found.gain.low:.3f}, {found.gain.high:.3f}], {found.gain.mean / found.standard_error:.1f} standard errors; "
        "paired by seed, test split",
        f"- {comparison_sentence(published, knee_trial(published))}",
        "",
        to_markdown(confirmed_report_table(study)),
        "",
    ]
    return "\n".join(lines)


def picture(ledger: Ledger, study: StudyRecord) -> Figure:
    """The front, and the densities that its cheapest and its most expensive member have learned."""
    rows = _members(study)
    figure = Figure(figsize=(13.0, 4.2), layout="constrained")
    front, *maps = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
    _draw_front(front, study, rows)
    for axes, row in zip(maps, (rows[0], rows[-1]), strict=True):
        _draw_map(axes, ledger, study, row)
    return figure


def _draw_front(axes: Axes, study: StudyRecord, rows: Sequence[ConfirmedRow]) -> None:
    score = study.objectives[0]
    ended = [trial.epochs[-1] for trial in study.trials if trial.values(study.objectives) is not None]
    axes.plot(
        [each.nfe for each in ended],
        [each.scores[score.name] for each in ended],
        "o",
        color="#c8ced6",
        ms=4,
        label="trials",
    )
    for label, color, chosen in (
        ("front, confirmed (95 %)", "#3b6fb6", rows),
        (
            "unregularized baseline",
            "#c2410c",
            [r for r in confirmed_rows(study) if r.label == "vanilla" and r.intervals],
        ),
    ):
        x, y = ([row.intervals[name] for row in chosen] for name in ("nfe", score.name))
        axes.errorbar(
            [each.mean for each in x],
            [each.mean for each in y],
            xerr=_whiskers(x),
            yerr=_whiskers(y),
            fmt="o",
            color=color,
            capsize=2,
            label=label,
        )
    axes.set_xlabel("NFE: evaluations of the field per prediction")
    axes.set_ylabel(f"{score.name} ({score.unit}), less is better")
    axes.legend(frameon=False, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)


def _whiskers(intervals: Sequence[Interval]) -> list[list[float]]:
    return [[each.mean - each.low for each in intervals], [each.high - each.mean for each in intervals]]


@torch.no_grad()
def _draw_map(axes: Axes, ledger: Ledger, study: StudyRecord, row: ConfirmedRow) -> None:
    trial = next(each for each in study.trials if each.number == row.trial)
    plan = build(study.task, trial.config)
    model = trained_model(plan, Path(ledger.whole_weights(trial.number)))
    line = torch.linspace(-_EXTENT, _EXTENT, _GRID)
    points = torch.cartesian_prod(line, line)
    with predicting(model), observe(settings=plan.settings):
        density: Tensor = model(points).exp().reshape(_GRID, _GRID).T
    cities = CitiesFlow().splits().test["inputs"][:_CITIES]
    axes.imshow(
        density.clamp_max(density.quantile(0.995)).sqrt(),
        origin="lower",
        extent=(-_EXTENT, _EXTENT, -_EXTENT, _EXTENT),
        cmap="Blues",
        aspect="auto",
    )
    axes.plot(*cities.T, ",", color="#24292f", alpha=0.6)
    axes.set_xlim(-_EXTENT, _EXTENT)
    axes.set_ylim(-_EXTENT, _EXTENT)
    axes.set_xticks([])
    axes.set_yticks([])
    loss = row.intervals[study.objectives[0].name].mean
    title = f"trial {row.trial}: NFE {row.intervals['nfe'].mean:.0f}, {loss:.2f} {study.objectives[0].unit}"
    axes.set_title(title, fontsize=10)
