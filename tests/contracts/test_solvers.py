"""What every step method promises."""

import math

import pytest
import torch
from torch import Tensor

from ndecore.controllers.step_to import StepTo
from ndecore.norms import StepSizes, step_sizes
from ndecore.integrate import SolveSettings
from ndecore.solving import solve
from ndecore.solvers import SOLVERS
from ndecore.solvers.base import Solver, StepResult
from ndecore.terms import ODETerm

DT = 0.1


@pytest.fixture(params=list(SOLVERS))
def solver(request: pytest.FixtureRequest) -> Solver:
    return SOLVERS[request.param]()


def field(t: Tensor, y: Tensor) -> Tensor:
    return torch.cos(t) * y - 0.3 * y**3


def start() -> Tensor:
    return torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.7, -0.4]], dtype=torch.float64)


def sizes(step: StepResult, y0: Tensor) -> StepSizes:
    return StepSizes(*step_sizes(step.differences(), y0, step.y1, 1e-3, 1e-3))


def test_facts_are_stated(solver: Solver) -> None:
    assert solver.order >= 1
    assert solver.error_order >= 2
    assert solver.stability_size > 0
    assert solver.evaluations_per_step >= 1
    assert "Reference:" in (type(solver).__doc__ or "")


def test_step_has_no_side_effects_and_repeats(solver: Solver) -> None:
    term, y0 = ODETerm(field), start()
    carry = solver.start(term, 0.2, y0)
    kept = y0.clone(), carry.clone()
    first, second = (solver.step(term, 0.2, DT, y0, carry) for _ in range(2))
    assert torch.equal(y0, kept[0])
    assert torch.equal(carry, kept[1])
    for left, right in ((first.y1, second.y1), (first.differences().error, second.differences().error), (first.carry, second.carry)):
        assert torch.equal(left, right)


def test_step_costs_what_is_stated(solver: Solver) -> None:
    term, y0 = ODETerm(field), start()
    carry = solver.start(term, 0.0, y0)
    before = term.n_evaluations
    step = solver.step(term, 0.0, DT, y0, carry)
    step.differences(), step.interpolate([0.5 * DT]), step.carry
    assert term.n_evaluations - before == solver.evaluations_per_step


@pytest.mark.parametrize("dt", [DT, -DT])
def test_carry_is_the_slope_at_the_end_and_outputs_meet_the_ends(solver: Solver, dt: float) -> None:
    term, y0 = ODETerm(field), start()
    step = solver.step(term, 0.2, dt, y0, solver.start(term, 0.2, y0))
    torch.testing.assert_close(step.carry, field(torch.tensor(0.2 + dt, dtype=torch.float64), step.y1))
    at_start, at_end = step.interpolate([0.2, 0.2 + dt])
    torch.testing.assert_close(at_start, y0, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(at_end, step.y1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_results_are_like_the_state(solver: Solver, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    term, y0 = ODETerm(field), torch.ones(shape, dtype=dtype)
    step = solver.step(term, 0.0, DT, y0, solver.start(term, 0.0, y0))
    for value in (step.y1, step.carry, step.differences().error):
        assert (value.shape, value.dtype) == (shape, dtype)
    assert sizes(step, y0).stiffness().shape == ()
    assert step.interpolate([0.0, 0.05]).shape == (2, *shape)


def test_constant_slope_is_integrated_exactly_without_error_or_stiffness(solver: Solver) -> None:
    term, y0 = ODETerm(lambda t, y: torch.full_like(y, 2.0)), start()
    step = solver.step(term, 0.0, DT, y0, solver.start(term, 0.0, y0))
    torch.testing.assert_close(step.y1, y0 + 2 * DT, rtol=1e-14, atol=1e-14)
    assert sizes(step, y0).rms_error(y0.numel()).item() < 1e-15
    assert sizes(step, y0).stiffness().item() == 0


def test_halving_the_step_divides_the_error_by_two_to_the_order(solver: Solver) -> None:
    y0, exact = (torch.tensor(y, dtype=torch.float64) for y in ([1.0, 0.0], [math.cos(10), -math.sin(10)]))
    errors = []
    for n in (192, 384):
        settings = SolveSettings(solver, StepTo((10.0 / n,) * n))
        end = solve(lambda t, y: torch.stack([y[1], -y[0]]), y0, 0.0, 10.0, settings=settings).check().y1
        errors.append((end - exact).norm().item())
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.order, abs=0.25)


def test_halving_the_step_divides_its_error_estimate_by_two_to_the_error_order(solver: Solver) -> None:
    term, y0 = ODETerm(field), start()
    carry = solver.start(term, 0.0, y0)
    errors = [solver.step(term, 0.0, dt, y0, carry).differences().error.norm().item() for dt in (0.02, 0.01)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(solver.error_order, abs=0.25)


def test_step_is_differentiable_to_the_state(solver: Solver) -> None:
    def stepped(y0: Tensor) -> tuple[Tensor, ...]:
        term = ODETerm(field)
        step = solver.step(term, 0.2, 0.5, y0, solver.start(term, 0.2, y0))
        return step.y1, step.differences().error, sizes(step, y0).stiffness(), step.interpolate([0.35])

    assert torch.autograd.gradcheck(stepped, (start().requires_grad_(),))
