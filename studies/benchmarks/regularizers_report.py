"""The regularizers' benchmark as Markdown and as a figure: ratios of what was measured, beside what was published."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from ndecore.metrics import METRICS, Direction
from reports.statistics import Interval, difference_interval, mean_interval, ratio_interval

VANILLA, ADAPTIVE, FIXED = "vanilla", "adaptive error", "constant error"
_TARGETS = {"nfe": 0.60, "predict_s": 0.65, "train_s": 0.85}  # ratios that the best preset is meant to reach
_SHOWN = 0.4, 2.5  # ratios of NFE in the figure
_COLUMNS = 2  # panels of the figure beside each other
_WITHIN = 0.10  # of the budget that the adapting weight is meant to end at


class Run(NamedTuple):
    """What one training measured on held-out data, and cost."""

    score: float  # the task's metric
    nfe: float
    nfe_train: float  # of the last epoch
    train_s: float
    train_work: float  # evaluations
    predict_s: float
    solver_gap: float
    weight: float  # of the last epoch


@dataclass(frozen=True)
class Comparison:
    """What was measured on one task, seed by seed in the same order; None where a training diverged."""

    task: str
    learning_rate: float
    tuning: Mapping[float, float]  # learning rate -> mean held-out loss of the unregularized model
    epochs: int
    tolerance: float
    method: str
    weight_scale: float
    budget: float
    configs: Mapping[str, Mapping[str, Any]]
    runs: Mapping[str, Sequence[Run | None]]

    @property
    def n_seeds(self) -> int:
        """How many were compared."""
        return len(self.runs[VANILLA])


_OF_SDES = [
    "NFE is of the drift, in one solve of the batch along one path; the gap is of solves along the same paths. The",
    "published trainings grew their steps by at most 9/8 at a time, and so took most of their NFE to grow the first.",
]

# NFE, prediction time, training time over vanilla's as published: P1's MNIST neural ODE (table C.1 of the thesis), P2's
# MNIST for the local ones; of the spiral ODE P1 gives the NFE of one model; of an NSDE that of ten paths stacked (C.4).
_PUBLISHED: Mapping[str, Mapping[str, str]] = {
    "digits_node": {
        "er-code": "0.70 / 0.64 / 0.84 (P1)",
        "sr-code": "1.02 / 1.00 / 1.27 (P1)",
        "er-sr-code": "0.87 / 0.86 / 1.40 (P1)",
        "steer": "1.05 / 0.98 / 1.34 (P1)",
        "steer-er": "0.78 / 0.92 / 1.40 (P1)",
        "steer-sr": "1.09 / 1.07 / 1.58 (P1)",
        "taynode": "0.32 / 0.84 / 1.21 (P1)",
        "local-unbiased": "0.62 / 0.52 / 0.91 (P2)",
        "local-biased": "0.60 / 0.50 / 2.07 (P2)",
    },
    "spiral_ode": {"er-code": "0.62 / - / - (P1)"},
    "digits_nsde": {
        "er-nsde": "0.45 / 0.48 / 0.66 (P1)",
        "sr-nsde": "0.93 / 0.96 / 1.35 (P1)",
        "local-nsde-unbiased": "0.73 / 0.77 / 0.78 (P2)",
        "local-nsde-biased": "0.73 / 0.71 / 0.70 (P2)",
    },
    "spiral_sde": {"er-spiral-sde": "0.95 / 1.00 / 0.97 (P1)", "sr-nsde": "0.95 / 0.96 / 0.93 (P1)"},
}


def markdown(comparisons: Sequence[Comparison], machine: Sequence[str], figure: str) -> str:
    """The whole report."""
    lines = [
        "# Every preset against the unregularized model",
        "",
        "Like for like: presets were fixed in advance; task, tolerances, epochs, batches and seeds are the same, and",
        "the learning rate was tuned for the unregularized model. What does not help is shown as it is.",
        "",
        "- one run at a time, in an order that rotates from seed to seed; predictions of all models in turn",
        *machine,
        "- intervals: 95 %, Student's t, paired by seed; of ratios on their logarithm",
        "",
        f"![metric against NFE]({figure})",
        "",
        "Columns: change of the metric (points of accuracy; ratio of the mse), median NFE of the held-out",
        "batch; ratios to the unregularized model of NFE, prediction time, training time and training work",
        "(evaluations, forward and backward); the largest solver gap; published ratios (NFE / prediction / training).",
        *(_OF_SDES if any("sde" in comparison.task for comparison in comparisons) else []),
    ]
    for comparison in comparisons:
        lines += [
            "",
            f"## {comparison.task}",
            "",
            *_setting(comparison),
            "",
            *_table(comparison),
            "",
            *_told(comparison),
            *_adaptive(comparison),
        ]
    return "\n".join(lines) + "\n"


def draw(comparisons: Sequence[Comparison], path: Path) -> None:
    """The metric's change against the ratio of NFE, with intervals; a panel for each task."""
    n_columns = min(len(comparisons), _COLUMNS)
    n_rows = -(-len(comparisons) // n_columns)
    figure = Figure(figsize=(7 * n_columns, 5.5 * n_rows), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for axes in panels[len(comparisons) :]:
        axes.set_axis_off()
    for axes, comparison in zip(panels, comparisons, strict=False):
        for name in _others(comparison):
            nfe, change = _ratio(comparison, name, "nfe"), _change(comparison, name)
            x, y = nfe.mean, change.mean
            error = [[y - change.low], [change.high - y]], [[x - nfe.low], [nfe.high - x]]
            colour = "tab:red" if name == ADAPTIVE else "tab:gray" if name.startswith(FIXED) else "tab:blue"
            axes.errorbar(x, y, *error, fmt="o", color=colour, capsize=2, linewidth=0.8)
            axes.annotate(name, (x, y), xytext=(4, 4), textcoords="offset points", fontsize=7)
        axes.axhline(0 if _metric(comparison) == "accuracy" else 1, color="black", linewidth=0.6)
        axes.axvline(1, color="black", linewidth=0.6)
        metric = METRICS[_metric(comparison)]
        axes.set_xscale("log")
        least = min((_ratio(comparison, name, "nfe").mean for name in _others(comparison)), default=1.0)
        axes.set_xlim(min(_SHOWN[0], 0.8 * least), _SHOWN[1])
        if metric.direction is Direction.MINIMIZE:  # of an error the interval may be of many decades
            axes.set_yscale("log")
            axes.set_ylim(0.1, 100)
        better = "higher" if metric.direction is Direction.MAXIMIZE else "lower"
        axes.set(
            title=comparison.task,
            xlabel="NFE / that of the unregularized model (lower is cheaper)",
            ylabel=f"{_CHANGES[metric.name]} ({better} is better)",
        )
    figure.savefig(path, dpi=120)


_CHANGES = {"accuracy": "accuracy, change in points", "mse": "mse / that of the unregularized model"}


def _metric(comparison: Comparison) -> str:
    return "accuracy" if comparison.task.startswith("digits") else "mse"


def _others(comparison: Comparison) -> list[str]:
    """Those with which it makes sense to count: at least two seeds that did not diverge."""
    return [name for name in comparison.runs if name != VANILLA and len(_pairs(comparison, name)) > 1]


def _pairs(comparison: Comparison, name: str) -> list[tuple[Run, Run]]:
    pairs = zip(comparison.runs[name], comparison.runs[VANILLA], strict=True)
    return [(run, vanilla) for run, vanilla in pairs if run is not None and vanilla is not None]


def _ratio(comparison: Comparison, name: str, quantity: str) -> Interval:
    pairs = _pairs(comparison, name)
    values, baseline = ([getattr(pair[i], quantity) for pair in pairs] for i in (0, 1))
    return ratio_interval(values, baseline)


def _change(comparison: Comparison, name: str) -> Interval:
    """Of accuracy the difference in points; of an error, which has no natural zero, the ratio."""
    pairs = _pairs(comparison, name)
    if _metric(comparison) == "accuracy":
        values, baseline = ([100 * pair[i].score for pair in pairs] for i in (0, 1))
        return difference_interval(values, baseline)
    return _ratio(comparison, name, "score")


def _change_text(comparison: Comparison, name: str) -> str:
    change = _change(comparison, name)
    if _metric(comparison) == "accuracy":
        return f"{change.mean:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"
    return f"x {change.mean:.2g} [{change.low:.2g}, {change.high:.2g}]"


def _setting(comparison: Comparison) -> list[str]:
    tuned = ", ".join(f"{rate:g}: {loss:.3g}" for rate, loss in comparison.tuning.items())
    scale = comparison.weight_scale
    scaled = [f"- all weights times {scale:g}: they were tuned for losses of order 0.1"] if scale != 1 else []
    tolerance, method = comparison.tolerance, comparison.method
    return [
        f"- {comparison.n_seeds} seeds, {comparison.epochs} epochs, rtol = atol = {tolerance:g}, {method} (I)",
        f"- learning rate {comparison.learning_rate:g}, tuned on seeds 100 and 101 (held-out loss: {tuned})",
        *scaled,
    ]


def _table(comparison: Comparison) -> list[str]:
    metric = _metric(comparison)
    vanilla = [run for run in comparison.runs[VANILLA] if run is not None]
    head = f"| | {metric} | NFE | NFE ratio | prediction | training | work | solver gap | published |"
    own = [_median(vanilla, name) for name in ("score", "nfe", "predict_s", "train_s", "train_work")]
    gap = max(run.solver_gap for run in vanilla)
    baseline = (
        f"| {VANILLA} | {_score(metric, own[0])} | {own[1]:g} | 1 | {1e3 * own[2]:.3g} ms | {own[3]:.3g} s | "
        f"{own[4]:.3g} | {gap:.1e} | |"
    )
    rows = [_row(comparison, name) for name in comparison.runs if name != VANILLA]
    return [head, "|---|---|---|---|---|---|---|---|---|", baseline, *rows]


def _row(comparison: Comparison, name: str) -> str:
    pairs = _pairs(comparison, name)
    n_diverged = comparison.n_seeds - len(pairs)
    if len(pairs) < 2:
        return f"| {name} | {n_diverged} of {comparison.n_seeds} diverged | | | | | | | |"
    runs = [run for run, _ in pairs]
    ratios = [f"{_interval(_ratio(comparison, name, each))}" for each in ("nfe", "predict_s", "train_s", "train_work")]
    text = _change_text(comparison, name)
    label = f"{name} ({n_diverged} diverged)" if n_diverged else name
    published = _PUBLISHED.get(comparison.task, {}).get(name, "")
    gap = max(run.solver_gap for run in runs)
    return f"| {label} | {text} | {_median(runs, 'nfe'):g} | {' | '.join(ratios)} | {gap:.1e} | {published} |"


def _told(comparison: Comparison) -> list[str]:
    best = _best(comparison)
    if best is None:
        return ["None takes fewer evaluations with a mean metric within the unregularized model's interval."]
    reached = ", ".join(
        f"{title} {_ratio(comparison, best, key).mean:.2f}{_aim(comparison, key)}"
        for key, title in (("nfe", "NFE"), ("predict_s", "prediction"), ("train_s", "training"))
    )
    return [f"The cheapest whose mean metric is within the unregularized model's interval: {best}, {reached}."]


def _aim(comparison: Comparison, quantity: str) -> str:
    """Of neural SDEs nobody has set one."""
    return "" if "sde" in comparison.task else f" (aim {_TARGETS[quantity]:.2f})"


def _best(comparison: Comparison) -> str | None:
    """The one of least NFE, below the unregularized model's, whose mean metric is not worse than its interval."""
    scores = {name: [run.score for run in runs if run is not None] for name, runs in comparison.runs.items()}
    allowed, sign = mean_interval(scores[VANILLA]), 1 if _metric(comparison) == "accuracy" else -1
    worst = allowed.low if sign > 0 else allowed.high
    nfe = {name: _ratio(comparison, name, "nfe").mean for name in _others(comparison)}
    fair = [n for n, ratio in nfe.items() if ratio < 1 and sign * statistics.fmean(scores[n]) >= sign * worst]
    return min(fair, key=lambda name: nfe[name], default=None)


def _adaptive(comparison: Comparison) -> list[str]:
    if ADAPTIVE not in _others(comparison):
        return []
    runs = [run for run in comparison.runs[ADAPTIVE] if run is not None]
    budget = comparison.budget
    nfe, train = _median(runs, "nfe"), statistics.fmean(run.nfe_train for run in runs)
    within = sum(abs(run.nfe_train / budget - 1) <= _WITHIN for run in runs)
    lines = [
        "",
        f"The adapting weight was asked for {budget:g} evaluations: the last epoch took {train:.1f} on average, within "
        f"{100 * _WITHIN:g} % on {within} of {len(runs)} seeds; held-out {nfe:g} (median). "
        f"Its weight ended at {_median(runs, 'weight'):.3g} (median).",
    ]
    fixed = [name for name in _others(comparison) if name.startswith(FIXED)]
    near = [name for name in fixed if _mean_nfe(comparison, name) <= (1 + _WITHIN) * budget]
    if near:
        sign = -1 if _metric(comparison) == "accuracy" else 1
        best = min(near, key=lambda name: sign * _change(comparison, name).mean)
        lines.append(
            f"Beside it the best fixed weight of the same penalty within that NFE: {best}, NFE "
            f"{_mean_nfe(comparison, best):.1f} in training, change of the metric "
            f"{_change_text(comparison, best)} against {_change_text(comparison, ADAPTIVE)} of the adapting."
        )
    elif fixed:
        lines.append("No fixed weight of the same penalty that was tried ended within that NFE.")
    return lines


def _mean_nfe(comparison: Comparison, name: str) -> float:
    return statistics.fmean(run.nfe_train for run in comparison.runs[name] if run is not None)


def _median(runs: Sequence[Run], quantity: str) -> float:
    return statistics.median(getattr(run, quantity) for run in runs)


def _score(metric: str, value: float) -> str:
    return f"{100 * value:.2f} %" if metric == "accuracy" else f"{value:.3g}"


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
