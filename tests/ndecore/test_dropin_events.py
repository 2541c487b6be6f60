"""Events of a solution, and gradients through their times."""

import math
from collections.abc import Callable

import pytest
import torch
import torchdiffeq
from torch import Tensor, nn

import ndecore
from ndecore import odeint, odeint_adjoint, odeint_event
from ndecore.errors import InputError, SolveFailed

CALLS = (odeint, odeint_adjoint)


class Falling(nn.Module):
    """A ball: position and velocity under gravity."""

    def __init__(self) -> None:
        super().__init__()
        self.gravity = nn.Parameter(torch.tensor(9.8, dtype=torch.float64))

    def forward(self, t: Tensor, y: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return y[1], -self.gravity * torch.ones_like(y[1])


class Linear(nn.Module):
    """dy/dt = a."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([slope], dtype=torch.float64))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.slope.expand_as(y)


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("call", CALLS)
def test_time_and_state_of_a_fall_have_the_gradients_of_its_formula(call: Callable[..., object]) -> None:
    ball, height, t0 = Falling(), double(10.0), double(0.25)
    start = (height, torch.zeros_like(height))
    t, (position, velocity) = odeint_event(ball, start, t0, event_fn=lambda t, y: y[0], odeint_interface=call)
    g = 9.8
    torch.testing.assert_close(t.item(), 0.25 + math.sqrt(20 / g), rtol=1e-9, atol=0)
    assert position.shape == velocity.shape == (2,)
    torch.testing.assert_close(position[0], height)
    assert abs(position[1].item()) < 1e-8
    torch.testing.assert_close(velocity[1].item(), -math.sqrt(20 * g), rtol=1e-9, atol=0)
    inputs = [ball.gravity, height, t0]
    found = torch.autograd.grad(t, inputs, retain_graph=True)
    exact = [-0.5 * math.sqrt(20) * g**-1.5, 0.5 * math.sqrt(2 / g / 10), 1.0]
    torch.testing.assert_close([each.item() for each in found], exact, rtol=1e-7, atol=1e-9)
    found = torch.autograd.grad(velocity[1], inputs, retain_graph=True)
    exact = [-math.sqrt(20 / g) / 2, -math.sqrt(g / 20), 0.0]
    torch.testing.assert_close([each.item() for each in found], exact, rtol=1e-7, atol=1e-7)
    for each in torch.autograd.grad(position[1], inputs):  # on the ground, whatever changes
        assert abs(each.item()) < 1e-7


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("reverse", [False, True])
def test_event_of_time_and_state_with_parameters_of_its_own(call: Callable[..., object], reverse: bool) -> None:
    level, field = double(2.0), Linear(-1.5 if reverse else 1.5)
    y0 = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def event(t: Tensor, y: Tensor) -> Tensor:
        return y.mean() + 0.5 * torch.abs(t) - level

    t, ys = odeint_event(
        field, y0, torch.tensor(0.0).double(), event_fn=event, reverse_time=reverse, odeint_interface=call
    )
    sign = -1.0 if reverse else 1.0
    torch.testing.assert_close(t.item(), sign * 1.0, rtol=1e-9, atol=0)
    torch.testing.assert_close(ys[-1].detach(), torch.full((3,), 1.5).double(), rtol=1e-9, atol=0)
    to_level, to_y0 = torch.autograd.grad(t, [level, y0], retain_graph=True)
    torch.testing.assert_close(to_level.item(), sign * 0.5)
    torch.testing.assert_close(to_y0, torch.full((3,), -sign * 0.5 / 3).double())
    (to_level,) = torch.autograd.grad(ys[-1].sum(), level)
    torch.testing.assert_close(to_level.item(), 3 * 0.75)


def test_gradient_through_an_event_is_that_of_finite_differences() -> None:
    weight = torch.tensor([[0.1, 1.0], [-1.0, -0.1]], dtype=torch.float64, requires_grad=True)
    y0 = torch.tensor([1.0, 0.3], dtype=torch.float64, requires_grad=True)

    def solved(weight: Tensor, y0: Tensor) -> tuple[Tensor, Tensor]:
        options = {"rtol": 1e-11, "atol": 1e-11}
        t, ys = odeint_event(
            lambda t, y: torch.tanh(weight @ y),
            y0,
            torch.tensor(0.0).double(),
            event_fn=lambda t, y: y[0] - 0.2 * torch.sin(t),
            **options,
        )
        return t, ys[-1]

    assert torch.autograd.gradcheck(solved, (weight, y0), eps=1e-5, atol=1e-5, rtol=1e-4)


def test_first_of_several_events_is_found_whatever_its_sign() -> None:
    field, y0 = Linear(1.0), torch.zeros(1, dtype=torch.float64)
    t, _ = odeint_event(field, y0, torch.tensor(0.0).double(), event_fn=lambda t, y: torch.cat([y - 5, 2 - y, y + 1]))
    torch.testing.assert_close(t.item(), 2.0)


def test_event_far_beyond_the_second_time_is_found() -> None:
    y0, t = torch.ones(1, dtype=torch.float64), torch.tensor([0.0, 0.01]).double()
    at, ys = odeint(lambda t, y: -y, y0, t, event_fn=lambda t, y: y - 1e-3)
    torch.testing.assert_close(at.item(), math.log(1e3), rtol=1e-6, atol=0)
    assert ys.shape == (2, 1)


def test_value_that_is_zero_at_the_start_is_no_event_until_it_returns() -> None:
    ball = Falling()
    start = (torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
    t, _ = odeint_event(ball, start, torch.tensor(0.0).double(), event_fn=lambda t, y: y[0])
    torch.testing.assert_close(t.item(), 2 / 9.8, rtol=1e-8, atol=0)


def test_bouncing_ball_is_that_of_torchdiffeq_through_several_bounces() -> None:
    def bounced(call: Callable[..., object]) -> tuple[Tensor, Tensor]:
        ball = Falling()
        t, y = torch.tensor(0.0).double(), (double(10.0), torch.zeros((), dtype=torch.float64))
        for _ in range(3):
            t, ys = call(ball, y, t, event_fn=lambda t, y: y[0], atol=1e-8, rtol=1e-8)
            y = (ys[0][-1] + 1e-7, -0.9 * ys[1][-1])
        return t, *torch.autograd.grad(t, ball.gravity)

    for ours, theirs in zip(bounced(odeint_event), bounced(torchdiffeq.odeint_event), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("method", "options"), [("rk4", {"step_size": 0.1}), ("tsit5", None), ("bosh3", None)])
def test_event_is_found_by_any_method(method: str, options: object) -> None:
    y0, t0 = torch.ones(1, dtype=torch.float64), torch.tensor(0.0).double()
    t, _ = odeint_event(
        lambda t, y: -y, y0, t0, event_fn=lambda t, y: y - 0.5, method=method, options=options, rtol=1e-7
    )
    torch.testing.assert_close(t.item(), math.log(2), rtol=1e-4, atol=0)


def test_without_gradients_or_parameters_an_event_has_none() -> None:
    y0, t0 = torch.ones(1, dtype=torch.float64), torch.tensor(0.0).double()
    t, ys = odeint_event(lambda t, y: -y, y0, t0, event_fn=lambda t, y: y - 0.5)
    assert not t.requires_grad
    assert not ys.requires_grad
    with torch.no_grad():
        t, _ = odeint_event(Falling(), (double(1.0), double(0.0)), t0, event_fn=lambda t, y: y[0])
    assert not t.requires_grad


@pytest.mark.filterwarnings("ignore::ndecore.errors.RoundingWarning")  # the fall is solved without error
def test_observed_event_counts_the_solve_that_leads_to_it() -> None:
    ball = Falling()
    start = (double(10.0), double(0.0))
    with ndecore.observe(penalties=[ndecore.GlobalError()]) as solves:
        t, _ = odeint_event(ball, start, torch.tensor(0.0).double(), event_fn=lambda t, y: y[0])
    assert len(solves) == 1
    assert solves[0].solution.t1 == pytest.approx(t.item())
    assert solves.penalties.shape == (1,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"t": torch.tensor([0.0, 1.0, 2.0])}, "got 3 times with event_fn"),
        ({"options": {"jump_t": torch.tensor([0.5])}}, "'jump_t' with event_fn"),
        ({"method": "rk4"}, "no step_size with event_fn"),
    ],
)
def test_what_is_not_offered_with_an_event_is_refused(call: dict, message: str) -> None:
    t = call.pop("t", torch.tensor([0.0, 1.0]))
    with pytest.raises(InputError, match=message):
        odeint(lambda t, y: -y, torch.ones(1), t, event_fn=lambda t, y: y - 0.5, **call)


def test_event_that_never_comes_is_a_failed_solve() -> None:
    t0 = torch.tensor(0.0)
    with pytest.raises(SolveFailed, match="no event until"):
        odeint_event(
            lambda t, y: -y, torch.ones(1), t0, event_fn=lambda t, y: y + 1, options={"max_num_steps": 20}, atol=1e-3
        )


def test_second_derivative_through_an_event_is_refused() -> None:
    t, _ = odeint_event(
        Falling(), (double(10.0), double(0.0)), torch.tensor(0.0).double(), event_fn=lambda t, y: y[0] - 1
    )
    height = double(10.0)
    t, _ = odeint_event(Falling(), (height, double(0.0)), torch.tensor(0.0).double(), event_fn=lambda t, y: y[0])
    with pytest.raises(InputError, match="create_graph"):
        torch.autograd.grad(t, height, create_graph=True)
