"""Gradients of stochastic solves on their recorded steps along a fixed path, and of the penalties on them."""

import math

import pytest
import torch
from stochastic_problems import ADDITIVE, GENERAL, TinyNet, tiny_term
from torch import Tensor
from wished_solves import SolveRequest

from ndecore.adjoints.checkpointed import Checkpointed
from ndecore.adjoints.torchsde import Torchsde
from ndecore.brownian import BrownianTree
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.initial_step import initial_step
from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings, Tape
from ndecore.regularizers.base import PenaltyContext, Regularizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local import LocalPenalty
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.local_stiffness import LocalStiffness
from ndecore.regularizers.predicted_steps import PredictedSteps
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.solution import Solution
from ndecore.solvers import SDE_SOLVERS
from ndecore.solvers.base import Solver
from ndecore.solvers.euler_maruyama import EulerMaruyama
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.sosri2 import SOSRI2
from ndecore.solving import solve
from ndecore.terms import SDETerm

TOLERANCE = 0.3
OUTPUTS = (0.0, 0.21, 0.9, 1.0)


def path(seed: int = 0, batch: int = 2) -> BrownianTree:
    return BrownianTree(seed, (batch, 2), 0.0, 1.0, dtype=torch.float64)


def start() -> Tensor:
    return torch.tensor([[0.6, -1.1], [0.2, 0.9]], dtype=torch.float64, requires_grad=True)


def of_parameters(inner: Tensor, outer: Tensor, time: Tensor, volatility: Tensor) -> SDETerm:
    return SDETerm(
        lambda t, y: torch.tanh(y @ inner.T + time * t) @ outer.T,
        lambda t, y: 0.3 * torch.cos(volatility * y + t),
        path(),
    )


def inputs() -> tuple[Tensor, ...]:
    return (start(), *(x.detach().clone().requires_grad_() for x in TinyNet().parameters()))


def recorded_steps(solver: Solver) -> StepTo:
    settings = SolveSettings(solver, rtol=TOLERANCE, atol=TOLERANCE)
    found = solve(tiny_term(TinyNet(), path()), start().detach(), 0.0, 1.0, settings=settings).check()
    assert len(found.records.dt) >= 3
    return StepTo(tuple(found.records.dt.tolist()))


