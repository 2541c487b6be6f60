"""The spiral SDE: moments of many paths of a known equation, by a splitting that no solver here is."""

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from ndecore.datasets.base import Splits
from ndecore.datasets.spiral import DAMPING, ROTATION

Moments: TypeAlias = Float[Tensor, "batch times 2 2"]  # mean and variance (third axis) of both coordinates (last)
_Array: TypeAlias = npt.NDArray[np.float64]

NOISE = 0.2  # g, 1 / root of the unit of time
START = (2.0, 0.0)  # u0
T1 = 1.0  # of the span [0, T1], in units of time
TIMES = tuple(T1 * i / 30 for i in range(1, 31))  # of the observations
N_PATHS = 10_000  # of which each part of the data has the moments
STEPS = 300  # of the solver; twice as many move no moment by more than half of its sampling error (tests)
_SIZES = (1000, 1000, 1000)  # paths that a model makes in train, validation, test


def drift(u: _Array) -> _Array:
    """du1 = -a u1^3 + b u2^3, du2 = -b u1^3 - a u2^3 with a = 0.1 and b = 2: [2, paths].

    Reference: P1, spiral SDE; `experiments/sde_toy_problem.jl`.
    """
    first, second = u * u * u
    return np.stack((-DAMPING * first + ROTATION * second, -ROTATION * first - DAMPING * second))


def simulate(normals: _Array) -> _Array:
    """Paths of du = drift(u) dt + g u dW, Ito, from u0 at `TIMES`: [times, 2, paths].

    Strang's splitting: half a step of the drift by RK4, a step of the noise, whose own equation is solved exactly by
    u exp(g dW - g^2 dt / 2), half a step of the drift. Of weak order 2: Milstein's method (1) would need thousands of
    steps.

    Args:
        normals: [steps, 2, paths], standard; the steps are a multiple of the observations.

    Reference: Ninomiya, Victoir, Weak approximation of stochastic differential equations, Appl. Math. Finance 15
    (2008).
    """
    n_steps, _, n_paths = normals.shape
    dt = T1 / n_steps
    u = np.repeat(np.array(START)[:, None], n_paths, axis=1)
    found = []
    for step, normal in enumerate(normals, start=1):
        u = _drifted(u, dt / 2)
        u = u * np.exp(NOISE * np.sqrt(dt) * normal - NOISE**2 * dt / 2)
        u = _drifted(u, dt / 2)
        if step * len(TIMES) % n_steps == 0:
            found.append(u)
    return np.stack(found)


def _drifted(u: _Array, dt: float) -> _Array:
    """A step of RK4."""
    k1 = drift(u)
    k2 = drift(u + dt / 2 * k1)
    k3 = drift(u + dt / 2 * k2)
    k4 = drift(u + dt * k3)
    return u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def moments(paths: Float[Tensor, "batch times 2"]) -> Float[Tensor, "times 2 2"]:
    """Mean and unbiased variance over the batch."""
    return torch.stack((paths.mean(dim=0), paths.var(dim=0)), dim=1)


@cache
def spiral_sde(seed: int = 0) -> Splits:
    """The same start for every path, and moments of 10,000 paths as the target of all of them; float32.

    Each part has moments of paths of its own: how well training moments are met on others' is what validation tells. A
    model's own moments are those of its batch, so all of a part is one batch where it is scored.

    Args:
        seed: decides the paths; the same seed gives the same data on every machine, up to rounding.
    """
    parts = []
    for generator, n in zip(np.random.default_rng(seed).spawn(len(_SIZES)), _SIZES, strict=True):
        paths = torch.from_numpy(simulate(generator.standard_normal((STEPS, 2, N_PATHS)))).permute(2, 0, 1)
        target = moments(paths).float()
        parts.append({"inputs": torch.tensor(START).expand(n, 2), "targets": target.expand(n, *target.shape)})
    return Splits(*parts)
