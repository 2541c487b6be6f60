"""Rodas5P: its orders, stiff problems beside SciPy's Radau, gradients, what it records and what it refuses."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

from ndecore import SolveSettings, odeint, solve
from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.solvers.rodas5p import Rodas5P


class Stiff(NamedTuple):
    """A stiff problem from its y0 to t1."""

    field: Callable[[Tensor, Tensor], Tensor]
    y0: tuple[float, ...]
    t1: float
    atol: float
    exact_rtol: float  # of the reference


def robertson(t: Tensor, y: Tensor) -> Tensor:
    a, b, c = y.unbind(-1)
    slow, fast, faster = 0.04 * a, 1e4 * b * c, 3e7 * b * b
    return torch.stack([-slow + fast, slow - fast - faster, faster], -1)


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[1], 1000 * (1 - y[0] ** 2) * y[1] - y[0]])


def hires(t: Tensor, y: Tensor) -> Tensor:
    """High irradiance response: Hairer, Wanner II, IV.10."""
    a, b, c, d, e, f, g, h = y.unbind()
    bound = 280 * f * h - 1.81 * g
    return torch.stack(
        [
            -1.71 * a + 0.43 * b + 8.32 * c + 0.0007,
            1.71 * a - 8.75 * b,
            -10.03 * c + 0.43 * d + 0.035 * e,
            8.32 * b + 1.71 * c - 1.12 * d,
            -1.745 * e + 0.43 * f + 0.43 * g,
            -280 * f * h + 0.69 * d + 1.71 * e - 0.43 * f + 0.69 * g,
            bound,
            -bound,
        ]
    )


STIFF = {
    "robertson": Stiff(robertson, (1.0, 0.0, 0.0), 40.0, 1e-9, 1e-10),
    "hires": Stiff(hires, (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057), 321.8122, 1e-9, 1e-10),
    "van der pol, mu = 1000": Stiff(van_der_pol, (2.0, 0.0), 2000.0, 1e-6, 1e-9),
}


def radau(problem: Stiff, rtol: float, atol: float) -> tuple[Tensor, int]:
    found = solve_ivp(
        lambda t, y: problem.field(torch.tensor(t), torch.from_numpy(y)).numpy(),
        (0.0, problem.t1),
        problem.y0,
        "Radau",
        rtol=rtol,
        atol=atol,
    )
    return torch.from_numpy(found.y[:, -1]), found.nfev


@pytest.mark.parametrize("name", ["robertson", "hires", pytest.param("van der pol, mu = 1000", marks=pytest.mark.slow)])
def test_stiff_problems_take_no_more_evaluations_than_radau(name: str) -> None:
    problem = STIFF[name]
    y0 = torch.tensor(problem.y0, dtype=torch.float64)
    ours = solve(problem.field, y0, 0.0, problem.t1, solver="rodas5p", rtol=1e-6, atol=problem.atol, max_steps=100_000)
    exact, _ = radau(problem, problem.exact_rtol, problem.atol * problem.exact_rtol / 1e-6)
    _, n_theirs = radau(problem, 1e-6, problem.atol)
    assert ours.stats.n_evaluations <= n_theirs
    assert ((ours.y1 - exact).abs() / (problem.atol + 1e-6 * exact.abs())).max() < 100


def swing(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[1], -y[0] + 0.5 * torch.sin(2 * t) * y[1]])


def test_solution_and_dense_output_have_their_orders() -> None:
    y0, ts = torch.tensor([1.0, 0.0], dtype=torch.float64), [0.77, 1.3]
    exact = solve(swing, y0, 0.0, 2.0, ts=ts, solver="dop853", rtol=1e-13, atol=1e-13)
    errors = []
    for n in (20, 40, 80):
        found = solve(swing, y0, 0.0, 2.0, ts=ts, settings=SolveSettings(Rodas5P(), ConstantStep(2.0 / n)))
        ends, outputs, estimate = found.y1 - exact.y1, found.ys - exact.ys, found.records.error
        errors.append((ends.norm().item(), outputs.norm().item(), estimate.norm(p=math.inf).item()))
        assert found.stats.n_evaluations == 8 * n + 1
    for first, last, order in zip(errors[0], errors[-1], (5, 4, 5), strict=True):
        assert math.log(first / last, 4) > order - 0.25


def test_a_field_that_needs_no_gradient_leaves_none() -> None:
    found = solve(swing, torch.tensor([1.0, 0.0]), 0.0, 1.0, solver="rodas5p", rtol=1e-3)
    assert not found.y1.requires_grad
    assert found.stats.n_evaluations == 8 * (found.stats.n_accepted + found.stats.n_rejected) + 1 + 1  # first step size


class Relaxation(nn.Module):
    """dy/dt = -A (y - cos t) + (0, y_1^2), A with eigenvalues 1 and 60."""

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.tensor([[30.5, 29.5], [29.5, 30.5]], dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        square = torch.stack([torch.zeros_like(y[0]), y[0] ** 2])
        return -self.matrix @ (y - torch.cos(t)) + square


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_gradients_of_a_stiff_solve_are_those_of_a_tight_one(adjoint: str) -> None:
    field, gradients = Relaxation(), []
    y0 = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
    for settings in (
        SolveSettings("rodas5p", adjoint=ADJOINTS[adjoint](), rtol=1e-7, atol=1e-7),
        SolveSettings("dop853", adjoint=ADJOINTS["interpolating"](), rtol=1e-9, atol=1e-9),
    ):
        y1 = solve(field, y0, 0.0, 1.5, settings=settings).y1
        gradients.append(torch.autograd.grad(y1.sum() + y1[0] * y1[1], [y0, field.matrix]))
    for ours, exact in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-7)


def test_penalties_on_its_records_have_exact_gradients() -> None:
    rate = torch.tensor([3.0, 40.0], dtype=torch.float64, requires_grad=True)
    settings = SolveSettings(Rodas5P(), ConstantStep(0.1))

    def records(rate: Tensor) -> tuple[Tensor, Tensor]:
        def field(t: Tensor, y: Tensor) -> Tensor:
            return -rate * y + torch.sin(t) * y.flip(0)

        start = torch.ones(2, dtype=torch.float64)
        found = solve(field, start, 0.0, 0.3, settings=settings, differentiable_records=True)
        return found.records.error, found.records.stiffness

    assert torch.autograd.gradcheck(records, [rate])


def test_independent_samples_have_a_jacobian_each_and_the_same_solution() -> None:
    y0 = torch.rand(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ends = [
        solve(robertson, y0, 0.0, 1.0, settings=SolveSettings(Rodas5P(independent), rtol=1e-6, atol=1e-8)).y1
        for independent in (False, True)
    ]
    torch.testing.assert_close(*ends, rtol=1e-10, atol=1e-12)


def test_work_counts_the_backward_passes_for_the_jacobian() -> None:
    y0 = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    from ndecore.terms import ODETerm

    term = ODETerm(robertson)
    found = solve(term, y0, 0.0, 40.0, solver="rodas5p", rtol=1e-4, atol=1e-8)
    assert term.n_replayed == 3 * (found.stats.n_accepted + found.stats.n_rejected)
    assert term.n_taped <= 2  # what the first step size was found by


def test_it_serves_odeint_and_a_float32_network() -> None:
    torch.manual_seed(0)
    field = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 4))
    y0, t = torch.randn(4), torch.tensor([0.0, 0.5, 1.0])
    ours = odeint(lambda t, y: field(y), y0, t, method="rodas5p", rtol=1e-4, atol=1e-5)
    exact = odeint(lambda t, y: field(y), y0, t, method="dop853", rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-4)
    ours.sum().backward()
    assert field[0].weight.grad is not None


def test_what_it_cannot_do_is_refused() -> None:
    with pytest.raises(InputError, match=r"Interpolating where solver is Rodas5P, which is implicit, allowed: tape"):
        SolveSettings("rodas5p", adjoint=ADJOINTS["interpolating"]())
    with pytest.raises(InputError, match=r"a state of 6000 coupled elements, allowed: at most 4096; for a batch"):
        solve(lambda t, y: -y, torch.ones(100, 60), 0.0, 1.0, solver="rodas5p")
