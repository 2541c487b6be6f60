"""What every way to differentiate a solve promises."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.controllers.base import Controller
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.solution import Solution
from ndecore.solvers import SOLVERS
from ndecore.solving import solve
from ndecore.terms import ODETerm

EXACT = ("tape", "checkpointed")  # the derivative of the steps taken
ROUGH = tuple(name for name in ADJOINTS if name not in EXACT)  # that of the solution, to a multiple of the tolerance
OURS = (*EXACT, "interpolating")
ASKING = ("checkpointed", "interpolating", "torchdiffeq_adjoint")  # have to know the parameters
WITH_RECORDS = [name for name in ADJOINTS if ADJOINTS[name].differentiates_records]
WITHOUT_RECORDS = [name for name in ADJOINTS if name not in WITH_RECORDS]
ADAPTIVE = [name for name in SOLVERS if SOLVERS[name].error_order is not None]
TOLERANCES = (1e-4, 1e-6, 1e-8)
ALLOWED = 100.0  # tolerances by which a continuous adjoint may be off
OUTPUTS = (0.0, 0.0, 0.31, 0.31, 0.9, 2.0, 2.0)
VectorField = Callable[[Tensor, Tensor], Tensor]


class Net(nn.Module):
    """f(t, y) = W2 tanh(W1 y + w t) - y / 2, with a parameter that it does not use."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(1)
        sizes = {"inner": (3, 2), "outer": (2, 3), "time": (3,), "unused": (2,)}
        for name, size in sizes.items():
            setattr(self, name, nn.Parameter(torch.randn(size, generator=draw, dtype=torch.float64).to(dtype)))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.inner.T + self.time * t) @ self.outer.T - 0.5 * y


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([[0.6, -1.1], [0.2, 0.9]], dtype=dtype, requires_grad=True)


def settings(adjoint: str, tolerance: float = 1e-6, **more: object) -> SolveSettings:
    return SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=tolerance, atol=tolerance, **more)


def weighed(values: Tensor) -> Tensor:
    """A function of some tensor that is alike in no two directions."""
    flat = values.reshape(-1)
    weights = torch.cos(1.0 + torch.arange(flat.numel(), dtype=flat.dtype))
    return (weights * flat).sum() + 0.5 * (weights * flat).square().sum()


def of_end_and_outputs(solution: Solution) -> Tensor:
    return weighed(solution.y1) + weighed(solution.ys)


def of_end(solution: Solution) -> Tensor:
    return weighed(solution.y1)


def of_outputs(solution: Solution) -> Tensor:
    return weighed(solution.ys)


def of_first_output(solution: Solution) -> Tensor:
    return weighed(solution.ys[2])


def of_everything(solution: Solution) -> Tensor:
    records = (solution.records.error_ratio, solution.records.error, solution.records.stiffness)
    told = [weighed(1e3 * record) for record in records if record.isfinite().all()]
    return of_end_and_outputs(solution) + sum(told)


Loss = Callable[[Solution], Tensor]
LOSSES = (of_end_and_outputs, of_end, of_outputs, of_first_output)


class Differentiated(NamedTuple):
    solution: Solution
    gradients: list[Tensor]  # to y0, then to the parameters


def gradients(loss: Tensor, y0: Tensor, field: nn.Module, **more: bool) -> list[Tensor]:
    """To y0 and the parameters; zero for what the loss does not depend on."""
    leaves = [leaf for leaf in (y0, *field.parameters()) if leaf.requires_grad]
    found = torch.autograd.grad(loss, leaves, allow_unused=True, **more)
    return [torch.zeros_like(leaf) if bar is None else bar for leaf, bar in zip(leaves, found, strict=True)]


def differentiate(
    chosen: SolveSettings,
    loss: Loss = of_end_and_outputs,
    times: Sequence[float] = (0.0, *OUTPUTS, 2.0),
    dtype: torch.dtype = torch.float64,
    **more: bool,
) -> Differentiated:
    """Solve from the first time to the last with outputs at those between, and differentiate a loss."""
    y0, field, (t0, *ts, t1) = start(dtype), Net(dtype), times
    solution = solve(field, y0, t0, t1, settings=chosen, ts=ts, **more).check()
    return Differentiated(solution, gradients(loss(solution), y0, field))


@cache
def precise(loss: Loss = of_end_and_outputs, times: tuple[float, ...] = (0.0, *OUTPUTS, 2.0)) -> Differentiated:
    """What the tape finds at a tolerance of 1e-11."""
    return differentiate(settings("tape", 1e-11, solver=SOLVERS["dop853"]()), loss, times)


