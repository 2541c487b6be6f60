"""What the adaptive solver returns, against other solvers, closed forms and itself."""

from itertools import pairwise

import hypothesis.strategies as st
import pytest
import torch
import torchdiffeq
from hypothesis import given
from initial_value_problems import PROBLEMS, Problem, linear, lotka_volterra
from torch import Tensor

from ndecore.controllers.base import Controller
from ndecore.controllers.integral import IController
from ndecore.controllers.proportional_integral import PIController
from ndecore.integrate import SolveSettings
from ndecore.norms import error_ratio
from ndecore.solution import Solution, StepRecords
from ndecore.solvers.dop853 import DOP853
from ndecore.solving import solve

BOTH_WAYS = [way for problem in PROBLEMS for way in (problem, problem.reversed())]
TOLERANCES = (1e-4, 1e-6, 1e-8, 1e-10)


def allowed(problem: Problem) -> float:
    """How many tolerances a solution may be off: a tolerance bounds one step, and the problem amplifies what adds up.

    Backwards in time the limit cycle of van der Pol repels: errors grow by an order of magnitude on this span.
    """
    return 15.0 if problem.name == "van-der-pol-backwards" else 5.0


def solve_to(problem: Problem, tolerance: float, controller: Controller | None = None) -> Solution:
    settings = SolveSettings(controller=controller or IController(), rtol=tolerance, atol=tolerance)
    ts = torch.linspace(problem.t0, problem.t1, 17, dtype=torch.float64).tolist()
    return solve(problem.field, problem.start(), problem.t0, problem.t1, settings=settings, ts=ts).check()


def same(left: StepRecords, right: StepRecords) -> bool:
    names = ("t", "dt", "error_ratio", "error", "stiffness")
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in names)


@pytest.mark.parametrize("controller", [IController(), PIController()], ids=["i", "pi"])
@pytest.mark.parametrize("problem", BOTH_WAYS, ids=lambda problem: problem.name)
def test_solution_agrees_with_an_eighth_order_method_within_the_tolerance(
    problem: Problem, controller: Controller
) -> None:
    for tolerance in TOLERANCES:
        solution = solve_to(problem, tolerance, controller)
        exact = problem.reference(list(solution.ts))
        assert error_ratio(solution.ys - exact, exact, exact, tolerance, tolerance).item() < allowed(problem)


@pytest.mark.parametrize("problem", BOTH_WAYS, ids=lambda problem: problem.name)
def test_solution_agrees_with_dopri5_of_torchdiffeq(problem: Problem) -> None:
    solution = solve_to(problem, 1e-8)
    ts = torch.tensor(solution.ts, dtype=torch.float64)
    other = torchdiffeq.odeint(problem.field, problem.start(), ts, rtol=1e-8, atol=1e-8, method="dopri5")
    torch.testing.assert_close(solution.ys, other, rtol=1e-6, atol=1e-6)


def test_single_precision_keeps_its_type_and_reaches_its_tolerance() -> None:
    for problem in PROBLEMS:
        settings = SolveSettings(rtol=1e-5, atol=1e-5)
        solution = solve(problem.field, problem.start(torch.float32), problem.t0, problem.t1, settings=settings)
        assert solution.check().y1.dtype == solution.records.error_ratio.dtype == torch.float32
        exact = problem.reference([problem.t1])[0]
        assert error_ratio(solution.y1 - exact, exact, exact, 1e-5, 1e-5).item() < allowed(problem)


