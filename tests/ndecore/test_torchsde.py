"""torchsde as a back end: the same steps along the same path, its gradients, its failures as statuses."""

import pytest
import torch
import torchsde
from stochastic_problems import GENERAL, PROBLEMS, TinyNet, geometric, tiny_term

from ndecore.adjoints import ADJOINTS, TORCHSDE_METHODS
from ndecore.adjoints.torchsde import Torchsde, TorchsdeAdjoint
from ndecore.brownian import BrownianTree, ForeignPath
from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.integrate import Adjoint, SolveSettings
from ndecore.solution import Solution
from ndecore.solvers import SDE_SOLVERS
from ndecore.solving import solve, solve_sde
from ndecore.status import Status
from ndecore.terms import SDETerm

STEP = 1 / 16
TWINS = {
    "euler": "euler_maruyama",
    "milstein": "milstein",
    "euler_heun": "euler_heun",
    "reversible_heun": "reversible_heun",
}
CALCULUS = {"euler": "ito", "milstein": "ito", "srk": "ito"}


def path(seed: int = 0) -> BrownianTree:
    return BrownianTree(seed, (3, 2), 0.0, 1.0, dtype=torch.float64)


def start() -> torch.Tensor:
    return torch.tensor([[0.6, -1.1], [0.2, 0.9], [1.4, 0.3]], dtype=torch.float64, requires_grad=True)


def both(method: str, adjoint: type[Adjoint] = Torchsde) -> list[tuple[Solution, list[torch.Tensor]]]:
    """A solve by torchsde and ours by the same method, with gradients."""
    found = []
    ours = SolveSettings(SDE_SOLVERS[TWINS[method]](), ConstantStep(STEP))
    for settings in (SolveSettings(ours.solver, ours.controller, adjoint(method, STEP)), ours):
        net, y0 = TinyNet(), start()
        term = tiny_term(net, path(), CALCULUS.get(method, "stratonovich"))
        solution = solve(term, y0, 0.0, 1.0, settings=settings, ts=(0.0, 0.5, 1.0)).check()
        loss = solution.y1.square().sum() + solution.ys[1].sum()
        found.append((solution, list(torch.autograd.grad(loss, [y0, *net.parameters()]))))
    return found