def off(found: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """The largest relative error of a gradient."""
    errors = [
        (left - right).norm().item() / max(right.norm().item(), 1e-9) for left, right in zip(found, exact, strict=True)
    ]
    return max(errors)


@pytest.fixture(params=list(ADJOINTS))
def adjoint(request: pytest.FixtureRequest) -> str:
    return request.param


def test_says_whether_it_differentiates_records_and_cites_its_source(adjoint: str) -> None:
    assert ADJOINTS[adjoint].differentiates_records in (True, False)
    assert "Reference:" in (ADJOINTS[adjoint].__doc__ or "") or adjoint == "tape"


def test_without_gradients_it_gives_the_numbers_that_it_gives_with_them(adjoint: str) -> None:
    recorded = differentiate(settings(adjoint)).solution
    with torch.no_grad():
        plain = solve(Net(), start(), 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check()
    assert torch.equal(plain.y1, recorded.y1)
    assert torch.equal(plain.ys, recorded.ys)
    assert plain.stats.n_evaluations == recorded.stats.n_evaluations
    assert torch.equal(plain.records.dt, recorded.records.dt)
    assert not plain.y1.requires_grad
    assert not plain.ys.requires_grad


@pytest.mark.parametrize("adjoint", OURS)
def test_ours_share_one_forward_solve(adjoint: str) -> None:
    ours, taped = (differentiate(settings(name)).solution for name in (adjoint, "tape"))
    assert torch.equal(ours.y1, taped.y1)
    assert torch.equal(ours.ys, taped.ys)
    for name in ("t", "dt", "error_ratio", "error", "stiffness"):
        assert torch.equal(getattr(ours.records, name), getattr(taped.records, name))
    assert ours.stats == taped.stats


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize("adjoint", WITH_RECORDS)
def test_counts_do_not_depend_on_how_steps_are_differentiated(adjoint: str, asked: bool) -> None:
    ours, taped = (
        differentiate(settings(name), differentiable_records=asked).solution.stats for name in (adjoint, "tape")
    )
    assert ours == taped


# --- gradients ------------------------------------------------------------------------------------------------------

HOW = [(name, IController()) for name in ADAPTIVE] + [(name, ConstantStep(0.17)) for name in SOLVERS]


# The two stages of dop853 whose differences tell the stiffness are 1e-9 apart on these steps: few digits are left.
ROUNDING = dict.fromkeys(SOLVERS, 1e-10) | {"dop853": 1e-6}


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4])
@pytest.mark.parametrize(("method", "controller"), HOW, ids=lambda value: getattr(value, "step_size", value))
def test_checkpointed_is_the_tape_errors_and_stiffness_included(
    method: str, controller: Controller, tolerance: float
) -> None:
    for loss, allowed in ((of_end_and_outputs, 1e-10), (of_everything, ROUNDING[method])):
        chosen = {"solver": SOLVERS[method](), "controller": controller}
        checkpointed, taped = (
            differentiate(settings(name, tolerance, **chosen), loss, differentiable_records=True)
            for name in ("checkpointed", "tape")
        )
        left, right = checkpointed.solution.records, taped.solution.records
        torch.testing.assert_close(left.error_ratio, right.error_ratio, rtol=1e-14, atol=0, equal_nan=True)
        torch.testing.assert_close(left.stiffness, right.stiffness, rtol=1e-14, atol=0)
        assert off(checkpointed.gradients, taped.gradients) < allowed


BACKWARDS = (2.0, *OUTPUTS[::-1], 0.0)


@pytest.mark.parametrize("times", [(0.0, *OUTPUTS, 2.0), BACKWARDS], ids=["forwards", "backwards"])
@pytest.mark.parametrize("tolerance", TOLERANCES)
@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_gradient_is_that_of_the_exact_solution_to_a_multiple_of_the_tolerance(
    adjoint: str, tolerance: float, times: tuple[float, ...]
) -> None:
    found = differentiate(settings(adjoint, tolerance), times=times)
    assert off(found.gradients, precise(times=times).gradients) < ALLOWED * tolerance


@pytest.mark.parametrize("method", [name for name in ADAPTIVE if not SOLVERS[name].is_implicit])
def test_interpolating_follows_the_tolerance_with_every_adaptive_method(method: str) -> None:
    found = differentiate(settings("interpolating", 1e-4, solver=SOLVERS[method]()))
    assert off(found.gradients, precise().gradients) < ALLOWED * 1e-4


