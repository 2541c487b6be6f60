"""STEER, TayNODE, RNODE and TPR: closed forms, statistics, and what they leave alone."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
from initial_value_problems import TinyField, tiny_field
from penalized_solves import gradients, off, solved, start
from scipy.stats import kstest
from torch import Tensor
from wished_solves import SolveRequest

from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.observing import Grid
from ndecore.regularizers.base import Regularizer
from ndecore.regularizers.rnode import RNODE
from ndecore.regularizers.steer import STEER
from ndecore.regularizers.taynode import TayNODE
from ndecore.regularizers.tpr import TPR
from ndecore.solvers import SOLVERS
from ndecore.terms import ODETerm

ALPHA = 0.001  # of the statistics; their seeds are fixed, so their outcomes are too
TIGHT = SolveSettings(rtol=1e-10, atol=1e-10)
COSTS = (TayNODE(2), TayNODE(3), RNODE(), RNODE(kinetic=0.0), RNODE(jacobian=0.0), TPR())


# --- STEER ----------------------------------------------------------------------------------------------------------


def grids(regularizer: STEER, grid: Grid, n: int) -> list[Grid]:
    draw = torch.Generator().manual_seed(0)
    return [regularizer.prepare(grid, draw).grid for _ in range(n)]


@pytest.mark.parametrize("grid", [(0.0, 1.0), (2.0, 5.0), (1.0, -1.0)])
@pytest.mark.parametrize("spread", [0.25, 0.5, 0.9])
def test_end_is_uniform_around_its_own(spread: float, grid: Grid) -> None:
    t0, t1 = grid
    found = grids(STEER(spread), grid, 1000)
    assert {first for first, _ in found} == {t0}
    b = spread * abs(t1 - t0)
    assert kstest([end for _, end in found], "uniform", (t1 - b, 2 * b)).pvalue > ALPHA


def test_gaussian_end_is_normal_around_its_own() -> None:
    ends = [end for _, end in grids(STEER(0.1, "gaussian"), (1.0, 3.0), 1000)]
    assert kstest(ends, "norm", (3.0, 0.2)).pvalue > ALPHA


def test_gaussian_end_of_a_wide_spread_stays_behind_the_start() -> None:
    ends = [end for _, end in grids(STEER(0.9, "gaussian"), (0.0, 1.0), 2000)]
    assert 0 < min(ends) < 0.01
    assert max(ends) < 2


UNEVEN = (0.0, 1.0, 1.1, 1.1, 1.15, 3.0)
SERIES = [(0.0, 0.25, 0.5, 0.75, 1.0), UNEVEN, tuple(3.0 - t for t in UNEVEN), tuple(0.1 * i for i in range(50))]


@pytest.mark.parametrize("distribution", ["uniform", "gaussian"])
@pytest.mark.parametrize("grid", SERIES, ids=["even", "uneven", "backwards", "long"])
def test_times_of_a_series_keep_their_order_and_stay_in_the_span(grid: Grid, distribution: str) -> None:
    sign = math.copysign(1.0, grid[-1] - grid[0])
    for moved in grids(STEER(0.5, distribution), grid, 500):
        assert len(moved) == len(grid)
        assert moved[0] == grid[0]
        assert all(sign * a <= sign * b for a, b in pairwise(moved))
        assert all(min(grid) <= t <= max(grid) for t in moved)


def test_inner_times_of_an_even_series_are_uniform_over_half_the_gap_before_them() -> None:
    grid = (0.0, 0.25, 0.5, 0.75, 1.0)
    moved = list(zip(*grids(STEER(0.5), grid, 1000), strict=True))
    for i in (1, 2, 3):
        assert kstest(moved[i], "uniform", (grid[i] - 0.125, 0.25)).pvalue > ALPHA
    assert 0.4 < sum(t == 1 for t in moved[4]) / 1000 < 0.6  # P1 clamps what is beyond the span


def test_times_of_a_series_are_drawn_independently() -> None:
    moved = torch.tensor(grids(STEER(0.4), (0.0, 1.0, 2.0, 3.0), 2000), dtype=torch.float64)
    # Of independent draws sqrt(n) times the correlation is standard normal: 3.29 at alpha = 0.001.
    assert abs(torch.corrcoef(moved[:, 1:3].T)[0, 1].item()) < 3.29 / math.sqrt(2000)


@pytest.mark.parametrize("grid", [(0.0, 1.0), UNEVEN, tuple(3.0 - t for t in UNEVEN)])
def test_model_sees_as_many_states_as_it_has_times_each_at_its_moved_time(grid: Grid) -> None:
    for seed in range(20):
        wishes = STEER().prepare(grid, torch.Generator().manual_seed(seed))
        with torch.no_grad():
            request = SolveRequest(SolveSettings(rtol=1e-6, atol=1e-6), wishes)
            states = request.solve(ODETerm(lambda t, y: -y), start(), grid).states
        assert len(states) == len(grid) - 1
        for state, t in zip(states, wishes.grid[1:], strict=True):
            torch.testing.assert_close(state, start() * math.exp(wishes.grid[0] - t), rtol=1e-3, atol=1e-4)


def test_gradient_is_that_of_the_moved_solve_and_the_penalty_has_none() -> None:
    context = solved(STEER(), y0=start().requires_grad_())
    assert context.solution.t1 != 1
    assert context.solution.y1.requires_grad
    penalty = STEER().penalty(context)
    assert penalty.item() == 0
    assert not penalty.requires_grad


def test_spreads_by_which_times_could_change_places_are_refused() -> None:
    for spread in (0.0, 1.0, -0.5):
        with pytest.raises(InputError, match=r"spread: got .*, allowed: a number 0 < x < 1"):
            STEER(spread)
    with pytest.raises(InputError, match=r"spread: got 0\.6 with 3 times, allowed: at most 0\.5"):
        STEER(0.6).prepare((0.0, 1.0, 2.0, 3.0), torch.Generator())


# --- TayNODE --------------------------------------------------------------------------------------------------------


def cost_of(regularizer: Regularizer, field: Callable[..., Tensor], y0: Tensor, grid: Grid) -> float:
    """The penalty, by steps short enough for what the error control does not see."""
    settings = SolveSettings(SOLVERS["dop853"](), ConstantStep(0.1))
    with torch.no_grad():
        return regularizer.penalty(solved(regularizer, field, y0, grid, settings)).item()


@pytest.mark.parametrize("grid", [(0.0, 1.3), (0.5, -0.8), (0.0, 0.4, 0.9, 1.3)])
@pytest.mark.parametrize("order", [2, 3])
def test_derivatives_of_an_exponential_are_its_powers(order: int, grid: Grid) -> None:
    rate, y0 = -0.8, torch.tensor([[1.5, -0.5], [0.3, 2.0]], dtype=torch.float64)
    span = grid[-1] - grid[0]
    integral = (math.exp(2 * rate * span) - 1) / (2 * rate) * math.copysign(1.0, span)
    expected = rate ** (2 * order) * y0.square().mean().item() * integral
    assert cost_of(TayNODE(order), lambda t, y: rate * y, y0, grid) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("order", [2, 3])
def test_derivatives_are_total_time_itself_included(order: int) -> None:
    # z' = sin t: d^2 z / dt^2 = cos t, d^3 z / dt^3 = -sin t, and with df/dt left out both were 0.
    half = {2: 1.0 / 2 + math.sin(2.0) / 4, 3: 1.0 / 2 - math.sin(2.0) / 4}[order]
    found = cost_of(TayNODE(order), lambda t, y: torch.sin(t).expand_as(y), start(), (0.0, 1.0))
    assert found == pytest.approx(half, rel=1e-8)


@pytest.mark.parametrize("order", [2, 3])
def test_derivatives_of_a_field_of_time_and_state_are_those_of_its_solution(order: int) -> None:
    # z' = cos(t) z: z = z0 exp(sin t), z'' = (c^2 - s) z, z''' = (c^3 - 3 s c - c) z.
    t = torch.linspace(0, 2, 20001, dtype=torch.float64)
    s, c = t.sin(), t.cos()
    z0 = torch.tensor([0.7, -1.2], dtype=torch.float64)
    factor = c**2 - s if order == 2 else c**3 - 3 * s * c - c
    expected = torch.trapezoid((factor * s.exp()).square(), t).item() * z0.square().mean().item()
    found = cost_of(TayNODE(order), lambda t, y: torch.cos(t) * y, z0, (0.0, 2.0))
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("order", [0, 1, 4])
def test_other_orders_are_refused(order: int) -> None:
    with pytest.raises(InputError, match=f"got {order}, allowed: 2, 3"):
        TayNODE(order)


# --- RNODE ----------------------------------------------------------------------------------------------------------


def linear(matrix: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda t, y: y @ matrix.T


MATRIX = torch.tensor([[-0.5, 1.2, 0.0], [0.3, -0.2, 0.8], [-0.7, 0.1, 0.4]], dtype=torch.float64)


@pytest.mark.parametrize("grid", [(0.0, 1.3), (0.5, -0.8)])
def test_kinetic_term_is_half_the_mean_square_of_the_slope(grid: Grid) -> None:
    rate, y0, span = 0.6, start(), grid[1] - grid[0]
    integral = (math.exp(2 * rate * span) - 1) / (2 * rate) * math.copysign(1.0, span)
    expected = 0.5 * rate**2 * y0.square().mean().item() * integral
    found = cost_of(RNODE(kinetic=1.0, jacobian=0.0), lambda t, y: rate * y, y0, grid)
    assert found == pytest.approx(expected, rel=1e-8)


def test_jacobian_term_of_one_seed_is_that_of_its_noise() -> None:
    y0 = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    regularizer = RNODE(kinetic=0.0)
    context = solved(regularizer, linear(MATRIX), y0, (0.0, 1.7), TIGHT, seed=4)
    seed = int(torch.randint(2**63 - 1, (), generator=torch.Generator().manual_seed(4)).item())
    noise = torch.randn(y0.shape, generator=torch.Generator().manual_seed(seed)).to(y0)  # the same in every dtype
    expected = 1.7 * (noise @ MATRIX).square().mean()  # constant along the solution; eps^T A for each sample
    torch.testing.assert_close(regularizer.penalty(context), expected, rtol=1e-10, atol=0)


def test_jacobian_term_is_on_average_the_squared_frobenius_norm_for_each_element() -> None:
    y0 = torch.zeros(20, 3, dtype=torch.float64)
    settings = SolveSettings(SOLVERS["euler"](), ConstantStep(1.0))
    with torch.no_grad():
        found = torch.stack(
            [
                RNODE(kinetic=0.0).penalty(solved(RNODE(kinetic=0.0), linear(MATRIX), y0, settings=settings, seed=seed))
                for seed in range(150)
            ]
        )
    # A confidence interval of 99.9 %: 3.29 standard errors.
    expected, allowed = MATRIX.square().sum() / 3, 3.29 * found.std() / math.sqrt(len(found))
    assert (found.mean() - expected).abs() < allowed
    assert allowed < 0.1 * expected


def test_factors_weigh_the_terms() -> None:
    both, kinetic, jacobian = (
        solved(each, TinyField(), settings=TIGHT) for each in (RNODE(2.0, 3.0), RNODE(1.0, 0.0), RNODE(0.0, 1.0))
    )
    torch.testing.assert_close(both.costs, 2 * kinetic.costs + 3 * jacobian.costs, rtol=1e-10, atol=0)


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_factors_that_are_negative_or_not_finite_are_refused(value: float) -> None:
    for make in (lambda: RNODE(kinetic=value), lambda: RNODE(jacobian=value)):
        with pytest.raises(InputError, match=r"got .*, allowed: a finite number >= 0"):
            make()


# --- all that are integrated along the solution ---------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(0.0, 2.0), (2.0, 0.3, 0.0), (0.0, 0.3, 2.0)])
@pytest.mark.parametrize("adjoint", list(ADJOINTS))
@pytest.mark.parametrize("regularizer", [TayNODE(3), RNODE()], ids=repr)
def test_cost_changes_neither_steps_nor_states_nor_the_count_of_the_solve(
    regularizer: Regularizer, adjoint: str, grid: Grid
) -> None:
    field, settings = TinyField(), SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-4, atol=1e-4)
    charged = solved(regularizer, field, grid=grid, settings=settings).solution
    plain = SolveRequest(settings).solve(ODETerm(field), start(), grid).solution
    torch.testing.assert_close(charged.records.t, plain.records.t, rtol=1e-10, atol=0)
    torch.testing.assert_close(charged.records.dt, plain.records.dt, rtol=1e-10, atol=0)
    torch.testing.assert_close(charged.records.error, plain.records.error, rtol=1e-6, atol=0, equal_nan=True)
    torch.testing.assert_close(charged.records.stiffness, plain.records.stiffness, rtol=1e-6, atol=0, equal_nan=True)
    torch.testing.assert_close(charged.y1, plain.y1, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(charged.ys, plain.ys, rtol=1e-10, atol=1e-12)
    assert charged.y1.shape == start().shape
    assert charged.stats.n_evaluations == plain.stats.n_evaluations


@pytest.mark.parametrize("regularizer", COSTS, ids=repr)
def test_cost_has_the_exact_gradient_of_the_steps_taken(regularizer: Regularizer) -> None:
    settings = SolveSettings(controller=ConstantStep(0.35))

    def penalty(y0: Tensor, *parameters: Tensor) -> Tensor:
        return regularizer.penalty(
            solved(regularizer, lambda t, y: tiny_field(t, y, *parameters), y0, settings=settings)
        )

    field = TinyField()
    inputs = tuple(x.detach().clone().requires_grad_() for x in (start(), field.inner, field.outer, field.time))
    assert torch.autograd.gradcheck(penalty, inputs, fast_mode=True)
    assert all(bar.norm() > 0 for bar in torch.autograd.grad(penalty(*inputs), inputs))


# In tolerances: the error of the cost itself is not controlled, and that of its gradient grows with each derivative.
# --- TPR ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(0.0, 1.3), (0.5, -0.8), (100.0, 101.0)])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_solution_that_is_a_polynomial_of_the_degree_costs_nothing_and_of_one_more_what_a_fit_leaves(
    degree: int, grid: Grid
) -> None:
    powers = [lambda t, y: (t - grid[0]) ** (degree - 1) * degree, lambda t, y: (t - grid[0]) ** degree * (degree + 1)]
    fields = [lambda t, y, f=f: torch.as_tensor(f(t, y)).expand_as(y) for f in powers]
    regularizer = TPR(degree, degree + 4)
    if degree:
        assert cost_of(regularizer, fields[0], start(), grid) < 1e-20
    times = np.array(regularizer.prepare(grid, torch.Generator().manual_seed(0)).times) - grid[0]
    values = times ** (degree + 1)
    left = values - np.polyval(np.polyfit(times, values, degree), times)
    assert cost_of(regularizer, fields[1], start(), grid) == pytest.approx(np.square(left).mean(), rel=1e-6)


def test_times_of_the_polynomial_are_uniform_on_the_span() -> None:
    draw = torch.Generator().manual_seed(0)
    times = [t for _ in range(250) for t in TPR().prepare((2.0, -1.0), draw).times]
    assert kstest(times, "uniform", (-1.0, 3.0)).pvalue > ALPHA


def test_gradient_of_the_distance_is_that_of_finite_differences() -> None:
    field, settings = TinyField(), SolveSettings(SOLVERS["dop853"](), ConstantStep(0.1))

    def cost(y0: Tensor) -> Tensor:
        return TPR().penalty(solved(TPR(), field, y0, settings=settings))

    assert torch.autograd.gradcheck(cost, start().requires_grad_())


def test_points_that_lie_on_a_polynomial_always_are_refused() -> None:
    with pytest.raises(InputError, match="n_points: got 3, allowed: >= 4, the degree and two more"):
        TPR(degree=2, n_points=3)


TOLERANCE = 1e-7
ALLOWED = {"checkpointed": 1e-10} | dict.fromkeys(
    ("interpolating", "torchdiffeq", "torchdiffeq_adjoint"), 3e3 * TOLERANCE
)


@pytest.mark.parametrize("grid", [(0.0, 2.0), (2.0, 0.7, 0.0)])
@pytest.mark.parametrize("adjoint", ALLOWED)
@pytest.mark.parametrize("regularizer", [TayNODE(2), RNODE(), TPR()], ids=repr)
def test_adjoints_agree_on_cost_and_gradient(regularizer: Regularizer, adjoint: str, grid: Grid) -> None:
    values, bars = [], []
    for name in (adjoint, "tape"):
        field, y0 = TinyField(), start().requires_grad_()
        settings = SolveSettings(adjoint=ADJOINTS[name](), rtol=TOLERANCE, atol=TOLERANCE)
        context = solved(regularizer, field, y0, grid, settings)
        penalty = regularizer.penalty(context) + context.solution.y1.sum()
        values.append(penalty)
        bars.append(gradients(penalty, y0, field))
    torch.testing.assert_close(*values, rtol=ALLOWED[adjoint], atol=0)
    assert off(*bars) < ALLOWED[adjoint]


@pytest.mark.parametrize("regularizer", COSTS, ids=repr)
def test_cost_of_a_solve_over_nothing_is_zero(regularizer: Regularizer) -> None:
    assert regularizer.penalty(solved(regularizer, grid=(0.4, 0.4))).item() == 0


@pytest.mark.parametrize("adjoint", ["checkpointed", "interpolating", "torchdiffeq_adjoint"])
@pytest.mark.parametrize("regularizer", [TayNODE(3), RNODE()], ids=repr)
def test_what_leaves_no_tape_counts_nothing_as_taped(regularizer: Regularizer, adjoint: str) -> None:
    context = solved(regularizer, settings=SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-3, atol=1e-3))
    assert context.term.n_taped == 0
    assert context.term.n_evaluations == context.solution.stats.n_evaluations


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("regularizer", COSTS, ids=repr)
def test_cost_keeps_the_type_of_the_state(regularizer: Regularizer, dtype: torch.dtype) -> None:
    context = solved(regularizer, lambda t, y: torch.cos(t) * y, start().to(dtype))
    assert regularizer.penalty(context).dtype == dtype
