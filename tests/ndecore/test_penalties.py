"""The global penalties: their formulas, what they refuse, how they depend on the tolerance."""

from dataclasses import replace

import pytest
import torch
from initial_value_problems import TinyField
from penalized_solves import SETTINGS, gradients, solved, start
from torch import Tensor

from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.observing import Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer, aggregate
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.predicted_steps import PredictedSteps
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.solvers import SOLVERS
from ndecore.solvers.bosh3 import Bosh3
from ndecore.solvers.euler import Euler
from ndecore.solving import solve
from ndecore.terms import ODETerm

GLOBAL = (GlobalError(), GlobalError(scaled=False), GlobalError(power=2), PredictedSteps(), GlobalStiffness())


def test_published_and_coded_global_variants_are_their_formulas() -> None:
    context = solved(GlobalError(), grid=(0.0, 3.0))
    q, e, s, h = (getattr(context.solution.records, name) for name in ("error_ratio", "error", "stiffness", "dt"))
    n = len(h)
    assert n >= 3
    expected = {
        GlobalError(): (q * h).sum() / (n + 1),
        GlobalError(agg="sum", scaled=False): (e * h).sum(),
        GlobalError(agg="max", weight_by_dt=False): q.max(),
        GlobalError(agg="sum", power=2, weight_by_dt=False): (q * q).sum(),
        GlobalError(agg="sum", power=2, weight_by_dt=False, scaled=False): (e * e).sum(),
        GlobalError(power=2): (q * q * h).sum() / (n + 1),
        GlobalStiffness(): s.max() / 3.5068,
        GlobalStiffness(agg="sum", weight_by_dt=True, scaled=False): (s * h).sum(),
        GlobalStiffness(agg="mean"): s.sum() / 3.5068 / (n + 1),
        PredictedSteps(): sum(each ** (1 / 5) for each in e),
    }
    for regularizer, value in expected.items():
        torch.testing.assert_close(regularizer.penalty(context), value, rtol=1e-12, atol=0)


@pytest.mark.parametrize("power", [0, 3, -1])
def test_powers_but_the_first_and_the_second_are_refused(power: int) -> None:
    with pytest.raises(InputError, match=f"power: got {power}, allowed: 1, 2"):
        GlobalError(power=power)


@pytest.mark.parametrize("regularizer", GLOBAL, ids=repr)
def test_penalties_backwards_in_time_are_positive(regularizer: Regularizer) -> None:
    assert regularizer.penalty(solved(regularizer, grid=(1.0, 0.0))).item() > 0


@pytest.mark.parametrize(
    ("regularizer", "settings", "message"),
    [
        (
            GlobalError(),
            SolveSettings(Euler(), ConstantStep(0.1)),
            "Euler where regularizer is GlobalError, and it has no error estimate",
        ),
        (
            PredictedSteps(),
            SolveSettings(Euler(), ConstantStep(0.1)),
            "Euler where regularizer is PredictedSteps, and it has no error estimate",
        ),
        (
            GlobalStiffness(),
            SolveSettings(Bosh3()),
            "Bosh3 where regularizer is GlobalStiffness, and it has no stiffness estimate",
        ),
    ],
    ids=["error", "predicted steps", "stiffness"],
)
def test_global_penalty_on_what_the_solver_does_not_estimate_is_refused(
    regularizer: Regularizer, settings: SolveSettings, message: str
) -> None:
    term = ODETerm(TinyField())
    solution = solve(term, start(), 0.0, 1.0, settings=settings, differentiable_records=True).check()
    with pytest.raises(InputError, match=f"^solver: got {message}, allowed: one that estimates the "):
        regularizer.penalty(PenaltyContext(term, settings, solution, Wishes((0.0, 1.0))))


def test_aggregations_of_no_step_are_zero() -> None:
    assert [aggregate(torch.zeros(0), agg).item() for agg in ("sum", "mean", "max")] == [0, 0, 0]


