"""Programs written for torchdiffeq, run with its functions and with ours: short solves, events, a flow."""

from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torchdiffeq
from torch import Tensor, nn

from ndecore import dropin
from studies.benchmarks.timing import Spread, race

_BOUNCES = 3
_GRAVITY, _DRAG, _RESTITUTION = 9.8, 0.1, 0.8
_ABOVE = 1e-4  # the floor, where a ball that has bounced goes on: on it the next bounce would be at once


def program_ratios(rounds: int, device: str) -> dict[str, Spread]:
    """The time of each program with `ndecore` over that with torchdiffeq, one import changed."""
    found = {}
    for text, program in _programs(device).items():
        variants = {"ours": partial(program, dropin), "theirs": partial(program, torchdiffeq)}
        found[text] = race(variants, rounds, device).ratio("ours", "theirs")
    return found


def _programs(device: str) -> dict[str, Callable[[Any], object]]:
    flow = _Flow().to(device)
    points = torch.randn(512, 2, generator=torch.Generator().manual_seed(1)).to(device)
    return {
        "bouncing ball, a loop of short solves that halves the step at each bounce": partial(_by_hand, device=device),
        "bouncing ball, `odeint_event`, with gradients through three bounces": partial(_by_events, device=device),
        "continuous normalizing flow, 512 x 2, exact trace, forward + backward": partial(
            _density, flow=flow, points=points
        ),
    }


def _fall(t: Tensor, y: Tensor) -> Tensor:
    speed = y[1]
    return torch.stack([speed, -_GRAVITY - _DRAG * speed * speed.abs()])


def _bounced(y: Tensor) -> Tensor:
    return torch.stack([torch.full_like(y[0], _ABOVE), -_RESTITUTION * y[1]])


def _by_hand(library: ModuleType, device: str) -> Tensor:
    y = torch.tensor([10.0, 0.0], device=device)
    with torch.no_grad():
        for _ in range(_BOUNCES):
            dt = 0.1
            while dt > 1e-5:
                after = library.odeint(_fall, y, torch.tensor([0.0, dt], device=device), rtol=1e-6, atol=1e-6)[-1]
                if after[0] > 0:
                    y = after
                else:
                    dt /= 2
            y = _bounced(y)
    return y


def _by_events(library: ModuleType, device: str) -> None:
    height = torch.tensor(10.0, device=device, requires_grad=True)
    y, t = torch.stack([height, torch.zeros_like(height)]), torch.zeros((), device=device)
    for _ in range(_BOUNCES):
        t, states = library.odeint_event(
            _fall, y, t, event_fn=lambda t, y: y[0], odeint_interface=library.odeint, rtol=1e-6, atol=1e-6
        )
        y = _bounced(states[-1])
    t.backward()


class _Flow(nn.Module):
    """dz/dt = f(z) and the change of the log-density, -tr df/dz."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw) / parameter.shape[-1] ** 0.5)

    def forward(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The slopes, [batch, 2] and [batch]."""
        with torch.enable_grad():
            z = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
            slope = self.layers(z)
            rows = [torch.autograd.grad(slope[:, i].sum(), z, create_graph=True)[0][:, i] for i in range(z.shape[1])]
        return slope, -torch.stack(rows).sum(0)


def _density(library: ModuleType, flow: _Flow, points: Tensor) -> None:
    flow.zero_grad()
    state = points, torch.zeros(len(points), device=points.device)
    z, change = library.odeint(flow, state, torch.tensor([0.0, 1.0], device=points.device), rtol=1e-5, atol=1e-5)
    (z[-1].square().sum() / 2 - change[-1].sum()).backward()
