"""The solver benchmark as Markdown and as a figure: computes ratios of what was measured, and nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from studies.benchmarks.machine import machine_lines
from studies.benchmarks.memory import Memory
from studies.benchmarks.timing import Spread
from studies.benchmarks.work_precision import Control, Point, at_equal_error

PEER, ADJOINT_PEER = "torchdiffeq dopri5", "torchdiffeq odeint_adjoint"
PLAIN, CAPTURED = "tape", "tape, error and stiffness in the loss"
LOCAL = "tape, local error in the loss"
CHECKPOINTED, INTERPOLATING = "checkpointed", "interpolating"
OURS, DROP_IN = "ndecore tsit5", "ndecore odeint, tsit5"


class _Bound(NamedTuple):
    """A ratio with what it must not exceed."""

    workload: str
    what: str
    pass_: str  # forward or backward
    variant: str
    to: str
    must: float | None  # None for that of a local penalty: it takes 8 evaluations more, in float64, twice as dear
    aim: float | None = None

    def allowed(self, nfe: int) -> float:
        """The bound, where a solve takes so many evaluations."""
        return 1.05 + 16 / nfe if self.must is None else self.must


_BOUNDS = (
    _Bound("W1", "forward", "forward", OURS, PEER, 0.52, 0.45),
    _Bound("W1", "forward + backward, estimates in the loss", "backward", CAPTURED, PEER, 0.65, 0.55),
    _Bound("W2", "forward", "forward", OURS, PEER, 0.62, 0.52),
    _Bound("W2", "forward + backward, estimates in the loss", "backward", CAPTURED, PEER, 0.60, 0.50),
    _Bound("W3a", "forward", "forward", OURS, PEER, 0.40, 0.30),
    _Bound("W3a", "forward + backward, estimates in the loss", "backward", CAPTURED, PEER, 0.70, 0.58),
    _Bound("W3b", "forward", "forward", OURS, PEER, 0.40, 0.30),
    _Bound("W3b", "forward + backward, estimates in the loss", "backward", CAPTURED, PEER, 0.70, 0.58),
    *(
        _Bound(name, "estimates in the loss / without", "backward", CAPTURED, PLAIN, 1.10)
        for name in ("W1", "W2", "W3a", "W3b", "digits")
    ),
    *(
        _Bound(name, "local error in the loss / without", "backward", LOCAL, PLAIN, None)
        for name in ("W1", "W2", "W3a", "W3b", "digits")
    ),
    *(
        _Bound(name, "checkpointed / tape", "backward", CHECKPOINTED, PLAIN, 1.40)
        for name in ("W1", "W2", "W3a", "W3b", "digits")
    ),
    *(
        _Bound(name, f"odeint / solve, {what}", pass_, DROP_IN, own, 1.05)
        for name in ("W1", "W2", "W3a", "W3b", "digits")
        for what, pass_, own in (("forward", "forward", OURS), ("forward + backward", "backward", PLAIN))
    ),
    _Bound("W2", "interpolating / odeint_adjoint", "backward", INTERPOLATING, ADJOINT_PEER, 0.50),
)


def markdown(  # noqa: PLR0917 - one for each part of the report
    measured: Sequence[Any],
    points: Mapping[str, Sequence[Point]],
    controllers: Sequence[Control],
    programs: Mapping[str, Spread],
    memory: Sequence[Memory],
    rounds: int,
    device: str,
) -> str:
    """The report."""
    clock = "CPU time of the process" if device == "cpu" else "device events"
    lines = [
        "# Solvers against torchdiffeq and torchode",
        "",
        f"- {rounds} rounds, the variants in turn in each; {clock}; medians with quartiles; ratios within each round",
        "- the same tolerances everywhere, one step size for a batch; the loss is the mean square of the outputs",
        "- NFE and the largest error at any output (against dopri8 in float64 at 1e-11) are of the forward solve",
        *machine_lines("torchdiffeq", "torchode"),
        f"- device: {device}",
        "",
        "## What was to be reached",
        "",
        "| workload | ratio | measured | bound | aim |",
        "|---|---|---|---|---|",
        *_bound_rows(measured),
        "",
        *(line for each in measured for line in _workload_lines(each)),
        "## Programs for torchdiffeq, one import changed",
        "",
        "| program | time with ndecore / with torchdiffeq, dopri5 |",
        "|---|---|",
        *(f"| {text} | {ratio:.2f} |" for text, ratio in programs.items()),
        "",
        "## Memory",
        "",
        "Peak above that of one evaluation with its gradient, W1, each in a process of its own; per step: the slope "
        "between the loosest and the tightest tolerance, in states.",
        "",
        "| adjoint | accepted steps | peak, MiB | states per step |",
        "|---|---|---|---|",
        *_memory_rows(memory),
        "",
        "## Controllers",
        "",
        "Tsit5, NFE of a controller over that of I; geometric means over problems and tolerances "
        f"({', '.join(dict.fromkeys(point.problem for point in controllers))}).",
        "",
        "| controller | precision | at equal tolerance | at equal error |",
        "|---|---|---|---|",
        *_controller_rows(controllers),
        "",
        "## Work and precision",
        "",
        "![time against error](solvers.png)",
        "",
        "| workload | method | tolerance | NFE | ms | error |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {p.method} | {p.tolerance:g} | {p.nfe} | {p.cpu_ms:.1f} | {p.error:.1e} |"
            for name, own in points.items()
            for p in own
        ),
    ]
    return "\n".join(lines) + "\n"


def _bound_rows(measured: Sequence[Any]) -> list[str]:
    by_name = {each.workload.name: each for each in measured}
    rows = []
    for bound in _BOUNDS:
        if bound.workload in by_name:
            times = getattr(by_name[bound.workload], bound.pass_)
            ratio = times.ratio(bound.variant, bound.to)
            allowed = bound.allowed(by_name[bound.workload].nfe[OURS])
            verdict = "" if ratio.median <= allowed else " (missed)"
            aim = "" if bound.aim is None else f"{bound.aim:.2f}"
            rows.append(f"| {bound.workload} | {bound.what} | {ratio:.2f}{verdict} | {allowed:.2f} | {aim} |")
    return rows


def _workload_lines(measured: Any) -> list[str]:
    workload = measured.workload
    forward, backward = measured.forward, measured.backward
    return [
        f"## {workload.name}: {workload.text}, rtol = atol = {workload.tolerance:g}",
        "",
        "| forward | NFE | largest error | ms | / torchdiffeq |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {measured.nfe[name]} | {measured.error[name]:.1e} | {forward.ms(name):.2f} "
            f"| {forward.ratio(name, PEER):.2f} |"
            for name in forward.by_variant
        ),
        "",
        "| forward + backward | ms | / torchdiffeq | / tape |",
        "|---|---|---|---|",
        *(
            f"| {name} | {backward.ms(name):.2f} | {backward.ratio(name, PEER):.2f} "
            f"| {backward.ratio(name, PLAIN):.2f} |"
            for name in backward.by_variant
        ),
        "",
    ]


def _memory_rows(memory: Sequence[Memory]) -> list[str]:
    rows = []
    for adjoint in dict.fromkeys(each.adjoint for each in memory):
        own = [each for each in memory if each.adjoint == adjoint]
        more = own[-1].n_accepted - own[0].n_accepted
        slope = (own[-1].peak_mib - own[0].peak_mib) / own[0].state_mib / more if more else float("nan")
        steps = " / ".join(str(each.n_accepted) for each in own)
        peaks = " / ".join(f"{each.peak_mib:.0f}" for each in own)
        rows.append(f"| {adjoint} | {steps} | {peaks} | {slope:.1f} |")
    return rows


def _controller_rows(points: Sequence[Control]) -> list[str]:
    rows = []
    for dtype in dict.fromkeys(point.dtype for point in points):
        for controller in ("pi", "pid"):
            nominal, matched = at_equal_error(points, controller, dtype)
            rows.append(f"| {controller} | {dtype} | {nominal:.2f} | {matched:.2f} |")
    return rows


def draw(points: Mapping[str, Sequence[Point]], path: Path) -> None:
    """Time against error for each workload, log-log, as a PNG."""
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(3.2 * len(points), 3.4), layout="constrained")
        axes = figure.subplots(1, len(points), squeeze=False)[0]
        for axis, (name, own) in zip(axes, points.items(), strict=True):
            for method in dict.fromkeys(point.method for point in own):
                curve = [point for point in own if point.method == method]
                style = {"color": "0.3", "linestyle": "--"} if method == PEER else {}
                axis.loglog(
                    [p.error for p in curve], [p.cpu_ms for p in curve], marker="o", ms=3, label=method, **style
                )
            axis.set(title=name, xlabel="largest error", ylabel="CPU time, ms" if axis is axes[0] else "")
            axis.grid(alpha=0.3)
        axes[0].legend(fontsize=7)
        figure.savefig(path, dpi=110)
