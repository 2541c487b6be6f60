"""What every penalty and every schedule of its weight promises."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.models.time_mlp import TimeMLP
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.none import NoRegularizer
from ndecore.regularizers.schedules import Schedule
from ndecore.solvers import SOLVERS
from ndecore.solving import solve
from ndecore.terms import ODETerm

SETTINGS = SolveSettings(rtol=1e-3, atol=1e-3)
WITH_GRADIENT = [name for name in REGULARIZERS if name != "none"]


@pytest.fixture(params=list(REGULARIZERS))
def regularizer(request: pytest.FixtureRequest) -> Regularizer:
    return REGULARIZERS[request.param]()


def mlp() -> nn.Module:
    return TimeMLP(4, 8, torch.Generator().manual_seed(0)).double()


def batch() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def solved(
    regularizer: Regularizer,
    field: object,
    y0: Tensor,
    span: tuple[float, float] = (0.0, 1.0),
    settings: SolveSettings = SETTINGS,
) -> PenaltyContext:
    term = ODETerm(field)
    times = regularizer.sample_times(*span, torch.Generator().manual_seed(2))
    asked = regularizer.needs_differentiable_records
    solution = solve(term, y0, *span, settings=settings, ts=times, differentiable_records=asked).check()
    return PenaltyContext(term, settings, solution, times)


@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, -0.5)])
def test_penalty_is_one_finite_number_that_is_not_negative(regularizer: Regularizer, span: tuple[float, float]) -> None:
    penalty = regularizer.penalty(solved(regularizer, mlp(), batch(), span))
    assert penalty.shape == ()
    assert penalty.isfinite()
    assert penalty.item() >= 0


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_penalty_is_positive_and_reaches_the_parameters(name: str) -> None:
    field, regularizer = mlp(), REGULARIZERS[name]()
    penalty = regularizer.penalty(solved(regularizer, field, batch()))
    assert penalty.item() > 0
    penalty.backward()
    for parameter in field.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    assert sum(parameter.grad.norm() for parameter in field.parameters()) > 0


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
@pytest.mark.parametrize("solver", list(SOLVERS))
def test_penalty_is_positive_and_reaches_the_parameters_with_whatever_it_does_not_refuse(
    regularizer: Regularizer, solver: str, adjoint: str
) -> None:
    method = SOLVERS[solver]()
    controller = IController() if method.error_order is not None else ConstantStep(0.1)
    settings = SolveSettings(method, controller, ADJOINTS[adjoint](), rtol=1e-3, atol=1e-3)
    field = mlp()
    try:
        regularizer.check(settings)
    except InputError:
        with pytest.raises(InputError):
            regularizer.penalty(solved(regularizer, field, batch(), settings=settings))
        return
    context = solved(regularizer, field, batch(), settings=settings)
    penalty = regularizer.penalty(context)
    if isinstance(regularizer, NoRegularizer):
        return
    assert penalty.item() > 0
    (penalty + 0 * context.solution.y1.sum()).backward()
    assert sum(parameter.grad.norm() for parameter in field.parameters()) > 0


def test_penalty_of_constant_dynamics_is_zero(regularizer: Regularizer) -> None:
    penalty = regularizer.penalty(solved(regularizer, lambda t, y: torch.full_like(y, 0.5), batch()))
    assert penalty.item() == pytest.approx(0, abs=1e-9)


def test_penalty_does_not_depend_on_the_order_of_the_batch(regularizer: Regularizer) -> None:
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    plain, permuted = (regularizer.penalty(solved(regularizer, mlp(), y0)) for y0 in (batch(), batch()[order]))
    torch.testing.assert_close(plain, permuted, rtol=1e-8, atol=1e-12)


def test_penalty_of_a_batch_given_twice_is_that_of_one(regularizer: Regularizer) -> None:
    once, twice = (regularizer.penalty(solved(regularizer, mlp(), batch().repeat(n, 1))) for n in (1, 2))
    torch.testing.assert_close(once, twice, rtol=1e-8, atol=1e-12)


def test_sampled_times_lie_in_the_span_and_repeat_with_the_generator(regularizer: Regularizer) -> None:
    first, second = (regularizer.sample_times(2.0, 3.0, torch.Generator().manual_seed(4)) for _ in range(2))
    assert first == second
    assert all(2 <= t <= 3 for t in first)


def test_penalty_without_gradients_has_the_same_value(regularizer: Regularizer) -> None:
    with torch.no_grad():
        bare = regularizer.penalty(solved(regularizer, mlp(), batch()))
    assert torch.equal(bare, regularizer.penalty(solved(regularizer, mlp(), batch())).detach())


@pytest.mark.parametrize("name", WITH_GRADIENT)
def test_docstring_has_formula_gradient_path_and_reference(name: str) -> None:
    text = REGULARIZERS[name].__doc__ or ""
    for part in ("R_", "=", "Gradient path:", "Reference:"):
        assert part in text


@pytest.mark.parametrize("name", REGULARIZERS)
def test_options_have_defaults_and_members_compare_by_value(name: str) -> None:
    assert REGULARIZERS[name]() == REGULARIZERS[name]()


@pytest.fixture(params=list(SCHEDULES))
def schedule(request: pytest.FixtureRequest) -> Schedule:
    kind = SCHEDULES[request.param]
    return kind(**{option.name: 8.0 / 2**i for i, option in enumerate(fields(kind))})


@pytest.mark.parametrize("n_epochs", [1, 2, 30])
def test_schedule_begins_at_its_weight_and_stays_finite_and_positive(schedule: Schedule, n_epochs: int) -> None:
    weights = [schedule(epoch, n_epochs) for epoch in range(n_epochs)]
    assert weights[0] == 8
    assert all(0 < weight <= 8 for weight in weights)


def test_schedule_is_monotone(schedule: Schedule) -> None:
    weights = [schedule(epoch, 20) for epoch in range(20)]
    assert weights == sorted(weights, reverse=True)
