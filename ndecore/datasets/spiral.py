"""The cubic spiral: trajectories of a known equation, from initial points near (2, 0)."""

from functools import cache
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from ndecore.datasets.base import Splits
from ndecore.integrate import SolveSettings
from ndecore.solvers.dop853 import DOP853
from ndecore.solving import solve
from ndecore.types import Scalar

Points: TypeAlias = Float[Tensor, "batch 2"]
Paths: TypeAlias = Float[Tensor, "batch times 2"]  # points at the observation times

DAMPING = 0.1  # a, 1 / (time * unit of u^2)
ROTATION = 2.0  # b, of the same unit
T1 = 0.5  # of the span [0, T1] that is observed, in units of time
TIMES = tuple(T1 * i / 30 for i in range(1, 31))  # of the observations
_SIZES = (320, 64, 64)  # trajectories in train, validation, test
_RADIUS = (1.8, 2.2)  # of the initial points; the published one is 2
_ANGLE = (-0.3, 0.3)  # rad, of the initial points; the published one is 0
_TOLERANCE = 1e-12  # of the float64 solve: far below the resolution of the float32 in which the data is kept


def spiral_field(t: Scalar, u: Points) -> Points:
    """du1 = -a u1^3 + b u2^3, du2 = -b u1^3 - a u2^3 with a = 0.1 and b = 2.

    Reference: P1, spiral SDE, its drift.
    """
    cubes = u**3
    return cubes @ u.new_tensor([[-DAMPING, -ROTATION], [ROTATION, -DAMPING]])


def initial_points(seed: int, n: int) -> Points:
    """Radius in [1.8, 2.2] and angle in [-0.3, 0.3] rad, both uniform, in float64."""
    draws = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    radius = _RADIUS[0] + (_RADIUS[1] - _RADIUS[0]) * draws[:, 0]
    angle = _ANGLE[0] + (_ANGLE[1] - _ANGLE[0]) * draws[:, 1]
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)


def paths(points: Points) -> Paths:
    """The solution from each point at `TIMES`, by DOP853 in float64 at a tolerance of 1e-12."""
    settings = SolveSettings(solver=DOP853(), rtol=_TOLERANCE, atol=_TOLERANCE)
    solution = solve(spiral_field, points, 0.0, T1, settings=settings, ts=TIMES, throw=True)
    return solution.ys.movedim(0, 1)


@cache
def spiral(seed: int = 0) -> Splits:
    """448 trajectories: 320 train, 64 validation, 64 test. Inputs are the initial points, targets the paths; float32.

    Args:
        seed: decides the initial points; the same seed gives the same data on every machine, up to rounding.
    """
    with torch.no_grad():
        points = initial_points(seed, sum(_SIZES))
        targets = paths(points)
    parts = zip(points.float().split(_SIZES), targets.float().split(_SIZES), strict=True)
    return Splits(*({"inputs": inputs, "targets": target} for inputs, target in parts))
