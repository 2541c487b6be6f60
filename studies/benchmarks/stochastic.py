"""The solvers of stochastic equations against torchsde on W4: constant steps, error control, the cost of the path.

Its diffusion is linear and mixes states, as that of P1's neural SDE; errors are taken with an elementwise one, where
methods keep their orders.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
import torchsde
from rich.console import Console
from torch import Tensor

from ndecore.adjoints.checkpointed import Checkpointed
from ndecore.adjoints.torchsde import Torchsde
from ndecore.controllers.base import StepBounds
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.proportional_integral import PIController
from ndecore.errors import InputError
from ndecore.integrate import Adjoint, SolveSettings, Tape
from ndecore.solution import Solution
from ndecore.solvers import SDE_SOLVERS
from ndecore.solvers.base import Solver
from ndecore.solvers.milstein import Milstein
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.sosri2 import SOSRI2
from ndecore.solving import solve
from studies.benchmarks.stochastic_report import (
    CAPTURED,
    CHECKPOINTED,
    INCREMENTS,
    OURS,
    OURS2,
    PEER,
    PEER_MILSTEIN,
    draw,
    markdown,
)
from studies.benchmarks.stochastic_workload import Elementwise, Mixing, Workload, workload
from studies.benchmarks.timing import Times, race

_STEPS = 50
_GRADIENT_FREE = {"grad_free": True}
_POWERS = (8, 16, 32, 64, 128)  # constant steps in the work-precision curve
_OUR_TOLERANCES = (1.0, 0.3, 0.1, 0.03, 0.01)
_PEER_TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5)
_FINE = 1024  # steps of the reference
_REPEATS = 3


@dataclass(frozen=True)
class Point:
    """One solve of the work-precision curve."""

    method: str
    setting: str  # steps, or tolerance
    n_drift: int
    n_diffusion: int
    cpu_ms: float
    error: float  # strong: rms over states and paths at t = 1, unit of y
    cpu_ms_halfway: float = field(default=math.nan)  # of torchsde with its path-consistent interval


@dataclass(frozen=True)
class Measured:
    """All that was measured."""

    forward: Times
    backward: Times
    increments: Times  # of increments with their areas, see `INCREMENTS`
    points: Sequence[Point]


def main(args: argparse.Namespace) -> int:
    """Measure, print and write the report; the arguments are those of the benchmark `solvers`."""
    if args.only is not None:
        raise InputError("--only: got a workload together with --sde, which has one, allowed: one of the two")
    console = Console()
    mixing, elementwise = workload(Mixing(), args.device), workload(Elementwise(), args.device)
    with console.status("racing on W4"):
        forward = race({name: _silent(run) for name, run in _solves(mixing).items()}, args.rounds, args.device)
        backward = race(_differentiated(mixing), args.rounds, args.device)
    with console.status("increments"):
        increments = race(_increments(mixing), args.rounds, args.device)
    with console.status("work and precision"):
        points = _points(elementwise)
    measured = Measured(forward, backward, increments, points)
    text = markdown(measured, args.rounds, args.device)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    (args.output / "sde_solvers.md").write_text(text, encoding="utf-8")
    data = {
        "forward_ms": forward.by_variant,
        "backward_ms": backward.by_variant,
        "increments_ms": increments.by_variant,
        "work_precision": [asdict(point) for point in points],
    }
    (args.output / "sde_solvers.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    draw(points, args.output / "sde_solvers.png")
    console.print(f"written: {args.output}/sde_solvers.md, .json, .png", soft_wrap=True)
    return 0


class _Equation:
    """A workload as torchsde sees it."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, of: Workload) -> None:
        self.f, self.g = of.drift, of.diffusion


def _theirs(of: Workload, y0: Tensor, method: str, *, halfway_tree: bool = False, **how: Any) -> Tensor:
    ts = torch.tensor([0.0, 1.0], device=y0.device)
    return torchsde.sdeint(_Equation(of), y0, ts, of.interval(halfway_tree), method=method, **how)[-1]


def _ours(
    of: Workload,
    y0: Tensor,
    solver: Solver,
    adjoint: Adjoint,
    *,
    captured: bool = False,
) -> Solution:
    settings = SolveSettings(solver, ConstantStep(1 / _STEPS), adjoint)
    term = of.term(of.tree(cells=_STEPS))
    return solve(term, y0, 0.0, 1.0, settings=settings, differentiable_records=captured, throw=True)


def _solves(of: Workload) -> dict[str, Callable[[], object]]:
    step = 1 / _STEPS
    return {
        PEER: lambda: _theirs(of, of.y0, "srk", dt=step),
        PEER_MILSTEIN: lambda: _theirs(of, of.y0, "milstein", dt=step, options=_GRADIENT_FREE),
        OURS: lambda: _ours(of, of.y0, SOSRI(), Tape()),
        OURS2: lambda: _ours(of, of.y0, SOSRI2(), Tape()),
        "ndecore milstein, gradient-free": lambda: _ours(of, of.y0, Milstein(gradient_free=True), Tape()),
    }


def _silent(run: Callable[[], object]) -> Callable[[], object]:
    def once() -> object:
        with torch.no_grad():
            return run()

    return once


