"""Tolerances by part and by element, and norms that do not let a large part hide a small one."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.norms import rms_norm
from ndecore.running_cost import RunningCost
from ndecore.solving import solve

OURS = ("tape", "checkpointed", "interpolating")
ADJOINTS = (*OURS, "torchdiffeq", "torchdiffeq_adjoint")


class SlowAndFast(nn.Module):
    """A large slow part and a small fast one, both known exactly."""

    rates = (-0.1, -20.0)

    def forward(self, t: Tensor, y: Any) -> Any:
        return tuple(rate * part for rate, part in zip(self.rates, y, strict=True))


def start() -> tuple[Tensor, Tensor]:
    return torch.ones(8, 784, dtype=torch.float64), torch.ones(8, 1, dtype=torch.float64)


def error_of_the_small_part(**more: Any) -> float:
    solution = solve(SlowAndFast(), start(), 0.0, 0.2, rtol=1e-4, atol=1e-4, **more)
    return (solution.y1[1] - math.exp(-4)).abs().max().item() / 1e-4


@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_norm_by_parts_does_not_let_a_large_part_hide_a_small_one(adjoint: str) -> None:
    assert error_of_the_small_part(adjoint=adjoint, norm="parts") < 0.5


def test_one_rms_over_everything_hides_it() -> None:
    assert error_of_the_small_part() > 4.0


def test_norm_may_be_a_function_of_what_is_built_like_the_state() -> None:
    seen = []

    def largest(error: Any) -> Tensor:
        seen.append([tuple(part.shape) for part in error])
        return max(rms_norm(part) for part in error)

    own = error_of_the_small_part(norm=largest)
    assert own == error_of_the_small_part(norm="parts")
    assert seen[0] == [(8, 784), (8, 1)]
    shapes = []
    solve(lambda t, y: -y, torch.ones(2, 3), 0.0, 1.0, norm=lambda e: (shapes.append(tuple(e.shape)), rms_norm(e))[1])
    assert set(shapes) == {(2, 3)}


def test_norm_by_parts_of_one_tensor_is_the_plain_one() -> None:
    y0 = torch.ones(3)
    plain, parts = (solve(lambda t, y: -y, y0, 0.0, 1.0, norm=norm) for norm in ("rms", "parts"))
    assert torch.equal(plain.records.error_ratio, parts.records.error_ratio)


@pytest.mark.parametrize("adjoint", OURS)
def test_tolerance_may_be_one_for_each_element(adjoint: str) -> None:
    rates = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64)
    y0 = torch.ones(3, dtype=torch.float64, requires_grad=True)
    tight, loose = torch.full((3,), 1e-9), torch.tensor([1e-2, 1e-9, 1e-2])
    found = [
        solve(lambda t, y: rates * y, y0, 0.0, 1.0, rtol=tol, atol=tol, adjoint=adjoint, parameters=())
        for tol in (1e-9, tight, loose)
    ]
    same = found[0].stats.n_accepted, found[1].stats.n_accepted
    assert same[0] == same[1] > found[2].stats.n_accepted
    assert (found[2].y1 - torch.exp(rates))[1].abs() < 1e-8
    (slopes,) = torch.autograd.grad(found[1].y1.sum(), y0)
    torch.testing.assert_close(slopes, torch.exp(rates), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_tolerance_may_be_one_for_each_part(adjoint: str) -> None:
    y0 = {"slow": torch.ones(50, dtype=torch.float64), "fast": torch.ones(2, dtype=torch.float64)}

    class Field(nn.Module):
        def forward(self, t: Tensor, y: Any) -> Any:
            return {"slow": -0.1 * y["slow"], "fast": -9 * y["fast"]}

    def error(**more: Any) -> float:
        solution = solve(Field(), y0, 0.0, 1.0, adjoint=adjoint, **more)
        return (solution.y1["fast"] - math.exp(-9)).abs().max().item()

    loose = {"slow": 1e-3, "fast": torch.tensor([1e-3, 1e-3])}
    tight = {"fast": 1e-9, "slow": 1e-3}
    assert error(rtol=tight, atol=tight) < 1e-8 < error(rtol=loose, atol=loose)


@pytest.mark.parametrize("adjoint", OURS)
def test_absolute_tolerance_may_be_nothing(adjoint: str) -> None:
    y0 = torch.tensor([1e-12, 1.0, 0.0], dtype=torch.float64, requires_grad=True)
    solution = solve(lambda t, y: -5 * y, y0, 0.0, 2.0, rtol=1e-6, atol=0, adjoint=adjoint, parameters=())
    torch.testing.assert_close(solution.y1, y0 * math.exp(-10), rtol=1e-4, atol=0)
    (slopes,) = torch.autograd.grad(solution.y1.sum(), y0)
    torch.testing.assert_close(slopes, torch.full_like(y0, math.exp(-10)), rtol=1e-2, atol=0)
    assert solve(lambda t, y: torch.ones_like(y), 0 * y0, 0.0, 1.0, rtol=1e-6, atol=0).y1.isfinite().all()
    with pytest.raises(InputError, match="rtol, atol: got 0 and 0"):
        SolveSettings(rtol=0, atol=0)
    with pytest.raises(InputError, match="rtol, atol: got 0 and 0"):
        solve(lambda t, y: -y, y0, 0.0, 2.0, rtol=torch.tensor([1.0, 0, 0]), atol=0)


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_records_by_parts_are_differentiated(adjoint: str) -> None:
    rate = torch.tensor(-3.0, dtype=torch.float64, requires_grad=True)
    y0 = (torch.ones(5, dtype=torch.float64), torch.ones(1, dtype=torch.float64))

    def ratios(value: Tensor, dts: Any = None) -> Tensor:
        settings = SolveSettings(rtol=1e-4, atol=1e-4, norm="parts")
        more = {} if dts is None else {"controller": StepTo(tuple(dts.tolist()))}
        solution = solve(
            lambda t, y: (value * y[0] * y[0], torch.sin(value * y[1])), y0, 0.0, 1.0, settings=settings,
            adjoint=adjoint, parameters=[rate], differentiable_records=True, **more,
        )  # fmt: skip
        return solution.records if dts is None else solution.records.error_ratio.sum()

    records = ratios(rate)
    assert (records.error_ratio < 1).all()
    (slope,) = torch.autograd.grad(records.error_ratio.sum(), rate)
    h = 1e-6
    with torch.no_grad():
        above, below = ratios(rate + h, records.dt), ratios(rate - h, records.dt)
    assert slope.item() == pytest.approx(((above - below) / (2 * h)).item(), rel=1e-4)


class Kinetic(RunningCost):
    n_costs = 1

    def __call__(self, t: Tensor, y: Tensor, slope: Tensor) -> Tensor:
        return slope.square().sum().reshape(1)


@pytest.mark.parametrize("adjoint", ADJOINTS)
def test_running_costs_stay_outside_of_tolerances_by_element(adjoint: str) -> None:
    class Decay(nn.Module):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return -y

    tolerances = torch.full((2, 2), 1e-6)
    y0 = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    found = solve(Decay(), y0, 0.0, 1.0, rtol=tolerances, atol=tolerances, running_cost=Kinetic(), adjoint=adjoint)
    assert found.costs.item() == pytest.approx(2 * (1 - math.exp(-2)), abs=1e-4)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rtol": torch.ones(5)}, r"rtol: got \(5,\) for a part of shape \(3,\)"),
        ({"atol": (1e-3, 1e-3)}, r"atol: got \(2,\) for a part"),
        ({"rtol": torch.tensor([1.0, -1.0, 1.0])}, "rtol: got a tensor with other numbers"),
        ({"norm": "max"}, "norm: got 'max', allowed: rms, parts"),
    ],
)
def test_wrong_tolerance_is_named(more: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve(lambda t, y: -y, torch.ones(3), 0.0, 1.0, **more)


def test_tolerances_that_are_not_built_like_the_state_are_named() -> None:
    y0 = (torch.ones(2), torch.ones(3))
    with pytest.raises(InputError, match=r"rtol: got .* allowed: a number, or what is built like y0"):
        solve(lambda t, y: y, y0, 0.0, 1.0, rtol=(1e-3, 1e-3, 1e-3))


def test_settings_with_tensors_are_compared_by_their_elements() -> None:
    one, other = (SolveSettings(rtol=torch.tensor([1e-3, value])) for value in (1.0, 2.0))
    assert one == SolveSettings(rtol=torch.tensor([1e-3, 1.0])) != other
    assert hash(one) == hash(SolveSettings(rtol=torch.tensor([1e-3, 1.0])))
