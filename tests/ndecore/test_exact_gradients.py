"""Gradients against closed forms: linear systems and the logistic equation, by every adjoint."""

from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from initial_value_problems import TinyField
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.integrate import SolveSettings
from ndecore.solvers import SOLVERS
from ndecore.solving import solve

# With every adjoint; implicit ones have theirs in test_rodas5p.py.
ADAPTIVE = [name for name in SOLVERS if SOLVERS[name].error_order is not None and not SOLVERS[name].is_implicit]


class Linear(nn.Module):
    """dy/dt = A y."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.matrix @ y


def off(found: tuple[Tensor, ...], exact: tuple[Tensor, ...]) -> float:
    return max(
        (left - right).norm().item() / (1 + right.norm().item()) for left, right in zip(found, exact, strict=True)
    )


def stable(seed: int, size: int) -> Tensor:
    """A random matrix under which no solution grows."""
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=draw, dtype=torch.float64)
    growth = torch.linalg.eigvalsh((matrix + matrix.T) / 2).max()
    return matrix - (growth + 0.1) * torch.eye(size, dtype=torch.float64)


@given(
    seed=st.integers(0, 10_000),
    size=st.integers(1, 4),
    span=st.floats(0.1, 4.0),
    fractions=st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0]), max_size=5).map(sorted),
    method=st.sampled_from(ADAPTIVE),
    adjoint=st.sampled_from(list(ADJOINTS)),
    backwards=st.booleans(),
)
def test_linear_systems_have_the_matrix_exponential_and_its_derivative(  # noqa: PLR0917
    seed: int, size: int, span: float, fractions: list[float], method: str, adjoint: str, backwards: bool
) -> None:
    sign, tolerance = -1 if backwards else 1, 1e-4
    field = Linear(sign * stable(seed, size))
    draw = torch.Generator().manual_seed(seed + 1)
    y0 = torch.randn(size, generator=draw, dtype=torch.float64).requires_grad_()
    weights = torch.randn(len(fractions) + 1, size, generator=draw, dtype=torch.float64)
    ts = [sign * span * fraction for fraction in fractions]
    settings = SolveSettings(SOLVERS[method](), adjoint=ADJOINTS[adjoint](), rtol=tolerance, atol=tolerance)
    solution = solve(field, y0, 0.0, sign * span, settings=settings, ts=ts).check()
    exact = torch.stack([torch.linalg.matrix_exp(t * field.matrix) @ y0 for t in (*ts, sign * span)])
    values = torch.cat([solution.ys, solution.y1.unsqueeze(0)]) if ts else solution.y1.unsqueeze(0)
    allowed = 100 * tolerance * (len(ts) + 1) * (1 + span)
    assert (values - exact).abs().max() < allowed
    leaves = (y0, field.matrix)
    assert off(*(torch.autograd.grad((weights * each).sum(), leaves) for each in (values, exact))) < allowed


def logistic(rate: Tensor, t: Tensor, y: Tensor) -> Tensor:
    return rate * y * (1 - y)


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_logistic_equation_has_its_closed_sensitivities(adjoint: str, tolerance: float) -> None:
    y0 = torch.tensor([0.1, 0.7], dtype=torch.float64, requires_grad=True)
    rate = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=tolerance, atol=tolerance)
    ends = (
        solve(partial(logistic, rate), y0, 0.0, 2.0, settings=settings, parameters=[rate]).check().y1,
        y0 / (y0 + (1 - y0) * torch.exp(-2 * rate)),
    )
    assert off(*(torch.autograd.grad(end.sum(), (y0, rate)) for end in ends)) < 20 * tolerance


def gradient(adjoint: str, scale: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """To the start and the parameters, as one vector, of a loss of some scale."""
    field, y0 = TinyField().to(dtype), torch.tensor([0.6, -1.1], dtype=dtype, requires_grad=True)
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-5, atol=1e-5)
    solution = solve(field, y0, 0.0, 2.0, settings=settings, ts=[0.5, 1.2]).check()
    loss = scale * (solution.y1.square().sum() + solution.ys.sum())
    return torch.cat([bar.reshape(-1) for bar in torch.autograd.grad(loss, (y0, *field.parameters()))])


@pytest.mark.parametrize("scale", [1e-8, 1e8, 1e-30, 1e30, 1e-200, 1e200])
@pytest.mark.parametrize("adjoint", ["tape", "checkpointed", "interpolating"])
def test_gradient_scales_with_the_loss(adjoint: str, scale: float) -> None:
    torch.testing.assert_close(gradient(adjoint, scale) / scale, gradient(adjoint, 1.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [1e-8, 1e8, 1e-30, 1e30])
@pytest.mark.parametrize("adjoint", ["tape", "checkpointed", "interpolating"])
def test_gradient_scales_with_the_loss_in_single_precision(adjoint: str, scale: float) -> None:
    scaled, plain = (gradient(adjoint, each, torch.float32) for each in (scale, 1.0))
    torch.testing.assert_close(scaled / scale, plain, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [torch.nan, torch.inf])
@pytest.mark.parametrize("adjoint", ["tape", "checkpointed", "interpolating"])
def test_loss_that_is_not_finite_has_a_gradient_that_is_not_finite_or_says_so(adjoint: str, scale: float) -> None:
    try:
        found = gradient(adjoint, scale)
    except ArithmeticError:
        return
    assert not found.isfinite().all()


@pytest.mark.parametrize("method", [name for name in SOLVERS if SOLVERS[name].error_order is None])
def test_interpolating_of_constant_steps_converges_at_the_order_of_the_method(method: str) -> None:
    solver, errors = SOLVERS[method](), []
    for size in (0.1, 0.05):
        y0 = torch.tensor([0.1, 0.7], dtype=torch.float64, requires_grad=True)
        settings = SolveSettings(solver, ConstantStep(size), ADJOINTS["interpolating"]())
        one = torch.ones((), dtype=torch.float64)
        end = solve(partial(logistic, one), y0, 0.0, 2.0, settings=settings, parameters=()).check().y1
        (found,) = torch.autograd.grad(end.sum(), y0)
        exact = torch.exp(-2 * one) / (y0 + (1 - y0) * torch.exp(-2 * one)).square()
        errors.append((found - exact.detach()).norm().item())
    assert errors[1] < errors[0] / 2 ** (min(solver.order, 3) - 0.4)


def test_cotangents_are_solved_for_with_a_tolerance_of_their_own_size() -> None:
    y0 = torch.tensor([1.0, 1e-6], dtype=torch.float64, requires_grad=True)
    field = Linear(torch.tensor([[-0.5, 1.0], [-1.0, -0.5]], dtype=torch.float64))
    settings = SolveSettings(controller=IController(), adjoint=ADJOINTS["interpolating"](), rtol=1e-8, atol=1e-8)
    end = solve(field, y0, 0.0, 2.0, settings=settings).check().y1
    (found,) = torch.autograd.grad(1e-12 * end[0], y0)
    exact = 1e-12 * torch.linalg.matrix_exp(2 * field.matrix.detach())[0]
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=0)
