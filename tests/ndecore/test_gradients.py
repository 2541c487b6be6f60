"""Gradients of a solve on its recorded step sequence, where it is a smooth function of its inputs."""

from itertools import product

import pytest
import torch
from initial_value_problems import TinyField, tiny_field
from torch import Tensor

from ndecore.controllers.step_to import StepTo
from ndecore.integrate import SolveSettings
from ndecore.observing import Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.predicted_steps import PredictedSteps
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.solution import Solution
from ndecore.solving import solve
from ndecore.terms import ODETerm

TOLERANCE = 1e-3  # steps so long that error and stiffness stand far above rounding
OUTPUTS = (0.0, 0.31, 0.9, 3.0)
AGGREGATIONS = ("sum", "mean", "max")
Inputs = tuple[Tensor, ...]


def inputs() -> Inputs:
    """An initial state and the parameters of a tiny field, all to be differentiated."""
    field = TinyField()
    start = torch.tensor([[0.6, -1.1], [0.2, 0.9]], dtype=torch.float64)
    return tuple(x.detach().clone().requires_grad_() for x in (start, field.inner, field.outer, field.time))


def adaptive(start: Tensor, *parameters: Tensor) -> Solution:
    settings = SolveSettings(rtol=TOLERANCE, atol=TOLERANCE)
    return solve(lambda t, y: tiny_field(t, y, *parameters), start, 0.0, 3.0, settings=settings).check()


def recorded_steps() -> StepTo:
    return StepTo(tuple(adaptive(*(x.detach() for x in inputs())).records.dt.tolist()))


def replay(controller: StepTo, start: Tensor, *parameters: Tensor) -> tuple[Solution, PenaltyContext]:
    settings = SolveSettings(controller=controller, rtol=TOLERANCE, atol=TOLERANCE)
    term = ODETerm(lambda t, y: tiny_field(t, y, *parameters))
    solution = solve(term, start, 0.0, 3.0, settings=settings, ts=OUTPUTS, differentiable_records=True).check()
    return solution, PenaltyContext(term, settings, solution, Wishes((0.0, 3.0)))


def test_recorded_sequence_has_several_steps() -> None:
    assert len(recorded_steps().dts) >= 3


def test_solution_outputs_errors_and_stiffness_have_exact_gradients() -> None:
    controller = recorded_steps()

    def everything(*given: Tensor) -> tuple[Tensor, ...]:
        solution, _ = replay(controller, *given)
        records = solution.records
        return solution.y1, solution.ys, records.error_ratio, records.error, records.stiffness

    assert torch.autograd.gradcheck(everything, inputs())


GLOBAL = [
    kind(agg=agg, weight_by_dt=weight_by_dt, scaled=scaled)
    for kind, agg, weight_by_dt, scaled in product(
        (GlobalError, GlobalStiffness), AGGREGATIONS, (True, False), (True, False)
    )
]
GLOBAL += [GlobalError(agg=agg, power=2, weight_by_dt=False) for agg in AGGREGATIONS] + [PredictedSteps()]


@pytest.mark.parametrize("regularizer", GLOBAL, ids=repr)
def test_global_penalties_have_exact_gradients(regularizer: Regularizer) -> None:
    controller = recorded_steps()
    assert torch.autograd.gradcheck(lambda *given: regularizer.penalty(replay(controller, *given)[1]), inputs())


def test_gradient_of_the_adaptive_solve_is_that_on_its_steps() -> None:
    taped, replayed = inputs(), inputs()
    adaptive(*taped).y1.square().sum().backward()
    replay(recorded_steps(), *replayed)[0].y1.square().sum().backward()
    for left, right in zip(taped, replayed, strict=True):
        assert left.grad is not None
        assert torch.equal(left.grad, right.grad)


def test_rejected_steps_leave_no_trace_in_the_gradient() -> None:
    def sharp(t: Tensor, y: Tensor, rate: Tensor) -> Tensor:
        return torch.where(t < 0.4, -rate * y, 20 * rate * y * torch.cos(50 * t))

    gradients = []
    steps = None
    for _ in range(2):
        rate = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
        settings = SolveSettings(controller=steps) if steps else SolveSettings()
        start = torch.ones(1, dtype=torch.float64)
        solution = solve(lambda t, y, rate=rate: sharp(t, y, rate), start, 0.0, 1.0, settings=settings).check()
        solution.y1.sum().backward()
        gradients.append(rate.grad)
        assert (solution.stats.n_rejected == 0) == (steps is not None)
        steps = StepTo(tuple(solution.records.dt.tolist()))
    assert torch.equal(*gradients)


def test_gradient_of_the_logistic_equation_is_its_sensitivity() -> None:
    start = torch.tensor([0.25], dtype=torch.float64, requires_grad=True)
    settings = SolveSettings(rtol=1e-10, atol=1e-10)
    solve(lambda t, y: y * (1 - y), start, 0.0, 1.0, settings=settings).check().y1.sum().backward()
    grown = torch.exp(torch.tensor(1.0, dtype=torch.float64))
    assert start.grad is not None
    torch.testing.assert_close(start.grad, (grown / (0.75 + 0.25 * grown) ** 2).reshape(1), rtol=1e-8, atol=0)


def test_records_carry_gradients_only_where_asked() -> None:
    start = torch.ones(1, dtype=torch.float64, requires_grad=True)
    for asked in (True, False):
        records = solve(lambda t, y: -y * y, start, 0.0, 1.0, differentiable_records=asked).records
        assert records.error_ratio.requires_grad is asked
        assert records.error.requires_grad is asked
        assert records.stiffness.requires_grad is asked
        assert not records.t.requires_grad
        assert not records.dt.requires_grad


def test_asking_for_records_changes_no_number() -> None:
    start = torch.ones(1, dtype=torch.float64, requires_grad=True)
    plain, asked = (solve(lambda t, y: -y * y, start, 0.0, 1.0, differentiable_records=on) for on in (False, True))
    assert torch.equal(plain.y1, asked.y1)
    assert torch.equal(plain.records.error_ratio, asked.records.error_ratio)


@pytest.mark.parametrize("differentiable", [True, False])
def test_stats_count_the_evaluations_that_backward_goes_through(differentiable: bool) -> None:
    visited = 0

    def visit(gradient: Tensor) -> None:
        nonlocal visited
        visited += 1

    def hooked(t: Tensor, y: Tensor) -> Tensor:
        slope = -y * y
        if slope.requires_grad:
            slope.register_hook(visit)
        return slope

    start = torch.ones(2, dtype=torch.float64, requires_grad=True)
    solution = solve(hooked, start, 0.0, 1.0, differentiable_records=differentiable).check()
    loss = solution.y1.sum()
    if differentiable:
        loss = loss + solution.records.error.sum() + solution.records.stiffness.sum()
    loss.backward()
    assert solution.stats.n_differentiated == visited


@pytest.mark.parametrize("field", [lambda t, y, w: w * y, lambda t, y, w: w + 0 * y], ids=["fixed point", "constant"])
def test_gradients_are_finite_where_the_denominator_of_stiffness_vanishes(field: object) -> None:
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    start = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    solution = solve(lambda t, y: field(t, y, weight), start, 0.0, 1.0, differentiable_records=True).check()
    records = solution.records
    assert torch.equal(records.stiffness, torch.zeros_like(records.stiffness))
    (records.stiffness.sum() + records.error_ratio.sum() + records.error.sum() + solution.y1.sum()).backward()
    for leaf in (weight, start):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
