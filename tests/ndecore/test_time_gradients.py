"""Gradients to t0, t1 and the output times; fields that an adjoint cannot, or must not, evaluate twice."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from ndecore.adjoints import ADJOINTS
from ndecore.errors import InputError
from ndecore.running_cost import RunningCost
from ndecore.solving import solve, solve_sde

REPLAYING = ("checkpointed", "interpolating", "torchdiffeq_adjoint")
TIGHT = {"rtol": 1e-9, "atol": 1e-9}


class Forced(nn.Module):
    """A field that depends on time and mixes the states."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.stack([y[1] * torch.cos(2 * t), -self.rate * y[0] * y[1]])


def double(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_gradients_to_every_time_pass_gradcheck(adjoint: str) -> None:
    field = Forced()

    def solved(t0: Tensor, t1: Tensor, ts: Tensor, y0: Tensor) -> tuple[Tensor, Tensor]:
        solution = solve(field, y0, t0, t1, ts=ts, adjoint=adjoint, **TIGHT)
        return solution.y1, solution.ys

    times = double(0.2), double(1.1), double([0.4, 0.9])
    assert gradcheck(solved, (*times, double([1.0, -0.5])), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("adjoint", ["tape", "checkpointed"])
def test_times_go_backwards_alone_and_in_sequences_too(adjoint: str) -> None:
    y0 = torch.tensor([1.0, -0.5], dtype=torch.float64)  # which itself needs no gradient

    def solved(t1: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
        solution = solve(Forced(), y0, 1.0, t1, ts=[1.0, inner, 0.4], adjoint=adjoint, **TIGHT)
        return solution.y1, solution.ys

    assert gradcheck(solved, (double(0.3), double(0.7)), atol=1e-5, rtol=1e-4)


def test_running_costs_and_structures_have_gradients_to_times_too() -> None:
    class Square(RunningCost):
        n_costs = 1

        def __call__(self, t: Tensor, y: Tensor, slope: Tensor) -> Tensor:
            return y.square().sum().reshape(1)

    t0, t1, y0 = double(0.0), double(1.0), torch.ones(1, dtype=torch.float64)
    costs = solve(lambda t, y: -y, y0, t0, t1, running_cost=Square(), **TIGHT).costs
    to_start, to_end = torch.autograd.grad(costs.sum(), [t0, t1])
    assert to_end.item() == pytest.approx(math.exp(-2), rel=1e-6)
    assert to_start.item() == pytest.approx(-math.exp(-2), rel=1e-6)
    end = solve(lambda t, y: (-y[0], y[1] * 2), (y0, y0), 0.0, t1, **TIGHT).y1
    (slope,) = torch.autograd.grad(end[0].sum() + end[1].sum(), t1)
    assert slope.item() == pytest.approx(2 * math.exp(2) - math.exp(-1), rel=1e-6)


def test_second_derivative_to_the_end_is_right() -> None:
    t1, rate = double(0.8), double(-1.5)
    end = solve(lambda t, y: rate * y, torch.ones((), dtype=torch.float64), 0.0, t1, **TIGHT).y1
    (slope,) = torch.autograd.grad(end, t1, create_graph=True)
    by_time, by_rate = torch.autograd.grad(slope, [t1, rate])
    exact = math.exp(-1.5 * 0.8)
    assert slope.item() == pytest.approx(-1.5 * exact, rel=1e-6)
    assert by_time.item() == pytest.approx(2.25 * exact, rel=1e-6)
    assert by_rate.item() == pytest.approx((1 - 1.5 * 0.8) * exact, rel=1e-6)


def test_float32_times_get_gradients_of_their_own_type() -> None:
    t1 = torch.tensor(0.3, requires_grad=True)
    solve(lambda t, y: -y, torch.ones(1), 0.0, t1).y1.sum().backward()
    assert t1.grad is not None
    assert t1.grad.dtype is torch.float32
    assert t1.grad.item() == pytest.approx(-math.exp(-0.3), rel=1e-5)


def test_times_whose_gradient_would_be_lost_are_refused() -> None:
    t1 = torch.tensor(1.0, requires_grad=True)
    with pytest.raises(InputError, match="got one that requires a gradient with an SDETerm"):
        solve_sde(lambda t, y: -y, lambda t, y: 0.1 * y, torch.ones(1), 0.0, t1, path=1)
    with pytest.raises(InputError, match="differentiable_records: got true and a time"):
        solve(lambda t, y: -y, torch.ones(1), 0.0, t1, differentiable_records=True)


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(4, 4), nn.Dropout(0.5)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.drop(torch.tanh(self.layer(y)))


@pytest.mark.parametrize("adjoint", REPLAYING)
def test_random_field_is_refused_where_its_gradient_would_be_that_of_another(adjoint: str) -> None:
    field, more = Dropped(), {"adjoint": adjoint, "rtol": 0.1, "atol": 0.1}
    with pytest.raises(InputError, match="draws random numbers"):
        solve(field, torch.ones(2, 4), 0.0, 1.0, **more)
    with torch.no_grad():
        solve(field, torch.ones(2, 4), 0.0, 1.0, **more)
    solve(field.eval(), torch.ones(2, 4), 0.0, 1.0, **more)


def test_tape_takes_random_fields_and_others_drawing_meanwhile_are_not_blamed_on_the_field() -> None:
    solve(Dropped(), torch.ones(2, 4), 0.0, 1.0, rtol=0.5, atol=0.5)

    def watch(t: float, y: Tensor) -> None:
        torch.rand(1)

    solve(Dropped().eval(), torch.ones(2, 4), 0.0, 1.0, adjoint="checkpointed", watch=watch)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(self.norm(self.layer(y)))


@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_batch_norm_counts_the_evaluations_of_the_solve_alone(adjoint: str) -> None:
    field = Normed()
    y0 = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    solution = solve(field, y0, 0.0, 1.0, adjoint=adjoint, rtol=1e-3, atol=1e-3)
    count, mean = field.norm.num_batches_tracked.item(), field.norm.running_mean.clone()
    assert count == solution.stats.n_evaluations
    solution.y1.square().sum().backward()
    assert field.norm.num_batches_tracked.item() == count
    assert torch.equal(field.norm.running_mean, mean)
    assert field.layer.weight.grad is not None
