"""The penalties' formulas, and the gradient path of the local one."""

import math

import pytest
import torch
from initial_value_problems import TinyField
from torch import Tensor

from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.initial_step import initial_step
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.regularizers.base import PenaltyContext, Regularizer, aggregate, check_aggregation
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.schedules import Constant, Exponential
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.solvers.bosh3 import Bosh3
from ndecore.solvers.euler import Euler
from ndecore.solvers.tsit5 import Tsit5
from ndecore.solving import solve
from ndecore.terms import ODETerm

SETTINGS = SolveSettings(rtol=1e-3, atol=1e-4)
TIME = 0.37


def start() -> Tensor:
    return torch.tensor([[0.6, -1.1], [0.2, 0.9], [1.4, 0.3]], dtype=torch.float64)


def context(field: object, y0: Tensor, times: tuple[float, ...] = ()) -> PenaltyContext:
    term = ODETerm(field)
    solution = solve(term, y0, 0.0, 1.0, settings=SETTINGS, ts=times, differentiable_records=True).check()
    return PenaltyContext(term, SETTINGS, solution, times)


def test_published_and_coded_global_variants_are_their_formulas() -> None:
    solved = context(TinyField(), start())
    q, e, s, h = (getattr(solved.solution.records, name) for name in ("error_ratio", "error", "stiffness", "dt"))
    n = len(h)
    expected = {
        GlobalError(): (q * h).sum() / (n + 1),
        GlobalError(agg="sum", scaled=False): (e * h).sum(),
        GlobalError(agg="max", weight_by_dt=False): q.max(),
        GlobalStiffness(): s.max() / 3.5068,
        GlobalStiffness(agg="sum", weight_by_dt=True, scaled=False): (s * h).sum(),
        GlobalStiffness(agg="mean"): s.sum() / 3.5068 / (n + 1),
    }
    for regularizer, value in expected.items():
        torch.testing.assert_close(regularizer.penalty(solved), value, rtol=1e-12, atol=0)


def test_penalties_backwards_in_time_are_positive() -> None:
    term = ODETerm(TinyField())
    solution = solve(term, start(), 1.0, 0.0, settings=SETTINGS, differentiable_records=True).check()
    for regularizer in (GlobalError(), GlobalStiffness(weight_by_dt=True)):
        assert regularizer.penalty(PenaltyContext(term, SETTINGS, solution)).item() > 0


@pytest.mark.parametrize(
    ("regularizer", "settings", "message"),
    [
        (
            GlobalError(),
            SolveSettings(Euler(), ConstantStep(0.1)),
            "GlobalError with Euler, which has no error estimate",
        ),
        (GlobalStiffness(), SolveSettings(Bosh3()), "GlobalStiffness with Bosh3, which has no stiffness estimate"),
    ],
    ids=["error", "stiffness"],
)
def test_global_penalty_on_what_the_solver_does_not_estimate_is_refused(
    regularizer: Regularizer, settings: SolveSettings, message: str
) -> None:
    term = ODETerm(TinyField())
    solution = solve(term, start(), 0.0, 1.0, settings=settings, differentiable_records=True).check()
    with pytest.raises(InputError, match=f"regularizer: got {message}, allowed: a solver that has one"):
        regularizer.penalty(PenaltyContext(term, settings, solution))


def test_aggregations_of_no_step_are_zero() -> None:
    assert [aggregate(torch.zeros(0), agg).item() for agg in ("sum", "mean", "max")] == [0, 0, 0]


def test_unknown_aggregation_is_refused() -> None:
    with pytest.raises(InputError, match="agg: got 'median', allowed: sum, mean, max"):
        check_aggregation("median")


def test_raw_error_does_not_depend_on_the_tolerance_by_which_the_ratio_is_scaled() -> None:
    records = context(TinyField(), start()).solution.records
    assert (records.error / records.error_ratio).min() > SETTINGS.atol
    assert (records.error_ratio < 1).all()


# --- local error ----------------------------------------------------------------------------------------------------


