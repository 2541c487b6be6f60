"""Neural differential equations as layers: modules that sit in the middle of any model."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS
from ndecore.brownian import BrownianPath
from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError
from ndecore.integrate import Adjoint, SolveSettings
from ndecore.observing import silent_settings
from ndecore.registry import Registry
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.base import Solver
from ndecore.solving import DEFAULT_SETTINGS, STOCHASTIC_SETTINGS, solve
from ndecore.states import map_tensors
from ndecore.terms import SDETerm
from ndecore.types import Calculus, Noise, State, StateTree, VectorField
from ndecore.undrawn_path import UndrawnPath

_HALVES = (torch.float16, torch.bfloat16)


class NeuralODE(nn.Module):
    """y(t1), or y at all times, of dy/dt = f(t, y), y(t0) = the input: a layer that keeps the shape of its input.

        model = nn.Sequential(nn.Linear(2, 8), ndecore.NeuralODE(field, solver="dopri5", rtol=1e-3), nn.Linear(8, 1))

    What it is told of the solve holds; what it is not told comes from `ndecore.observe(settings=...)`, or else from the
    defaults of `ndecore.solve`. A solve that fails raises. Under `torch.autocast` the state is float32, as in layers
    whose sums need it; the field computes in half precision.

    Args:
        field: f(t, y), t a 0-d tensor; its parameters are the block's if it is an `nn.Module`.
        t: t0, times in between, and t1, in the direction of time.
        solver: a method, or its name, such as "dopri5".
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
        adjoint: how it is differentiated, or the name of that, such as "checkpointed".
        step_size: of constant steps, for a method without an error estimate; unit of time.
        settings: all of them at once; those above go before it.
        return_times: return the solution at all of `t`, the first included: [times, *state].

    Raises:
        InputError: settings that do not fit together; fewer than two times.

    Reference: Chen et al., Neural ordinary differential equations, NeurIPS 2018.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each thing that one may want of a solve
        self,
        field: VectorField,
        t: Sequence[float] | Tensor = (0.0, 1.0),
        *,
        solver: str | Solver | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        adjoint: str | Adjoint | None = None,
        step_size: float | None = None,
        settings: SolveSettings | None = None,
        return_times: bool = False,
    ) -> None:
        super().__init__()
        self.field = field
        self.t, self.return_times = _times(t), return_times
        made = _made(solver, SOLVERS), _made(adjoint, ADJOINTS)
        self.own = _Own(DEFAULT_SETTINGS, settings, *made, rtol=rtol, atol=atol, step_size=step_size)

    def forward(self, y0: StateTree) -> StateTree:
        """[*state] -> [*state], or [times, *state]; a tuple, list or dict of such tensors likewise."""
        ts = self.t if self.return_times else ()
        solution = solve(
            self.field, _widened(y0), self.t[0], self.t[-1], ts=ts, settings=self.own.settings(), throw=True
        )
        return solution.ys if self.return_times else solution.y1

    def extra_repr(self) -> str:
        """The times and the settings of its own."""
        return f"t={self.t}, {self.own}"


