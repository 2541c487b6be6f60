"""What every step method promises."""

import math

import pytest
import torch
from torch import Tensor

from ndecore.controllers.step_to import StepTo
from ndecore.integrate import SolveSettings
from ndecore.norms import StepSizes, sizes_of_step
from ndecore.solvers import SOLVERS
from ndecore.solvers.base import Solver, StepResult
from ndecore.solving import solve
from ndecore.terms import ODETerm

DT = 0.1


@pytest.fixture(params=list(SOLVERS))
def solver(request: pytest.FixtureRequest) -> Solver:
    return SOLVERS[request.param]()


def field(t: Tensor, y: Tensor) -> Tensor:
    return torch.cos(t) * y - 0.3 * y**3


def start() -> Tensor:
    return torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.7, -0.4]], dtype=torch.float64)


def error_of(step: StepResult, solver: Solver) -> list[Tensor]:
    """The error estimate of a step, if its method has one."""
    error = step.differences().error
    assert (error is None) == (solver.error_order is None)
    return [] if error is None else [error]


def sizes(step: StepResult, y0: Tensor) -> StepSizes:
    return sizes_of_step(step.differences(), y0, step.y1, 1e-3, 1e-3)


def test_facts_are_stated(solver: Solver) -> None:
    assert solver.order >= 1
    assert solver.error_order is None or solver.error_order >= 2
    assert solver.stability_size > 0
    assert solver.evaluations_per_step >= 1
    assert solver.evaluations_per_output >= 0
    assert "Reference:" in (type(solver).__doc__ or "")


def test_step_has_no_side_effects_and_repeats(solver: Solver) -> None:
    term, y0 = ODETerm(field), start()
    carry = solver.start(term, 0.2, y0)
    kept = y0.clone(), carry.clone()
    first, second = (solver.step(term, 0.2, DT, y0, carry) for _ in range(2))
    assert torch.equal(y0, kept[0])
    assert torch.equal(carry, kept[1])
    for step in (first, second):
        step.interpolate([0.25])
    assert torch.equal(first.y1, second.y1)
    assert torch.equal(first.carry, second.carry)
    for left, right in zip(error_of(first, solver), error_of(second, solver), strict=True):
        assert torch.equal(left, right)
    assert torch.equal(first.interpolate([0.25]), second.interpolate([0.25]))


def test_step_costs_what_is_stated_and_outputs_once_what_they_need(solver: Solver) -> None:
    term, y0 = ODETerm(field), start()
    carry = solver.start(term, 0.0, y0)
    before = term.n_evaluations
    step = solver.step(term, 0.0, DT, y0, carry)
    error_of(step, solver)
    assert term.n_evaluations - before == solver.evaluations_per_step
    for _ in range(2):
        step.interpolate([0.25 * DT, 0.5 * DT])
        error_of(step, solver)
        assert term.n_evaluations - before == solver.evaluations_per_step + solver.evaluations_per_output


@pytest.mark.parametrize("dt", [DT, -DT])
def test_carry_is_the_slope_at_the_end_and_outputs_meet_the_ends(solver: Solver, dt: float) -> None:
    term, y0 = ODETerm(field), start()
    step = solver.step(term, 0.2, dt, y0, solver.start(term, 0.2, y0))
    if step.carry.numel():  # else the next step evaluates all it needs
        torch.testing.assert_close(step.carry, field(torch.tensor(0.2 + dt, dtype=torch.float64), step.y1))
    at_start, at_end = step.interpolate([0.2, 0.2 + dt])
    torch.testing.assert_close(at_start, y0, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(at_end, step.y1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_results_are_like_the_state(solver: Solver, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    term, y0 = ODETerm(field), torch.ones(shape, dtype=dtype)
    step = solver.step(term, 0.0, DT, y0, solver.start(term, 0.0, y0))
    for value in (step.y1, *error_of(step, solver)):
        assert (value.shape, value.dtype) == (shape, dtype)
    assert (step.carry.shape, step.carry.dtype) in [(shape, dtype), ((0,), dtype)]
    assert sizes(step, y0).stiffness(0.1).shape == ()
    assert step.interpolate([0.0, 0.05]).shape == (2, *shape)


def test_constant_slope_is_integrated_exactly_without_error_or_stiffness(solver: Solver) -> None:
    term, y0 = ODETerm(lambda t, y: torch.full_like(y, 2.0)), start()
    step = solver.step(term, 0.0, DT, y0, solver.start(term, 0.0, y0))
    torch.testing.assert_close(step.y1, y0 + 2 * DT, rtol=1e-14, atol=1e-14)
    assert sizes(step, y0).rms_error(y0.numel()).item() < 1e-15
    assert sizes(step, y0).stiffness(0.1).item() == 0


# Numbers of steps at which an error is neither lost in rounding nor ruled by the terms of higher order.
N_STEPS = {1: 384, 2: 192, 3: 192, 4: 192, 5: 192, 8: 16}


def turning(t: Tensor, y: Tensor) -> Tensor:
    """On the unit circle with speed 1; nonlinear, since a method may have a higher order on linear equations."""
    return torch.stack([y[1], -y[0]]) * (1 + y.square().sum()) / 2


def test_halving_the_step_divides_the_error_by_two_to_the_order(solver: Solver) -> None:
    y0, exact = (torch.tensor(y, dtype=torch.float64) for y in ([1.0, 0.0], [math.cos(10), -math.sin(10)]))
    errors = []
    for n in (N_STEPS[solver.order], 2 * N_STEPS[solver.order]):
        settings = SolveSettings(solver, StepTo((10.0 / n,) * n))
        end = solve(turning, y0, 0.0, 10.0, settings=settings).check().y1
        errors.append((end - exact).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.order, abs=0.25)


def test_halving_the_step_divides_its_error_estimate_if_there_is_one_by_two_to_the_error_order(solver: Solver) -> None:
    term, y0 = ODETerm(field), start()
    carry = solver.start(term, 0.0, y0)
    errors = [error_of(solver.step(term, 0.0, dt, y0, carry), solver) for dt in (0.02, 0.01)]
    for coarse, fine in zip(*errors, strict=True):
        assert math.log2(coarse.norm().item() / fine.norm().item()) == pytest.approx(solver.error_order, abs=0.25)


def test_step_is_differentiable_to_the_state(solver: Solver) -> None:
    def stepped(y0: Tensor) -> tuple[Tensor, ...]:
        term = ODETerm(field)
        step = solver.step(term, 0.2, 0.5, y0, solver.start(term, 0.2, y0))
        told = [] if step.differences().slopes is None else [sizes(step, y0).stiffness(0.1)]
        return step.y1, *error_of(step, solver), *told, step.interpolate([0.35])

    assert torch.autograd.gradcheck(stepped, (start().requires_grad_(),))


def test_gradient_of_an_error_that_is_zero_is_zero(solver: Solver) -> None:
    term, y0 = ODETerm(lambda t, y: -y), torch.zeros(3, dtype=torch.float64, requires_grad=True)
    step = solver.step(term, 0.0, DT, y0, solver.start(term, 0.0, y0))
    for error in error_of(step, solver):
        (gradient,) = torch.autograd.grad(error.norm(), y0)
        assert torch.equal(gradient, torch.zeros_like(y0))