@given(seed=st.integers(0, 10_000), size=st.integers(1, 4), span=st.floats(0.1, 5.0))
def test_stable_linear_systems_agree_with_the_matrix_exponential(seed: int, size: int, span: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    matrix = torch.randn(size, size, generator=draw, dtype=torch.float64)
    growth = torch.linalg.eigvalsh((matrix + matrix.T) / 2).max()
    matrix -= (growth + 0.1) * torch.eye(size, dtype=torch.float64)  # now no solution grows
    start = torch.randn(size, generator=draw, dtype=torch.float64)
    solution = solve(lambda t, y: matrix @ y, start, 0.0, span).check()
    exact = torch.linalg.matrix_exp(span * matrix) @ start
    assert (solution.y1 - exact).norm() <= 1e-6 * solution.stats.n_accepted * (1 + start.norm())


@given(a=st.floats(-10, 10), b=st.floats(-10, 10), seed=st.integers(0, 1000))
def test_superposition_holds_for_linear_equations(a: float, b: float, seed: int) -> None:
    left, right = torch.randn(2, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    settings = SolveSettings(DOP853(), rtol=1e-9, atol=1e-9)

    def end(start: Tensor) -> Tensor:
        return solve(linear, start, 0.0, 2.0, settings=settings).check().y1

    torch.testing.assert_close(end(a * left + b * right), a * end(left) + b * end(right), rtol=1e-7, atol=1e-7)


grids = st.lists(st.floats(0.0, 2.0), max_size=12).map(sorted)


@given(first=grids, second=grids)
def test_output_times_change_neither_the_steps_nor_one_another(first: list[float], second: list[float]) -> None:
    start = torch.tensor([1.0, 1.0], dtype=torch.float64)
    plain, some, more = (
        solve(lotka_volterra, start, 0.0, 2.0, ts=ts).check() for ts in ([], first, sorted(first + second))
    )
    assert same(plain.records, some.records)
    assert same(plain.records, more.records)
    assert plain.stats == some.stats == more.stats
    assert some.ys.shape == (len(first), 2)
    for t in first:
        torch.testing.assert_close(some.at(t), more.at(t), rtol=1e-13, atol=1e-13)


@given(problem=st.sampled_from(BOTH_WAYS), fraction=st.floats(0, 1))
def test_solution_at_any_time_is_as_accurate_as_at_the_end(problem: Problem, fraction: float) -> None:
    t = problem.t0 + fraction * (problem.t1 - problem.t0)
    solution = solve(problem.field, problem.start(), problem.t0, problem.t1, ts=[t]).check()
    exact = problem.reference([t])[0]
    assert error_ratio(solution.at(t) - exact, exact, exact, 1e-6, 1e-6).item() < allowed(problem)


def test_outputs_at_the_ends_of_steps_are_the_states_there_and_may_repeat() -> None:
    start = torch.tensor([1.0, 1.0], dtype=torch.float64)
    ends = solve(lotka_volterra, start, 0.0, 2.0).records.t.tolist()
    ts = [0.0, *ends, 2.0, 2.0]
    solution = solve(lotka_volterra, start, 0.0, 2.0, ts=ts).check()
    assert torch.equal(solution.ys[0], start)
    assert torch.equal(solution.ys[1], start)
    assert torch.equal(solution.ys[-1], solution.y1)
    assert torch.equal(solution.ys[-2], solution.y1)


def test_dense_output_is_continuous_where_steps_meet() -> None:
    start = torch.tensor([1.0, 1.0], dtype=torch.float64)
    meets = solve(lotka_volterra, start, 0.0, 2.0).records.t.tolist()[1:]
    ts = sorted(t + side for t in meets for side in (-1e-9, 1e-9))
    around = solve(lotka_volterra, start, 0.0, 2.0, ts=ts).check().ys
    for before, after in list(pairwise(around))[::2]:
        torch.testing.assert_close(before, after, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (2, 1, 2, 2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_states_of_any_shape_are_solved_in_that_shape(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    start = torch.ones(shape, dtype=dtype)
    solution = solve(lambda t, y: -y, start, 0.0, 1.0, ts=[0.5, 1.0]).check()
    torch.testing.assert_close(solution.y1, torch.exp(-start), rtol=1e-5, atol=1e-5)
    assert solution.ys.shape == (2, *shape)
    assert solution.ys.dtype == dtype


def test_a_state_that_is_not_contiguous_is_solved_like_its_copy() -> None:
    start = torch.arange(6.0, dtype=torch.float64).reshape(2, 3).T
    ends = [solve(lambda t, y: -y, y0, 0.0, 1.0).check().y1 for y0 in (start, start.contiguous())]
    assert torch.equal(*ends)


def test_batch_members_that_are_alike_stay_alike() -> None:
    single = torch.tensor([[1.0, 1.0]], dtype=torch.float64)

    def batched(t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([1.5 * y[:, 0] - y[:, 0] * y[:, 1], y[:, 0] * y[:, 1] - 3 * y[:, 1]], 1)

    alone = solve(batched, single, 0.0, 2.0).check()
    together = solve(batched, single.expand(5, 2), 0.0, 2.0).check()
    assert together.stats == alone.stats
    torch.testing.assert_close(together.y1, alone.y1.expand(5, 2), rtol=1e-12, atol=1e-12)
