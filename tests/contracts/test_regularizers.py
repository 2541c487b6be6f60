"""What every penalty and every schedule of its weight promises."""

from dataclasses import fields

import pytest
import torch
from torch import Tensor, nn
from wished_solves import SolveRequest

from ndecore.adjoints import ADJOINTS
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.models.time_mlp import TimeMLP
from ndecore.observing import Grid
from ndecore.regularizers import REGULARIZERS, SCHEDULES
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.predicted_steps import PredictedSteps
from ndecore.regularizers.rnode import RNODE
from ndecore.regularizers.schedules import Moment, Schedule, Seen
from ndecore.solvers import SOLVERS
from ndecore.terms import ODETerm

SETTINGS = SolveSettings(rtol=1e-3, atol=1e-3)
WEIGHTED = [name for name in REGULARIZERS if REGULARIZERS[name].is_weighted]


@pytest.fixture(params=list(REGULARIZERS))
def regularizer(request: pytest.FixtureRequest) -> Regularizer:
    return REGULARIZERS[request.param]()


def mlp() -> nn.Module:
    return TimeMLP(4, 8, torch.Generator().manual_seed(0)).double()


def batch() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def solved(
    regularizer: Regularizer, field: object, y0: Tensor, grid: Grid = (0.0, 1.0), settings: SolveSettings = SETTINGS
) -> PenaltyContext:
    term = ODETerm(field)
    wishes = regularizer.prepare(grid, torch.Generator().manual_seed(2))
    solution = SolveRequest(settings, wishes).solve(term, y0, grid).solution
    return PenaltyContext(term, settings, solution, wishes)


@pytest.mark.parametrize("grid", [(0.0, 1.0), (1.0, -0.5), (0.0, 0.2, 0.3, 1.0), (1.0, 0.9, 0.3, 0.0)])
def test_penalty_is_one_finite_number_that_is_not_negative(regularizer: Regularizer, grid: Grid) -> None:
    penalty = regularizer.penalty(solved(regularizer, mlp(), batch(), grid))
    assert penalty.shape == ()
    assert penalty.isfinite()
    assert penalty.item() >= 0


@pytest.mark.parametrize("name", WEIGHTED)
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
    field = mlp()
    if method.is_implicit and not ADJOINTS[adjoint].differentiates_records:
        with pytest.raises(InputError, match="which is implicit"):
            SolveSettings(method, controller, ADJOINTS[adjoint]())
        return
    settings = SolveSettings(method, controller, ADJOINTS[adjoint](), rtol=1e-3, atol=1e-3)
    try:
        regularizer.check(settings)
    except InputError:
        with pytest.raises(InputError):
            regularizer.penalty(solved(regularizer, field, batch(), settings=settings))
        return
    context = solved(regularizer, field, batch(), settings=settings)
    penalty = regularizer.penalty(context)
    if not regularizer.is_weighted:
        assert penalty.item() == 0
        return
    assert penalty.item() > 0
    (penalty + 0 * context.solution.y1.sum()).backward()
    assert sum(parameter.grad.norm() for parameter in field.parameters()) > 0


@pytest.mark.filterwarnings("ignore::ndecore.errors.RoundingWarning")  # its error is nothing else
def test_penalty_of_constant_dynamics_is_zero(regularizer: Regularizer) -> None:
    if isinstance(regularizer, RNODE):
        regularizer = RNODE(kinetic=0.0)  # whose other half is the energy of the motion itself
    penalty = regularizer.penalty(solved(regularizer, lambda t, y: torch.full_like(y, 0.5), batch()))
    # Its error is a rounding, of which one penalty takes the fifth root.
    assert penalty.item() == pytest.approx(0, abs=1e-14 ** (1 / 5) if isinstance(regularizer, PredictedSteps) else 1e-9)


def test_penalty_does_not_depend_on_the_order_of_the_batch(regularizer: Regularizer) -> None:
    if isinstance(regularizer, RNODE):
        regularizer = RNODE(jacobian=0.0)  # whose other half is an estimate with noise of its own for each element
    order = torch.randperm(6, generator=torch.Generator().manual_seed(3))
    plain, permuted = (regularizer.penalty(solved(regularizer, mlp(), y0)) for y0 in (batch(), batch()[order]))
    torch.testing.assert_close(plain, permuted, rtol=1e-8, atol=1e-12)