@pytest.mark.parametrize("method", [name for name in SOLVERS if name not in ADAPTIVE])
def test_interpolating_takes_the_constant_steps_of_the_solve(method: str) -> None:
    errors = [
        off(
            differentiate(settings("interpolating", solver=SOLVERS[method](), controller=ConstantStep(size))).gradients,
            precise().gradients,
        )
        for size in (0.1, 0.025)
    ]
    assert errors[1] < min(0.05, errors[0] / 3)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_of_a_loss_on_some_of_the_results_is_right(adjoint: str, loss: Loss) -> None:
    found = differentiate(settings(adjoint), loss)
    assert off(found.gradients, precise(loss).gradients) < ALLOWED * 1e-6


def test_solve_without_outputs_has_the_gradient_of_its_end(adjoint: str) -> None:
    found = differentiate(settings(adjoint), of_end, (0.0, 2.0))
    assert off(found.gradients, precise(of_end).gradients) < ALLOWED * 1e-6


def test_loss_may_sum_over_no_outputs(adjoint: str) -> None:
    found = differentiate(settings(adjoint), lambda solution: of_end(solution) + solution.ys.sum(), (0.0, 2.0))
    assert off(found.gradients, precise(of_end).gradients) < ALLOWED * 1e-6


def test_loss_on_the_start_alone_has_a_gradient_to_the_start_alone(adjoint: str) -> None:
    to_y0, *to_parameters = differentiate(settings(adjoint), lambda solution: weighed(solution.ys[0])).gradients
    y0 = start()
    torch.testing.assert_close(to_y0, torch.autograd.grad(weighed(y0), y0)[0])
    assert all(torch.equal(bar, torch.zeros_like(bar)) for bar in to_parameters)


def test_solve_over_nothing_has_the_gradient_of_doing_nothing(adjoint: str) -> None:
    to_y0, *to_parameters = differentiate(settings(adjoint), times=(0.7, 0.7, 0.7, 0.7)).gradients
    y0 = start()
    still = weighed(y0) + weighed(torch.stack([y0, y0]))
    torch.testing.assert_close(to_y0, torch.autograd.grad(still, y0)[0])
    assert all(torch.equal(bar, torch.zeros_like(bar)) for bar in to_parameters)


def test_single_precision_keeps_its_type_and_is_right_to_its_rounding(adjoint: str) -> None:
    found = differentiate(settings(adjoint, 1e-4), dtype=torch.float32)
    assert all(bar.dtype == torch.float32 for bar in found.gradients)
    assert off([bar.double() for bar in found.gradients], precise().gradients) < ALLOWED * 1e-4


def test_frozen_parameter_gets_no_gradient_and_leaves_the_others_theirs(adjoint: str) -> None:
    y0, field = start(), Net()
    field.inner.requires_grad_(False)
    of_end(solve(field, y0, 0.0, 2.0, settings=settings(adjoint)).check()).backward()
    assert field.inner.grad is None
    _, _, *expected = precise(of_end).gradients
    assert off([field.outer.grad, field.time.grad], expected[:2]) < ALLOWED * 1e-6


def test_unused_parameter_gets_none_or_zero(adjoint: str) -> None:
    field = Net()
    of_end(solve(field, start(), 0.0, 2.0, settings=settings(adjoint)).check()).backward()
    assert field.unused.grad is None or torch.equal(field.unused.grad, torch.zeros(2, dtype=torch.float64))


