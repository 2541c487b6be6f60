"""Methods for stochastic equations: strong orders on shared paths, weak ones, conditions on tableaus."""

import math
from dataclasses import replace

import pytest
import torch
from initial_value_problems import slope_of
from stochastic_problems import PROBLEMS, StochasticProblem, geometric
from torch import Tensor

from ndecore.solvers import SDE_SOLVERS
from ndecore.solvers.base import Solver
from ndecore.solvers.milstein import Milstein
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.sosri2 import SOSRI2

METHODS: dict[str, Solver] = {name: SDE_SOLVERS[name]() for name in SDE_SOLVERS} | {"milstein_free": Milstein(True)}
QUICK = ("bounded-diagonal", "geometric-scalar")
TAKEN = [
    pytest.param(name, problem, marks=() if problem.name in QUICK else pytest.mark.slow)
    for name in METHODS
    for problem in PROBLEMS
    if problem.noise in METHODS[name].noise_types
]
FINEST = (32, 64, 128)
BELOW = 0.15  # what a measured order may fall short of the nominal one


def named(value: object) -> str:
    return value.name if isinstance(value, StochasticProblem) else str(value)


@pytest.mark.parametrize(("name", "problem"), TAKEN, ids=named)
def test_strong_order_on_shared_paths(name: str, problem: StochasticProblem) -> None:
    solver = METHODS[name]
    path = problem.path(500, seed=1)
    exact = problem.exact(path) if problem.exact else problem.end(solver, path, 8 * FINEST[-1])
    errors = [(problem.end(solver, path, n) - exact).square().mean().sqrt().item() for n in FINEST]
    assert slope_of([1 / n for n in FINEST], errors) >= solver.noise_types[problem.noise] - BELOW
    assert errors[-1] < 0.2


COARSE = (2, 4, 8)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "euler_maruyama" else pytest.mark.slow) for name in METHODS]
)
def test_weak_order_of_the_mean_is_one_at_least(name: str) -> None:
    problem = geometric("diagonal")
    # Antithetic paths would need more: here the error of each path is what is averaged.
    path = problem.path(200_000, seed=2)
    exact, errors = problem.exact(path), []
    for n in COARSE:
        off = problem.end(METHODS[name], path, n) - exact
        mean, deviation = off.mean().abs().item(), off.std().item() / math.sqrt(len(off))
        errors.append(max(mean - 3 * deviation, 0.0) if n == COARSE[0] else mean + 3 * deviation)
    # The bounds of the statistical error, on the unfavourable side of each, cost SOSRI 0.25.
    assert math.log2(errors[0] / errors[-1]) / 2 >= 1.0 - 0.3


@pytest.mark.parametrize("name", METHODS)
def test_without_noise_it_is_an_ordinary_method(name: str) -> None:
    solver = METHODS[name]
    problem = replace(
        geometric("diagonal"),
        drift={"ito": lambda t, y: -y * t, "stratonovich": lambda t, y: -y * t},
        diffusion=lambda t, y: torch.zeros_like(y),
    )
    path = problem.path(1)
    errors = [abs(problem.end(solver, path, n).item() - math.exp(-0.5)) for n in (32, 64)]
    wanted = 2 if isinstance(solver, SOSRI | SOSRI2) or name == "reversible_heun" else 1
    assert math.log2(errors[0] / errors[1]) == pytest.approx(wanted, abs=0.2)


def test_milstein_takes_the_derivative_along_the_noise() -> None:
    """Of scalar noise that mixes states, the correction is J g and not J^T g."""
    turn = torch.tensor([[0.0, 1.0], [-2.0, 0.0]], dtype=torch.float64)

    def diffusion(t: Tensor, y: Tensor) -> Tensor:
        return y @ turn.T

    problem = replace(
        geometric("scalar", 2), drift={"ito": lambda t, y: torch.zeros_like(y)}, diffusion=diffusion, exact=None
    )
    path = problem.path(3)
    W = path.increment(0.0, 1.0).W
    g = diffusion(torch.zeros(()), problem.y0(3))
    expected = problem.y0(3) + g * W + (g @ turn.T) * (W.square() - 1) / 2
    torch.testing.assert_close(problem.end(Milstein(), path, 1), expected)


def test_step_of_sosri_is_the_published_formula() -> None:
    """Stage by stage, with dZ = 2 sqrt(3) H in place of the area."""
    problem = PROBLEMS[1]
    path, y0, h, tableau = problem.path(4), problem.y0(4), 1.0, SOSRI2.tableau
    term = problem.term(path, "ito")
    dW, H = path.increment(0.0, 1.0)
    dZ = 2 * math.sqrt(3) * H
    chi1, chi2 = (dW**2 - h) / (2 * math.sqrt(h)), (dW + dZ / math.sqrt(3)) / 2
    chi3 = (dW**3 - 3 * dW * h) / (6 * h)
    k, g, arguments = [], [], []
    for i in range(4):
        H0, H1 = y0.clone(), y0.clone()
        for j in range(i):
            H0 = H0 + h * tableau.a0[i - 1][j] * k[j] + chi2 * tableau.b0[i - 1][j] * g[j]
            H1 = H1 + h * tableau.a1[i - 1][j] * k[j] + math.sqrt(h) * tableau.b1[i - 1][j] * g[j]
        arguments.append(H0)
        k.append(term(tableau.c0[i] * h, H0))
        g.append(term.diffusion(tableau.c1[i] * h, H1))

    def combined(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
        return sum(w * x for w, x in zip(weights, slopes, strict=True))

    E2 = chi2 * combined(tableau.beta3, g) + chi3 * combined(tableau.beta4, g)
    y1 = y0 + h * combined(tableau.alpha, k) + E2
    y1 = y1 + dW * combined(tableau.beta1, g) + chi1 * combined(tableau.beta2, g)
    solver = SOSRI2()
    for carry in (y0.new_empty(0), solver.start(term, 0.0, y0)):
        step = solver.step(term, 0.0, h, y0, carry)
        torch.testing.assert_close(step.y1, y1)
        error, slopes, pair = step.differences()
        torch.testing.assert_close(error, h * sum(k) + E2)
        torch.testing.assert_close(slopes, h * (k[3] - k[2]))
        torch.testing.assert_close(pair.second - pair.first, arguments[3] - arguments[2])


def test_stability_sizes_are_where_the_drifts_polynomial_leaves_the_unit_disc() -> None:
    for solver, within in ((SOSRI, 0.01), (SOSRI2, 0.15)):  # SOSRI2's is P1's
        tableau = solver.tableau
        size = solver.stability_size

        def growth(z: float, tableau: object = tableau) -> float:
            k: list[float] = []
            for row in ((), *tableau.a0):
                k.append(z * (1 + sum(w * x for w, x in zip(row, k, strict=True))))
            return abs(1 + sum(w * x for w, x in zip(tableau.alpha, k, strict=True)))

        assert all(growth(-0.01 * i) <= 1 for i in range(1, int(100 * (size - within))))
        assert growth(-(size + within)) > 1


@pytest.mark.parametrize("name", ["alpha", "beta1", "beta2", "beta3", "beta4", "a0", "a1", "b0", "b1"])
def test_tableau_notices_a_wrong_coefficient(name: str) -> None:
    for solver in (SOSRI, SOSRI2):
        good = getattr(solver.tableau, name)
        first, *rest = good
        wrong = ((first[0] + 1e-6,), *rest) if isinstance(first, tuple) else (first + 1e-6, *rest)
        with pytest.raises(AssertionError, match="condition"):
            replace(solver.tableau, **{name: wrong})
