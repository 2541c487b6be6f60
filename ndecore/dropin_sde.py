"""torchsde's calls on the solvers of this package: change the import, keep the code.

    from ndecore import sdeint, sdeint_adjoint    # instead of torchsde

Signatures and shapes are those of torchsde 0.2.6. What is not as there:

| there | here |
|---|---|
| `srk` | `SOSRI`, of the same strong order 1.5, for diagonal and scalar noise; additive noise takes `euler` (order 1) |
| `midpoint`, `heun`, `log_ode`, `adjoint_reversible_heun` | refused; by default Stratonovich takes `euler_heun` |
| no `bm` | a path of torch's default generator, or of `ndecore.observe(path_seed=...)` |
| gradients of `sdeint_adjoint` | exact for the steps taken; `adjoint_method` and the like have no effect |
| `adaptive` | by embedded estimates from an automatic first step; `dt_min` is the resolution of the path |
| `logqp`, `extra`, `extra_solver_state`, `options` | refused |
| `f_and_g`, `g_prod` | not called: `f` and `g` have to be there |

As there, nobody looks whether "diagonal" noise mixes states, which costs every method its order; see `SDETerm`.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ndecore.adjoints.checkpointed import Checkpointed
from ndecore.brownian import BrownianPath, BrownianTree, ForeignPath, Increment
from ndecore.controllers.base import Controller
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.integrate import Adjoint, SolveSettings, Tape
from ndecore.solvers.base import Solver
from ndecore.solvers.euler_heun import EulerHeun
from ndecore.solvers.euler_maruyama import EulerMaruyama
from ndecore.solvers.milstein import Milstein
from ndecore.solvers.reversible_heun import ReversibleHeun
from ndecore.solvers.sosri import SOSRI
from ndecore.solving import solve
from ndecore.terms import SDETerm
from ndecore.types import State
from ndecore.undrawn_path import UndrawnPath

METHODS: Mapping[str, Callable[[], Solver]] = {
    "euler": EulerMaruyama,
    "milstein": Milstein,
    "srk": SOSRI,
    "euler_heun": EulerHeun,
    "reversible_heun": ReversibleHeun,
}
_DT_MIN = 1e-5  # torchsde's default
_WHOLE = 1e-6  # by which a number of steps may miss a whole one, relative


def sdeint(  # noqa: PLR0913, PLR0917 - the signature is torchsde's
    sde: Any,
    y0: Tensor,
    ts: Tensor | Sequence[float],
    bm: Any = None,
    method: str | None = None,
    dt: float = 1e-3,
    adaptive: bool = False,
    rtol: float = 1e-5,
    atol: float = 1e-4,
    dt_min: float = _DT_MIN,
    options: Mapping[str, Any] | None = None,
    names: Mapping[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: Any = None,
) -> Tensor:
    """Solve dy = f dt + g dW; as `torchsde.sdeint`. Gradients through the steps.

    Args:
        sde: with f(t, y), g(t, y), `noise_type` and `sde_type`.
        y0: [batch, d].
        ts: output times, strictly increasing, the first one the start.
        bm: a path of torchsde or of ours; a random one if None.
        method: euler, milstein, srk, euler_heun or reversible_heun.
        dt: constant step, unit of time.
        adaptive: control the error in the place of constant steps.
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
        dt_min: refused unless it is torchsde's default.
        options: refused.
        names: of the methods that are "drift" and "diffusion".
        logqp: refused.
        extra: refused.
        extra_solver_state: refused.

    Returns:
        [times, batch, d].

    Raises:
        InputError: what is not offered, and other mistakes of the caller.
        SolveFailed: the solve ended early.
    """
    refused = {"options": options, "logqp": logqp, "extra": extra, "extra_solver_state": extra_solver_state}
    _refuse(refused, dt_min)
    return _solved(sde, y0, ts, (bm, names), (method, dt, adaptive, rtol, atol), (Tape(), None))


def sdeint_adjoint(  # noqa: PLR0913, PLR0917 - the signature is torchsde's
    sde: Any,
    y0: Tensor,
    ts: Tensor | Sequence[float],
    bm: Any = None,
    method: str | None = None,
    adjoint_method: str | None = None,
    dt: float = 1e-3,
    adaptive: bool = False,
    adjoint_adaptive: bool = False,
    rtol: float = 1e-5,
    adjoint_rtol: float = 1e-5,
    atol: float = 1e-4,
    adjoint_atol: float = 1e-4,
    dt_min: float = _DT_MIN,
    options: Mapping[str, Any] | None = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
    names: Mapping[str, str] | None = None,
    logqp: bool = False,
    extra: bool = False,
    extra_solver_state: Any = None,
) -> Tensor:
    """The same with two states of each step in memory in the place of a tape; as `torchsde.sdeint_adjoint`.

    The gradient is that of `sdeint`, exact for the steps taken, by `Checkpointed`: no equation is solved backwards, so
    `adjoint_method`, `adjoint_adaptive`, `adjoint_rtol`, `adjoint_atol` and `adjoint_options` have no effect.
    `adjoint_params` are the tensors that f and g depend on; those of `sde` if it is an `nn.Module` and None is given.
    See `sdeint` for the others.

    Raises:
        InputError: nobody said the parameters; see also `sdeint`.
        SolveFailed: the solve ended early.
    """
    refused = {"options": options, "logqp": logqp, "extra": extra, "extra_solver_state": extra_solver_state}
    _refuse(refused, dt_min)
    if adjoint_params is None and not isinstance(sde, nn.Module):
        raise InputError(
            "adjoint_params: got none for an sde that is no nn.Module, allowed: every tensor that it depends on, `()` "
            "if there is none; or sdeint"
        )
    params = tuple(sde.parameters() if adjoint_params is None else adjoint_params)
    return _solved(sde, y0, ts, (bm, names), (method, dt, adaptive, rtol, atol), (Checkpointed(), params))


def _refuse(refused: Mapping[str, Any], dt_min: float) -> None:
    for name, value in refused.items():
        if value:
            raise InputError(f"{name}: got {value!r}, allowed: none; it is not offered here, torchsde has it")
    if dt_min != _DT_MIN:
        raise InputError(f"dt_min: got {dt_min!r}, allowed: none; adaptive steps end at the resolution of the path")


def _solved(  # noqa: PLR0917 - a call in groups: on what, along what, how, and how it is differentiated
    sde: Any,
    y0: Tensor,
    ts: Tensor | Sequence[float],
    driven: tuple[Any, Mapping[str, str] | None],
    way: tuple[str | None, float, bool, float, float],
    adjoint: tuple[Adjoint, tuple[Tensor, ...] | None],
) -> Tensor:
    times = ts.tolist() if isinstance(ts, Tensor) else list(map(float, ts))
    if len(times) < 2 or any(after <= before for before, after in pairwise(times)):
        raise InputError(f"ts: got {times}, allowed: at least two strictly increasing times")
    if not isinstance(y0, Tensor) or y0.dim() != 2:
        raise InputError(f"y0: got {getattr(y0, 'shape', type(y0).__name__)}, allowed: a tensor [batch, d]")
    (bm, names), (method, dt, is_adaptive, rtol, atol) = driven, way
    solver = _solver(method, sde)
    controller: Controller = IController() if is_adaptive else ConstantStep(float(dt))
    settings = SolveSettings(solver, controller, adjoint[0], rtol, atol, 2**31 - 1)
    drift, diffusion = _functions(sde, names or {})
    n_steps = 1 if is_adaptive else _cells((times[-1] - times[0]) / float(dt))
    path = _path(bm, sde.noise_type, solver, n_steps, y0, lambda: diffusion(y0.new_tensor(times[0]), y0))
    if sde.noise_type == "scalar":
        matrix = diffusion
        diffusion = lambda t, y: matrix(t, y).squeeze(-1)  # noqa: E731 - [batch, d, 1] there, [batch, d] here
    # Mixed diagonal noise is what many models there have; nobody asks them.
    kind = {"noise": sde.noise_type, "calculus": sde.sde_type, "is_mixing": True}
    term = SDETerm(drift, diffusion, path, parameters=adjoint[1], **kind)
    found: Tensor = solve(term, y0, times[0], times[-1], ts=times, settings=settings).ys
    return found


def _solver(method: str | None, sde: Any) -> Solver:
    for name in ("noise_type", "sde_type"):
        if not hasattr(sde, name):
            raise InputError(f"sde: got {type(sde).__name__} without {name}, allowed: one with noise_type and sde_type")
    if method is None:
        is_rough = sde.noise_type in ("general", "additive")
        method = "euler_heun" if sde.sde_type == "stratonovich" else "euler" if is_rough else "srk"
    if method not in METHODS:
        raise InputError(
            f"method: got {method!r}, allowed: {', '.join(METHODS)}; torchsde's others are not offered here"
        )
    return METHODS[method]()


def _functions(sde: Any, names: Mapping[str, str]) -> tuple[Any, Any]:
    found = []
    for role, default in (("drift", "f"), ("diffusion", "g")):
        name = names.get(role, default)
        if not callable(getattr(sde, name, None)):
            raise InputError(f"sde: got {type(sde).__name__} without {name}, allowed: one with both f and g")
        found.append(getattr(sde, name))
    return found[0], found[1]


def _cells(n_steps: float) -> int:
    """As many as constant steps, if they fill the span: a path is cheapest so."""
    whole = round(n_steps)
    return whole if whole >= 1 and abs(n_steps - whole) <= _WHOLE * whole else 1


def _path(  # noqa: PLR0917 - all that a path is chosen by
    bm: Any, noise: str, solver: Solver, cells: int, y0: Tensor, probe: Callable[[], Tensor]
) -> BrownianPath:
    if isinstance(bm, BrownianPath):
        return bm
    if bm is None:
        with torch.no_grad():
            shape = y0.shape if noise == "diagonal" else (*y0.shape[:-1], probe().shape[-1])
        return UndrawnPath(tuple(shape), y0.dtype, y0.device, cells=cells)
    if getattr(bm, "levy_area_approximation", "none") != "none":
        return ForeignPath(bm)
    if isinstance(solver, SOSRI):
        raise InputError(
            f"bm: got {bm!r} without Levy area, which srk needs, allowed: one with it, such as BrownianInterval(..., "
            'levy_area_approximation="space-time"); or euler, milstein'
        )
    return _WithoutArea(bm)


class _WithoutArea(BrownianPath):
    """The path of an object that tells W alone, for methods that ask for no more."""

    def __init__(self, motion: Any) -> None:
        self._motion, self.shape = motion, tuple(motion.shape)
        self.dtype, self.device = motion.dtype, torch.device(motion.device)

    def increment(self, t0: float, t1: float) -> Increment:
        with torch.no_grad():
            W: State = self._motion(t0, t1)
            return Increment(W, torch.zeros_like(W))

    def step_end(self, t: float, dt: float) -> float:
        return t + dt

    def apart(self, n: int, t0: float, t1: float) -> BrownianTree:
        return BrownianTree(n, self.shape, t0, t1, dtype=self.dtype, device=self.device).apart(n, t0, t1)
