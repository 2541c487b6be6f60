"""Solves of stochastic equations: one path for any steps, counts, endings, what is refused."""

import inspect
import math

import pytest
import torch
from stochastic_problems import GENERAL, TinyNet, bounded, tiny_term
from torch import Tensor, nn

from ndecore.brownian import BrownianTree
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.initial_step import initial_step
from ndecore.controllers.integral import IController
from ndecore.controllers.proportional_integral import PIController
from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.regularizers.rnode import RNODE
from ndecore.solution import Solution
from ndecore.solvers.euler_maruyama import EulerMaruyama
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.sosri2 import SOSRI2
from ndecore.solving import solve, solve_sde
from ndecore.status import Status
from ndecore.terms import SDETerm

TOLERANCES = (1.0, 0.1, 0.01)


def settings(tolerance: float, solver: object = None) -> SolveSettings:
    return SolveSettings(solver or SOSRI(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("solver", [SOSRI(), SOSRI2()], ids=lambda solver: type(solver).__name__)
def test_solves_at_different_tolerances_follow_one_path_and_converge_to_each_other(solver: object) -> None:
    problem = bounded("diagonal")
    path, ends, n_steps = problem.path(300, seed=5), [], []
    for tolerance in TOLERANCES:
        term = problem.term(path, "ito")
        with torch.no_grad():
            solution = solve(term, problem.y0(300), 0.0, 1.0, settings=settings(tolerance, solver)).check()
        ends.append(solution.y1)
        n_steps.append(solution.stats.n_accepted)
    assert n_steps[0] < n_steps[1] < n_steps[2]
    exact = problem.exact(path)
    errors = [(end - exact).square().mean().sqrt().item() for end in ends]
    apart = [(end - ends[-1]).square().mean().sqrt().item() for end in ends[:-1]]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]
    assert apart[0] > 5 * apart[1]


def test_increments_of_adaptive_steps_add_up_to_those_of_the_path() -> None:
    """dy = dW is solved exactly by any steps along the same path, and by none along another."""
    y0 = torch.zeros(4, 2, dtype=torch.float64)
    path = BrownianTree(9, (4, 2), 0.0, 1.0, dtype=torch.float64)
    for tolerance in TOLERANCES[:2]:
        field = SDETerm(lambda t, y: torch.cos(9 * t).expand_as(y), lambda t, y: torch.ones_like(y), path)
        solution = solve(field, y0, 0.0, 1.0, settings=settings(tolerance)).check()
        W = path.increment(0.0, 1.0).W
        torch.testing.assert_close(solution.y1 - W, (solution.y1 - W)[:1, :1].expand(4, 2), rtol=0, atol=1e-9)


def test_a_seed_is_the_tree_of_the_span() -> None:
    net, y0 = TinyNet(), torch.ones(3, 2, dtype=torch.float64)
    seeded, given, other = (
        solve_sde(net.drift, net.diffusion, y0, 0.0, 1.0, path=path, settings=settings(0.5)).check()
        for path in (4, BrownianTree(4, (3, 2), 0.0, 1.0, dtype=torch.float64), 5)
    )
    assert torch.equal(seeded.y1, given.y1)
    assert not torch.equal(seeded.y1, other.y1)
    scalar = solve_sde(net.drift, net.diffusion, y0, 0.0, 1.0, path=4, noise="scalar", settings=settings(0.5)).check()
    assert scalar.y1.shape == y0.shape


def sharp_term(path: BrownianTree) -> SDETerm:
    return SDETerm(lambda t, y: torch.where(t < 0.4, -y, 9 * y), lambda t, y: 0.1 * y, path)


def test_counts_are_four_a_step_three_after_a_rejection_and_one_for_the_probe() -> None:
    path = BrownianTree(0, (3, 2), 0.0, 1.0, dtype=torch.float64)
    term = sharp_term(path)
    stats = solve(term, torch.ones(3, 2, dtype=torch.float64), 0.0, 1.0, settings=settings(0.5)).check().stats
    assert stats.n_rejected > 0
    expected = 4 * stats.n_accepted + 3 * stats.n_rejected + 1
    assert (stats.n_evaluations, stats.n_diffusion_evaluations) == (expected, expected)
    assert (term.n_evaluations, term.n_diffusion_evaluations) == (expected, expected)
    assert stats.n_differentiated == 4 * stats.n_accepted
    assert (term.fresh().n_evaluations, term.fresh().n_diffusion_evaluations) == (0, 0)


def test_steps_fill_the_span_and_end_on_coarse_times() -> None:
    path = BrownianTree(0, (3, 2), 0.0, 1.0, dtype=torch.float64)
    solution = solve(sharp_term(path), torch.ones(3, 2, dtype=torch.float64), 0.0, 1.0, settings=settings(0.5)).check()
    t, dt = solution.records.t, solution.records.dt
    torch.testing.assert_close(t[1:], (t + dt)[:-1], rtol=0, atol=1e-15)
    assert (t + dt)[-1].item() == 1.0
    quanta = t[1:] / 2.0 ** torch.floor(torch.log2(dt[:-1] / 8))
    assert (quanta - quanta.round()).abs().max().item() < 1e-6


def test_replayed_steps_give_the_same_numbers() -> None:
    path = BrownianTree(0, (3, 2), 0.0, 1.0, dtype=torch.float64)
    y0 = torch.ones(3, 2, dtype=torch.float64)
    first = solve(tiny_term(TinyNet(), path), y0, 0.0, 1.0, settings=settings(0.1)).check()
    replay = SolveSettings(SOSRI(), StepTo(tuple(first.records.dt.tolist())), rtol=0.1, atol=0.1)
    second = solve(tiny_term(TinyNet(), path), y0, 0.0, 1.0, settings=replay).check()
    torch.testing.assert_close(second.y1, first.y1, rtol=1e-13, atol=0)
    torch.testing.assert_close(second.records.error_ratio, first.records.error_ratio, rtol=1e-10, atol=0)


def test_outputs_lie_between_the_steps_they_are_in() -> None:
    path = BrownianTree(0, (3, 2), 0.0, 1.0, dtype=torch.float64)
    y0 = torch.ones(3, 2, dtype=torch.float64)
    chosen = SolveSettings(EulerMaruyama(), ConstantStep(0.5))
    found = solve(tiny_term(TinyNet(), path), y0, 0.0, 1.0, settings=chosen, ts=(0.0, 0.125, 0.5, 0.75)).check()
    torch.testing.assert_close(found.ys[1], 0.75 * y0 + 0.25 * found.ys[2])
    torch.testing.assert_close(found.ys[3], 0.5 * (found.ys[2] + found.y1))


def test_solve_over_nothing_is_the_start() -> None:
    path = BrownianTree(0, (1, 2), 0.0, 1.0, dtype=torch.float64)
    y0 = torch.ones(1, 2, dtype=torch.float64)
    assert torch.equal(solve(tiny_term(TinyNet(), path), y0, 0.5, 0.5, settings=settings(0.1)).check().y1, y0)


def ended(drift: object, diffusion: object, levels: int = 20, **more: object) -> Solution:
    path = BrownianTree(0, (2, 2), 0.0, 1.0, levels=levels, dtype=torch.float64)
    chosen = SolveSettings(SOSRI(), rtol=1e-2, atol=1e-2, **more)
    term, y0 = SDETerm(drift, diffusion, path), torch.ones(2, 2, dtype=torch.float64)
    return solve(term, y0, 0.0, 1.0, settings=chosen, throw=False)


def test_endings_are_statuses() -> None:
    assert ended(lambda t, y: -y, lambda t, y: 0.1 * y, max_steps=3).status is Status.MAX_STEPS
    assert ended(lambda t, y: y / 0 * 0, lambda t, y: 0.1 * y).status is Status.NON_FINITE
    late = ended(lambda t, y: torch.where(t > 0.3, y * math.nan, -y), lambda t, y: 0.1 * y)
    assert late.status is Status.NON_FINITE
    assert late.stats.n_accepted > 0
    assert late.y1.isfinite().all()
    # Steps below the resolution of the path would have no increments.
    stiff = ended(lambda t, y: torch.where(t > 0.3, -1e5 * y.sign(), -y), lambda t, y: 0.1 * y, levels=10)
    assert stiff.status is Status.PATH_UNDERFLOW


def test_automatic_step_is_the_published_one() -> None:
    path = BrownianTree(0, (2,), 0.0, 1.0, dtype=torch.float64)
    term = SDETerm(lambda t, y: -2 * y + t, lambda t, y: 0.5 * y, path)
    y0, tolerance = torch.tensor([1.0, -3.0], dtype=torch.float64), 0.05
    slopes = SOSRI().start(term, 0.0, y0)
    found = initial_step(term, 0.0, y0, slopes, 1.0, 1.5, tolerance, tolerance)

    def size(x: Tensor) -> float:
        return (x / (tolerance * (1 + y0.abs()))).square().mean().sqrt().item()

    f0, g0 = -2 * y0, 1.5 * y0  # three times the diffusion
    d1 = size(torch.maximum((f0 + g0).abs(), (f0 - g0).abs()))
    dt0 = 0.01 * size(y0) / d1
    y1 = y0 + dt0 * f0
    f1, g1 = -2 * y1 + dt0, 1.5 * y1
    spread = torch.maximum((g1 - g0).abs(), (g1 + g0).abs())
    d2 = size(torch.maximum((f1 - f0 + spread).abs(), (f1 - f0 - spread).abs())) / dt0
    assert found == pytest.approx(min(100 * dt0, (0.01 / max(d1, d2)) ** 0.5))
    assert (term.n_evaluations, term.n_diffusion_evaluations) == (2, 2)


def test_exponents_of_control_are_those_of_order_three_halves() -> None:
    ratio, before = 0.3, 0.02
    dt = PIController().judge(ratio, 1.0, before, SOSRI.error_order).dt
    assert dt == pytest.approx(0.9 * before ** (4 / 15) / ratio ** (7 / 15))
    assert IController().judge(ratio, 1.0, None, SOSRI.error_order).dt == pytest.approx(0.9 * ratio ** (-2 / 3))


# --- what is refused ------------------------------------------------------------------------------------------------


class Mixing(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.weight)


def solved(diffusion: object, y0: Tensor, **more: object) -> Solution:
    path = BrownianTree(0, tuple(y0.shape), 0.0, 1.0, dtype=y0.dtype)
    return solve_sde(lambda t, y: -y, diffusion, y0, 0.0, 1.0, **({"path": path, "settings": settings(0.5)} | more))


def test_diffusion_that_mixes_states_is_not_diagonal() -> None:
    y0 = torch.rand(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    full = Mixing(torch.tensor([[1.0, 0.3], [-0.2, 0.5]], dtype=torch.float64))
    with pytest.raises(
        InputError, match=r"noise: got 'diagonal' with a diffusion of which an element depends on other"
    ):
        solved(full, y0)
    with pytest.raises(InputError, match="noise: got 'diagonal'"):
        solved(full.forward, y0)
    with pytest.raises(InputError, match="noise: got 'diagonal'"):
        solved(lambda t, y: y * y.mean(0), y0)  # mixes the batch
    solved(full, y0, is_mixing=True).check()
    solved(full, y0, noise="scalar", path=0).check()
    solved(Mixing(torch.diag(torch.tensor([1.0, 0.5], dtype=torch.float64))), y0).check()


def test_probe_looks_once_and_counts_nothing() -> None:
    calls = []

    def diffusion(t: Tensor, y: Tensor) -> Tensor:
        calls.append(t)
        return 0.1 * y

    y0 = torch.ones(3, 2, dtype=torch.float64)
    first, second = (solved(diffusion, y0).check().stats for _ in range(2))
    assert first.n_diffusion_evaluations == second.n_diffusion_evaluations
    assert len(calls) == 2 * first.n_diffusion_evaluations + 1


def test_additive_noise_does_not_depend_on_the_state() -> None:
    path = BrownianTree(0, (4, 2), 0.0, 1.0, dtype=torch.float64)
    with pytest.raises(InputError, match="noise: got 'additive' with a diffusion that depends on the state"):
        solve_sde(
            GENERAL.drift["ito"],
            GENERAL.diffusion,
            GENERAL.y0(4),
            0.0,
            1.0,
            path=path,
            noise="additive",
            settings=SolveSettings(EulerMaruyama(), ConstantStep(0.5)),
        )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"path": BrownianTree(0, (2, 2), 0.0, 1.0)},
            r"path: got one of torch\.float32 on cpu, allowed: torch\.float64",
        ),
        (
            {"path": BrownianTree(0, (3,), 0.0, 1.0, dtype=torch.float64)},
            r"path: got shape \(3,\) for diagonal noise, allowed: \(2, 2\), like y0",
        ),
        (
            {"path": BrownianTree(0, (2, 2), 0.0, 1.0, dtype=torch.float64), "noise": "scalar"},
            r"path: got shape \(2, 2\) for scalar noise, allowed: \(2, 1\), one motion",
        ),
        ({"path": 3, "noise": "general"}, "path: got a seed for 'general' noise, allowed: a BrownianTree of shape"),
        (
            {"path": BrownianTree(0, (2, 2), 0.0, 0.5, dtype=torch.float64)},
            r"allowed: times in order within the path's span from 0\.0 to 0\.5",
        ),
    ],
)
def test_what_cannot_be_solved_is_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        solved(lambda t, y: 0.1 * y, torch.ones(2, 2, dtype=torch.float64), **more)