def test_start_that_needs_no_gradient_leaves_the_parameters_theirs(adjoint: str) -> None:
    y0, field = start().detach(), Net()
    solution = solve(field, y0, 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check()
    _, *expected = precise().gradients
    assert off(gradients(of_end_and_outputs(solution), y0, field), expected) < ALLOWED * 1e-6


def test_nothing_that_needs_a_gradient_makes_a_result_that_has_none(adjoint: str) -> None:
    field = Net().requires_grad_(False)
    solution = solve(field, start().detach(), 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check()
    assert not solution.y1.requires_grad
    assert not solution.ys.requires_grad


def test_two_backward_passes_with_different_losses_give_each_its_own_gradient(adjoint: str) -> None:
    y0, field = start(), Net()
    solution = solve(field, y0, 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check()
    for loss in (*LOSSES, of_end):
        found = gradients(loss(solution), y0, field, retain_graph=True)
        assert off(found, precise(loss).gradients) < ALLOWED * 1e-6


def test_gradients_accumulate_over_backward_passes(adjoint: str) -> None:
    y0, field = start(), Net()
    solution = solve(field, y0, 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check()
    of_end(solution).backward(retain_graph=True)
    of_outputs(solution).backward()
    assert off([y0.grad, field.outer.grad], [precise().gradients[0], precise().gradients[2]]) < ALLOWED * 1e-6


def test_solve_that_goes_on_from_the_end_of_another_has_the_gradient_of_the_whole(adjoint: str) -> None:
    y0, field = start(), Net()
    half = solve(field, y0, 0.0, 0.9, settings=settings(adjoint)).check()
    whole = solve(field, half.y1, 0.9, 2.0, settings=settings(adjoint)).check()
    assert off(gradients(of_end(whole), y0, field), precise(of_end).gradients) < ALLOWED * 1e-6


def test_two_solves_of_one_field_share_a_backward_pass(adjoint: str) -> None:
    y0, field = start(), Net()
    first, second = (solve(field, y0, 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check() for _ in range(2))
    found = gradients(of_end(first) + of_outputs(second), y0, field)
    assert off(found, precise().gradients) < ALLOWED * 1e-6


def test_start_computed_from_a_parameter_of_the_field_gathers_both_gradients(adjoint: str) -> None:
    rate = torch.tensor([0.5, -0.3], dtype=torch.float64, requires_grad=True)
    solution = solve(lambda t, y: rate * y, 2 * rate, 0.0, 1.0, settings=settings(adjoint), parameters=[rate]).check()
    (found,) = torch.autograd.grad(solution.y1.sum(), rate)
    torch.testing.assert_close(found, 2 * (1 + rate) * torch.exp(rate), rtol=1e-4, atol=0)


@pytest.mark.parametrize("adjoint", [name for name in OURS if name != "tape"])
def test_second_derivatives_are_refused_and_not_left_out(adjoint: str) -> None:
    y0, field = start(), Net()
    end = solve(field, y0, 0.0, 2.0, settings=settings(adjoint)).check().y1
    # Of a linear loss too, where the cotangent itself needs no gradient.
    for loss in (end.sum(), end.square().sum()):
        with pytest.raises(InputError, match="create_graph: got true"):
            torch.autograd.grad(loss, y0, create_graph=True)


# --- fields of unusual kinds ----------------------------------------------------------------------------------------


class Unusual(nn.Module):
    """A field that is not what a network is like, with its closed solution from t = 0 to 1."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.rate = nn.Parameter(torch.tensor([0.4, -0.7], dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        if self.name == "ignores y":
            return self.rate * torch.cos(self.rate * t).expand_as(y)
        if self.name == "ignores t":
            return self.rate * y
        if self.name == "its parameter itself":
            return self.rate
        if self.name == "its state itself":
            return y
        if self.name == "view of its state":
            return y.flip(0).flip(0).view(2)
        return self.rate.sum().expand(2)

    def solved(self, y0: Tensor) -> Tensor:
        return {
            "ignores y": y0 + torch.sin(self.rate),
            "ignores t": y0 * torch.exp(self.rate),
            "its parameter itself": y0 + self.rate,
            "its state itself": y0 * torch.e,
            "view of its state": y0 * torch.e,
            "expanded number": y0 + self.rate.sum(),
        }[self.name]


UNUSUAL = ("ignores y", "ignores t", "its parameter itself", "its state itself", "view of its state", "expanded number")


@pytest.mark.parametrize("name", UNUSUAL)
def test_gradient_through_a_field_of_an_unusual_kind_is_that_of_its_closed_solution(adjoint: str, name: str) -> None:
    field, y0 = Unusual(name), torch.tensor([1.5, -0.5], dtype=torch.float64, requires_grad=True)
    solution = solve(field, y0, 0.0, 1.0, settings=settings(adjoint), ts=[0.2, 1.0]).check()
    torch.testing.assert_close(solution.y1, field.solved(y0), rtol=1e-5, atol=1e-5)
    found = gradients(weighed(solution.ys[1]) + of_end(solution), y0, field)
    assert off(found, gradients(2 * weighed(field.solved(y0)), y0, field)) < ALLOWED * 1e-6


def test_field_without_a_tensor_that_needs_a_gradient_leaves_the_start_its_own(adjoint: str) -> None:
    y0 = start()
    solution = solve(
        lambda t, y: torch.cos(t) * torch.ones_like(y), y0, 0.0, 1.0, settings=settings(adjoint), parameters=()
    )
    (found,) = torch.autograd.grad(solution.check().y1.sum(), y0)
    torch.testing.assert_close(found, torch.ones_like(y0))


def test_start_that_is_not_contiguous_has_the_gradient_of_its_copy(adjoint: str) -> None:
    y0 = start().detach().T.contiguous().T.requires_grad_()
    assert not y0.is_contiguous()
    field = Net()
    solution = solve(field, y0, 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check()
    assert off(gradients(of_end_and_outputs(solution), y0, field), precise().gradients) < ALLOWED * 1e-6


def test_start_that_is_expanded_gathers_the_gradient_of_its_copies(adjoint: str) -> None:
    single = torch.tensor([[0.6, -1.1]], dtype=torch.float64, requires_grad=True)
    solution = solve(Net(), single.expand(3, 2), 0.0, 2.0, settings=settings(adjoint)).check()
    (found,) = torch.autograd.grad(solution.y1.sum(), single)
    alone = solve(Net(), single, 0.0, 2.0, settings=settings("tape", 1e-10)).check()
    (expected,) = torch.autograd.grad(3 * alone.y1.sum(), single)
    assert off([found], [expected]) < ALLOWED * 1e-6


# --- what has to be known -------------------------------------------------------------------------------------------


def growth(rate: Tensor) -> VectorField:
    return lambda t, y: rate * y


@pytest.mark.parametrize("adjoint", WITHOUT_RECORDS)
def test_differentiable_records_are_refused_by_those_that_do_not_differentiate_steps(adjoint: str) -> None:
    with pytest.raises(InputError, match=r"differentiable_records: got true with .*, allowed: false, or a discrete"):
        solve(Net(), start(), 0.0, 1.0, settings=settings(adjoint), differentiable_records=True)


@pytest.mark.parametrize("adjoint", ASKING)
def test_function_that_does_not_tell_its_parameters_is_refused(adjoint: str) -> None:
    rate = torch.ones(2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(InputError, match=r"parameters: got none .* allowed: .* or the adjoint tape"):
        solve(growth(rate), start(), 0.0, 1.0, settings=settings(adjoint))
    with torch.no_grad():
        assert solve(growth(rate), start(), 0.0, 1.0, settings=settings(adjoint)).check().y1.isfinite().all()


@pytest.mark.parametrize("adjoint", [name for name in ADJOINTS if name not in ASKING])
def test_tape_finds_what_a_function_depends_on_by_itself(adjoint: str) -> None:
    rate = torch.ones(2, dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, dtype=torch.float64)
    (found,) = torch.autograd.grad(solve(growth(rate), y0, 0.0, 1.0, settings=settings(adjoint)).y1.sum(), rate)
    torch.testing.assert_close(found, torch.full_like(rate, torch.e), rtol=1e-4, atol=0)


FORGOTTEN = {
    "used": growth,
    "computed before": lambda rate: growth(rate.exp()),
    "returned": lambda rate: lambda t, y: rate,
}


@pytest.mark.parametrize("kind", FORGOTTEN)
@pytest.mark.parametrize("adjoint", ASKING)
def test_tensor_that_is_not_among_the_parameters_is_refused_and_not_forgotten(adjoint: str, kind: str) -> None:
    rate = torch.ones(2, dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, dtype=torch.float64, requires_grad=True)
    with pytest.raises(InputError, match=r"parameters: the vector field depends on a tensor of shape \(2,\)"):
        solve(FORGOTTEN[kind](rate), y0, 0.0, 1.0, settings=settings(adjoint), parameters=()).y1.sum().backward()


@pytest.mark.parametrize("adjoint", ASKING)
def test_parameter_that_was_computed_may_be_named(adjoint: str) -> None:
    log_rate = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    rate, y0 = log_rate.exp(), torch.ones(2, dtype=torch.float64)
    solution = solve(growth(rate), y0, 0.0, 1.0, settings=settings(adjoint), parameters=[rate]).check()
    (found,) = torch.autograd.grad(solution.y1.sum(), log_rate)
    torch.testing.assert_close(found, torch.full_like(rate, torch.e), rtol=1e-4, atol=0)


@pytest.mark.parametrize("adjoint", ASKING)
def test_what_was_computed_from_a_named_parameter_is_differentiated_or_refused(adjoint: str) -> None:
    log_rate = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, dtype=torch.float64)
    solution = solve(growth(log_rate.exp()), y0, 0.0, 1.0, settings=settings(adjoint), parameters=[log_rate]).check()
    try:
        (found,) = torch.autograd.grad(solution.y1.sum(), log_rate)
    except InputError:
        return
    torch.testing.assert_close(found, torch.full_like(log_rate, torch.e), rtol=1e-4, atol=0)


def test_parameter_that_is_named_twice_counts_once(adjoint: str) -> None:
    rate = torch.ones(2, dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2, dtype=torch.float64)
    solution = solve(growth(rate), y0, 0.0, 1.0, settings=settings(adjoint), parameters=[rate, rate]).check()
    (found,) = torch.autograd.grad(solution.y1.sum(), rate)
    torch.testing.assert_close(found, torch.full_like(rate, torch.e), rtol=1e-4, atol=0)


def test_start_that_was_changed_in_place_meanwhile_gives_an_error_or_the_right_gradient(adjoint: str) -> None:
    y0 = start()
    kept = y0.clone()
    solution = solve(lambda t, y: -y * y * y, kept, 0.0, 1.0, settings=settings(adjoint), parameters=()).check()
    with torch.no_grad():
        kept.add_(1.0)
    try:
        (found,) = torch.autograd.grad(solution.y1.sum(), y0)
    except RuntimeError:
        return
    exact = (1 + 2 * y0.detach().square()).pow(-1.5)
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=0)


# --- what it costs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(SOLVERS))
def test_checkpointed_evaluates_each_accepted_step_again_and_the_start(method: str) -> None:
    term, y0, solver = ODETerm(Net()), start(), SOLVERS[method]()
    controller = IController() if method in ADAPTIVE else ConstantStep(0.17)
    chosen = settings("checkpointed", 1e-3, solver=solver, controller=controller)
    solution = solve(term, y0, 0.0, 2.0, settings=chosen, ts=[0.3, 0.31]).check()
    # A step of an implicit method passes backwards through the field for each element of the state.
    passes = y0.numel() * solver.is_implicit
    replayed = passes * (solution.stats.n_accepted + solution.stats.n_rejected)
    assert (solution.stats.n_evaluations, term.n_replayed) == (term.n_evaluations, replayed)
    starts = [t for t in solution.records.t.tolist() if t < 0.31]
    with_outputs = len({max(t for t in starts if t < at) for at in (0.3, 0.31)})
    of_end(solution).backward(retain_graph=True)
    steps = solution.stats.n_accepted * (solver.evaluations_per_step + passes) + (not solver.is_implicit)
    assert term.n_replayed == replayed + steps
    of_outputs(solution).backward()
    assert term.n_replayed == replayed + 2 * steps + with_outputs * solver.evaluations_per_output
    assert term.n_evaluations == solution.stats.n_evaluations


@pytest.mark.parametrize("adjoint", ["interpolating", "torchdiffeq_adjoint"])
def test_continuous_adjoints_count_the_evaluations_of_the_way_back_apart(adjoint: str) -> None:
    term = ODETerm(Net())
    solution = solve(term, start(), 0.0, 2.0, settings=settings(adjoint), ts=[0.3]).check()
    assert (solution.stats.n_evaluations, term.n_replayed) == (term.n_evaluations, 0)
    of_end_and_outputs(solution).backward()
    assert term.n_replayed > 0
    assert term.n_evaluations == solution.stats.n_evaluations


def test_interpolating_counts_what_its_dense_output_evaluates_on_the_way_back_apart() -> None:
    term = ODETerm(Net())
    chosen = settings("interpolating", solver=SOLVERS["dop853"]())
    solution = solve(term, start(), 0.0, 2.0, settings=chosen).check()
    of_end(solution).backward()
    assert term.n_evaluations == solution.stats.n_evaluations


@pytest.mark.parametrize("adjoint", ["tape", "torchdiffeq"])
def test_tapes_evaluate_nothing_again(adjoint: str) -> None:
    term = ODETerm(Net())
    of_end(solve(term, start(), 0.0, 2.0, settings=settings(adjoint)).check()).backward()
    assert term.n_replayed == 0


def test_field_is_evaluated_as_often_as_is_counted(adjoint: str) -> None:
    calls = 0

    class Counted(Net):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            nonlocal calls
            calls += 1
            return super().forward(t, y)

    term = ODETerm(Counted())
    of_end_and_outputs(solve(term, start(), 0.0, 2.0, settings=settings(adjoint), ts=OUTPUTS).check()).backward()
    assert calls == term.n_evaluations + term.n_replayed