def _differentiated(of: Workload) -> dict[str, Callable[[], object]]:
    """For each variant a solve with the gradient of a loss on its end, to y0 and to the parameters."""

    def run(loss: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        def once() -> None:
            of.drift.zero_grad()
            of.diffusion.zero_grad()
            loss(of.y0.clone().requires_grad_()).backward()

        return once

    def ours(solver: Solver, adjoint: Adjoint, captured: bool = False) -> Callable[[], object]:
        def loss(y0: Tensor) -> Tensor:
            solution = _ours(of, y0, solver, adjoint, captured=captured)
            value: Tensor = solution.y1.square().mean()
            if captured:
                value = value + (solution.records.error_ratio * solution.records.dt.to(y0)).sum()
            return value

        return run(loss)

    step = 1 / _STEPS
    return {
        PEER: run(lambda y0: _theirs(of, y0, "srk", dt=step).square().mean()),
        PEER_MILSTEIN: run(lambda y0: _theirs(of, y0, "milstein", dt=step, options=_GRADIENT_FREE).square().mean()),
        OURS: ours(SOSRI(), Tape()),
        CAPTURED: ours(SOSRI(), Tape(), captured=True),
        CHECKPOINTED: ours(SOSRI(), Checkpointed()),
        OURS2: ours(SOSRI2(), Tape()),
        "ndecore milstein, gradient-free": ours(Milstein(gradient_free=True), Tape()),
    }


def _increments(of: Workload) -> dict[str, Callable[[], object]]:
    """Increments in order, W and the area; what they are drawn from is made anew. `INCREMENTS` says how many."""

    def all_of(query: Callable[[float, float], object], name: str) -> None:
        count = INCREMENTS[name]
        for i in range(count):
            query(i / count, (i + 1) / count)

    def drawn(name: str, make: Callable[[], Callable[[float, float], object]]) -> Callable[[], object]:
        return lambda: all_of(make(), name)

    default, halves, cells, halvings, between = INCREMENTS
    return {
        default: drawn(default, lambda: partial(of.interval(), return_U=True)),
        halves: drawn(halves, lambda: partial(of.interval(halfway_tree=True), return_U=True)),
        cells: drawn(cells, lambda: of.tree(_STEPS).increment),
        halvings: drawn(halvings, lambda: of.tree().increment),
        between: drawn(between, lambda: of.tree().increment),
    }


@torch.no_grad()
def _points(of: Workload) -> list[Point]:
    """Each method at several steps or tolerances, along one path; the best of three times."""
    exact = solve(of.term(of.tree()), of.y0, 0.0, 1.0, settings=SolveSettings(SOSRI2(), ConstantStep(1 / _FINE))).y1
    points = []

    def add(method: str, setting: str, settings: SolveSettings, theirs: Mapping[str, Any] | None = None) -> None:
        solution = solve(of.term(of.tree()), of.y0, 0.0, 1.0, settings=settings).check()
        error = (solution.y1 - exact).square().mean().sqrt().item()
        stats = solution.stats
        halfway = math.nan
        if theirs is None:
            own = _best(lambda: solve(of.term(of.tree()), of.y0, 0.0, 1.0, settings=settings))
        else:  # each by its own kind of path: ours has what it would not have to pay for
            own = _best(lambda: _theirs(of, of.y0, **theirs))
            halfway = _best(lambda: _theirs(of, of.y0, halfway_tree=True, **theirs), 1)
        points.append(Point(method, setting, stats.n_evaluations, stats.n_diffusion_evaluations, own, error, halfway))

    for n in _POWERS:
        for name in ("sosri", "sosri2", "milstein"):
            add(f"{name}, constant", f"{n} steps", SolveSettings(SDE_SOLVERS[name](), ConstantStep(1 / n)))
        rest = SolveSettings(SOSRI(), ConstantStep(1 / n), Torchsde("srk", 1 / n))
        add("torchsde srk, constant", f"{n} steps", rest, {"method": "srk", "dt": 1 / n})
    for tolerance in _OUR_TOLERANCES:
        for solver in (SOSRI(), SOSRI2()):
            settings = SolveSettings(solver, rtol=tolerance, atol=tolerance)
            add(f"{type(solver).__name__.lower()}, adaptive", f"{tolerance:g}", settings)
        published = SolveSettings(SOSRI(), PIController(StepBounds(grow=9 / 8)), rtol=tolerance, atol=tolerance)
        add("sosri, published controller", f"{tolerance:g}", published)
    for tolerance in _PEER_TOLERANCES:
        box = Torchsde("srk", 1 / _STEPS, adaptive=True)
        how = {"method": "srk", "dt": 1 / _STEPS, "adaptive": True, "rtol": tolerance, "atol": tolerance}
        rest = SolveSettings(SOSRI(), adjoint=box, rtol=tolerance, atol=tolerance)
        add("torchsde srk, adaptive", f"{tolerance:g}", rest, how)
    return points


def _best(run: Callable[[], object], repeats: int = _REPEATS) -> float:
    times = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        times.append((time.process_time() - began) * 1e3)
    return min(times)
