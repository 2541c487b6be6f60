"""What goes wrong ends in a status or in an error that helps, whatever differentiates the solve."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from ndecore.adjoints import ADJOINTS
from ndecore.adjoints.torchdiffeq import TorchdiffeqAdjoint
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError, SolveFailed
from ndecore.integrate import SolveSettings
from ndecore.solution import Solution
from ndecore.solving import solve
from ndecore.status import Status

NAN, INF = math.nan, math.inf
OURS = ("tape", "checkpointed", "interpolating")
ENOUGH = 6000  # evaluations, after which a solve counts as endless
Field = Callable[[Tensor, Tensor], Tensor]


class EndlessError(Exception):
    """A solve went on and on."""


def bounded(field: Field) -> Field:
    """The same field, which does not let a solve go on for ever."""
    left = iter(range(ENOUGH))

    def limited(t: Tensor, y: Tensor) -> Tensor:
        if next(left, None) is None:
            raise EndlessError
        return field(t, y)

    return limited


@pytest.fixture(params=[True, False], ids=["with gradients", "without"])
def gradients(request: pytest.FixtureRequest) -> Iterator[bool]:
    with torch.set_grad_enabled(request.param):
        yield request.param


@pytest.fixture(params=list(ADJOINTS))
def adjoint(request: pytest.FixtureRequest) -> str:
    return request.param


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([1.0, 0.5], dtype=dtype, requires_grad=True)


def run(adjoint: str, field: Field, y0: Tensor | None = None, **more: object) -> Solution:
    y0 = start() if y0 is None else y0
    given = {"t0": 0.0, "t1": 2.0, "ts": (0.2, 0.2, 1.9), "max_steps": 1000, "rtol": 1e-6, "atol": 1e-6} | more
    settings = SolveSettings(
        adjoint=ADJOINTS[adjoint](), **{name: given.pop(name) for name in ("max_steps", "rtol", "atol")}
    )
    t0, t1 = given.pop("t0"), given.pop("t1")
    return solve(bounded(field), y0, t0, t1, settings=settings, parameters=(), throw=False, **given)


def nan_from_one_on(t: Tensor, y: Tensor) -> Tensor:
    return torch.where(t >= 1.0, NAN, -y)


def nan_in_one_place(t: Tensor, y: Tensor) -> Tensor:
    return torch.where((t >= 1.0) & (t <= 1.0 + 1e-3), NAN, -y)


def infinite_from_one_on(t: Tensor, y: Tensor) -> Tensor:
    return torch.where(t >= 1.0, INF, -y)


def nan_everywhere(t: Tensor, y: Tensor) -> Tensor:
    return NAN * y


def past_a_pole(t: Tensor, y: Tensor) -> Tensor:
    return y * y


def growing_beyond_all_numbers(t: Tensor, y: Tensor) -> Tensor:
    return torch.full_like(y, torch.finfo(y.dtype).max)


def square_root_of_a_negative_number(t: Tensor, y: Tensor) -> Tensor:
    return -torch.sqrt(y)


HOPELESS = (nan_from_one_on, infinite_from_one_on, nan_everywhere, past_a_pole, growing_beyond_all_numbers)


@pytest.mark.parametrize("field", HOPELESS)
def test_hopeless_field_ends_in_a_status_and_leaves_finite_states(adjoint: str, field: Field, gradients: bool) -> None:
    y0 = start(torch.float64 if gradients else torch.float32)
    solution = run(adjoint, field, y0, rtol=1e-3, atol=1e-3)
    assert solution.status is not Status.SUCCESS
    assert solution.y1.isfinite().all()
    assert solution.ys.isfinite().all()
    assert solution.status.name in solution.ending()
    with pytest.raises(SolveFailed, match=solution.status.name):
        solution.check()


@pytest.mark.parametrize("field", [nan_in_one_place, square_root_of_a_negative_number])
@pytest.mark.usefixtures("gradients")
def test_field_with_a_gap_ends_with_finite_states_or_gets_past_it(adjoint: str, field: Field) -> None:
    solution = run(adjoint, field, t1=4.0, rtol=1e-3, atol=1e-3)
    assert solution.y1.isfinite().all()
    assert solution.ys.isfinite().all()


@pytest.mark.usefixtures("gradients")
def test_discontinuous_field_is_solved(adjoint: str) -> None:
    solution = run(adjoint, lambda t, y: torch.where(t < 1 / 3, 1.0, -1.0) + 0 * y).check()
    torch.testing.assert_close(solution.y1.detach(), start().detach() - 4 / 3, rtol=0, atol=1e-3)


@pytest.mark.parametrize("field", HOPELESS[:4])
@pytest.mark.parametrize("adjoint", OURS)
def test_what_was_reached_has_a_finite_gradient_or_the_way_back_says_that_it_failed(adjoint: str, field: Field) -> None:
    y0 = start()
    solution = run(adjoint, field, y0, rtol=1e-3, atol=1e-3)
    try:
        (found,) = torch.autograd.grad(solution.y1.sum() + solution.ys.sum(), y0)
    except SolveFailed as failure:
        assert "adjoint solve" in str(failure)  # noqa: PT017 - one of two good ends
        return
    assert found.isfinite().all()


@pytest.mark.parametrize("adjoint", OURS)
def test_partial_solution_has_the_gradient_of_what_was_reached(adjoint: str) -> None:
    y0 = start()
    solution = run(adjoint, lambda t, y: -y, y0, max_steps=4)
    assert solution.status is Status.MAX_STEPS
    assert solution.stats.n_accepted > 0
    reached = (solution.records.t[-1] + solution.records.dt[-1]).item()
    (found,) = torch.autograd.grad(solution.y1.sum() + solution.ys.sum(), y0)
    exact = math.exp(-reached) + len(solution.ys) * math.exp(-0.2)
    torch.testing.assert_close(found, torch.full_like(found, exact), rtol=1e-4, atol=0)


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_records_of_a_partial_solution_have_gradients(adjoint: str) -> None:
    y0 = start()
    solution = run(adjoint, nan_from_one_on, y0, rtol=1e-3, atol=1e-3, differentiable_records=True)
    (found,) = torch.autograd.grad(solution.records.error.sum() + solution.records.stiffness.sum(), y0)
    assert found.isfinite().all()


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_records_of_no_step_have_no_gradient_and_spoil_none(adjoint: str) -> None:
    y0 = start()
    solution = run(adjoint, nan_everywhere, y0, differentiable_records=True)
    assert len(solution.records.error) == 0
    (found,) = torch.autograd.grad(solution.y1.sum() + solution.records.error.sum(), y0)
    assert torch.equal(found, torch.ones_like(y0))


@pytest.mark.usefixtures("gradients")
def test_max_steps_is_a_status(adjoint: str) -> None:
    solution = run(adjoint, lambda t, y: torch.cos(30 * t) * y, max_steps=7)
    assert solution.status is Status.MAX_STEPS
    assert solution.y1.isfinite().all()


@pytest.mark.usefixtures("gradients")
def test_span_of_nothing_is_done_at_once(adjoint: str) -> None:
    solution = run(adjoint, nan_everywhere, t1=0.0, ts=(0.0, 0.0)).check()
    assert torch.equal(solution.y1, start())
    assert torch.equal(solution.ys, start().expand(2, 2))
    assert solution.stats.n_evaluations == 0


@pytest.mark.usefixtures("gradients")
def test_start_that_is_not_finite_is_no_success(adjoint: str) -> None:
    for t1 in (2.0, 0.0):
        y0 = torch.tensor([1.0, NAN], dtype=torch.float64)
        assert run(adjoint, lambda t, y: -y, y0, t1=t1, ts=()).status is Status.NON_FINITE


@pytest.mark.usefixtures("gradients")
def test_output_time_that_is_asked_for_twice_is_given_twice(adjoint: str) -> None:
    solution = run(adjoint, lambda t, y: -y).check()
    assert torch.equal(solution.ys[0], solution.ys[1])
    assert torch.equal(solution.at(0.2), solution.ys[0])


def in_wrong_shape(t: Tensor, y: Tensor) -> Tensor:
    return y[:1]


def too_large(t: Tensor, y: Tensor) -> Tensor:
    return y.expand(3, 2)


def in_wrong_dtype(t: Tensor, y: Tensor) -> Tensor:
    return y.float()


def of_integers(t: Tensor, y: Tensor) -> Tensor:
    return y.long()


def in_a_tuple(t: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    return (y,)


def without_return(t: Tensor, y: Tensor) -> None:
    return None


def a_number(t: Tensor, y: Tensor) -> float:
    return 1.0


MISTAKEN = {
    in_wrong_shape: r"returned shape \(1,\) of .*, allowed: \(2,\)",
    too_large: r"returned shape \(3, 2\) .*, allowed: \(2,\)",
    in_wrong_dtype: r"returned shape .* of torch.float32 .*, allowed: .*torch.float64",
    of_integers: r"returned shape .* of torch.int64 .*, allowed: .*torch.float64",
    in_a_tuple: r"returned a tuple, allowed: a tensor of shape \(2,\)",
    without_return: r"returned a NoneType, allowed: a tensor of shape \(2,\)",
    a_number: r"returned a float, allowed: a tensor of shape \(2,\)",
}


@pytest.mark.parametrize("field", MISTAKEN)
@pytest.mark.usefixtures("gradients")
def test_field_that_returns_no_slope_is_refused_with_what_it_returned(adjoint: str, field: Field) -> None:
    with pytest.raises(InputError, match=f"vector field {MISTAKEN[field]}"):
        run(adjoint, field)


@pytest.mark.parametrize("field", [in_wrong_shape, in_a_tuple])
@pytest.mark.usefixtures("gradients")
def test_field_that_goes_wrong_later_is_refused_too(adjoint: str, field: Field) -> None:
    with pytest.raises(InputError, match=f"vector field {MISTAKEN[field]}"):
        run(adjoint, lambda t, y: field(t, y) if t > 1 else -y)


ARGUMENTS = {
    "unsorted outputs": ({"ts": (0.9, 0.2)}, r"ts: got \(0.9, 0.2\), allowed: times sorted from t0 = 0.0 to t1 = 2.0"),
    "output outside": ({"ts": (2.1,)}, r"ts: got \(2.1,\), allowed"),
    "output that is no number": ({"ts": (NAN,)}, "ts: got"),
    "endless span": ({"t1": INF}, r"t0, t1: got 0.0, inf, allowed: finite numbers"),
    "no tolerance": ({"rtol": 0.0, "atol": 0.0}, r"rtol, atol: got 0 and 0"),
    "negative tolerance": ({"atol": -1e-6}, r"atol: got -1e-06, allowed: a finite number >= 0"),
    "no steps": ({"max_steps": 0}, r"max_steps: got 0, allowed: a whole number >= 1"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
@pytest.mark.usefixtures("gradients")
def test_arguments_that_make_no_sense_are_refused_with_what_is_allowed(adjoint: str, name: str) -> None:
    more, message = ARGUMENTS[name]
    with pytest.raises(InputError, match=message):
        run(adjoint, lambda t, y: -y, **more)


class OwnError(Exception):
    """An error of the field's own."""


