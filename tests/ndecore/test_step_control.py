"""The automatic first step and the controllers, number by number."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from ndecore.controllers.base import Start, Verdict
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.initial_step import initial_step
from ndecore.controllers.integral import IController
from ndecore.controllers.proportional_integral import PIController
from ndecore.controllers.proportional_integral_derivative import PIDController
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.solvers.rk4 import RK4
from ndecore.solving import solve
from ndecore.terms import ODETerm

FIRST = 1e-4


def first_step(field: Callable[[Tensor, Tensor], Tensor], y0: Tensor, span: float = 10.0, tol: float = 1e-6) -> float:
    term = ODETerm(field)
    return initial_step(term, 0.0, y0, term(0.0, y0), span, 5, tol, tol)


def test_integral_step_is_the_one_that_would_have_met_the_tolerance() -> None:
    verdict = IController().judge(0.5, 0.1, None, 5)
    assert verdict.accept
    assert verdict.dt == pytest.approx(0.1 * 0.9 * 0.5 ** (-1 / 5))
    assert IController().judge(32.0, 0.1, None, 5).dt == pytest.approx(0.1 * 0.9 / 2)


def test_proportional_integral_exponents_are_those_of_both_papers() -> None:
    accepted = PIController().judge(0.5, 0.1, 0.2, 5)
    assert accepted == (True, pytest.approx(0.1 * 0.9 * 0.2**0.08 / 0.5**0.14), 0.5)
    rejected = PIController().judge(3.0, 0.1, 0.2, 5)
    assert rejected == (False, pytest.approx(0.1 * 0.9 / 3.0**0.14), 0.2)


def test_proportional_integral_derivative_exponents_are_those_of_arkode() -> None:
    accepted = PIDController().judge(0.5, 0.1, (0.2, 0.3), 5)
    factor = 0.9 * 0.5 ** (-0.58 / 5) * 0.2 ** (0.21 / 5) * 0.3 ** (-0.10 / 5)
    assert accepted == (True, pytest.approx(0.1 * factor), (0.5, 0.2))
    rejected = PIDController().judge(3.0, 0.1, (0.2, 0.3), 5)
    assert rejected == (False, pytest.approx(0.1 * 0.9 * 3.0 ** (-0.58 / 5)), (0.2, 0.3))


def test_proportional_integral_derivative_control_begins_with_ratios_of_one_and_remembers_none_below_its_least() -> (
    None
):
    controller = PIDController()
    assert controller.start(1.0, lambda: 0.1) == (0.1, (1.0, 1.0))
    assert controller.judge(0.5, 0.1, (1.0, 1.0), 5).dt == pytest.approx(0.1 * 0.9 * 0.5 ** (-0.58 / 5))
    assert controller.judge(0.0, 0.1, (0.3, 0.4), 5).state == (1e-10, 0.3)


def test_safety_is_applied_before_the_bounds() -> None:
    # OrdinaryDiffEq.jl clips q / gamma: growth ends at 10, not at 9, and shrinking at 0.2, not at 0.18.
    for controller in (IController(), PIController(), PIDController()):
        state = controller.start(1.0, lambda: 0.1).state
        assert controller.judge(0.0, 0.1, state, 5).dt == pytest.approx(1.0)
        assert controller.judge(math.inf, 0.1, state, 5).dt == pytest.approx(0.02)


def test_ratio_that_is_remembered_first_and_least_is_one_in_ten_thousand() -> None:
    assert PIController().start(1.0, lambda: 0.1) == (0.1, FIRST)
    assert PIController().judge(1e-9, 0.1, 0.3, 5).state == FIRST


@pytest.mark.parametrize("span", [2.0, -2.0])
def test_constant_step_is_accepted_and_kept_whatever_the_error(span: float) -> None:
    controller = ConstantStep(0.1)
    start = controller.start(span, pytest.fail)
    assert start == Start(math.copysign(0.1, span), None)
    rounded = start.dt * (1 + 1e-12)
    for ratio in (0.0, 1.0, 1e6, math.inf):
        assert controller.judge(ratio, rounded, None, 1) == Verdict(True, start.dt, None)


@pytest.mark.parametrize("step_size", [0.0, -0.1, math.inf, math.nan])
def test_constant_step_that_is_not_finite_and_positive_is_refused(step_size: float) -> None:
    with pytest.raises(InputError, match=r"step_size: got .*, allowed: a finite number > 0"):
        ConstantStep(step_size)


@pytest.mark.parametrize(("step_size", "expected"), [(0.1, [0.1] * 10), (0.3, [0.3, 0.3, 0.3, 0.1]), (2.0, [1.0])])
@pytest.mark.parametrize("sign", [1, -1])
def test_constant_steps_fill_the_span_and_the_last_is_what_is_left(
    step_size: float, expected: list[float], sign: int
) -> None:
    settings = SolveSettings(RK4(), ConstantStep(step_size))
    solution = solve(lambda t, y: -y, torch.ones(2), 0.0, float(sign), settings=settings).check()
    assert solution.records.dt.tolist() == pytest.approx([sign * dt for dt in expected])
    assert solution.records.error_ratio.isnan().all()
    assert solution.stats.n_rejected == 0


def test_automatic_step_is_the_formula_of_hairer() -> None:
    # y' = -2 y from 3: scale = tol (1 + 3), d0 = 3 / scale, d1 = 6 / scale, d2 = 12 / scale.
    scale = 1e-6 * 4
    expected = (0.01 * scale / 12) ** (1 / 5)
    assert first_step(lambda t, y: -2 * y, torch.tensor([3.0], dtype=torch.float64)) == pytest.approx(expected)


def test_automatic_step_is_at_most_a_hundred_probes_and_the_span() -> None:
    start = torch.tensor([1e-3], dtype=torch.float64)
    assert first_step(lambda t, y: 1 + 0 * y, start, tol=1.0) == pytest.approx(100 * 0.01 * 1e-3)
    assert first_step(lambda t, y: -y, start, span=1e-7) == 1e-7
    assert first_step(lambda t, y: -y, start, span=-1e-7) == -1e-7


def test_automatic_step_without_a_scale_is_small() -> None:
    assert first_step(lambda t, y: 1 + 0 * y, torch.zeros(1, dtype=torch.float64)) == pytest.approx(1e-4)
    assert first_step(lambda t, y: 0 * y, torch.zeros(1, dtype=torch.float64)) == pytest.approx(1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_automatic_step_is_nan_where_nothing_is_finite(value: float) -> None:
    assert math.isnan(first_step(lambda t, y: y * 0 + value, torch.ones(1)))
    assert math.isnan(first_step(lambda t, y: -y, torch.tensor([1.0, value])))


def test_automatic_step_is_careful_where_its_probe_is_not_finite() -> None:
    step = first_step(lambda t, y: torch.where(t > 0, math.nan, -y), torch.ones(1, dtype=torch.float64))
    assert step == pytest.approx(0.01)


def test_automatic_step_costs_one_evaluation_and_no_gradient() -> None:
    term, start = ODETerm(lambda t, y: -y), torch.ones(1, requires_grad=True)
    slope = term(0.0, start)
    initial_step(term, 0.0, start, slope, 1.0, 5, 1e-6, 1e-6)
    assert (term.n_evaluations, term.n_taped) == (2, 1)
