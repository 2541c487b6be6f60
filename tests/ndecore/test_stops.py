"""Steps that end where they are told, fields that jump, the first and the largest step, and the solution afterwards."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.running_cost import RunningCost
from ndecore.solving import solve, solve_sde
from ndecore.status import Status

OURS = ("tape", "checkpointed", "interpolating")
TIGHT = {"rtol": 1e-8, "atol": 1e-8}
ONE = torch.ones(1, dtype=torch.float64)


class Jumping(nn.Module):
    """dy/dt = a y before t = 1/3, and b y behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.behind = (nn.Parameter(torch.tensor(x, dtype=torch.float64)) for x in (1.0, -2.0))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t < 1 / 3, self.before, self.behind) * y


def steps_of(solution: Any) -> list[float]:
    return solution.records.t.tolist()


@pytest.mark.parametrize("adjoint", OURS)
def test_steps_end_where_they_are_told_and_are_not_kept_small_behind_it(adjoint: str) -> None:
    plain = solve(lambda t, y: -y, ONE, 0.0, 2.0, **TIGHT)
    told = solve(lambda t, y: -y, ONE, 0.0, 2.0, step_t=[1.0, 0.123, 5.0, 1.5], adjoint=adjoint, parameters=(), **TIGHT)
    assert {0.123, 1.0, 1.5} <= set(steps_of(told))
    assert told.stats.n_accepted <= plain.stats.n_accepted + 4
    assert told.stats.n_evaluations == 2 + 6 * (told.stats.n_accepted + told.stats.n_rejected)
    torch.testing.assert_close(told.y1, ONE * math.exp(-2), rtol=1e-7, atol=0)


@pytest.mark.parametrize("adjoint", [*OURS, "torchdiffeq", "torchdiffeq_adjoint"])
@pytest.mark.parametrize("direction", [1, -1])
def test_field_that_jumps_is_solved_and_differentiated_in_pieces(adjoint: str, direction: int) -> None:
    field, y0 = Jumping(), ONE.clone().requires_grad_()
    t0, t1 = (0.0, 1.0)[::direction]
    solution = solve(
        field, y0, t0, t1, jump_t=torch.tensor([1 / 3], dtype=torch.float64), ts=[0.5], adjoint=adjoint, **TIGHT
    )
    assert solution.stats.n_rejected <= 1  # behind the jump, where a step is too long that was not before
    exact = math.exp(direction * (1 / 3 - 2 * 2 / 3))
    assert solution.y1.item() == pytest.approx(exact, rel=1e-6)
    middle = math.exp(1 / 3 - 2 * (0.5 - 1 / 3)) if direction == 1 else math.exp(2 * 0.5)
    assert solution.ys[0].item() == pytest.approx(middle, rel=1e-6)
    found = torch.autograd.grad(solution.y1.sum(), [y0, field.before, field.behind])
    wanted = exact, direction * exact / 3, direction * exact * 2 / 3
    assert [x.item() for x in found] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_many_jumps_have_the_same_gradient_by_tape_and_checkpoints_records_included(adjoint: str) -> None:
    field, y0 = Jumping(), torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
    found = solve(
        lambda t, y: torch.where((3 * t).long() % 2 == 0, field.before, field.behind) * torch.sin(y), y0, 0.0, 3.0,
        jump_t=[i / 3 for i in range(10)], ts=[0.1, 2.9], differentiable_records=True, adjoint=adjoint,
        parameters=list(field.parameters()), rtol=1e-5, atol=1e-5,
    )  # fmt: skip
    assert found.stats.n_evaluations == 2 + 8 + 6 * (found.stats.n_accepted + found.stats.n_rejected)
    value = found.y1.sum() + found.ys.square().sum() + found.records.error.sum() * 1e3 + found.records.stiffness.sum()
    slopes = torch.autograd.grad(value, [y0, field.before, field.behind])
    _SEEN.setdefault("slopes", slopes)
    for own, first in zip(slopes, _SEEN["slopes"], strict=True):
        torch.testing.assert_close(own, first, rtol=1e-9, atol=1e-9)


_SEEN: dict[str, tuple[Tensor, ...]] = {}


def test_jump_costs_no_rejections_in_float32_either() -> None:
    def field(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t <= 0.7, 1.0, -1.0) * torch.ones_like(y)

    told = solve(field, torch.zeros(1), 0.0, 1.0, jump_t=[0.7], rtol=1e-6, atol=1e-6)
    untold = solve(field, torch.zeros(1), 0.0, 1.0, rtol=1e-6, atol=1e-6)
    assert told.stats.n_rejected == 0 < untold.stats.n_rejected
    assert told.y1.item() == pytest.approx(0.4, abs=1e-5)


