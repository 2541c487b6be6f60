"""torchdiffeq behind the front door: its methods, what it records, what it refuses."""

import math

import pytest
import torch
from initial_value_problems import TinyField
from torch import Tensor
from wished_solves import SolveRequest

from ndecore.adjoints import ADJOINTS, TORCHDIFFEQ_ADAPTIVE, TORCHDIFFEQ_METHODS
from ndecore.adjoints.torchdiffeq import Torchdiffeq, TorchdiffeqAdjoint
from ndecore.errors import InputError
from ndecore.integrate import Adjoint, SolveSettings
from ndecore.observing import Wishes
from ndecore.regularizers.base import PenaltyContext
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local_error import LocalError
from ndecore.solution import Solution
from ndecore.solving import solve
from ndecore.status import Status
from ndecore.terms import ODETerm

KINDS = (Torchdiffeq, TorchdiffeqAdjoint)
FIXED = [name for name in TORCHDIFFEQ_METHODS if name not in (*TORCHDIFFEQ_ADAPTIVE, "scipy_solver")]
# Of order 12 from the 12th step on, so that it is stable at next to no step.
STEP_SIZES = dict.fromkeys(FIXED, 0.05) | {"explicit_adams": 0.001}
ACCURACIES = dict.fromkeys(TORCHDIFFEQ_METHODS, 5e-4) | {"euler": 0.05, "fehlberg2": 5e-3, "bosh3": 1e-3}
OUTPUTS = (0.0, 0.5, 0.5, 1.2, 2.0)