def by_hand(field: TinyField, regularizer: LocalError, u: Tensor, dt: float, k1: Tensor) -> Tensor:
    """One Tsit5 step written out stage by stage from (TIME, u), where u, dt and k1 are given numbers."""
    tableau = Tsit5.tableau
    slopes = [k1]
    for node, row in zip(tableau.c[1:], tableau.a, strict=True):
        argument = u + dt * sum(a * k for a, k in zip(row, slopes, strict=True))
        slopes.append(field(torch.tensor(TIME + node * dt, dtype=torch.float64), argument))
    error = dt * sum(e * k for e, k in zip(tableau.b_error, slopes, strict=True))
    if regularizer.scaled:
        error = error / (SETTINGS.atol + SETTINGS.rtol * torch.maximum(u.abs(), argument.abs()))
    size = error.square().mean().sqrt()
    return size * dt if regularizer.weight_by_dt else size


def frozen(field: TinyField, solved: PenaltyContext) -> tuple[Tensor, float, Tensor]:
    with torch.no_grad():
        u = solved.solution.at(TIME)
        k1 = field(torch.tensor(TIME, dtype=torch.float64), u)
        dt = initial_step(ODETerm(field), TIME, u, k1, 1.0 - TIME, 5, SETTINGS.rtol, SETTINGS.atol)
    return u, dt, k1


VARIANTS = [LocalError(weight_by_dt, scaled) for weight_by_dt in (True, False) for scaled in (True, False)]


@pytest.mark.parametrize("regularizer", VARIANTS, ids=repr)
def test_local_penalty_and_its_gradient_are_those_of_one_step_from_frozen_numbers(regularizer: LocalError) -> None:
    field = TinyField()
    solved = context(field, start(), (TIME,))
    numbers = frozen(field, solved)
    penalty, expected = regularizer.penalty(solved), by_hand(field, regularizer, *numbers)
    torch.testing.assert_close(penalty, expected, rtol=1e-9, atol=0)
    parameters = tuple(field.parameters())
    for left, right in zip(
        torch.autograd.grad(penalty, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert left.abs().max() > 0
        torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("regularizer", VARIANTS, ids=repr)
def test_gradient_of_the_local_penalty_is_its_difference_quotient_with_the_rest_frozen(regularizer: LocalError) -> None:
    field = TinyField()
    solved = context(field, start(), (TIME,))
    numbers = frozen(field, solved)
    names = [name for name, _ in field.named_parameters()]

    def from_parameters(*values: Tensor) -> Tensor:
        class Bound:
            def __call__(self, t: Tensor, y: Tensor) -> Tensor:
                return torch.func.functional_call(field, dict(zip(names, values, strict=True)), (t, y))

        return by_hand(Bound(), regularizer, *numbers)

    values = tuple(p.detach().clone().requires_grad_() for p in field.parameters())
    assert torch.autograd.gradcheck(from_parameters, values, atol=1e-6)
    gradients = torch.autograd.grad(regularizer.penalty(solved), tuple(field.parameters()))
    step = 1e-6
    for index, gradient in enumerate(gradients):
        direction = gradient / gradient.norm()
        ends = []
        for sign in (1, -1):
            moved = [v.detach() + (sign * step * direction if i == index else 0) for i, v in enumerate(values)]
            ends.append(from_parameters(*moved))
        torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), gradient.norm(), rtol=1e-4, atol=1e-9)


def test_local_penalty_has_no_gradient_to_the_input_and_one_to_the_parameters() -> None:
    field, y0 = TinyField(), start().requires_grad_()
    penalty = LocalError().penalty(context(field, y0, (TIME,)))
    (to_input,) = torch.autograd.grad(penalty, (y0,), allow_unused=True, retain_graph=True)
    assert to_input is None
    assert all(gradient.norm() > 0 for gradient in torch.autograd.grad(penalty, tuple(field.parameters())))