@pytest.mark.parametrize("error", [OwnError, AssertionError, RuntimeError, KeyboardInterrupt, StopIteration])
@pytest.mark.usefixtures("gradients")
def test_exception_of_the_field_passes_through(adjoint: str, error: type[BaseException]) -> None:
    def failing(t: Tensor, y: Tensor) -> Tensor:
        if t > 0.5:
            raise error("the field's own")
        return -y

    with pytest.raises(error, match="the field's own"):
        run(adjoint, failing)


@pytest.mark.parametrize("error", [OwnError, AssertionError])
@pytest.mark.parametrize("adjoint", ["checkpointed", "interpolating", "torchdiffeq_adjoint"])
def test_exception_of_the_field_on_the_way_back_passes_through(adjoint: str, error: type[Exception]) -> None:
    fails = False

    def failing(t: Tensor, y: Tensor) -> Tensor:
        if fails:
            raise error("the field's own")
        return -y

    end = run(adjoint, failing, ts=()).check().y1
    fails = True
    with pytest.raises(error, match="the field's own"):
        end.sum().backward()


@pytest.mark.parametrize("adjoint", OURS)
def test_failed_solve_leaves_the_next_one_alone(adjoint: str) -> None:
    with pytest.raises(InputError):
        run(adjoint, in_wrong_shape)
    y0 = start()
    (found,) = torch.autograd.grad(run(adjoint, lambda t, y: -y, y0).check().y1.sum(), y0)
    torch.testing.assert_close(found, torch.full_like(found, math.exp(-2)), rtol=1e-4, atol=0)