@pytest.mark.parametrize("solver", [SOSRI(), SOSRI2()], ids=lambda solver: type(solver).__name__)
def test_solution_outputs_error_and_stiffness_have_exact_gradients(solver: Solver) -> None:
    settings = SolveSettings(solver, recorded_steps(solver), rtol=TOLERANCE, atol=TOLERANCE)

    def everything(y0: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
        solution = solve(
            of_parameters(*parameters), y0, 0.0, 1.0, settings=settings, ts=OUTPUTS, differentiable_records=True
        )
        records = solution.check().records
        told = (records.stiffness,) if solver.tells_stiffness else ()
        return solution.y1, solution.ys, records.error_ratio, records.error, *told

    assert torch.autograd.gradcheck(everything, inputs(), fast_mode=True)


GLOBAL = [
    GlobalError(),
    GlobalStiffness(agg="mean"),
    *(
        pytest.param(penalty, marks=pytest.mark.slow)
        for penalty in (
            GlobalError(agg="sum", scaled=False),
            GlobalError(agg="sum", power=2, weight_by_dt=False),
            GlobalStiffness(agg="sum", weight_by_dt=True, scaled=False),
            PredictedSteps(),
        )
    ),
]


@pytest.mark.parametrize("regularizer", GLOBAL, ids=repr)
def test_global_penalties_have_exact_gradients(regularizer: Regularizer) -> None:
    settings = SolveSettings(SOSRI2(), recorded_steps(SOSRI2()), rtol=TOLERANCE, atol=TOLERANCE)

    def penalty(y0: Tensor, *parameters: Tensor) -> Tensor:
        term = of_parameters(*parameters)
        wishes = regularizer.prepare((0.0, 1.0), torch.Generator())
        solution = SolveRequest(settings, wishes).solve(term, y0, (0.0, 1.0)).solution
        return regularizer.penalty(PenaltyContext(term, settings, solution, wishes))

    assert torch.autograd.gradcheck(penalty, inputs(), fast_mode=True)


def test_published_penalties_of_stochastic_solves_are_what_the_records_say() -> None:
    settings = SolveSettings(SOSRI2(), rtol=0.14, atol=0.14)
    term = tiny_term(TinyNet(), path())
    solution = solve(term, start(), 0.0, 1.0, settings=settings, differentiable_records=True).check()
    wishes = GlobalError().prepare((0.0, 1.0), torch.Generator())
    context = PenaltyContext(term, settings, solution, wishes)
    records, n = solution.records, solution.stats.n_accepted
    stiffness = GlobalStiffness(agg="mean").penalty(context)
    torch.testing.assert_close(stiffness, records.stiffness.sum() / (n + 1) / 10.6)
    torch.testing.assert_close(
        GlobalError(agg="sum").penalty(context), (records.error_ratio * records.dt).sum(), check_dtype=False
    )
    with pytest.raises(InputError, match="it has no stiffness estimate"):
        GlobalStiffness().check_solver(SOSRI())


# --- checkpointed ---------------------------------------------------------------------------------------------------


def differentiated(term: SDETerm, y0: Tensor, leaves: list[Tensor], settings: SolveSettings) -> list[Tensor]:
    """The gradient of a loss on everything that a solve returns."""
    solution: Solution = solve(term, y0, 0.0, 1.0, settings=settings, ts=OUTPUTS, differentiable_records=True).check()
    loss = solution.y1.square().sum() + solution.ys.cos().sum()
    if settings.solver.error_order is not None:
        loss = loss + solution.records.error_ratio.square().sum() + solution.records.error.sum()
        loss = loss + solution.records.stiffness.sum()
    found = torch.autograd.grad(loss, [y0, *leaves])
    return [*found, torch.tensor([solution.stats.n_differentiated, solution.stats.n_evaluations])]


@pytest.mark.parametrize("name", SDE_SOLVERS)
@pytest.mark.parametrize("batch", [2, 400])
def test_checkpointed_is_the_tape(name: str, batch: int) -> None:
    solver = SDE_SOLVERS[name]()
    controls: list[dict[str, object]] = [{"controller": ConstantStep(0.09)}]
    controls += [] if solver.error_order is None else [{}]
    for control in controls:
        found = []
        for adjoint in (Checkpointed(), Tape()):
            net, along = TinyNet(), path(batch=batch)
            y0 = start().detach().repeat(batch // 2, 1).requires_grad_()
            term = tiny_term(net, along, solver.calculus)
            settings = SolveSettings(solver, adjoint=adjoint, rtol=TOLERANCE, atol=TOLERANCE, **control)
            found.append(differentiated(term, y0, list(net.parameters()), settings))
            assert (term.n_replayed > 0) == isinstance(adjoint, Checkpointed)
        for left, right in zip(*found, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("problem", [ADDITIVE, GENERAL], ids=lambda problem: problem.name)
def test_checkpointed_is_the_tape_for_other_noise(problem: object) -> None:
    found = []
    for adjoint in (Checkpointed(), Tape()):
        scale, along = torch.tensor(0.8, dtype=torch.float64, requires_grad=True), problem.path(3)
        y0 = problem.y0(3).requires_grad_()
        term = SDETerm(
            problem.drift["ito"],
            lambda t, y, scale=scale: scale * problem.diffusion(t, y),
            along,
            noise=problem.noise,
            parameters=[scale],
        )
        settings = SolveSettings(EulerMaruyama(), ConstantStep(0.09), adjoint)
        found.append(differentiated(term, y0, [scale], settings))
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("solver", [SOSRI(), EulerMaruyama()], ids=lambda solver: type(solver).__name__)
def test_checkpointed_refuses_a_diffusion_that_depends_on_what_it_does_not_know(solver: Solver) -> None:
    net = TinyNet()
    known = [parameter for name, parameter in net.named_parameters() if name != "volatility"]
    term = SDETerm(net.drift, net.diffusion, path(), parameters=known)
    settings = SolveSettings(solver, ConstantStep(0.25), Checkpointed())
    loss = solve(term, start(), 0.0, 1.0, settings=settings).check().y1.sum()
    with pytest.raises(InputError, match=r"depends on a tensor of shape \(2,\) that is not among them"):
        loss.backward()


# --- local penalties ------------------------------------------------------------------------------------------------


def sampled(regularizer: LocalPenalty, settings: SolveSettings, net: TinyNet, y0: Tensor) -> PenaltyContext:
    term = tiny_term(net, path(3))
    wishes = regularizer.prepare((0.0, 1.0), torch.Generator().manual_seed(1))
    solution = SolveRequest(settings, wishes).solve(term, y0, (0.0, 1.0)).solution
    return PenaltyContext(term, settings, solution, wishes)


HOW = {
    "tape": SolveSettings(SOSRI2(), rtol=TOLERANCE, atol=TOLERANCE),
    "torchsde": SolveSettings(SOSRI2(), adjoint=Torchsde("srk", 0.1), rtol=TOLERANCE, atol=TOLERANCE),
    "without estimates": SolveSettings(EulerMaruyama(), ConstantStep(0.1), rtol=TOLERANCE, atol=TOLERANCE),
}


@pytest.mark.parametrize("name", HOW)
@pytest.mark.parametrize("kind", [LocalError, LocalStiffness])
def test_local_penalty_is_that_of_a_fresh_step_with_fresh_increments(kind: type[LocalPenalty], name: str) -> None:
    settings, net, y0 = HOW[name], TinyNet(), start()
    context = sampled(kind(), settings, net, y0)
    term, (t,) = context.term, context.wishes.times
    before = term.n_evaluations, term.n_diffusion_evaluations, term.n_taped
    penalty = kind().penalty(context)
    after = term.n_evaluations, term.n_diffusion_evaluations, term.n_taped
    assert [b - a for a, b in zip(before, after, strict=True)] == [5, 5, 4]
    # By hand: state, step and increments are constants, all slopes are differentiated.
    u, solver = context.solution.at(t).detach(), SOSRI2()
    own = tiny_term(net, path(3))
    dt = initial_step(own, t, u, solver.start(own, t, u), 1.0 - t, 1.5, TOLERANCE, TOLERANCE)
    step = solver.step(own.along(own.path.apart(0, t, t + dt)), t, dt, u, u.new_empty(0))
    error, slopes, pair = step.differences()
    if kind is LocalError:
        scale = TOLERANCE * (1 + torch.maximum(u.abs(), step.y1.abs()))
        expected = (error / scale).square().mean().sqrt() * dt
    else:
        expected = slopes.norm() / (pair.second - pair.first).norm() / dt / 10.6
    torch.testing.assert_close(penalty, expected)
    bars, wanted = (torch.autograd.grad(value, [*net.parameters()], allow_unused=True) for value in (penalty, expected))
    for left, right in zip(bars, wanted, strict=True):
        torch.testing.assert_close(left, right)
        assert left.norm() > 0


@pytest.mark.parametrize("sampling", ["unbiased", "biased"])
def test_local_penalty_has_no_gradient_to_the_input_and_one_to_all_parameters(sampling: str) -> None:
    net, y0, regularizer = TinyNet(), start(), LocalError(sampling, n_times=3)
    penalty = regularizer.penalty(sampled(regularizer, HOW["tape"], net, y0))
    assert torch.autograd.grad(penalty, y0, allow_unused=True, retain_graph=True)[0] is None
    assert all(bar.norm() > 0 for bar in torch.autograd.grad(penalty, [*net.parameters()]))


def test_first_slopes_are_differentiated() -> None:
    """With the later stages' weights frozen, what is left of the gradient comes through f and g at the start."""
    t0_only = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    regularizer = LocalError()
    wishes = regularizer.prepare((0.0, 1.0), torch.Generator().manual_seed(1))
    (t,) = wishes.times

    def drift(at: Tensor, y: Tensor) -> Tensor:
        return torch.where(at == t, t0_only, 0.5) * torch.cos(y)

    term = SDETerm(drift, lambda at, y: 0.2 * y, path())
    solution = SolveRequest(HOW["tape"], wishes).solve(term, start().detach(), (0.0, 1.0)).solution
    penalty = regularizer.penalty(PenaltyContext(term, HOW["tape"], solution, wishes))
    assert torch.autograd.grad(penalty, t0_only)[0].abs() > 1e-6


def test_increments_of_local_steps_are_new_with_each_path_and_each_time() -> None:
    regularizer, net = LocalError(n_times=2), TinyNet()
    found = []
    for seed in (0, 1):
        term = tiny_term(net, path(seed))
        wishes = regularizer.prepare((0.0, 1.0), torch.Generator().manual_seed(1))
        wishes = type(wishes)(wishes.grid, times=(0.5, 0.5))
        solution = SolveRequest(HOW["tape"], wishes).solve(term, start().detach(), (0.0, 1.0)).solution
        context = PenaltyContext(term, HOW["tape"], solution, wishes)
        found.append([regularizer._step(context, n, 0.5, start().detach()).sizes.error.item() for n in (0, 1)])
    assert len({round(value, 12) for pair in found for value in pair}) == 4
    assert all(math.isfinite(value) for pair in found for value in pair)


def test_local_penalty_at_the_end_and_of_noise_that_no_step_takes() -> None:
    net = TinyNet()
    term = tiny_term(net, path())
    solution = solve(term, start(), 0.0, 1.0, settings=HOW["tape"], ts=(1.0,)).check()
    wishes = LocalError().prepare((0.0, 1.0), torch.Generator())
    at_end = type(wishes)(wishes.grid, times=(1.0,))
    assert LocalError().penalty(PenaltyContext(term, HOW["tape"], solution, at_end)).item() == 0
    blown = type(wishes)(wishes.grid, times=())
    nowhere = LocalError()._step(PenaltyContext(term, HOW["tape"], solution, blown), 0, 0.5, start() * math.inf)
    assert nowhere.sizes.error.isnan()
    general = GENERAL.term(GENERAL.path(3), "ito")
    settings = HOW["without estimates"]
    solution = solve(general, GENERAL.y0(3), 0.0, 1.0, settings=settings, ts=wishes.times).check()
    with pytest.raises(InputError, match="solver: got SOSRI2 with general noise"):
        LocalError().penalty(PenaltyContext(general, settings, solution, wishes))
