"""Peak memory of a forward and backward solve by each adjoint, each in a process of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from ndecore.adjoints import ADJOINTS
from ndecore.integrate import SolveSettings
from ndecore.solving import solve
from studies.benchmarks.workloads import mnist

_TOLERANCES = (1e-4, 1e-6, 1.4e-8)
_ADJOINTS = ("torchdiffeq", "torchdiffeq_adjoint", "tape", "checkpointed", "interpolating")
_MIB = 2**20
_PROCESS = Path("/proc/self")  # Linux: the peak of a process, and a way to forget it
_PROGRAM = "import sys; from studies.benchmarks.memory import measure_here; measure_here(*sys.argv[1:])"


@dataclass(frozen=True)
class Memory:
    """Of one solve of W1 with its gradient."""

    adjoint: str
    tolerance: float
    n_accepted: int
    peak_mib: float  # above what one evaluation with its gradient takes
    state_mib: float  # of one state


def measure_memory(device: str) -> list[Memory]:
    """Each adjoint at each tolerance on W1."""
    found = []
    for adjoint in _ADJOINTS:
        for tolerance in _TOLERANCES:
            command = [sys.executable, "-c", _PROGRAM, adjoint, str(tolerance), device]
            root = Path(__file__).parents[2]
            done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
            found.append(Memory(adjoint, tolerance, **json.loads(done.stdout.splitlines()[-1])))
    return found


def measure_here(adjoint: str, tolerance: str, device: str) -> None:
    """Measure one in this process, and print it as JSON."""
    torch.set_num_threads(1)
    workload = mnist(device)
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=float(tolerance), atol=float(tolerance))
    y0 = workload.y0.clone().requires_grad_()
    workload.field(torch.zeros((), device=device), y0).sum().backward()
    _forget_peak(device)
    before = _peak_mib(device)
    solution = solve(workload.field, y0, 0.0, 1.0, settings=settings, throw=True)
    solution.y1.square().mean().backward()
    found = {
        "n_accepted": solution.stats.n_accepted,
        "peak_mib": _peak_mib(device) - before,
        "state_mib": y0.numel() * y0.element_size() / _MIB,
    }
    print(json.dumps(found))


def _peak_mib(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / _MIB
    lines = _PROCESS.joinpath("status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def _forget_peak(device: str) -> None:
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        _PROCESS.joinpath("clear_refs").write_text("5")
