"""Stochastic equations whose solution along a path is known, and a neural one small enough for gradcheck."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ndecore.brownian import BrownianPath, BrownianTree
from ndecore.controllers.constant import ConstantStep
from ndecore.integrate import SolveSettings
from ndecore.solvers.base import Solver
from ndecore.solving import solve
from ndecore.terms import SDETerm
from ndecore.types import Calculus, Noise

Field = Callable[[Tensor, Tensor], Tensor]
_MIX = torch.tensor([[0.5, -0.3, 0.2], [0.1, 0.4, -0.6]], dtype=torch.float64)


@dataclass(frozen=True)
class StochasticProblem:
    """dy = f dt + g dW from y0 = `start` in each element, over [0, 1]."""

    name: str
    noise: Noise
    drift: dict[Calculus, Field]
    diffusion: Field
    start: float
    exact: Callable[[BrownianPath], Tensor] | None  # y(1) along a path; None: by fine steps
    n_states: int = 1
    n_motions: int = 1

    def path(self, batch: int, seed: int = 0) -> BrownianTree:
        return BrownianTree(seed, (batch, self.n_motions), 0.0, 1.0, dtype=torch.float64)

    def y0(self, batch: int) -> Tensor:
        return torch.full((batch, self.n_states), self.start, dtype=torch.float64)

    def term(self, path: BrownianPath, calculus: Calculus) -> SDETerm:
        return SDETerm(self.drift[calculus], self.diffusion, path, noise=self.noise, calculus=calculus)

    def end(self, solver: Solver, path: BrownianPath, n: int) -> Tensor:
        """y(1) after n steps."""
        assert solver.calculus is not None
        settings = SolveSettings(solver, ConstantStep(1 / n))
        y0 = self.y0(path.shape[0])
        with torch.no_grad():
            return solve(self.term(path, solver.calculus), y0, 0.0, 1.0, settings=settings).check().y1


def _weighted(path: BrownianPath) -> Tensor:
    """int (1 + s) dW over [0, 1] = 2 W - int W ds."""
    W, H = path.increment(0.0, 1.0)
    return 2 * W - (W / 2 + H)


def geometric(noise: Noise, n_states: int = 1) -> StochasticProblem:
    """dy = a y dt + b y dW; as Stratonovich's with the drift a - b^2 / 2."""
    a, b = 0.5, 0.8
    drift: dict[Calculus, Field] = {"ito": lambda t, y: a * y, "stratonovich": lambda t, y: (a - b * b / 2) * y}
    return StochasticProblem(
        f"geometric-{noise}",
        noise,
        drift,
        lambda t, y: b * y,
        1.0,
        lambda path: torch.exp(a - b * b / 2 + b * path.increment(0.0, 1.0).W).expand(-1, n_states),
        n_states,
    )


def bounded(noise: Noise, n_states: int = 1) -> StochasticProblem:
    """y = tanh(arctanh y0 + a t + b int (1 + s) dW): nonlinear, with noise that depends on time."""
    a, b = 0.4, 0.5

    def plain(t: Tensor, y: Tensor) -> Tensor:
        return a * (1 - y * y)

    drift: dict[Calculus, Field] = {
        "stratonovich": plain,
        "ito": lambda t, y: plain(t, y) - (b * (1 + t)) ** 2 * y * (1 - y * y),
    }
    return StochasticProblem(
        f"bounded-{noise}",
        noise,
        drift,
        lambda t, y: b * (1 + t) * (1 - y * y),
        0.3,
        lambda path: torch.tanh(math.atanh(0.3) + a + b * _weighted(path)).expand(-1, n_states),
        n_states,
    )


def _pendulum(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[:, 1], -torch.sin(3 * y[:, 0])], dim=1)


def _turning(t: Tensor, y: Tensor) -> Tensor:
    """Two motions whose columns do not commute."""
    x, v = y.unbind(1)
    return torch.stack([torch.stack([x, torch.sin(v)], dim=1), torch.stack([torch.cos(x), v], dim=1)], dim=2) * 0.5


ADDITIVE = StochasticProblem(
    "additive",
    "additive",
    {"ito": _pendulum, "stratonovich": _pendulum},
    lambda t, y: (1 + t) * _MIX.expand(len(y), 2, 3),
    0.7,
    None,
    2,
    3,
)
GENERAL = StochasticProblem(
    "general", "general", {"ito": _pendulum, "stratonovich": _pendulum}, _turning, 0.7, None, 2, 2
)
PROBLEMS = (
    geometric("diagonal"),
    bounded("diagonal"),
    geometric("scalar", 2),
    bounded("scalar", 2),
    ADDITIVE,
    GENERAL,
)


class TinyNet(nn.Module):
    """W2 tanh(W1 y + w t) and 0.3 cos(v y + t), a drift and a diagonal diffusion as methods of one module."""

    def __init__(self, n_state: int = 2, n_hidden: int = 3, seed: int = 0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        for name, size in {
            "inner": (n_hidden, n_state),
            "outer": (n_state, n_hidden),
            "time": (n_hidden,),
            "volatility": (n_state,),
        }.items():
            setattr(self, name, nn.Parameter(torch.randn(size, generator=draw, dtype=torch.float64)))

    def drift(self, t: Tensor, y: Tensor) -> Tensor:
        return torch.tanh(y @ self.inner.T + self.time * t) @ self.outer.T

    def diffusion(self, t: Tensor, y: Tensor) -> Tensor:
        return 0.3 * torch.cos(self.volatility * y + t)


def tiny_term(net: TinyNet, path: BrownianPath, calculus: Calculus = "ito") -> SDETerm:
    return SDETerm(net.drift, net.diffusion, path, calculus=calculus, parameters=tuple(net.parameters()))
