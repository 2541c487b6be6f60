"""The solvers against torchdiffeq and torchode: time beside evaluations and error, memory, controllers.

Fields of the shapes that neural ODEs have (W1 to W3, random weights) and a trained one, each solver at the same
tolerances. Forward without gradients, and forward with backward; variants in turn within each round.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torchdiffeq
import torchode
from rich.console import Console
from rich.progress import Progress
from torch import Tensor

from ndecore.adjoints import ADJOINTS
from ndecore.dropin import odeint
from ndecore.errors import InputError, RoundingWarning
from ndecore.integrate import SolveSettings
from ndecore.observation import observe
from ndecore.regularizers.local_error import LocalError
from ndecore.solvers import SOLVERS
from ndecore.solving import solve
from studies.arguments import whole_number
from studies.benchmarks import stochastic
from studies.benchmarks.memory import Memory, measure_memory
from studies.benchmarks.programs import program_ratios
from studies.benchmarks.solvers_report import (
    ADJOINT_PEER,
    CAPTURED,
    CHECKPOINTED,
    DROP_IN,
    INTERPOLATING,
    LOCAL,
    OURS,
    PEER,
    PLAIN,
    draw,
    markdown,
)
from studies.benchmarks.timing import Spread, Times, race
from studies.benchmarks.work_precision import Point, controller_points, precision_points
from studies.benchmarks.workloads import NAMES, Workload, workloads


@dataclass(frozen=True)
class Measured:
    """What one workload gave."""

    workload: Workload
    nfe: Mapping[str, int]  # evaluations of a forward solve, by variant
    error: Mapping[str, float]  # largest at any output, against a float64 reference, unit of y
    forward: Times
    backward: Times


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--rounds", type=whole_number(2), default=15, metavar="N", help="of each race (default: 15)")
    parser.add_argument("--only", metavar="NAME", help=f"one workload of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--sde", action="store_true", help="stochastic ones, on W4, against torchsde")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")


def main(args: argparse.Namespace) -> int:
    """Measure, print and write the report."""
    if args.only not in (None, *NAMES):
        raise InputError(f"--only: got {args.only!r}, allowed: {', '.join(NAMES)}")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device: got 'cuda', and torch finds no GPU here, allowed: cpu")
    torch.set_num_threads(1)
    if args.sde:
        return stochastic.main(args)
    console = Console()
    chosen = [each for each in workloads(args.device) if args.only in (None, each.name)]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("racing", total=2 * len(chosen) + 3)
        measured = []
        for workload in chosen:
            progress.update(bar, description=f"racing on {workload.name}")
            measured.append(_measure(workload, args.rounds, args.device))
            progress.advance(bar)
        points: dict[str, list[Point]] = {}
        for each in measured:
            progress.update(bar, description=f"work and precision on {each.workload.name}")
            points[each.workload.name] = precision_points(each.workload)
            progress.advance(bar)
        progress.update(bar, description="controllers")
        controllers = controller_points([each.workload for each in measured])
        progress.advance(bar)
        progress.update(bar, description="programs for torchdiffeq")
        programs = program_ratios(args.rounds, args.device)
        progress.advance(bar)
        progress.update(bar, description="memory")
        memory = measure_memory(args.device)
        progress.advance(bar)
    text = markdown(measured, points, controllers, programs, memory, args.rounds, args.device)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    (args.output / "solvers.md").write_text(text, encoding="utf-8")
    data = _data(measured, points, controllers, programs, memory)
    (args.output / "solvers.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    draw(points, args.output / "solvers.png")
    console.print(f"written: {args.output}/solvers.md, .json, .png", soft_wrap=True)
    return 0


def _data(
    measured: list[Measured], points: Any, controllers: Any, programs: dict[str, Spread], memory: list[Memory]
) -> dict[str, Any]:
    return {
        "workloads": {
            each.workload.name: {
                "nfe": each.nfe,
                "error": each.error,
                "forward_ms": each.forward.by_variant,
                "backward_ms": each.backward.by_variant,
            }
            for each in measured
        },
        "work_precision": {name: [asdict(point) for point in own] for name, own in points.items()},
        "controllers": [asdict(each) for each in controllers],
        "programs": {text: asdict(ratio) for text, ratio in programs.items()},
        "memory": [asdict(each) for each in memory],
    }


def _measure(workload: Workload, rounds: int, device: str) -> Measured:
    forward = _forward(workload)
    exact = workload.reference()
    nfe, error = {}, {}
    for name, make in forward.items():
        counted = _Counted(workload.field)
        with torch.no_grad():
            found = make(counted)
        nfe[name], error[name] = counted.n, (found.double() - exact).abs().max().item()

    def without_gradients(make: Callable[[Any], Tensor]) -> Callable[[], object]:
        def run() -> object:
            with torch.no_grad():
                return make(workload.field)

        return run

    racing = {name: without_gradients(make) for name, make in forward.items()}
    times = race(racing, rounds, device)
    with warnings.catch_warnings():
        # Where a random field saturates the local error is rounding; it takes as long to find.
        warnings.simplefilter("ignore", RoundingWarning)
        return Measured(workload, nfe, error, times, race(_backward(workload), rounds, device))


class _Counted:
    """A field that counts its evaluations."""

    def __init__(self, field: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.field, self.n = field, 0

    def __call__(self, t: Tensor, y: Tensor) -> Tensor:
        self.n += 1
        return self.field(t, y)


def _forward(workload: Workload) -> dict[str, Callable[[Any], Tensor]]:
    """For each variant, field -> the solution at the output times."""

    def ours(solver: str) -> Callable[[Any], Tensor]:
        settings = replace(_settings(workload), solver=SOLVERS[solver]())
        return lambda field: _ours(workload, field, workload.y0, settings).ys

    return {
        PEER: lambda field: _odeint(workload, field, workload.y0, torchdiffeq.odeint),
        "torchode tsit5": lambda field: _torchode(workload, field, workload.y0, torchode.Tsit5),
        "torchode dopri5": lambda field: _torchode(workload, field, workload.y0, torchode.Dopri5),
        OURS: ours("tsit5"),
        DROP_IN: lambda field: _odeint(workload, field, workload.y0, odeint, "tsit5"),
        "ndecore dopri5": ours("dopri5"),
    }


def _backward(workload: Workload) -> dict[str, Callable[[], object]]:
    """For each variant a forward solve with the gradient of a loss on its outputs, to y0 and to the parameters."""
    field = workload.field

    def run(outputs: Callable[[Tensor], Tensor]) -> Callable[[], object]:
        def once() -> None:
            field.zero_grad()
            y0 = workload.y0.clone().requires_grad_()
            outputs(y0).backward()

        return once

    def ours(adjoint: str, captured: bool = False) -> Callable[[], object]:
        settings = replace(_settings(workload), adjoint=ADJOINTS[adjoint]())

        def loss(y0: Tensor) -> Tensor:
            solution = _ours(workload, field, y0, settings, captured)
            value: Tensor = solution.ys.square().mean()
            if captured:
                records = solution.records
                value = value + (records.error_ratio * records.dt.abs().to(y0)).sum() + 0.1 * records.stiffness.max()
            return value

        return run(loss)

    return {
        PEER: run(lambda y0: _odeint(workload, field, y0, torchdiffeq.odeint).square().mean()),
        "torchode tsit5": run(lambda y0: _torchode(workload, field, y0, torchode.Tsit5).square().mean()),
        PLAIN: ours("tape"),
        DROP_IN: run(lambda y0: _odeint(workload, field, y0, odeint, "tsit5").square().mean()),
        CAPTURED: ours("tape", captured=True),
        LOCAL: run(lambda y0: _local(workload, y0)),
        CHECKPOINTED: ours("checkpointed"),
        "checkpointed, error and stiffness in the loss": ours("checkpointed", captured=True),
        ADJOINT_PEER: run(lambda y0: _odeint(workload, field, y0, torchdiffeq.odeint_adjoint).square().mean()),
        INTERPOLATING: ours("interpolating"),
    }


def _settings(workload: Workload) -> SolveSettings:
    return SolveSettings(rtol=workload.tolerance, atol=workload.tolerance)


def _ours(workload: Workload, field: Any, y0: Tensor, settings: SolveSettings, captured: bool = False) -> Any:
    t0, t1 = workload.ts[0], workload.ts[-1]
    return solve(field, y0, t0, t1, settings=settings, ts=workload.ts, differentiable_records=captured, throw=True)


def _local(workload: Workload, y0: Tensor) -> Tensor:
    """The loss of a solve with P2's penalty, as training has it."""
    with observe(penalties=[LocalError()], generator=torch.Generator().manual_seed(0)) as solves:
        states = _ours(workload, workload.field, y0, _settings(workload)).ys
    return states[1:].square().mean() + solves.penalties.sum()


def _odeint(
    workload: Workload, field: Any, y0: Tensor, integrate: Callable[..., Tensor], method: str = "dopri5"
) -> Tensor:
    ts = torch.tensor(workload.ts, dtype=torch.float64, device=y0.device)
    return integrate(field, y0, ts, rtol=workload.tolerance, atol=workload.tolerance, method=method)


def _torchode(workload: Workload, field: Any, y0: Tensor, method: Any) -> Tensor:
    """One step size for the whole batch, as everywhere here: to torchode the batch is one long state."""
    term = torchode.ODETerm(lambda t, y: field(t[0], y.view(y0.shape)).reshape(1, -1))
    control = torchode.IntegralController(atol=workload.tolerance, rtol=workload.tolerance, term=term)
    solver = torchode.AutoDiffAdjoint(method(term=term), control, backprop_through_step_size_control=False)
    ts = torch.tensor([workload.ts], dtype=y0.dtype, device=y0.device)
    solution = solver.solve(torchode.InitialValueProblem(y0=y0.reshape(1, -1), t_eval=ts))
    return solution.ys[0].view(-1, *y0.shape)