@pytest.mark.parametrize(
    ("name", "allowed"), [("noise", "diagonal, scalar, additive, general"), ("calculus", "ito, st")]
)
def test_unknown_kinds_are_refused(name: str, allowed: str) -> None:
    unchecked = inspect.unwrap(SDETerm.__init__)  # by the types that the tests check
    path = BrownianTree(0, (2, 2), 0.0, 1.0)
    with pytest.raises(InputError, match=f"{name}: got 'white', allowed: {allowed}"):
        unchecked(object.__new__(SDETerm), lambda t, y: -y, lambda t, y: y, path, **{name: "white"})


def test_shapes_of_drift_and_diffusion_are_checked() -> None:
    y0 = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(InputError, match=r"diffusion of diagonal noise returned shape \(2, 1\) of"):
        solved(lambda t, y: y[:, :1], y0)
    with pytest.raises(InputError, match=r"drift returned shape \(2,\) of"):
        solve_sde(lambda t, y: y[0], lambda t, y: y, y0, 0.0, 1.0, path=0)
    chosen = SolveSettings(EulerMaruyama(), ConstantStep(0.5))
    with pytest.raises(
        InputError, match=r"diffusion of general noise returned \(2, 2, 5\) .* a column for each of the 2"
    ):
        solved(lambda t, y: torch.ones(2, 2, 5, dtype=y.dtype), y0, noise="general", settings=chosen)


def test_time_runs_forwards_states_are_tensors_and_nothing_is_charged() -> None:
    path = BrownianTree(0, (2, 2), 0.0, 1.0, dtype=torch.float64)
    term, y0 = tiny_term(TinyNet(), path), torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(InputError, match=r"t0, t1: got 1\.0, 0\.0 with an SDETerm, allowed: t0 <= t1"):
        solve(term, y0, 1.0, 0.0, settings=settings(0.1))
    with pytest.raises(InputError, match="y0: got a structure with an SDETerm"):
        solve(term, {"y": y0}, 0.0, 1.0, settings=settings(0.1))
    cost = RNODE().prepare((0.0, 1.0), torch.Generator().manual_seed(0)).running_cost
    with pytest.raises(InputError, match="running_cost: got one with an SDETerm"):
        solve(term, y0, 0.0, 1.0, settings=settings(0.1), running_cost=cost)
