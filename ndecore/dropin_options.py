"""Method names and options of torchdiffeq, as the settings of a solve."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ndecore.controllers.base import Controller, ControllerState, Start, StepBounds, Verdict
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError
from ndecore.integrate import Adjoint, SolveSettings
from ndecore.solvers.base import Solver
from ndecore.solvers.bosh3 import Bosh3
from ndecore.solvers.dop853 import DOP853
from ndecore.solvers.dopri5 import Dopri5
from ndecore.solvers.euler import Euler
from ndecore.solvers.heun import Heun
from ndecore.solvers.midpoint import Midpoint
from ndecore.solvers.rk4 import RK4
from ndecore.solvers.rodas5p import Rodas5P
from ndecore.solvers.tsit5 import Tsit5

ADAPTIVE: Mapping[str, Solver] = {
    "dopri5": Dopri5(),
    "bosh3": Bosh3(),
    "adaptive_heun": Heun(),
    "tsit5": Tsit5(),
    "dop853": DOP853(),
    "rodas5p": Rodas5P(),
}
FIXED: Mapping[str, Solver] = {"euler": Euler(), "midpoint": Midpoint(), "heun2": Heun(), "rk4": RK4()}
_REFUSED = {
    "dopri8": "dop853, of the same order",
    "fehlberg2": "adaptive_heun, of the same order",
    "heun3": "bosh3, or heun2 or rk4 with fixed steps",
    "explicit_adams": "rk4",
    "implicit_adams": "rodas5p, for stiff equations",
    "fixed_adams": "rk4",
    "scipy_solver": 'dop853 or tsit5; or ndecore.solve(..., adjoint=TorchdiffeqAdjoint("scipy_solver"))',
}
_OF_ADAPTIVE = (
    "first_step",
    "max_num_steps",
    "safety",
    "ifactor",
    "dfactor",
    "min_step",
    "max_step",
    "norm",
    "step_t",
    "jump_t",
    "dtype",
)
_OF_FIXED = ("step_size", "grid_constructor")
_UNBOUNDED = 2**31 - 1  # attempts: torchdiffeq's own default


@dataclass(frozen=True)
class LeastStep(Controller):
    """Integral control with a least step.

    Args:
        min_step: a step no longer than this is accepted whatever its error, unit of time.
        bounds: by how much a step may change at once.
    """

    min_step: float
    bounds: StepBounds = field(default_factory=StepBounds)

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        """Begin with the automatic step, or with the least."""
        return Start(self._limited(probe()), None)

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: float) -> Verdict:
        """See `IController`; no step is shorter than the least."""
        verdict = IController(self.bounds).judge(error_ratio, dt, state, error_order)
        is_least = abs(dt) <= self.min_step and math.isfinite(error_ratio)
        return Verdict(verdict.accept or is_least, self._limited(verdict.dt), verdict.state)

    def _limited(self, dt: float) -> float:
        return math.copysign(max(abs(dt), self.min_step), dt) if math.isfinite(dt) else dt


@dataclass(frozen=True)
class Options:
    """A method with its options, checked."""

    solver: Solver
    is_adaptive: bool
    given: Mapping[str, Any]
    controller: Controller | None = None  # None until the times are known

    def on(self, times: Sequence[float], func: Any, y0: Any, t: Tensor) -> "Options":
        """The same with its steps, now that the times are known."""
        return replace(self, controller=self._adaptive() if self.is_adaptive else self._fixed(times, func, y0, t))

    def settings(self, rtol: Any, atol: Any, adjoint: Adjoint, is_structured: bool) -> SolveSettings:
        """The settings of the solve."""
        assert self.controller is not None, "the times are known"
        attempts = self.given.get("max_num_steps", _UNBOUNDED)
        norm = self.given.get("norm", "parts" if is_structured else "rms")
        limits = {name: self.given[name] for name in ("first_step", "max_step") if name in self.given}
        return SolveSettings(self.solver, self.controller, adjoint, rtol, atol, attempts, norm, **limits)

    def stops(self) -> dict[str, Any]:
        """The times at which steps have to end."""
        return {name: _listed(self.given[name]) for name in ("step_t", "jump_t") if name in self.given}

    def check_event(self) -> None:
        """Raise `InputError` if steps are such that a search for an event knows none."""
        for name in ("step_t", "jump_t", "grid_constructor"):
            if name in self.given:
                raise InputError(f"options: got {name!r} with event_fn, allowed: without one of them")
        if isinstance(self.controller, StepTo):
            raise InputError(
                "options: got no step_size with event_fn and a method of fixed steps, allowed: a step_size"
            )

    def _adaptive(self) -> Controller:
        names = {"safety": "safety", "dfactor": "shrink", "ifactor": "grow"}
        given = {ours: _number(theirs, self.given[theirs]) for theirs, ours in names.items() if theirs in self.given}
        bounds = StepBounds(**given)
        least = _number("min_step", self.given.get("min_step", 0.0))
        return LeastStep(least, bounds) if least else IController(bounds)

    def _fixed(self, times: Sequence[float], func: Any, y0: Any, t: Tensor) -> Controller:
        if "step_size" in self.given:
            return ConstantStep(_number("step_size", self.given["step_size"]))
        grid = times
        if "grid_constructor" in self.given:
            grid = self.given["grid_constructor"](func, y0, t).tolist()
            if (grid[0], grid[-1]) != (times[0], times[-1]):
                raise InputError(
                    f"grid_constructor: got a grid from {grid[0]} to {grid[-1]}, allowed: from t[0] to t[-1]"
                )
        return StepTo(tuple(after - before for before, after in pairwise(grid))) if len(grid) > 1 else ConstantStep(1.0)


def options_of(method: str | None, options: Mapping[str, Any] | None) -> Options:
    """The method by its name in torchdiffeq, with its options; raise `InputError` for what is not offered."""
    name = "dopri5" if method is None else method
    solver = {**ADAPTIVE, **FIXED}.get(name)
    if solver is None:
        instead = f"; try {_REFUSED[name]}" if name in _REFUSED else ""
        raise InputError(f"method: got {method!r}, allowed: {', '.join((*ADAPTIVE, *FIXED))}{instead}")
    given = {key: value for key, value in (options or {}).items() if value is not None}
    allowed = _OF_ADAPTIVE if name in ADAPTIVE else _OF_FIXED
    for key in given:
        if key not in allowed:
            raise InputError(f"options: got {key!r} with {name}, allowed: {', '.join(allowed)}")
    if given.get("dtype", torch.float64) != torch.float64:
        raise InputError(f"dtype: got {given['dtype']}, allowed: torch.float64; times are kept in it")
    if len(given.keys() & set(_OF_FIXED)) > 1:
        raise InputError("options: got step_size and grid_constructor, allowed: one of them")
    return Options(solver, name in ADAPTIVE, given)


def _listed(times: Any) -> list[float]:
    return [] if times is None else torch.as_tensor(times, dtype=torch.float64).reshape(-1).tolist()


def _number(name: str, given: Any) -> float:
    value = float(given)
    if not value >= 0:
        raise InputError(f"{name}: got {given!r}, allowed: a number >= 0")
    return value