def test_way_back_that_fails_says_which_way_and_where() -> None:
    fails = False

    def changing(t: Tensor, y: Tensor) -> Tensor:
        return NAN * y if fails and t < 1 else -y

    end = run("interpolating", changing, ts=()).check().y1
    fails = True
    with pytest.raises(SolveFailed, match=r"adjoint solve of Interpolating from t = 2 to 0: NON_FINITE"):
        end.sum().backward()


@pytest.mark.parametrize("adjoint", OURS)
def test_replayed_and_constant_steps_are_differentiated_or_refused(adjoint: str) -> None:
    y0 = start()
    for controller in (ConstantStep(0.125), StepTo((0.125,) * 16)):
        settings = SolveSettings(controller=controller, adjoint=ADJOINTS[adjoint]())
        end = solve(lambda t, y: -y, y0, 0.0, 2.0, settings=settings, parameters=()).check().y1
        try:
            (found,) = torch.autograd.grad(end.sum(), y0)
        except InputError as refusal:
            assert "StepTo" in str(refusal)  # noqa: PT017 - one of two good ends
            continue
        torch.testing.assert_close(found, torch.full_like(found, math.exp(-2)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("field", [past_a_pole, nan_from_one_on])
def test_scipy_ends_where_it_cannot_go_on(field: Field) -> None:
    settings = SolveSettings(adjoint=TorchdiffeqAdjoint("scipy_solver"), max_steps=200)
    with torch.no_grad():
        solution = solve(bounded(field), start(), 0.0, 2.0, settings=settings, ts=(0.2, 1.9), throw=False)
    assert solution.status is not Status.SUCCESS
    assert solution.y1.isfinite().all()
