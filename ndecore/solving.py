"""The front door of the solvers."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from ndecore.brownian import BrownianPath, BrownianTree
from ndecore.errors import InputError
from ndecore.integrate import Problem, SolveSettings, Watch
from ndecore.noise import check_noise
from ndecore.running_cost import ChargedTerm, RunningCost
from ndecore.solution import Solution
from ndecore.solvers.sosri import SOSRI
from ndecore.states import structure_of
from ndecore.terms import ODETerm, SDETerm, Term
from ndecore.types import Calculus, Noise, State, StateTree, VectorField

_DEFAULT_SETTINGS = SolveSettings()
# The method of both papers; not their controller, which takes 1.5 to 2 times the steps of I at equal strong error, many
# of them to grow from the first one (reports/benchmarks/sde_solvers.md).
_STOCHASTIC_SETTINGS = SolveSettings(SOSRI(), rtol=1e-2, atol=1e-2)


def solve(  # noqa: PLR0913 - one keyword for each thing that one may want of a solve
    vector_field: VectorField | ODETerm | SDETerm,
    y0: StateTree,
    t0: float,
    t1: float,
    *,
    settings: SolveSettings = _DEFAULT_SETTINGS,
    ts: Sequence[float] = (),
    parameters: Sequence[Tensor] | None = None,
    differentiable_records: bool = False,
    watch: Watch | None = None,
    running_cost: RunningCost | None = None,
    throw: bool = False,
) -> Solution:
    """Solve dy/dt = f(t, y) from y(t0) = y0 to t1, forwards or backwards in time.

    Gradients flow to y0 and to the parameters of f by the adjoint that the settings name, with step sizes detached:
    the discrete ones are the exact derivative of the solve on its accepted step sequence. One step size serves the
    whole state, as in P1 and P2.

    Args:
        vector_field: f(t, y), t a 0-d tensor, returning what y is; or an `ODETerm` that goes on counting; or an
            `SDETerm`, for which see `solve_sde`.
        y0: initial state: a tensor of any shape, float32 or float64; or tuples, lists and dicts of such tensors, all
            of one dtype on one device. `solution.y1` and `solution.ys` are then built in the same way.
        t0: start, in units of time.
        t1: end; the last step ends exactly there.
        settings: method, controller, adjoint, tolerances.
        ts: output times between t0 and t1 in the direction of time; dense output, no step is shortened for them.
        parameters: the tensors that f depends on, where the adjoint needs to know and f is not an `nn.Module`.
        differentiable_records: whether error and stiffness carry gradients (for global regularizers).
        watch: told (t, y) where each accepted step began, as the solve goes; y is a vector if y0 is a structure.
        running_cost: integrated along the solution, outside the error control; see `Solution.costs`.
        throw: raise `SolveFailed` unless the status is SUCCESS; otherwise read `solution.status`.

    Returns:
        The solution with one record per accepted step.

    Raises:
        InputError: a caller's mistake (times, shapes, dtypes, an adjoint that cannot give what is asked).
        SolveFailed: the solve ended early and `throw` is set.
    """
    structure = structure_of(y0)
    term: Term
    if isinstance(vector_field, ODETerm | SDETerm):
        if structure is not None:
            kind = type(vector_field).__name__
            raise InputError(f"y0: got a structure with an {kind}, allowed: a tensor; or pass the function itself")
        term = vector_field
    else:
        term = ODETerm(vector_field, parameters)
        if structure is not None:
            term = ODETerm(structure.flat(vector_field), term.parameters)
    state = y0 if structure is None else structure.flatten(y0)
    _check_problem(state, t0, t1, ts)
    _check_equation(term, settings)
    if isinstance(term, SDETerm):
        _check_stochastic(term, state, (t0, t1), running_cost)
    if differentiable_records and not settings.adjoint.differentiates_records:
        raise InputError(
            f"differentiable_records: got true with {type(settings.adjoint).__name__}, which does not differentiate "
            "the steps of the solve, allowed: false, or a discrete adjoint of ours (tape, checkpointed); or a local "
            "penalty"
        )
    if watch is not None and not settings.adjoint.tells_steps:
        raise InputError(
            f"watch: got one with {settings.adjoint}, which does not tell its steps, allowed: an adjoint of ours, or "
            "an adaptive method of torchdiffeq"
        )
    problem = Problem(term, state, float(t0), float(t1), tuple(map(float, ts)), differentiable_records, watch=watch)
    if running_cost is None:
        solution = settings.adjoint.solve(problem, settings)
    else:
        solution = _charged(problem, settings, running_cost)
    if structure is not None:
        y1, ys = structure.unflatten(solution.y1), structure.unflatten(solution.ys)
        solution = replace(solution, y1=y1, ys=ys)
    return solution.check() if throw else solution


def _charged(problem: Problem, settings: SolveSettings, cost: RunningCost) -> Solution:
    """Solve with the running cost as further elements of the state."""
    term, watch = problem.term, problem.watch
    assert isinstance(term, ODETerm)
    charged = ChargedTerm(term, cost, problem.y0.shape)
    bare = None if watch is None else (lambda t, y: watch(t, charged.parts(y)[0]))
    joint = replace(problem, term=charged, y0=charged.start(problem.y0), n_controlled=problem.y0.numel(), watch=bare)
    found = settings.adjoint.solve(joint, settings)
    (y1, costs), (ys, _) = charged.parts(found.y1), charged.parts(found.ys)
    return replace(found, y1=y1, ys=ys, costs=math.copysign(1.0, problem.t1 - problem.t0) * costs)


def solve_sde(  # noqa: PLR0913 - one keyword for each thing that one may want of a solve
    drift: VectorField,
    diffusion: VectorField,
    y0: State,
    t0: float,
    t1: float,
    *,
    path: BrownianPath | int,
    noise: Noise = "diagonal",
    calculus: Calculus = "ito",
    is_mixing: bool = False,
    settings: SolveSettings = _STOCHASTIC_SETTINGS,
    ts: Sequence[float] = (),
    parameters: Sequence[Tensor] | None = None,
    differentiable_records: bool = False,
    watch: Watch | None = None,
    throw: bool = False,
) -> Solution:
    """Solve dy = f(t, y) dt + g(t, y) dW from y(t0) = y0 to t1 > t0 along one path of W; see `solve`.

    Error control ends its steps where the path is cheap to know, so that solves of any tolerance follow one path;
    constant steps are taken as they are, and are fastest along a `BrownianTree` of as many cells. Outputs in between
    lie on straight lines. Adjoints: tape, checkpointed, or torchsde's.

    Args:
        drift: f(t, y), t a 0-d tensor; returns a tensor like y.
        diffusion: g(t, y); see `SDETerm` for its shape.
        y0: initial state [*batch, d], float32 or float64.
        t0: start, in units of time.
        t1: end; the last step ends exactly there.
        path: W; or a seed, for the `BrownianTree` of it over [t0, t1] for diagonal or scalar noise.
        noise: "diagonal", "scalar", "additive" or "general"; see `SDETerm`.
        calculus: "ito" or "stratonovich".
        is_mixing: see `SDETerm`.
        settings: method, controller, adjoint, tolerances; by default SOSRI with rtol = atol = 0.01.
        ts: output times from t0 to t1.
        parameters: the tensors that f and g depend on, where the adjoint needs to know and they are not `nn.Module`s.
        differentiable_records: whether error and stiffness carry gradients (for global regularizers).
        watch: told (t, y) where each accepted step began, as the solve goes.
        throw: raise `SolveFailed` unless the status is SUCCESS; otherwise read `solution.status`.

    Returns:
        The solution; evaluations of the drift and of the diffusion are counted apart.

    Raises:
        InputError: a caller's mistake; noise that the method does not take, with the reason.
        SolveFailed: the solve ended early and `throw` is set.
    """
    if isinstance(path, int):
        if noise not in ("diagonal", "scalar"):
            raise InputError(f"path: got a seed for {noise!r} noise, allowed: a BrownianTree of shape [*batch, m]")
        shape = y0.shape if noise == "diagonal" else (*y0.shape[:-1], 1)
        path = BrownianTree(path, shape, t0, t1, dtype=y0.dtype, device=y0.device)
    term = SDETerm(drift, diffusion, path, noise=noise, calculus=calculus, is_mixing=is_mixing, parameters=parameters)
    return solve(
        term,
        y0,
        t0,
        t1,
        settings=settings,
        ts=ts,
        differentiable_records=differentiable_records,
        watch=watch,
        throw=throw,
    )


def _check_equation(term: Term, settings: SolveSettings) -> None:
    """Raise `InputError` if adjoint or method are for another kind of equation."""
    adjoint = settings.adjoint
    if not isinstance(term, adjoint.solves):
        allowed = "an adjoint for ordinary ones" if isinstance(term, ODETerm) else "tape, checkpointed, or torchsde's"
        raise InputError(
            f"adjoint: got {type(adjoint).__name__} with an equation of {type(term).__name__}, allowed: {allowed}"
        )
    if not adjoint.is_closed:
        settings.solver.check(term)


def _check_stochastic(term: SDETerm, y0: State, span: tuple[float, float], running_cost: RunningCost | None) -> None:
    if span[1] < span[0]:
        raise InputError(f"t0, t1: got {span[0]!r}, {span[1]!r} with an SDETerm, allowed: t0 <= t1")
    if running_cost is not None:
        raise InputError("running_cost: got one with an SDETerm, allowed: none; it is for ordinary equations")
    check_noise(term, span[0], y0)


def _check_problem(y0: State, t0: float, t1: float, ts: Sequence[float]) -> None:
    if y0.dtype not in (torch.float32, torch.float64) or y0.numel() == 0:
        raise InputError(f"y0: got {tuple(y0.shape)} of {y0.dtype}, allowed: a non-empty float32 or float64 tensor")
    if not (math.isfinite(t0) and math.isfinite(t1)):
        raise InputError(f"t0, t1: got {t0!r}, {t1!r}, allowed: finite numbers")
    sign = 1 if t1 >= t0 else -1
    ordered = [t0, *ts, t1]
    if not all(sign * (b - a) >= 0 for a, b in pairwise(ordered)):
        raise InputError(f"ts: got {tuple(ts)!r}, allowed: times sorted from t0 = {t0!r} to t1 = {t1!r}")
