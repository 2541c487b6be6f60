"""Small problems that are solved elsewhere, and a neural vector field small enough for gradcheck."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor, nn

Field = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """dy/dt = field(t, y) from y(t0) = y0 to t1; `reversed` starts where the solution ends."""

    name: str
    field: Field
    y0: tuple[float, ...]
    t0: float
    t1: float

    def start(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.tensor(self.y0, dtype=dtype)

    def reference(self, ts: list[float]) -> Tensor:
        """The solution at `ts` by an eighth-order method at rtol = atol = 1e-12."""

        def slope(t: float, y: np.ndarray) -> np.ndarray:
            return self.field(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y)).numpy()

        found = solve_ivp(slope, (self.t0, self.t1), self.y0, "DOP853", ts, rtol=1e-12, atol=1e-12)
        assert found.success
        return torch.from_numpy(found.y.T.copy())

    def reversed(self) -> "Problem":
        end = tuple(self.reference([self.t1])[0].tolist())
        return Problem(f"{self.name}-backwards", self.field, end, self.t1, self.t0)


def linear(t: Tensor, y: Tensor) -> Tensor:
    return y @ torch.tensor([[-0.5, 1.0], [-2.0, -0.3]], dtype=y.dtype).T


def logistic(t: Tensor, y: Tensor) -> Tensor:
    return y * (1 - y)


def harmonic(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[1], -y[0]])


def lotka_volterra(t: Tensor, y: Tensor) -> Tensor:
    prey, predators = y
    return torch.stack([1.5 * prey - prey * predators, prey * predators - 3 * predators])


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    return torch.stack([y[1], (1 - y[0] ** 2) * y[1] - y[0]])


def forced(t: Tensor, y: Tensor) -> Tensor:
    return -y * torch.cos(t) + torch.sin(3 * t) * y**2


PROBLEMS = (
    Problem("linear", linear, (1.0, -0.5), 0.0, 3.0),
    Problem("logistic", logistic, (0.1,), 0.0, 5.0),
    Problem("harmonic", harmonic, (1.0, 0.0), 0.0, 6.0),
    Problem("lotka-volterra", lotka_volterra, (1.0, 1.0), 0.0, 3.0),
    Problem("van-der-pol", van_der_pol, (2.0, 0.0), 0.0, 2.0),
    Problem("forced", forced, (0.4,), 1.0, 4.0),
)


class TinyField(nn.Module):
    """f(t, y) = W2 tanh(W1 y + w t), float64."""

    def __init__(self, n_state: int = 2, n_hidden: int = 3, seed: int = 0) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        sizes = ((n_hidden, n_state), (n_state, n_hidden), (n_hidden,))
        self.inner, self.outer, self.time = (
            nn.Parameter(torch.randn(size, generator=draw, dtype=torch.float64)) for size in sizes
        )

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return tiny_field(t, y, self.inner, self.outer, self.time)


def tiny_field(t: Tensor, y: Tensor, inner: Tensor, outer: Tensor, time: Tensor) -> Tensor:
    """The field of `TinyField` as a function of its parameters."""
    return torch.tanh(y @ inner.T + time * t) @ outer.T


def slope_of(log_x: list[float], log_y: list[float]) -> float:
    """The slope of a line through the points, by least squares."""
    return float(np.polyfit(np.log(log_x), np.log(log_y), 1)[0])
