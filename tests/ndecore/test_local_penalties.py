"""The local penalties: one step from frozen numbers, its gradient path, and where it is taken from."""

import math

import pytest
import torch
from initial_value_problems import TinyField, tiny_field
from penalized_solves import SETTINGS, gradients, solved, start
from scipy.stats import chisquare, kstest
from torch import Tensor
from wished_solves import SolveRequest

from ndecore.adjoints import ADJOINTS, TORCHDIFFEQ_ADAPTIVE
from ndecore.adjoints.torchdiffeq import Torchdiffeq, TorchdiffeqAdjoint
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.initial_step import initial_step
from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.observing import Wishes
from ndecore.regularizers import local
from ndecore.regularizers.base import PenaltyContext
from ndecore.regularizers.local import LocalPenalty, Reservoir
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.local_stiffness import LocalStiffness
from ndecore.solvers.euler import Euler
from ndecore.solvers.tsit5 import Tsit5
from ndecore.terms import ODETerm

TIME = 0.37
ALPHA = 0.001  # of the statistics; their seeds are fixed, so their outcomes are too


def at_time(field: object, y0: Tensor, times: tuple[float, ...] = (TIME,), **more: object) -> PenaltyContext:
    """A solve with chosen times in place of drawn ones."""
    settings = SolveSettings(rtol=SETTINGS.rtol, atol=SETTINGS.atol, **more)
    term, wishes = ODETerm(field), Wishes((0.0, 1.0), times=times)
    return PenaltyContext(term, settings, SolveRequest(settings, wishes).solve(term, y0, wishes.grid).solution, wishes)


def by_hand(field: object, regularizer: LocalPenalty, u: Tensor, dt: float, k1: Tensor) -> Tensor:
    """One Tsit5 step written out stage by stage from (TIME, u), where u, dt and k1 are given numbers."""
    tableau = Tsit5.tableau
    slopes, arguments = [k1], [u]
    for node, row in zip(tableau.c[1:], tableau.a, strict=True):
        arguments.append(u + dt * sum(a * k for a, k in zip(row, slopes, strict=True)))
        slopes.append(field(torch.tensor(TIME + node * dt, dtype=torch.float64), arguments[-1]))
    if isinstance(regularizer, LocalStiffness):
        stiffness = (slopes[6] - slopes[5]).norm() / (arguments[6] - arguments[5]).norm()
        return stiffness / 3.5068 if regularizer.scaled else stiffness
    error = dt * sum(e * k for e, k in zip(tableau.b_error, slopes, strict=True))
    if regularizer.scaled:
        error = error / (SETTINGS.atol + SETTINGS.rtol * torch.maximum(u.abs(), arguments[-1].abs()))
    size = error.square().mean().sqrt()
    return size * dt if regularizer.weight_by_dt else size


def frozen(field: object, context: PenaltyContext) -> tuple[Tensor, float, Tensor]:
    with torch.no_grad():
        u = context.solution.at(TIME)
        k1 = field(torch.tensor(TIME, dtype=torch.float64), u)
        dt = initial_step(ODETerm(field), TIME, u, k1, 1.0 - TIME, 5, SETTINGS.rtol, SETTINGS.atol)
    return u, dt, k1


VARIANTS = [LocalError(weight_by_dt=by_dt, scaled=scaled) for by_dt in (True, False) for scaled in (True, False)]
VARIANTS += [LocalStiffness(), LocalStiffness(scaled=False)]
KINDS = (LocalError, LocalStiffness)