def test_local_penalty_costs_eight_evaluations_of_which_six_are_differentiated() -> None:
    solved = context(TinyField(), start(), (TIME,))
    before, taped = solved.term.n_evaluations, solved.term.n_taped
    LocalError().penalty(solved)
    assert solved.term.n_evaluations - before == 8
    assert solved.term.n_taped - taped == 6


def test_local_step_is_of_tsit5_where_the_solver_has_no_error_estimate() -> None:
    field, start_at = TinyField(), start()
    term, settings = ODETerm(field), SolveSettings(Euler(), ConstantStep(0.1), rtol=SETTINGS.rtol, atol=SETTINGS.atol)
    solution = solve(term, start_at, 0.0, 1.0, settings=settings, ts=(TIME,)).check()
    solved = PenaltyContext(term, settings, solution, (TIME,))
    expected = by_hand(field, LocalError(), *frozen(field, solved))
    before = term.n_evaluations
    torch.testing.assert_close(LocalError().penalty(solved), expected, rtol=1e-9, atol=0)
    assert term.n_evaluations - before == 8


def test_local_penalty_wants_the_time_that_it_drew() -> None:
    with pytest.raises(InputError, match="got 0 times"):
        LocalError().penalty(context(TinyField(), start()))


def test_local_penalty_at_the_very_end_is_zero_and_finite() -> None:
    field = TinyField()
    penalty = LocalError().penalty(context(field, start(), (1.0,)))
    assert penalty.item() == 0
    assert all(g.isfinite().all() for g in torch.autograd.grad(penalty, tuple(field.parameters())))


def test_sampled_times_are_uniform_over_the_span() -> None:
    draw = torch.Generator().manual_seed(0)
    times = torch.tensor([LocalError().sample_times(2.0, 5.0, draw)[0] for _ in range(2000)])
    assert 2 <= times.min() < times.max() <= 5
    # Kolmogorov-Smirnov at alpha = 0.001: 1.95 / sqrt(n); the seed is fixed, so the outcome is too.
    steps = torch.arange(1, 2001) / 2000
    assert ((times.sort().values - 2) / 3 - steps).abs().max() < 1.95 / math.sqrt(2000)


def test_sampled_times_repeat_with_their_generator() -> None:
    first, second = (LocalError().sample_times(0.0, 1.0, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first == second


def test_error_penalties_of_zero_error_have_finite_gradients() -> None:
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    solved = context(lambda t, y: weight * y, torch.zeros(2, dtype=torch.float64), (TIME,))
    for regularizer in (GlobalError(), GlobalError(scaled=False), *VARIANTS):
        (gradient,) = torch.autograd.grad(regularizer.penalty(solved), weight, retain_graph=True)
        assert gradient.item() == 0


# --- schedules ------------------------------------------------------------------------------------------------------


def test_exponential_schedule_is_the_formula_of_the_paper() -> None:
    schedule = Exponential(100.0, 10.0)
    rate = math.log(100 / 10) / 75
    assert [schedule(epoch, 75) for epoch in (0, 30, 74)] == pytest.approx(
        [100 * math.exp(-rate * epoch) for epoch in (0, 30, 74)]
    )
    assert schedule(75, 75) == pytest.approx(10)


def test_exponential_schedule_may_grow_and_with_equal_ends_is_constant() -> None:
    assert Exponential(0.1, 5.0)(10, 20) == pytest.approx(math.sqrt(0.1 * 5.0))
    assert [Exponential(3.0, 3.0)(epoch, 9) for epoch in range(9)] == [Constant(3.0)(epoch, 9) for epoch in range(9)]


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_weights_that_are_negative_or_not_finite_are_refused(value: float) -> None:
    for make in (lambda: Constant(value), lambda: Exponential(value, 1.0), lambda: Exponential(1.0, value)):
        with pytest.raises(InputError, match="weight"):
            make()


def test_zero_is_a_weight_but_no_end_of_an_exponential() -> None:
    assert Constant(0.0)(0, 1) == 0
    for ends in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(InputError, match="> 0"):
            Exponential(*ends)