class NeuralSDE(nn.Module):
    """y(t1), or y at all times, of dy = f(t, y) dt + g(t, y) dW along a random path, y(t0) = the input.

    Each call follows a path of its own: that of the `path` it is given, else that of `ndecore.observe(path_seed=...)`,
    else one that torch's default generator draws, as for other random layers. See `NeuralODE` for settings.

    Args:
        drift: f(t, y); or an object with methods `drift` and `diffusion`, whose parameters are the block's if it is an
            `nn.Module`.
        diffusion: g(t, y); see `SDETerm` for its shape.
        t: t0, times in between, and t1 > t0.
        noise: "diagonal", "scalar", "additive" or "general"; see `SDETerm`.
        calculus: "ito" or "stratonovich".
        is_mixing: see `SDETerm`; by default what the object with `drift` and `diffusion` says.
        n_motions: of additive and general noise.
        solver: a method, or its name, such as "sosri".
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
        adjoint: how it is differentiated, or the name of that, such as "checkpointed".
        step_size: of constant steps; unit of time.
        settings: all of them at once; those above go before it.
        return_times: return the solution at all of `t`, the first included: [times, *state].

    Raises:
        InputError: settings that do not fit together; fewer than two times.
    """

    def __init__(  # noqa: PLR0913 - one keyword for each thing that one may want of a solve
        self,
        drift: Any,
        diffusion: VectorField | None = None,
        t: Sequence[float] | Tensor = (0.0, 1.0),
        *,
        noise: Noise = "diagonal",
        calculus: Calculus = "ito",
        is_mixing: bool | None = None,
        n_motions: int | None = None,
        solver: str | Solver | None = None,
        rtol: float | None = None,
        atol: float | None = None,
        adjoint: str | Adjoint | None = None,
        step_size: float | None = None,
        settings: SolveSettings | None = None,
        return_times: bool = False,
    ) -> None:
        super().__init__()
        if diffusion is None and not (hasattr(drift, "drift") and hasattr(drift, "diffusion")):
            raise InputError(
                f"diffusion: got none with {type(drift).__name__}, allowed: a function g(t, y); or an object with "
                "methods drift and diffusion in the place of both"
            )
        self.drift, self.diffusion = drift, diffusion
        self.t, self.return_times = _times(t), return_times
        self.noise, self.calculus, self.n_motions = noise, calculus, _motions(noise, n_motions)
        self.is_mixing = bool(getattr(drift, "is_mixing", False)) if is_mixing is None else is_mixing
        made = _made(solver, SDE_SOLVERS), _made(adjoint, SDE_ADJOINTS)
        self.own = _Own(STOCHASTIC_SETTINGS, settings, *made, rtol=rtol, atol=atol, step_size=step_size)

    def forward(self, y0: State, path: BrownianPath | int | None = None) -> Tensor:
        """[*batch, d] -> [*batch, d], or [times, *batch, d], along a path, that of a seed, or a random one."""
        y0 = _widened(y0)
        if path is None or isinstance(path, int):
            shape = y0.shape if self.n_motions is None else (*y0.shape[:-1], self.n_motions)
            path = UndrawnPath(tuple(shape), y0.dtype, y0.device, path)
        drift, diffusion = (
            (self.drift.drift, self.drift.diffusion) if self.diffusion is None else (self.drift, self.diffusion)
        )
        parameters = tuple(self.parameters()) or None
        kind: dict[str, Any] = {"noise": self.noise, "calculus": self.calculus, "is_mixing": self.is_mixing}
        term = SDETerm(drift, diffusion, path, parameters=parameters, **kind)
        ts = self.t if self.return_times else ()
        solution = solve(term, y0, self.t[0], self.t[-1], ts=ts, settings=self.own.settings(), throw=True)
        found: Tensor = solution.ys if self.return_times else solution.y1
        return found

    def extra_repr(self) -> str:
        """The times, the kind of noise and the settings of its own."""
        return f"t={self.t}, noise={self.noise!r}, calculus={self.calculus!r}, {self.own}"


class _Own:
    """The settings that a block was told."""

    def __init__(
        self,
        default: SolveSettings,
        whole: SolveSettings | None,
        solver: Solver | None,
        adjoint: Adjoint | None,
        *,
        rtol: float | None,
        atol: float | None,
        step_size: float | None,
    ) -> None:
        controller = None if step_size is None else ConstantStep(step_size)
        told: dict[str, Any] = {
            "solver": solver,
            "controller": controller,
            "adjoint": adjoint,
            "rtol": rtol,
            "atol": atol,
        }
        self._told = {name: value for name, value in told.items() if value is not None}
        self._default, self._whole = default, whole
        self.settings()  # so that what does not fit together is refused when the block is made

    def settings(self) -> SolveSettings:
        """Those told, the others as they are said now by who observes."""
        base = silent_settings(self._default) if self._whole is None else self._whole
        return replace(base, **self._told) if self._told else base

    def __str__(self) -> str:
        if self._whole is not None:
            return f"settings={self.settings()}"
        return ", ".join(f"{name}={value}" for name, value in self._told.items()) or "settings from where it is called"


def _made(given: Any, registry: Registry) -> Any:
    return registry[given]() if isinstance(given, str) else given


def _times(t: Sequence[float] | Tensor) -> tuple[float, ...]:
    times = tuple(map(float, t))
    if len(times) < 2:
        raise InputError(f"t: got {times!r}, allowed: at least two times, t0 and t1")
    return times


def _motions(noise: Noise, n_motions: int | None) -> int | None:
    """The last axis of the path, or None for that of the state."""
    if noise == "scalar":
        return 1
    if noise != "diagonal" and n_motions is None:
        raise InputError(f"n_motions: got none for {noise} noise, allowed: the number of columns of the diffusion")
    return n_motions


def _widened(y0: StateTree) -> StateTree:
    """Where torch casts to half precision by itself, the state is cast back: sums over steps need it."""

    def widened(y: Tensor) -> Tensor:
        is_cast = y.dtype in _HALVES and torch.is_autocast_enabled(y.device.type)
        return y.float() if is_cast else y

    return widened(y0) if isinstance(y0, Tensor) else map_tensors(widened, y0)