def test_largest_step_bounds_them_all_and_the_first_is_as_given() -> None:
    free = solve(lambda t, y: -y, ONE, 0.0, 10.0, rtol=1e-3, atol=1e-3)
    assert free.records.dt.max() > 0.5
    bounded = solve(lambda t, y: -y, ONE, 0.0, -10.0, rtol=1e-3, atol=1e-3, max_step=0.25)
    assert bounded.records.dt.abs().max() <= 0.25 * (1 + 1e-12)
    first = solve(lambda t, y: -y, ONE, 0.0, 10.0, rtol=1e-3, atol=1e-3, first_step=0.0625)
    assert first.records.dt[0].item() == 0.0625
    assert first.stats.n_evaluations == 1 + 6 * (first.stats.n_accepted + first.stats.n_rejected)


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_first_and_largest_step_reach_every_adaptive_method(adjoint: str) -> None:
    y0 = ONE.clone().requires_grad_()
    solution = solve(lambda t, y: -y, y0, 0.0, 1.0, adjoint=adjoint, parameters=(), first_step=0.01, max_step=0.125)
    assert solution.records.dt[0].item() == pytest.approx(0.01)
    assert solution.records.dt.max() <= 0.1251
    (slope,) = torch.autograd.grad(solution.y1.sum(), y0)
    assert slope.item() == pytest.approx(math.exp(-1), rel=1e-4)


@pytest.mark.parametrize("solver", ["tsit5", "dop853"])
def test_solution_is_known_at_any_time_afterwards_with_gradients(solver: str) -> None:
    rate = torch.tensor(-1.5, dtype=torch.float64, requires_grad=True)
    solution = solve(lambda t, y: rate * y, ONE, 0.0, 2.0, dense=True, solver=solver, **TIGHT)
    for t in (0.1, 0.3, torch.tensor(1.7), 2.0):
        value = solution.interpolate(t)
        assert value.item() == pytest.approx(math.exp(-1.5 * float(t)), rel=1e-6)
        (slope,) = torch.autograd.grad(value.sum(), rate, retain_graph=True, materialize_grads=True)
        assert slope.item() == pytest.approx(float(t) * math.exp(-1.5 * float(t)), rel=1e-5)
    with pytest.raises(InputError, match=r"got \(2.1,\), allowed: times sorted from t0 = 0.0 to t1 = 2.0"):
        solution.interpolate(2.1)


def test_dense_output_keeps_structures_and_ends_where_a_failed_solve_did() -> None:
    def breaks(t: Tensor, y: Any) -> Any:
        return {"a": torch.where(t > 0.5, math.nan, -y["a"])}

    with torch.no_grad():
        solution = solve(breaks, {"a": ONE}, 0.0, 1.0, dense=True, throw=False, adjoint="checkpointed", parameters=())
    assert solution.status is Status.NON_FINITE
    assert solution.interpolate(0.25)["a"].item() == pytest.approx(math.exp(-0.25), rel=1e-5)
    with pytest.raises(InputError, match="allowed: times sorted"):
        solution.interpolate(0.9)


class Kinetic(RunningCost):
    n_costs = 1

    def __call__(self, t: Tensor, y: Tensor, slope: Tensor) -> Tensor:
        return slope.square().sum().reshape(1)


def test_dense_output_beside_a_running_cost_is_of_the_state() -> None:
    solution = solve(lambda t, y: -y, ONE, 0.0, 1.0, dense=True, running_cost=Kinetic())
    assert solution.interpolate(0.5).shape == (1,)


def test_what_cannot_be_given_is_refused() -> None:
    plain = solve(lambda t, y: -y, ONE, 0.0, 1.0)
    with pytest.raises(InputError, match="without dense output"):
        plain.interpolate(0.5)
    for adjoint in ("checkpointed", "interpolating", "torchdiffeq"):
        with pytest.raises(InputError, match="dense: got true with"):
            solve(lambda t, y: -y, ONE, 0.0, 1.0, dense=True, adjoint=adjoint, parameters=())
    for wrong in ({"first_step": 0.0}, {"first_step": math.inf}, {"max_step": -1.0}, {"max_step": math.nan}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}: got"):
            SolveSettings(**wrong)
    with pytest.raises(InputError, match="step_t, jump_t, first_step, max_step: got one with Torchsde"):
        solve_sde(lambda t, y: -y, lambda t, y: y, torch.ones(1, 1), 0.0, 1.0, path=1, adjoint="torchsde", max_step=0.1)


def test_stochastic_solve_ends_its_steps_where_it_is_told() -> None:
    found = solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, torch.ones(2), 0.0, 1.0, path=1, max_step=0.1)
    assert found.records.dt.max() <= 0.1 + 1e-9