def start(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.tensor([0.4, -0.2], dtype=dtype, requires_grad=True)


def forced(t: Tensor, y: Tensor) -> Tensor:
    return -y * torch.cos(t) + torch.sin(3 * t) * y**2


def method_of(kind: type[Adjoint], name: str) -> Adjoint:
    return kind(name, STEP_SIZES.get(name))


def solved(adjoint: Adjoint, times: tuple[float, ...] = (0.0, *OUTPUTS, 2.0), tolerance: float = 1e-5) -> Solution:
    settings, (t0, *ts, t1) = SolveSettings(adjoint=adjoint, rtol=tolerance, atol=tolerance), times
    return solve(forced, start(), t0, t1, settings=settings, ts=ts, parameters=())


def test_registry_holds_both() -> None:
    assert [ADJOINTS["torchdiffeq"], ADJOINTS["torchdiffeq_adjoint"]] == list(KINDS)


CASES = [(kind, name) for kind in KINDS for name in TORCHDIFFEQ_METHODS]
DIFFERENTIATED = [case for case in CASES if case != (Torchdiffeq, "scipy_solver") and case[1] != "explicit_adams"]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_method_solves_to_its_accuracy(kind: type[Adjoint], name: str) -> None:
    ours = solved(ADJOINTS["tape"](), tolerance=1e-8).check()
    with torch.no_grad():
        theirs = solved(method_of(kind, name)).check()
    for left, right in ((theirs.y1, ours.y1), (theirs.ys, ours.ys)):
        torch.testing.assert_close(left, right.detach(), rtol=0, atol=ACCURACIES[name])
    assert theirs.stats.n_evaluations > 0
    assert (theirs.stats.n_accepted > 0) == (name in TORCHDIFFEQ_ADAPTIVE)


@pytest.mark.parametrize(("kind", "name"), DIFFERENTIATED)
def test_every_method_has_a_gradient_of_its_accuracy(kind: type[Adjoint], name: str) -> None:
    bars = []
    for adjoint, tolerance in ((method_of(kind, name), 1e-4), (ADJOINTS["tape"](), 1e-8)):
        y0 = start()
        settings = SolveSettings(adjoint=adjoint, rtol=tolerance, atol=tolerance)
        solution = solve(forced, y0, 0.0, 2.0, settings=settings, ts=OUTPUTS, parameters=()).check()
        bars.append(torch.autograd.grad(solution.y1.sum() + solution.ys.square().sum(), y0)[0])
    torch.testing.assert_close(*bars, rtol=0, atol=20 * ACCURACIES[name])


@pytest.mark.parametrize("name", [*TORCHDIFFEQ_ADAPTIVE, "rk4", "implicit_adams", "scipy_solver"])
def test_method_runs_backwards_in_time(name: str) -> None:
    times = (2.0, *OUTPUTS[::-1], 0.0)
    ours = solved(ADJOINTS["tape"](), times, 1e-8).check()
    with torch.no_grad():
        theirs = solved(method_of(TorchdiffeqAdjoint, name), times).check()
    torch.testing.assert_close(theirs.ys, ours.ys.detach(), rtol=0, atol=ACCURACIES[name])
    torch.testing.assert_close(theirs.y1, ours.y1.detach(), rtol=0, atol=ACCURACIES[name])


def test_fixed_method_without_a_step_size_steps_from_output_to_output() -> None:
    y0, field = start(), lambda t, y: -y
    solution = solve(field, y0, 0.0, 1.0, settings=SolveSettings(adjoint=Torchdiffeq("euler")), ts=[0.25, 0.5]).check()
    torch.testing.assert_close(solution.y1, y0 * 0.75 * 0.75 * 0.5)


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_method_and_impossible_step_size_are_refused(kind: type[Adjoint]) -> None:
    with pytest.raises(InputError, match=r"method: got 'dopri9', allowed: dopri5, dopri8"):
        kind("dopri9")
    for size in (0.0, -0.1, math.nan, math.inf):
        with pytest.raises(InputError, match=r"step_size: got .*, allowed: a finite number > 0, or None"):
            kind("rk4", size)


def test_scipy_under_the_tape_is_refused_and_without_gradients_it_is_not() -> None:
    with pytest.raises(InputError, match=r"method: got 'scipy_solver', .*, allowed: torchdiffeq_adjoint"):
        solved(Torchdiffeq("scipy_solver"))
    with torch.no_grad():
        solved(Torchdiffeq("scipy_solver")).check()


@pytest.mark.parametrize("kind", KINDS)
def test_output_times_out_of_order_are_refused(kind: type[Adjoint]) -> None:
    with pytest.raises(InputError, match="ts: got"):
        solved(kind(), (0.0, 0.5, 0.2, 1.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_output_times_may_repeat_meet_the_ends_and_almost_meet(kind: type[Adjoint], dtype: torch.dtype) -> None:
    ts = (0.0, 0.0, 0.5, 0.5, 0.5 + 1e-12, 0.5 + 1e-9, 1.0, 1.0)
    y0 = start(dtype)
    solution = solve(
        lambda t, y: -y, y0, 0.0, 1.0, settings=SolveSettings(adjoint=kind()), ts=ts, parameters=()
    ).check()
    exact = y0.detach() * torch.exp(-torch.tensor(ts, dtype=dtype)).unsqueeze(1)
    torch.testing.assert_close(solution.ys.detach(), exact, rtol=1e-4, atol=0)
    assert torch.equal(solution.at(1.0), solution.y1)
    (found,) = torch.autograd.grad(solution.ys.sum(), y0)
    torch.testing.assert_close(found, torch.exp(-torch.tensor(ts, dtype=dtype)).sum().expand(2), rtol=1e-4, atol=0)


@pytest.mark.parametrize("times", [(0.0, 0.7, 2.0), (2.0, 0.7, 0.0)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", TORCHDIFFEQ_ADAPTIVE)
@pytest.mark.parametrize("kind", KINDS)
def test_records_hold_the_accepted_steps_and_no_estimates(
    kind: type[Adjoint], name: str, times: tuple[float, ...]
) -> None:
    solution = solved(kind(name), times, 1e-5).check()
    records, sign = solution.records, math.copysign(1.0, times[-1] - times[0])
    assert len(records.t) == solution.stats.n_accepted > 0
    for unknown in (records.error_ratio, records.error, records.stiffness):
        assert unknown.shape == records.t.shape
        assert unknown.isnan().all()
    assert not records.t.requires_grad
    assert records.t[0].item() == times[0]
    assert (sign * records.dt > 0).all()
    torch.testing.assert_close(records.t[:-1] + records.dt[:-1], records.t[1:], rtol=1e-9, atol=1e-9)
    # The last step goes past the end, which is interpolated.
    assert sign * (records.t[-1] + records.dt[-1]).item() >= sign * times[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_evaluations_of_the_way_back_are_not_those_of_the_solve(kind: type[Adjoint]) -> None:
    term = ODETerm(TinyField())
    solution = solve(term, start(), 0.0, 1.0, settings=SolveSettings(adjoint=kind())).check()
    solution.y1.sum().backward()
    assert term.n_evaluations == solution.stats.n_evaluations
    assert (term.n_replayed > 0) == (kind is TorchdiffeqAdjoint)
    assert (solution.stats.n_differentiated > 0) == (kind is Torchdiffeq)


@pytest.mark.parametrize("kind", KINDS)
def test_max_steps_is_a_status_and_leaves_a_finite_state(kind: type[Adjoint]) -> None:
    settings = SolveSettings(adjoint=kind(), rtol=1e-9, atol=1e-9, max_steps=5)
    solution = solve(forced, start(), 0.0, 2.0, settings=settings, parameters=(), throw=False)
    assert solution.status is Status.MAX_STEPS
    assert solution.y1.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_last_state_of_a_solve_that_ended_early_is_the_last_that_was_accepted(kind: type[Adjoint]) -> None:
    settings = SolveSettings(adjoint=kind(), rtol=1e-9, atol=1e-9, max_steps=9)
    solution = solve(lambda t, y: -y, start(), 0.0, 2.0, settings=settings, parameters=(), throw=False)
    reached = (solution.records.t[-1] + solution.records.dt[-1]).item()
    assert 0 < reached < 2
    torch.testing.assert_close(solution.y1.detach(), start().detach() * math.exp(-reached), rtol=1e-6, atol=0)


# --- penalties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", ["unbiased", "biased"])
@pytest.mark.parametrize("kind", KINDS)
def test_local_error_has_a_gradient_to_the_parameters_and_none_to_the_input(kind: type[Adjoint], sampling: str) -> None:
    field, y0, regularizer = TinyField(), start(), LocalError(sampling)
    settings, term = SolveSettings(adjoint=kind(), rtol=1e-4, atol=1e-4), ODETerm(field)
    wishes = regularizer.prepare((0.0, 1.0), torch.Generator().manual_seed(2))
    solution = SolveRequest(settings, wishes).solve(term, y0, wishes.grid).solution
    penalty = regularizer.penalty(PenaltyContext(term, settings, solution, wishes))
    assert penalty.item() > 0
    to_y0, *to_parameters = torch.autograd.grad(penalty, [y0, *field.parameters()], allow_unused=True)
    assert to_y0 is None
    assert all(bar is not None and bar.norm() > 0 for bar in to_parameters)


def test_local_error_is_the_same_on_both_and_close_to_ours() -> None:
    field, regularizer, times = TinyField(), LocalError(), (0.37,)
    penalties = []
    for adjoint in (Torchdiffeq(), TorchdiffeqAdjoint(), ADJOINTS["tape"]()):
        settings, term = SolveSettings(adjoint=adjoint, rtol=1e-6, atol=1e-6), ODETerm(field)
        solution = solve(term, start(), 0.0, 1.0, settings=settings, ts=times).check()
        penalties.append(regularizer.penalty(PenaltyContext(term, settings, solution, Wishes((0.0, 1.0), times))))
    assert torch.equal(penalties[0], penalties[1])
    torch.testing.assert_close(penalties[0], penalties[2], rtol=1e-2, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_global_error_is_refused(kind: type[Adjoint]) -> None:
    settings, term = SolveSettings(adjoint=kind()), ODETerm(TinyField())
    assert GlobalError.needs_differentiable_records
    with pytest.raises(InputError, match="differentiable_records: got true with Torchdiffeq"):
        solve(term, start(), 0.0, 1.0, settings=settings, differentiable_records=True)