@pytest.mark.parametrize("regularizer", VARIANTS, ids=repr)
def test_penalty_and_its_gradient_are_those_of_one_step_from_frozen_numbers(regularizer: LocalPenalty) -> None:
    field = TinyField()
    context = at_time(field, start())
    penalty, expected = regularizer.penalty(context), by_hand(field, regularizer, *frozen(field, context))
    torch.testing.assert_close(penalty, expected, rtol=1e-9, atol=0)
    parameters = tuple(field.parameters())
    for left, right in zip(
        torch.autograd.grad(penalty, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        assert left.abs().max() > 0
        torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("regularizer", VARIANTS, ids=repr)
def test_gradient_is_the_difference_quotient_with_the_rest_frozen(regularizer: LocalPenalty) -> None:
    field = TinyField()
    context = at_time(field, start())
    numbers = frozen(field, context)
    names = [name for name, _ in field.named_parameters()]

    def from_parameters(*values: Tensor) -> Tensor:
        def bound(t: Tensor, y: Tensor) -> Tensor:
            return torch.func.functional_call(field, dict(zip(names, values, strict=True)), (t, y))

        return by_hand(bound, regularizer, *numbers)

    values = tuple(p.detach().clone().requires_grad_() for p in field.parameters())
    assert torch.autograd.gradcheck(from_parameters, values, atol=1e-6)
    found = torch.autograd.grad(regularizer.penalty(context), tuple(field.parameters()))
    step = 1e-6
    for index, gradient in enumerate(found):
        direction = gradient / gradient.norm()
        ends = []
        for sign in (1, -1):
            moved = [v.detach() + (sign * step * direction if i == index else 0) for i, v in enumerate(values)]
            ends.append(from_parameters(*moved))
        torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), gradient.norm(), rtol=1e-4, atol=1e-9)


