"""What is not to be trusted says so: estimates below rounding, gradients through steps that stability limits."""

import copy
import warnings

import pytest
import torch
from torch import Tensor
from wished_solves import SolveRequest

from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.step_to import StepTo
from ndecore.double import InDouble
from ndecore.errors import InputError, RoundingWarning, UnstableGradientWarning
from ndecore.integrate import SolveSettings
from ndecore.models.time_mlp import TimeMLP
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local import LocalPenalty
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.local_stiffness import LocalStiffness
from ndecore.regularizers.predicted_steps import PredictedSteps
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.reliability import warn_of_rounding
from ndecore.solution import Solution
from ndecore.solvers import SOLVERS
from ndecore.solvers.bosh3 import Bosh3
from ndecore.solving import solve
from ndecore.terms import ODETerm

TOLERANCES = [1e-2, 1e-4, 1e-6, 1e-8]
STIFF = torch.tensor([[-1.0, 0.0], [200.0, -200.0]], dtype=torch.float64)  # eigenvalues -1 and -200
SLOW = torch.tensor([1.0, 200 / 199], dtype=torch.float64)  # the slow eigenvector: the fast mode begins at rounding


def images() -> Tensor:
    return torch.rand(32, 64, generator=torch.Generator().manual_seed(1))


def smooth() -> TimeMLP:
    return TimeMLP(64, 100, torch.Generator().manual_seed(0))


def penalized(
    regularizer: Regularizer, field: TimeMLP, y0: Tensor, settings: SolveSettings
) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """A penalty, its gradient to the parameters and the steps of the solve."""
    term, wishes = ODETerm(field), regularizer.prepare((0.0, 1.0), torch.Generator().manual_seed(2))
    solution = SolveRequest(settings, wishes).solve(term, y0, (0.0, 1.0)).solution
    value = regularizer.penalty(PenaltyContext(term, settings, solution, wishes))
    gradients = torch.autograd.grad(value, tuple(field.parameters()))
    steps = tuple(solution.records.dt.tolist())
    return value.detach(), torch.cat([each.double().reshape(-1) for each in gradients]), steps


def compared(regularizer: Regularizer, tolerance: float) -> tuple[float, float]:
    """Ratio of the penalty in float32 to that in float64 on equal steps, and the cosine of their gradients."""
    field, settings = smooth(), SolveSettings(rtol=tolerance, atol=tolerance)
    value, gradient, steps = penalized(regularizer, field, images(), settings)
    equal = SolveSettings(controller=StepTo(steps), rtol=tolerance, atol=tolerance)
    true, true_gradient, _ = penalized(regularizer, copy.deepcopy(field).double(), images().double(), equal)
    assert value.dtype is torch.float32
    return (value / true).item(), torch.cosine_similarity(gradient, true_gradient, dim=0).item()


@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("regularizer", [LocalError(), LocalError("biased"), LocalStiffness()], ids=repr)
def test_a_local_penalty_of_a_float32_solve_is_that_of_float64(regularizer: LocalPenalty, tolerance: float) -> None:
    ratio, cosine = compared(regularizer, tolerance)
    assert ratio == pytest.approx(1, abs=0.01)
    assert cosine > 0.999


@pytest.mark.parametrize("tolerance", [1e-6, 1e-8])
def test_in_float32_the_step_of_a_local_penalty_is_noise_and_says_so(tolerance: float) -> None:
    with pytest.warns(RoundingWarning, match="LocalError: much of the estimate is rounding"):
        ratio, cosine = compared(LocalError(in_float64=False), tolerance)
    assert ratio > 100
    assert abs(cosine) < 0.9


@pytest.mark.parametrize("regularizer", [GlobalError(), PredictedSteps()], ids=repr)
def test_global_penalties_agree_with_float64_until_they_warn(regularizer: Regularizer) -> None:
    for tolerance in (1e-2, 1e-4):
        assert compared(regularizer, tolerance)[1] > 0.9
    name = type(regularizer).__name__
    with pytest.warns(RoundingWarning, match=f"{name}: much of the estimate is rounding"):
        assert compared(regularizer, 1e-8)[1] < 0.9


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_the_parts_that_are_rounding_are_those_of_their_formulas(adjoint: str) -> None:
    field, settings = smooth(), SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-5, atol=1e-5)
    told: list[Tensor] = []
    solution = solve(
        field, images(), 0.0, 1.0, settings=settings, differentiable_records=True, watch=lambda t, y: told.append(y)
    )
    records, eps = solution.records, torch.finfo(torch.float32).eps
    ends = [*zip(records.t[1:].tolist(), told[1:], strict=True), (1.0, solution.y1)]
    with torch.no_grad():
        slopes = torch.stack([field(torch.tensor(t), y).square().mean().sqrt() for t, y in ends]).double()
    expected = eps * records.dt * slopes / records.error.detach().double()
    torch.testing.assert_close(records.rounding.error, expected, rtol=1e-4, atol=0)
    assert records.rounding.stiffness.shape == records.dt.shape
    assert solve(field, images(), 0.0, 1.0, settings=settings).records.rounding is None