def test_penalty_of_a_batch_given_twice_is_that_of_one(regularizer: Regularizer) -> None:
    if isinstance(regularizer, RNODE):
        regularizer = RNODE(jacobian=0.0)
    once, twice = (regularizer.penalty(solved(regularizer, mlp(), batch().repeat(n, 1))) for n in (1, 2))
    torch.testing.assert_close(once, twice, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("grid", [(2.0, 3.0), (3.0, 2.9, 2.0), (0.0, 1.0, 1.0, 1.1)])
def test_wishes_keep_the_start_and_the_number_of_times_and_repeat_with_the_generator(
    regularizer: Regularizer, grid: Grid
) -> None:
    first, second = (regularizer.prepare(grid, torch.Generator().manual_seed(4)) for _ in range(2))
    assert (first.grid, first.times) == (second.grid, second.times)
    assert (first.grid[0], len(first.grid)) == (grid[0], len(grid))
    assert (first.grid == grid) == (not regularizer.moves_grid)
    assert all(min(grid) <= t <= max(grid) for t in first.times)


def test_penalty_without_gradients_has_the_same_value(regularizer: Regularizer) -> None:
    with torch.no_grad():
        bare = regularizer.penalty(solved(regularizer, mlp(), batch()))
    assert torch.equal(bare, regularizer.penalty(solved(regularizer, mlp(), batch())).detach())


def test_random_choices_of_the_penalty_move_no_other_generator(regularizer: Regularizer) -> None:
    before = torch.get_rng_state()
    regularizer.penalty(solved(regularizer, mlp(), batch()))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name in REGULARIZERS if name != "none"])
def test_docstring_has_formula_gradient_path_and_reference(name: str) -> None:
    text = REGULARIZERS[name].__doc__ or ""
    for part in ("R_", "=", "Gradient path:", "Reference:"):
        assert part in text


@pytest.mark.parametrize("name", REGULARIZERS)
def test_options_have_defaults_and_members_compare_by_value(name: str) -> None:
    assert REGULARIZERS[name]() == REGULARIZERS[name]()


ENDS = {"weight": 8.0, "weight_end": 2.0, "warmup": 0.25, "budget": 100.0}


@pytest.fixture(params=list(SCHEDULES))
def schedule(request: pytest.FixtureRequest) -> Schedule:
    kind = SCHEDULES[request.param]
    return kind(**{each.name: ENDS[each.name] for each in fields(kind) if each.name in ENDS})


def moments(n_epochs: int, n_batches: int, seen: Seen | None = None) -> list[Moment]:
    """Of each step of a training."""
    n_steps = n_epochs * n_batches
    return [Moment(step // n_batches, n_epochs, step, n_steps, seen) for step in range(n_steps)]


@pytest.mark.parametrize("n_epochs", [1, 2, 30])
def test_schedule_stays_between_nothing_and_its_weight(schedule: Schedule, n_epochs: int) -> None:
    assert all(0 <= schedule(moment) <= 8 for moment in moments(n_epochs, 3))
    assert 8 in [schedule(moment) for moment in moments(n_epochs, 4)]


def test_schedule_is_monotone(schedule: Schedule) -> None:
    weights = [schedule(moment) for moment in moments(20, 3)]
    assert weights in (sorted(weights), sorted(weights, reverse=True))


@pytest.mark.parametrize("seen", [Seen(8.0, 1e300, 0.0), Seen(8.0, 0.0, 1e300), Seen(8.0, float("inf"), float("nan"))])
def test_weight_is_finite_and_not_negative_whatever_the_last_step_was(schedule: Schedule, seen: Seen) -> None:
    assert all(0 <= schedule(moment) < float("inf") for moment in moments(2, 2, seen))


@pytest.mark.parametrize("name", SCHEDULES)
def test_docstring_of_a_schedule_has_its_formula(name: str) -> None:
    assert "lambda" in (SCHEDULES[name].__doc__ or "")