def test_raw_error_does_not_depend_on_the_tolerance_by_which_the_ratio_is_scaled() -> None:
    records = solved(GlobalError()).solution.records
    assert (records.error / records.error_ratio).min() > SETTINGS.atol
    assert (records.error_ratio < 1).all()


@pytest.mark.parametrize("regularizer", GLOBAL, ids=repr)
def test_global_penalties_reach_the_start_and_every_parameter(regularizer: Regularizer) -> None:
    field, y0 = TinyField(), start().requires_grad_()
    assert all(bar.norm() > 0 for bar in gradients(regularizer.penalty(solved(regularizer, field, y0)), y0, field))


@pytest.mark.parametrize("regularizer", GLOBAL, ids=repr)
def test_global_penalties_where_error_and_denominator_vanish_have_finite_gradients(regularizer: Regularizer) -> None:
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    context = solved(regularizer, lambda t, y: weight * y, torch.zeros(2, dtype=torch.float64))
    penalty = regularizer.penalty(context)
    assert penalty.item() == 0
    assert torch.autograd.grad(penalty, weight)[0].item() == 0


# --- predicted steps ------------------------------------------------------------------------------------------------


def logistic_in_time(t: Tensor, y: Tensor) -> Tensor:
    """A field whose solution is nowhere a polynomial, and so smooth that the leading term of the error rules."""
    return torch.sin(3 * t) - y * y


def test_predicted_steps_hardly_depend_on_the_tolerance_and_errors_do() -> None:
    y0 = torch.tensor([0.5, -0.2, 1.0], dtype=torch.float64)
    settings = [SolveSettings(rtol=tolerance, atol=tolerance) for tolerance in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8)]
    with torch.no_grad():
        contexts = [solved(PredictedSteps(), logistic_in_time, y0, (0.0, 6.0), each) for each in settings]
    steps, mean, total, raw = (
        [each.penalty(context).item() for context in contexts]
        for each in (PredictedSteps(), GlobalError(), GlobalError(agg="sum"), GlobalError(agg="sum", scaled=False))
    )
    assert max(steps) / min(steps) < 1.05  # measured: 1.037
    # Scaled errors are what the controller makes of them, and their mean falls as steps become more; raw ones follow
    # the tolerance.
    assert mean[0] / mean[-1] > 3
    assert max(total) / min(total) > 1.3
    assert raw[0] / raw[-1] > 3e3


@pytest.mark.parametrize("solver", ["bosh3", "dopri5", "tsit5"])
def test_predicted_steps_are_those_that_the_controller_takes_at_a_tolerance_of_one(solver: str) -> None:
    y0 = torch.tensor([0.5, -0.2, 1.0], dtype=torch.float64)
    order = SOLVERS[solver]().error_order
    # Absolute control alone, for which the raw error is the tolerance; the controller aims at 0.9 of the step.
    settings = SolveSettings(SOLVERS[solver](), rtol=1e-14, atol=1e-7)
    context = solved(PredictedSteps(), logistic_in_time, y0, (0.0, 6.0), settings)
    predicted = PredictedSteps().penalty(context).item() * 1e-7 ** (-1 / order)
    assert context.solution.stats.n_accepted * 0.9 == pytest.approx(predicted, rel=0.1)


def test_predicted_steps_of_a_step_without_error_have_no_gradient_and_leave_the_others_theirs() -> None:
    context = solved(PredictedSteps(), grid=(0.0, 3.0))
    errors = torch.zeros(len(context.solution.records.dt), dtype=torch.float64)
    errors[1] = 1e-5
    errors.requires_grad_()
    records = replace(context.solution.records, error=errors)
    penalty = PredictedSteps().penalty(replace(context, solution=replace(context.solution, records=records)))
    assert penalty.item() == pytest.approx(0.1)
    (bar,) = torch.autograd.grad(penalty, errors)
    assert bar[1].item() == pytest.approx(0.2 * 0.1 / 1e-5)
    assert bar.count_nonzero() == 1