def test_a_maximum_is_as_rounded_as_the_step_that_it_takes() -> None:
    values, part = torch.tensor([1.0, 10.0]), torch.tensor([0.5, 0.01], dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_rounding("it", values, part)
        warn_of_rounding("it", values * 0, part)
        warn_of_rounding("it", values, None)
    with pytest.warns(RoundingWarning, match="^it: "):
        warn_of_rounding("it", values.flip(0), part)
    with pytest.warns(RoundingWarning, match="GlobalStiffness"):
        compared(GlobalStiffness(), 1e-9)


# --- a field in float64 ---------------------------------------------------------------------------------------------


def test_a_function_of_float32_tensors_is_evaluated_in_float64_with_a_gradient_to_them() -> None:
    weight = torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.linspace(0, 1, 4, dtype=torch.float64)
    term = ODETerm(lambda t, y: torch.tanh(y @ weight) + torch.zeros(4) + t)
    found = term.mapped(InDouble)(0.3, y)
    wide = weight.detach().double().requires_grad_()
    expected = torch.tanh(y @ wide) + 0.3
    torch.testing.assert_close(found, expected, rtol=1e-15, atol=0)
    (bar,), (expected_bar,) = torch.autograd.grad(found.sum(), weight), torch.autograd.grad(expected.sum(), wide)
    torch.testing.assert_close(bar, expected_bar.float())
    assert term.n_evaluations == term.n_taped == 1  # it counts where the other does


def test_a_gradient_reaches_what_was_first_met_without_one() -> None:
    weight = torch.ones(2, requires_grad=True)
    field, y = InDouble(lambda t, y: y * weight), torch.ones(2, dtype=torch.float64)
    with torch.no_grad():
        field(torch.zeros((), dtype=torch.float64), y)
    assert torch.equal(torch.autograd.grad(field(y[0], y).sum(), weight)[0], torch.ones(2))


def test_a_field_that_insists_on_float32_is_taken_and_its_noise_told_of() -> None:
    field, settings = smooth(), SolveSettings(rtol=1e-6, atol=1e-6)
    term, wishes = ODETerm(lambda t, y: field(t, y).float()), LocalError().prepare((0.0, 1.0), torch.Generator())
    solution = SolveRequest(settings, wishes).solve(term, images(), (0.0, 1.0)).solution
    with pytest.warns(RoundingWarning, match="LocalError"):
        LocalError().penalty(PenaltyContext(term, settings, solution, wishes))


# --- gradients through steps that stability limits ------------------------------------------------------------------


def stiff_solve(matrix: Tensor, **chosen: object) -> Solution:
    settings = SolveSettings(rtol=1e-4, atol=1e-4, **chosen)
    return solve(lambda t, y: matrix @ y, SLOW, 0.0, 3.0, settings=settings, parameters=(matrix,))


def gradient_error(solution: Solution, matrix: Tensor) -> float:
    """Relative, of d sum(y1) / d matrix."""
    exact = matrix.detach().clone().requires_grad_()
    (true,) = torch.autograd.grad((torch.matrix_exp(3 * exact) @ SLOW).sum(), exact)
    (found,) = torch.autograd.grad(solution.y1.sum(), matrix)
    return ((found - true).norm() / true.norm()).item()


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
@pytest.mark.parametrize("solver", ["tsit5", "dopri5", "dop853"])
def test_a_gradient_that_explodes_where_the_solution_is_right_is_told_of(solver: str, adjoint: str) -> None:
    matrix = STIFF.clone().requires_grad_()
    with pytest.warns(UnstableGradientWarning, match=r"limits the steps of .*; set within_stability") as told:
        solution = stiff_solve(matrix, solver=SOLVERS[solver](), adjoint=ADJOINTS[adjoint]())
    assert len(told) == 1
    assert solution.stats.n_unstable >= 8
    torch.testing.assert_close(solution.y1, torch.matrix_exp(3 * STIFF) @ SLOW, rtol=0, atol=3e-4)
    assert gradient_error(solution, matrix) > 1e3


@pytest.mark.parametrize("solver", ["tsit5", "dopri5", "dop853"])
def test_within_stability_the_gradient_is_right(solver: str) -> None:
    matrix = STIFF.clone().requires_grad_()
    solution = stiff_solve(matrix, solver=SOLVERS[solver](), within_stability=True)
    assert solution.stats.n_unstable == 0
    size = SOLVERS[solver]().stability_size
    assert (solution.records.stiffness * solution.records.dt).max() <= size
    assert gradient_error(solution, matrix) < 1e-5


def test_the_continuous_adjoint_and_a_solve_without_gradient_are_not_warned_of() -> None:
    matrix = STIFF.clone().requires_grad_()
    assert gradient_error(stiff_solve(matrix, adjoint=ADJOINTS["interpolating"]()), matrix) < 1e-3
    assert stiff_solve(STIFF).stats.n_unstable >= 8


def test_where_accuracy_limits_the_steps_stability_changes_none() -> None:
    settings = [SolveSettings(rtol=1e-5, atol=1e-5, within_stability=chosen) for chosen in (False, True)]
    free, within = (solve(smooth(), images(), 0.0, 1.0, settings=each) for each in settings)
    assert torch.equal(free.records.dt, within.records.dt)
    assert free.stats.n_unstable == 0


def test_within_stability_wants_an_estimate_of_stiffness_and_steps_that_adapt() -> None:
    with pytest.raises(InputError, match="within_stability: got true with Bosh3 and IController, allowed: a method"):
        SolveSettings(Bosh3(), within_stability=True)
    with pytest.raises(InputError, match="within_stability: got true with Tsit5 and ConstantStep"):
        SolveSettings(controller=ConstantStep(0.1), within_stability=True)
