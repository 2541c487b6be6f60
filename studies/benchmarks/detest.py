"""DETEST, the classes A to F: evaluations and errors of the adaptive methods beside SciPy's, in float64."""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from scipy.integrate import solve_ivp
from torch import Tensor

from ndecore.solving import solve
from ndecore.status import Status
from studies.benchmarks.detest_problems import PROBLEMS, T1, Detest
from studies.benchmarks.machine import machine_lines

CLASSES = "ABCDEF"
OURS = ("tsit5", "dopri5", "bosh3", "dop853")
_SCIPY = ("RK45", "RK23", "DOP853")  # the pairs of dopri5, bosh3 and dop853
_TOLERANCES = (1e-3, 1e-6)
_MOST_STEPS = 4096  # the default of a solve
_FAR = 1e4  # tolerances: a larger error at the end is no solution


@dataclass(frozen=True)
class Found:
    """One method on one problem at one tolerance, rtol = atol."""

    method: str
    problem: str
    tolerance: float
    evaluations: int
    error: float  # largest of y(20), in tolerances

    @property
    def is_solved(self) -> bool:
        """Whether it came to the end, near the solution."""
        return self.error < _FAR


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments: none."""


def main(args: argparse.Namespace) -> int:
    """Solve, print and write the report."""
    torch.set_num_threads(1)
    console = Console()
    with console.status("solving"):
        found = measure(PROBLEMS)
    text = markdown(found)
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    (args.output / "detest.md").write_text(text, encoding="utf-8")
    (args.output / "detest.json").write_text(json.dumps([asdict(each) for each in found], indent=1) + "\n", "utf-8")
    console.print(f"written: {args.output}/detest.md, .json", soft_wrap=True)
    return 0


@torch.no_grad()
def measure(problems: Iterable[Detest], tolerances: Sequence[float] = _TOLERANCES) -> list[Found]:
    """Every method on every problem at every tolerance."""
    found = []
    for problem in problems:
        exact = problem.reference()
        for tolerance in tolerances:
            found += [ours(problem, exact, method, tolerance) for method in OURS]
            found += [scipys(problem, exact, method, tolerance) for method in _SCIPY]
            if problem.breaks:
                found.append(ours(problem, exact, "tsit5", tolerance, knows_jumps=True))
    return found


def ours(problem: Detest, exact: Tensor, method: str, tolerance: float, knows_jumps: bool = False) -> Found:
    """One solve of ours; the error is infinite where it ended early."""
    solution = solve(
        problem.field,
        problem.start(),
        0.0,
        T1,
        solver=method,
        rtol=tolerance,
        atol=tolerance,
        max_steps=_MOST_STEPS,
        jump_t=problem.breaks if knows_jumps else (),
        throw=False,
    )
    error = (solution.y1 - exact).abs().max().item() if solution.status is Status.SUCCESS else float("inf")
    name = f"{method}, jumps known" if knows_jumps else method
    return Found(name, problem.name, tolerance, solution.stats.n_evaluations, error / tolerance)


def scipys(problem: Detest, exact: Tensor, method: str, tolerance: float) -> Found:
    """One solve by SciPy, which says how many evaluations it took."""
    found = solve_ivp(problem.slope, (0.0, T1), problem.y0, method, rtol=tolerance, atol=tolerance)
    error = (torch.from_numpy(found.y[:, -1].copy()) - exact).abs().max().item() if found.success else float("inf")
    return Found(f"scipy {method}", problem.name, tolerance, found.nfev, error / tolerance)


def markdown(found: Sequence[Found]) -> str:
    """The report."""
    lines = [
        "# DETEST",
        "",
        "`nde-study bench detest`: the thirty problems of Hull, Enright, Fellen and Sedgwick (1972) and of Enright and",
        "Pryce (1987) over [0, 20], rtol = atol, evaluations summed over each class. The fields of class F have jumps",
        "or kinks; with `jump_t` no step goes across them. Solved: within 4,096 attempts, and y(20) within 10,000",
        "tolerances of a reference solve at 1e-12.",
        "",
        *machine_lines("scipy"),
    ]
    for tolerance in dict.fromkeys(each.tolerance for each in found):
        at = [each for each in found if each.tolerance == tolerance]
        lines += [
            "",
            f"## At {tolerance:g}",
            "",
            f"| method | {' | '.join(CLASSES)} | solved | median error / tolerance | largest |",
            f"|---|{'---:|' * (len(CLASSES) + 3)}",
        ]
        lines += [_row(method, [each for each in at if each.method == method]) for method in _methods(at)]
    return "\n".join(lines) + "\n"


def _methods(found: Sequence[Found]) -> list[str]:
    return sorted({each.method for each in found}, key=lambda name: (name.startswith("scipy"), name))


def _row(method: str, own: Sequence[Found]) -> str:
    sums = [sum(each.evaluations for each in own if each.problem[0] == letter) for letter in CLASSES]
    cells = [f"{total:,}" if total else "" for total in sums]
    errors = sorted(each.error for each in own)
    solved = f"{sum(each.is_solved for each in own)} of {len(own)}"
    return f"| {method} | {' | '.join(cells)} | {solved} | {errors[len(errors) // 2]:.3g} | {errors[-1]:.3g} |"