@pytest.mark.parametrize("method", TWINS)
def test_its_methods_are_ours_and_so_are_its_gradients(method: str) -> None:
    (theirs, their_bars), (ours, our_bars) = both(method)
    torch.testing.assert_close(theirs.y1, ours.y1, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(theirs.ys, ours.ys, rtol=1e-10, atol=1e-12)
    for left, right in zip(their_bars, our_bars, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-10)


def test_adjoint_of_the_reversible_method_is_our_tape() -> None:
    (_, their_bars), (_, our_bars) = both("reversible_heun", TorchsdeAdjoint)
    for left, right in zip(their_bars, our_bars, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-10)


def test_adjoint_approaches_the_gradient_and_counts_what_it_evaluates_again() -> None:
    (_, their_bars), (_, our_bars) = both("milstein", TorchsdeAdjoint)
    for left, right in zip(their_bars, our_bars, strict=True):
        assert (left - right).norm() < 0.2 * right.norm() + 0.02
    net = TinyNet()
    term = tiny_term(net, path())
    settings = SolveSettings(SDE_SOLVERS["sosri"](), ConstantStep(STEP), TorchsdeAdjoint("srk", STEP))
    solve(term, start(), 0.0, 1.0, settings=settings).y1.sum().backward()
    assert term.n_replayed >= 16
    assert term.n_evaluations == 16 * 10 + 1  # each step of srk evaluates the drift ten times, the contract once


@pytest.mark.parametrize("problem", [p for p in PROBLEMS if p.exact], ids=lambda p: p.name)
def test_adaptive_srk_and_ours_follow_one_path(problem: object) -> None:
    along = problem.path(50, seed=3)
    term = problem.term(along, "ito")
    settings = SolveSettings(
        SDE_SOLVERS["sosri"](), ConstantStep(STEP), Torchsde("srk", 0.05, adaptive=True), rtol=1e-2, atol=1e-2
    )
    with torch.no_grad():
        theirs = solve(term, problem.y0(50), 0.0, 1.0, settings=settings).check().y1
    torch.testing.assert_close(theirs, problem.exact(along), rtol=0.1, atol=0.1)


def test_general_noise_and_states_of_more_axes_are_passed_on() -> None:
    along = GENERAL.path(4)
    settings = SolveSettings(SDE_SOLVERS["euler_maruyama"](), ConstantStep(STEP), Torchsde("euler", STEP))
    theirs = solve(GENERAL.term(along, "ito"), GENERAL.y0(4), 0.0, 1.0, settings=settings).check().y1
    torch.testing.assert_close(theirs, GENERAL.end(SDE_SOLVERS["euler_maruyama"](), along, 16))
    deep = BrownianTree(0, (2, 3, 2), 0.0, 1.0, dtype=torch.float64)
    y0 = torch.rand(2, 3, 2, dtype=torch.float64)
    ends = [
        solve_sde(lambda t, y: -y, lambda t, y: 0.3 * y, y0, 0.0, 1.0, path=deep, settings=each).check().y1
        for each in (settings, SolveSettings(settings.solver, settings.controller))
    ]
    torch.testing.assert_close(*ends)


def test_foreign_path_is_handed_back_as_it_came() -> None:
    def interval() -> torchsde.BrownianInterval:
        return torchsde.BrownianInterval(
            0.0, 1.0, (3, 2), dtype=torch.float64, entropy=7, levy_area_approximation="space-time"
        )

    y0 = start().detach()
    settings = SolveSettings(SDE_SOLVERS["sosri"](), ConstantStep(STEP), Torchsde("srk", STEP))
    net = TinyNet()
    found = solve(tiny_term(net, ForeignPath(interval())), y0, 0.0, 1.0, settings=settings).check().y1

    class Equation:
        noise_type, sde_type, f, g = "diagonal", "ito", staticmethod(net.drift), staticmethod(net.diffusion)

    direct = torchsde.sdeint(
        Equation(), y0, torch.tensor([0.0, 1.0], dtype=torch.float64), interval(), method="srk", dt=STEP
    )
    torch.testing.assert_close(found, direct[-1])


def settings_of(adjoint: Adjoint, **more: object) -> SolveSettings:
    return SolveSettings(SDE_SOLVERS["sosri"](), ConstantStep(STEP), adjoint, **more)


def test_failures_are_statuses() -> None:
    def solved(term: SDETerm, settings: SolveSettings) -> Solution:
        with torch.no_grad():
            return solve(term, start(), 0.0, 1.0, settings=settings, throw=False)

    blowing = SDETerm(lambda t, y: torch.exp(y.square() * 50), lambda t, y: 0 * y, path())
    assert solved(blowing, settings_of(Torchsde("euler", STEP))).status is Status.NON_FINITE
    few = settings_of(Torchsde("srk", STEP), max_steps=2)
    assert solved(tiny_term(TinyNet(), path()), few).status is Status.MAX_STEPS


@pytest.mark.parametrize("kind", [Torchsde, TorchsdeAdjoint])
def test_what_it_cannot_do_is_refused(kind: type[Adjoint]) -> None:
    with pytest.raises(InputError, match=f"method: got 'rk4', allowed: {', '.join(TORCHSDE_METHODS)}"):
        kind("rk4")
    with pytest.raises(InputError, match=r"step_size: got 0\.0, allowed: a finite number > 0"):
        kind("srk", 0.0)
    with pytest.raises(
        InputError, match=r"adjoint: got .* with an equation of ODETerm, allowed: an adjoint for ordinary"
    ):
        solve(lambda t, y: -y, start(), 0.0, 1.0, settings=SolveSettings(adjoint=kind()))
    term = tiny_term(TinyNet(), path())
    with pytest.raises(InputError, match="which does not differentiate the steps"):
        solve(term, start(), 0.0, 1.0, settings=settings_of(kind()), differentiable_records=True)
    flat, y0 = BrownianTree(0, (2,), 0.0, 1.0, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    term = SDETerm(lambda t, y: -y, lambda t, y: 0 * y, flat, parameters=())
    with pytest.raises(InputError, match=r"y0: got shape \(2,\), which torchsde does not take"):
        solve(term, y0, 0.0, 1.0, settings=settings_of(kind()))


def test_ordinary_adjoints_refuse_stochastic_equations() -> None:
    for name in ("interpolating", "torchdiffeq", "torchdiffeq_adjoint"):
        with pytest.raises(InputError, match="allowed: tape, checkpointed, or torchsde's"):
            solve(geometric("diagonal").term(path(), "ito"), start(), 0.0, 1.0, settings=settings_of(ADJOINTS[name]()))