def test_mean_is_over_the_times() -> None:
    apart = [LocalError().penalty(at_time(TinyField(), start(), (t,))) for t in (0.2, TIME, 0.9)]
    joint = LocalError(n_times=3).penalty(at_time(TinyField(), start(), (0.2, TIME, 0.9)))
    torch.testing.assert_close(joint, torch.stack(apart).mean(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("sampling", ["unbiased", "biased"])
@pytest.mark.parametrize("kind", KINDS)
def test_penalty_has_no_gradient_to_the_input_and_one_to_the_parameters(
    kind: type[LocalPenalty], sampling: str
) -> None:
    field, y0 = TinyField(), start().requires_grad_()
    penalty = kind(sampling, 2).penalty(solved(kind(sampling, 2), field, y0))
    (to_input,) = torch.autograd.grad(penalty, (y0,), allow_unused=True, retain_graph=True)
    assert to_input is None
    assert all(gradient.norm() > 0 for gradient in torch.autograd.grad(penalty, tuple(field.parameters())))


@pytest.mark.parametrize("sampling", ["unbiased", "biased"])
@pytest.mark.parametrize("kind", KINDS)
def test_full_derivative_is_that_of_the_whole_way_with_steps_and_times_held(
    kind: type[LocalPenalty], sampling: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "initial_step", lambda *given: 0.3)  # the one of the penalty, a constant
    regularizer = kind(sampling, 3, full_derivative=True)
    settings = SolveSettings(controller=StepTo((0.2, 0.3, 0.1, 0.4)), rtol=1e-3, atol=1e-4)

    def penalty(y0: Tensor, *parameters: Tensor) -> Tensor:
        context = solved(regularizer, lambda t, y: tiny_field(t, y, *parameters), y0, settings=settings, seed=3)
        return regularizer.penalty(context)

    field = TinyField()
    inputs = tuple(x.detach().clone().requires_grad_() for x in (start(), field.inner, field.outer, field.time))
    assert torch.autograd.gradcheck(penalty, inputs, atol=1e-6, fast_mode=True)
    assert all(bar.norm() > 0 for bar in torch.autograd.grad(penalty(*inputs), inputs))
    partly = solved(kind(sampling, 3), lambda t, y: tiny_field(t, y, *inputs[1:]), inputs[0], settings=settings, seed=3)
    value = kind(sampling, 3).penalty(partly)
    torch.testing.assert_close(value, penalty(*inputs))
    assert torch.autograd.grad(value, inputs[0], allow_unused=True)[0] is None


@pytest.mark.parametrize("adjoint", ["checkpointed", "interpolating", "torchdiffeq_adjoint"])
def test_full_derivative_at_outputs_needs_no_tape_and_at_steps_it_does(adjoint: str) -> None:
    settings = SolveSettings(adjoint=ADJOINTS[adjoint](), rtol=1e-8, atol=1e-8)
    found = []
    for chosen in (settings, SolveSettings(rtol=1e-8, atol=1e-8)):
        field, y0 = TinyField(), start().requires_grad_()
        regularizer = LocalError(full_derivative=True, scaled=False)
        context = solved(regularizer, field, y0, settings=chosen)
        found.append(gradients(1e6 * regularizer.penalty(context), y0, field))
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-2, atol=1e-3 * right.abs().max().item())
    biased = LocalError("biased", full_derivative=True)
    with pytest.raises(
        InputError,
        match=r"^adjoint: got \w+, which keeps no tape of the states, where sampling biased and full_derivative ",
    ):
        biased.check(settings)


def test_penalty_costs_eight_evaluations_of_which_six_are_differentiated_for_each_time() -> None:
    for n in (1, 3):
        context = at_time(TinyField(), start(), (0.2, TIME, 0.9)[:n])
        before, taped = context.term.n_evaluations, context.term.n_taped
        LocalError(n_times=n).penalty(context)
        assert context.term.n_evaluations - before == 8 * n
        assert context.term.n_taped - taped == 6 * n


@pytest.mark.parametrize("regularizer", VARIANTS, ids=repr)
def test_step_is_of_tsit5_where_the_solver_does_not_tell(regularizer: LocalPenalty) -> None:
    field = TinyField()
    context = at_time(field, start(), solver=Euler(), controller=ConstantStep(0.1))
    expected = by_hand(field, regularizer, *frozen(field, context))
    before = context.term.n_evaluations
    torch.testing.assert_close(regularizer.penalty(context), expected, rtol=1e-9, atol=0)
    assert context.term.n_evaluations - before == 8


@pytest.mark.parametrize("kind", KINDS)
def test_penalty_at_the_very_end_is_zero_and_finite(kind: type[LocalPenalty]) -> None:
    field = TinyField()
    penalty = kind().penalty(at_time(field, start(), (1.0,)))
    assert penalty.item() == 0
    assert all(g.isfinite().all() for g in torch.autograd.grad(penalty, tuple(field.parameters())))


@pytest.mark.parametrize("sampling", ["unbiased", "biased"])
def test_solve_over_nothing_has_a_penalty_of_zero(sampling: str) -> None:
    regularizer = LocalError(sampling)
    assert regularizer.penalty(solved(regularizer, grid=(0.5, 0.5))).item() == 0


@pytest.mark.parametrize("regularizer", VARIANTS, ids=repr)
def test_penalty_of_zero_error_and_denominator_has_finite_gradients(regularizer: LocalPenalty) -> None:
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    context = at_time(lambda t, y: weight * y, torch.zeros(2, dtype=torch.float64))
    penalty = regularizer.penalty(context)
    assert penalty.item() == 0
    assert torch.autograd.grad(penalty, weight)[0].item() == 0


@pytest.mark.parametrize("n_times", [0, -1])
def test_number_of_times_is_at_least_one(n_times: int) -> None:
    with pytest.raises(InputError, match=f"n_times: got {n_times}, allowed: a whole number >= 1"):
        LocalError(n_times=n_times)


# --- where the step is taken from -----------------------------------------------------------------------------------


def test_unbiased_times_are_uniform_over_the_span() -> None:
    draw = torch.Generator().manual_seed(0)
    times = [t for _ in range(500) for t in LocalError(n_times=4).prepare((2.0, 2.1, 5.0), draw).times]
    assert 2 <= min(times) < max(times) <= 5
    assert kstest(times, "uniform", (2, 3)).pvalue > ALPHA


def test_times_repeat_with_their_generator() -> None:
    first, second = (LocalError().prepare((0.0, 1.0), torch.Generator().manual_seed(5)).times for _ in range(2))
    assert first == second


def sampled(n_times: int, grid: tuple[float, ...], settings: SolveSettings, n_solves: int) -> list[list[float]]:
    """The times that biased sampling keeps in each of several solves, and those at which their steps began."""
    draw, found = torch.Generator().manual_seed(1), []
    for _ in range(n_solves):
        wishes = LocalError("biased", n_times).prepare(grid, draw)
        with torch.no_grad():
            solution = SolveRequest(settings, wishes).solve(ODETerm(TinyField()), start(), grid).solution
        found.append([t for t, _ in wishes.watch.kept])
    assert all(len(kept) == n_times for kept in found)
    return [solution.records.t.tolist(), [t for kept in found for t in kept]]


HOW = {"tape": ADJOINTS["tape"](), "checkpointed": ADJOINTS["checkpointed"]()}
HOW |= {name: Torchdiffeq(name) for name in TORCHDIFFEQ_ADAPTIVE}
HOW |= {f"{name} adjoint": TorchdiffeqAdjoint(name) for name in ("dopri5",)}


@pytest.mark.parametrize("grid", [(0.0, 3.0), (3.0, 0.0), (0.0, 0.1, 0.2, 3.0)])
@pytest.mark.parametrize("name", HOW)
def test_biased_sampling_takes_each_accepted_step_alike_outputs_or_not(name: str, grid: tuple[float, ...]) -> None:
    settings = SolveSettings(adjoint=HOW[name], rtol=1e-3, atol=1e-3)
    steps, times = sampled(60, grid, settings, 10)
    assert len(steps) >= 3
    counts = [sum(math.isclose(t, step, abs_tol=1e-9) for t in times) for step in steps]
    assert sum(counts) == len(times)  # none from elsewhere, such as an output
    assert chisquare(counts).pvalue > ALPHA


def test_rejected_steps_are_not_sampled() -> None:
    def sharp(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t < 0.4, -y, 20 * y * torch.cos(50 * t))

    told: list[float] = []
    wishes = Wishes((0.0, 1.0), watch=lambda t, y: told.append(t))
    solution = SolveRequest(SolveSettings(), wishes).solve(ODETerm(sharp), start(), (0.0, 1.0)).solution
    assert solution.stats.n_rejected > 0
    assert told == solution.records.t.tolist()


def test_reservoir_keeps_no_more_states_than_times_and_no_gradient() -> None:
    reservoir, parameter = Reservoir(3, 0), torch.ones(2, requires_grad=True)
    for i in range(100):
        reservoir(float(i), parameter * i)
        assert len(reservoir.kept) == 3
    assert not any(y.requires_grad for _, y in reservoir.kept)
    assert all(y[0].item() == t for t, y in reservoir.kept)


def test_reservoir_draws_are_independent_of_one_another() -> None:
    pairs = []
    for seed in range(900):
        reservoir = Reservoir(2, seed)
        for i in range(3):
            reservoir(float(i), torch.zeros(1))
        pairs.append(tuple(t for t, _ in reservoir.kept))
    counts = [pairs.count((float(i), float(j))) for i in range(3) for j in range(3)]
    assert chisquare(counts).pvalue > ALPHA


def test_state_of_a_biased_step_is_the_one_where_the_step_began() -> None:
    regularizer = LocalError("biased", 4)
    context = solved(regularizer, grid=(0.0, 2.0))
    for t, y in context.wishes.watch.kept:
        assert t in context.solution.records.t.tolist()
        again = SolveRequest(SETTINGS).solve(ODETerm(TinyField()), start(), (0.0, t)).solution if t else None
        expected = again.y1 if again else start()
        torch.testing.assert_close(y, expected, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("adjoint", [Torchdiffeq("rk4", 0.1), TorchdiffeqAdjoint("euler", 0.1)])
def test_biased_sampling_of_steps_that_nobody_tells_is_refused(adjoint: object) -> None:
    settings = SolveSettings(adjoint=adjoint)
    with pytest.raises(
        InputError,
        match=r"^sampling: got biased where adjoint is \w+ with \w+, which does not tell its steps, allowed: another ",
    ):
        LocalError("biased").check(settings)
    with pytest.raises(InputError, match="watch: got one with"):
        solved(LocalError("biased"), settings=settings)
    LocalError().check(settings)
