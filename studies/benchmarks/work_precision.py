"""Work against error: of methods on the workloads, and of step size controllers on neural and classical problems."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch
import torchdiffeq
from torch import Tensor

from ndecore.controllers import CONTROLLERS
from ndecore.integrate import SolveSettings
from ndecore.solvers import SOLVERS
from ndecore.solving import solve
from ndecore.status import Status
from studies.benchmarks.workloads import Workload

_METHODS = ("tsit5", "dopri5", "bosh3", "dop853")
_TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
_CONTROL_TOLERANCES = {torch.float32: (1e-3, 1e-4, 1e-5, 1e-6, 1e-7), torch.float64: (1e-3, 1e-5, 1e-7, 1e-9, 1e-11)}
_REPEATS = 3
Field = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Point:
    """One solve: what it cost and how wrong it was."""

    method: str
    tolerance: float
    nfe: int
    cpu_ms: float
    error: float  # largest at any output, unit of y


@dataclass(frozen=True)
class Control:
    """A controller on one problem at one tolerance."""

    problem: str
    dtype: str
    controller: str
    tolerance: float
    nfe: int
    error: float  # largest at any output, unit of y


def precision_points(workload: Workload) -> list[Point]:
    """Each method at each tolerance on a workload, without gradients; the best of three times."""
    exact = workload.reference()

    def ours(method: str, tolerance: float) -> tuple[Tensor, int]:
        settings = SolveSettings(SOLVERS[method](), rtol=tolerance, atol=tolerance)
        solution = solve(
            workload.field, workload.y0, workload.ts[0], workload.ts[-1], settings=settings, ts=workload.ts
        )
        return solution.check().ys, solution.stats.n_evaluations

    def peer(tolerance: float) -> tuple[Tensor, int]:
        count = 0

        def counted(t: Tensor, y: Tensor) -> Tensor:
            nonlocal count
            count += 1
            slope: Tensor = workload.field(t, y)
            return slope

        ts = torch.tensor(workload.ts, dtype=torch.float64, device=workload.y0.device)
        ys = torchdiffeq.odeint(counted, workload.y0, ts, rtol=tolerance, atol=tolerance, method="dopri5")
        return ys, count

    points = []
    for method, tolerance in product(("torchdiffeq dopri5", *_METHODS), _TOLERANCES):
        times = []
        with torch.no_grad():
            for _ in range(_REPEATS):
                began = time.process_time()
                ys, nfe = peer(tolerance) if method not in _METHODS else ours(method, tolerance)
                times.append((time.process_time() - began) * 1e3)
        points.append(Point(method, tolerance, nfe, min(times), (ys.double() - exact).abs().max().item()))
    return points


def controller_points(workloads: Sequence[Workload]) -> list[Control]:
    """Each controller of error with Tsit5 at several tolerances in both precisions, on the workloads and classics."""
    problems: list[tuple[str, Field, Tensor, tuple[float, ...]]] = [
        (each.name, each.doubled(), each.y0.double(), each.ts) for each in workloads
    ]
    ends = (0.0, 10.0)
    problems += [
        ("lotka-volterra", _lotka_volterra, torch.tensor([1.0, 1.0], dtype=torch.float64), ends),
        ("van der pol", _van_der_pol, torch.tensor([2.0, 0.0], dtype=torch.float64), ends),
    ]
    points = []
    for name, field, y0, ts in problems:
        exact = _reference(field, y0, ts)
        for dtype in (torch.float32, torch.float64):
            own = field.to(dtype) if isinstance(field, torch.nn.Module) else field
            for controller, tolerance in product(("i", "pi", "pid"), _CONTROL_TOLERANCES[dtype]):
                settings = SolveSettings(controller=CONTROLLERS[controller](), rtol=tolerance, atol=tolerance)
                with torch.no_grad():
                    found = solve(own, y0.to(dtype), ts[0], ts[-1], settings=settings, ts=ts, throw=False)
                if found.status is Status.SUCCESS:
                    error = (found.ys.double() - exact).abs().max().item()
                    nfe = found.stats.n_evaluations
                    points.append(Control(name, str(dtype)[6:], controller, tolerance, nfe, error))
    return points


def at_equal_error(points: Sequence[Control], controller: str, dtype: str) -> tuple[float, float]:
    """NFE of a controller over that of I: at equal tolerance, and at equal error; geometric means over the problems.

    At equal error log NFE is interpolated in log error between the tolerances of I, where its errors still fall.
    """
    nominal, matched = [], []
    for problem in dict.fromkeys(point.problem for point in points):
        own, base = (
            [p for p in points if (p.problem, p.dtype, p.controller) == (problem, dtype, name)]
            for name in (controller, "i")
        )
        curve = _falling([(math.log(p.error), math.log(p.nfe)) for p in base if p.error > 0])
        for point in own:
            nominal += [math.log(point.nfe / p.nfe) for p in base if p.tolerance == point.tolerance]
            expected = _interpolated(curve, math.log(point.error)) if point.error > 0 else None
            if expected is not None:
                matched.append(math.log(point.nfe) - expected)
    return math.exp(statistics.fmean(nominal)), math.exp(statistics.fmean(matched))


def _falling(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    kept: list[tuple[float, float]] = []
    for error, work in curve:
        if not kept or error < kept[-1][0]:
            kept.append((error, work))
    return kept


def _interpolated(curve: list[tuple[float, float]], error: float) -> float | None:
    for (e0, w0), (e1, w1) in pairwise(curve):
        if e1 <= error <= e0:
            return w0 + (w1 - w0) * (error - e0) / (e1 - e0)
    return None


def _reference(field: Field, y0: Tensor, ts: Sequence[float]) -> Tensor:
    times = torch.tensor(ts, dtype=torch.float64, device=y0.device)
    with torch.no_grad():
        return torchdiffeq.odeint(field, y0, times, rtol=1e-12, atol=1e-12, method="dopri8")


def _lotka_volterra(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([1.5 * y[0] - y[0] * y[1], y[0] * y[1] - 3 * y[1]])


def _van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[1], 5 * (1 - y[0] ** 2) * y[1] - y[0]])
