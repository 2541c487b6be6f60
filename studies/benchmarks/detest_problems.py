"""DETEST: thirty initial value problems over [0, 20], with whose classes A to F methods are compared since 1972.

Reference: Hull, Enright, Fellen, Sedgwick, Comparing numerical methods for ordinary differential equations, SIAM J.
Numer. Anal. 9 (1972) 603-637, for classes A to E; Enright, Pryce, Two Fortran packages for assessing initial value
methods, ACM TOMS 13 (1987), for class F, whose fields have jumps or kinks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

T1 = 20.0
Field = Callable[[Tensor, Tensor], Tensor]
_PLANETS = (0.000954786104043, 0.000285583733151, 0.0000437273164546, 0.0000517759138449, 0.00000277777777778)
_SUN, _GRAVITY = 1.00000597682, 2.95912208286
_AT_PLANETS = (
    *(3.42947415189, 3.35386959711, 1.35494901715, 6.64145542550, 5.97156957878, 2.18231499728),
    *(11.2630437207, 14.6952576794, 6.27960525067, -30.1552268759, 1.65699966404, 1.43785752721),
    *(-21.1238353380, 28.4465098142, 15.3882659679, -0.557160570446, 0.505696783289, 0.230578543901),
    *(-0.415570776342, 0.365682722812, 0.169143213293, -0.325325669158, 0.189706021964, 0.0877265322780),
    *(-0.0240476254170, -0.287659532608, -0.117219543175, -0.176860753121, -0.216393453025, -0.0148647893090),
)


@dataclass(frozen=True)
class Detest:
    """dy/dt = field(t, y), y(0) = y0, to t = 20; float64."""

    name: str
    field: Field
    y0: tuple[float, ...]
    breaks: tuple[float, ...] = ()  # where the field jumps or has a kink

    def start(self) -> Tensor:
        """y0 as a tensor."""
        return torch.tensor(self.y0, dtype=torch.float64)

    def slope(self, t: float, y: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> Tensor:
        """The field as SciPy calls it."""
        return self.field(torch.tensor(t, dtype=torch.float64), torch.from_numpy(y))

    def reference(self) -> Tensor:
        """y(20) by SciPy's DOP853 at 1e-12, piece by piece between the breaks."""
        y = np.array(self.y0)
        for start, end in pairwise((0.0, *self.breaks, T1)):
            inside = (math.nextafter(start, T1) if start else start, math.nextafter(end, 0.0) if end < T1 else end)
            y = solve_ivp(self.slope, inside, y, "DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        return torch.from_numpy(y)


def _matrix(n: int, *, below: Callable[[int], float], at: Callable[[int], float], above: float = 0.0) -> Field:
    """y' = M y, of which row i (from 1) has below(i), at(i) and `above` around the diagonal."""
    rows = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        rows[i, i] = at(i + 1)
        if i:
            rows[i, i - 1] = below(i + 1)
        if i + 1 < n:
            rows[i, i + 1] = above
    return lambda t, y: rows @ y


def _torus(t: Tensor, y: Tensor) -> Tensor:
    root = torch.hypot(y[0], y[1])
    return torch.stack([-y[1] - y[0] * y[2] / root, y[0] - y[1] * y[2] / root, y[0] / root])


def _five_bodies(t: Tensor, y: Tensor) -> Tensor:
    at, mass = y[:15].view(5, 3), torch.tensor(_PLANETS, dtype=y.dtype)
    pull = at / at.square().sum(1, keepdim=True) ** 1.5
    between = at.unsqueeze(0) - at.unsqueeze(1)  # [j, k]: from j to k
    cubes = between.square().sum(2).fill_diagonal_(1.0) ** 1.5
    others = (mass[None, :, None] * (between / cubes.unsqueeze(2) - pull.unsqueeze(0))).sum(1)
    own = mass[:, None] * pull  # the term k = j, in which nothing is between
    return torch.cat([y[15:], (_GRAVITY * (others + own - (_SUN + mass[:, None]) * pull)).reshape(-1)])


def _orbit(t: Tensor, y: Tensor) -> Tensor:
    return torch.cat([y[2:], -y[:2] / y[:2].square().sum() ** 1.5])


def _second_order(force: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Field:
    """x'' = force(t, x, x') as a system."""
    return lambda t, y: torch.stack([y[1], force(t, y[0], y[1])])


def _is_even(t: Tensor) -> bool:
    return int(t) % 2 == 0


_POWERS = sum(i ** (4 / 3) for i in range(1, 20))
_KINKS = torch.arange(1, 20, dtype=torch.float64)


def _kinked(t: Tensor, y: Tensor) -> Tensor:
    away = t - _KINKS
    return y * (4 / (3 * _POWERS)) * (away.sign() * away.abs() ** (1 / 3)).sum()


def _switched(t: Tensor, y: Tensor) -> Tensor:
    late = t - 5
    return -2 * y if t > 10 else torch.full_like(y, -2 / 21) - 120 * late / (1 + 4 * late**2) ** 16


def _driven(t: Tensor, x: Tensor, v: Tensor) -> Tensor:
    return 0.2 * v - (math.pi**2 + 0.01) * x + (1.0 if _is_even(t) else -1.0)


def _bessel(t: Tensor, x: Tensor, v: Tensor) -> Tensor:
    return -(v / (t + 1) + (1 - 0.25 / (t + 1) ** 2) * x)


_WHOLE = tuple(map(float, range(1, 20)))
PROBLEMS = (
    Detest("A1", lambda t, y: -y, (1.0,)),
    Detest("A2", lambda t, y: -(y**3) / 2, (1.0,)),
    Detest("A3", lambda t, y: y * torch.cos(t), (1.0,)),
    Detest("A4", lambda t, y: y / 4 * (1 - y / 20), (1.0,)),
    Detest("A5", lambda t, y: (y - t) / (y + t), (4.0,)),
    Detest("B1", lambda t, y: torch.stack([2 * (y[0] - y[0] * y[1]), -(y[1] - y[0] * y[1])]), (1.0, 3.0)),
    Detest("B2", lambda t, y: torch.stack([y[1] - y[0], y[0] - 2 * y[1] + y[2], y[1] - y[2]]), (2.0, 0.0, 1.0)),
    Detest("B3", lambda t, y: torch.stack([-y[0], y[0] - y[1] ** 2, y[1] ** 2]), (1.0, 0.0, 0.0)),
    Detest("B4", _torus, (3.0, 0.0, 0.0)),
    Detest("B5", lambda t, y: torch.stack([y[1] * y[2], -y[0] * y[2], -0.51 * y[0] * y[1]]), (0.0, 1.0, 1.0)),
    Detest("C1", _matrix(10, below=lambda i: 1.0, at=lambda i: -1.0 * (i < 10)), (1.0, *(0.0,) * 9)),
    Detest("C2", _matrix(10, below=lambda i: i - 1.0, at=lambda i: -float(i) * (i < 10)), (1.0, *(0.0,) * 9)),
    Detest("C3", _matrix(10, below=lambda i: 1.0, at=lambda i: -2.0, above=1.0), (1.0, *(0.0,) * 9)),
    Detest("C4", _matrix(51, below=lambda i: 1.0, at=lambda i: -2.0, above=1.0), (1.0, *(0.0,) * 50)),
    Detest("C5", _five_bodies, _AT_PLANETS),
    *(
        Detest(f"D{i}", _orbit, (1 - e, 0.0, 0.0, math.sqrt((1 + e) / (1 - e))))
        for i, e in enumerate((0.1, 0.3, 0.5, 0.7, 0.9), 1)
    ),
    Detest("E1", _second_order(_bessel), (0.6713967071418030, 0.09540051444747446)),
    Detest("E2", _second_order(lambda t, x, v: (1 - x**2) * v - x), (2.0, 0.0)),
    Detest("E3", _second_order(lambda t, x, v: x**3 / 6 - x + 2 * torch.sin(2.78535 * t)), (0.0, 0.0)),
    Detest("E4", _second_order(lambda t, x, v: 0.032 - 0.4 * v**2), (30.0, 0.0)),
    Detest("E5", _second_order(lambda t, x, v: torch.sqrt(1 + v**2) / (25 - t)), (0.0, 0.0)),
    Detest("F1", _second_order(_driven), (0.0, 0.0), _WHOLE),
    Detest("F2", lambda t, y: 55 - (1.5 if _is_even(t) else 0.5) * y, (110.0,), _WHOLE),
    Detest(
        "F3",
        _second_order(lambda t, x, v: 0.01 * v * (1 - x**2) - x - torch.sin(math.pi * t).abs()),
        (0.0, 0.0),
        _WHOLE,
    ),
    Detest("F4", _switched, (1.0,), (10.0,)),
    Detest("F5", _kinked, (1.0,), _WHOLE),
)
