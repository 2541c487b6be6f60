"""The front door of the solvers."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex, TypedDict, Unpack

import torch
from torch import Tensor

from ndecore.adjoints import ADJOINTS, SDE_ADJOINTS
from ndecore.adjoints.randomness import refusing_random_fields
from ndecore.adjoints.times import Moments, moments_of, solve_from
from ndecore.autocast import Wrapper, as_it_is, outside_autocast
from ndecore.brownian import BrownianPath
from ndecore.controllers.base import Controller
from ndecore.errors import InputError
from ndecore.facts import Equations
from ndecore.given import member, whole
from ndecore.integrate import Adjoint, Problem, SolveSettings, Watch
from ndecore.noise import check_noise
from ndecore.observing import final_settings, observed, observers, silent_settings, with_path
from ndecore.running_cost import ChargedTerm, RunningCost
from ndecore.solution import Solution
from ndecore.solvers.base import Solver
from ndecore.solvers.sosri import SOSRI
from ndecore.states import Structure, structure_of
from ndecore.status import Status
from ndecore.terms import ODETerm, SDETerm, Term
from ndecore.times import Time, inside, span_of
from ndecore.tolerances import NormChoice, Tolerance, check_tolerances, norm_of, on_state
from ndecore.transforms import left_out_of_graphs, refuse_transforms
from ndecore.types import Calculus, Noise, State, StateTree, VectorField
from ndecore.undrawn_path import UndrawnPath

DEFAULT_SETTINGS = SolveSettings()
# The method of both papers; not their controller, which takes 1.5 to 2 times the steps of I at equal strong error, many
# of them to grow from the first one (reports/benchmarks/sde_solvers.md).
STOCHASTIC_SETTINGS = SolveSettings(SOSRI(), rtol=1e-2, atol=1e-2)


class Overrides(TypedDict, total=False):
    """Fields of `SolveSettings`, of which solver, controller and adjoint may be given by name."""

    solver: Solver | str
    controller: Controller | str
    adjoint: Adjoint | str
    rtol: Tolerance
    atol: Tolerance
    max_steps: SupportsIndex
    norm: NormChoice
    first_step: SupportsFloat | None
    max_step: SupportsFloat
    within_stability: bool


@left_out_of_graphs
def solve(  # noqa: PLR0913 - one keyword for each thing that one may want of a solve
    vector_field: VectorField | ODETerm | SDETerm,
    y0: StateTree,
    t0: Time,
    t1: Time,
    *,
    settings: SolveSettings | None = None,
    ts: Iterable[Time] = (),
    parameters: Sequence[Tensor] | None = None,
    differentiable_records: bool = False,
    watch: Watch | None = None,
    running_cost: RunningCost | None = None,
    step_t: Iterable[Time] = (),
    jump_t: Iterable[Time] = (),
    dense: bool = False,
    throw: bool = True,
    **overrides: Unpack[Overrides],
) -> Solution:
    """Solve dy/dt = f(t, y) from y(t0) = y0 to t1, forwards or backwards in time.

    Gradients flow to y0 and to the parameters of f by the adjoint that the settings name, with step sizes detached:
    the discrete ones are the exact derivative of the solve on its accepted step sequence. One step size serves the
    whole state, as in P1 and P2. Times that are tensors and require gradients get those of the exact solution.

    Args:
        vector_field: f(t, y), t a 0-d tensor, returning what y is; or an `ODETerm` that goes on counting; or an
            `SDETerm`, for which see `solve_sde`.
        y0: initial state: a tensor of any shape, float32 or float64, or complex of these; or tuples, lists and dicts of
            such tensors, all of one precision on one device. `solution.y1` and `solution.ys` are built in the same way.
            Real and imaginary parts are elements of the state, each with its tolerance.
        t0: start, in units of time; a number or a 0-d tensor, as all times.
        t1: end; the last step ends exactly there.
        settings: method, controller, adjoint, tolerances; if None those of `ndecore.observe(settings=...)`, or else the
            defaults: Tsit5 at 1e-6, SOSRI at 0.01 for an `SDETerm`.
        ts: output times between t0 and t1 in the direction of time, a sequence or a tensor; dense output, no step is
            shortened for them. One that misses t0 or t1 by the rounding of its type is that end.
        parameters: the tensors that f depends on, where the adjoint needs to know and f is not an `nn.Module`.
        differentiable_records: whether error and stiffness carry gradients (for global regularizers).
        watch: told (t, y) where each accepted step began, as the solve goes; y is a vector if y0 is a structure.
        running_cost: integrated along the solution, outside the error control; see `Solution.costs`.
        step_t: times at which a step is to end.
        jump_t: times at which the field jumps or has a kink: no step goes across, and none is rejected for it.
        dense: keep the steps, so that `solution.interpolate(t)` gives the state at any time afterwards.
        throw: raise `SolveFailed` unless the status is SUCCESS; if false, read `solution.status`.
        overrides: fields of the settings by name, such as `rtol=1e-4` or `solver="dopri5"`, instead of theirs.

    Returns:
        The solution with one record per accepted step.

    Raises:
        InputError: a caller's mistake (times, shapes, dtypes, an adjoint that cannot give what is asked).
        SolveFailed: the solve ended early and `throw` is set.
    """
    refuse_transforms()
    settings = _settings(settings, overrides, isinstance(vector_field, SDETerm))
    structure = structure_of(y0)
    state = y0 if structure is None else structure.flatten(y0)
    _check_state(state)
    if not settings.has_plain_tolerances:
        settings = _with_tolerances_on(state, structure, settings)
    ts = ts if isinstance(ts, Tensor) else tuple(ts)
    span, moments = span_of(t0, t1, ts), moments_of(t0, t1, ts)
    with outside_autocast(state.device, settings.adjoint.tapes_states) as wrap:
        term = _term_of(vector_field, parameters, structure, wrap)
        norm = norm_of(settings.norm, state, structure)
        problem = Problem(
            term,
            state,
            *span,
            differentiable_records,
            watch=watch,
            step_t=inside(span, "step_t", step_t),
            jump_t=inside(span, "jump_t", jump_t),
            dense=dense,
            norm=norm,
        )
        solved = partial(_solved, asked=problem, moments=moments)
        if observers():
            solution = observed(problem, settings, running_cost, solved)
        else:
            solution = solved(problem, settings, running_cost)
    assert solution.status is not Status.SUCCESS or len(solution.ys) == len(span.ts), "each output is reached"
    if structure is not None:
        y1, ys = structure.unflatten(solution.y1), structure.unflatten(solution.ys)
        solution = replace(solution, y1=y1, ys=ys, dense=_then(solution.dense, structure.unflatten))
    return solution.check() if throw else solution


def _term_of(
    vector_field: VectorField | ODETerm | SDETerm,
    parameters: Sequence[Tensor] | None,
    structure: Structure | None,
    wrap: Wrapper,
) -> ODETerm | SDETerm:
    """The equation on vectors or single tensors, its functions wrapped."""
    if not isinstance(vector_field, ODETerm | SDETerm):
        term = ODETerm(vector_field, parameters)
        if structure is not None:
            return term.mapped(lambda field: structure.flat(wrap(field)))
        return term if wrap is as_it_is else term.mapped(wrap)
    if structure is not None:
        kind = type(vector_field).__name__
        raise InputError(f"y0: got a structure with an {kind}, allowed: a real tensor; or pass the function itself")
    return vector_field if wrap is as_it_is else vector_field.mapped(wrap)


def _solved(
    problem: Problem,
    settings: SolveSettings,
    running_cost: RunningCost | None,
    *,
    asked: Problem,
    moments: Moments | None,
) -> Solution:
    """Solve; `problem` is what was asked for, or what an observer has made of it."""
    _check_problem(problem, settings, running_cost)
    if moments is not None:
        _check_moments(problem, asked)
    problem = with_path(problem)
    with refusing_random_fields(problem, settings.adjoint):
        if running_cost is None:
            return solve_from(moments, problem, settings)
        return _charged(problem, settings, running_cost, moments)


def _charged(problem: Problem, settings: SolveSettings, cost: RunningCost, moments: Moments | None) -> Solution:
    """Solve with the running cost as further elements of the state."""
    term, watch = problem.term, problem.watch
    assert isinstance(term, ODETerm)
    charged = ChargedTerm(term, cost, problem.y0.shape)
    bare = None if watch is None else (lambda t, y: watch(t, charged.parts(y)[0]))
    joint = replace(problem, term=charged, y0=charged.start(problem.y0), n_controlled=problem.y0.numel(), watch=bare)
    flat: dict[str, Any] = {
        name: value.reshape(-1) for name, value in vars(settings).items() if isinstance(value, Tensor)
    }
    found = solve_from(moments, joint, replace(settings, **flat) if flat else settings)
    (y1, costs), (ys, _) = charged.parts(found.y1), charged.parts(found.ys)
    costs = math.copysign(1.0, problem.t1 - problem.t0) * costs
    return replace(found, y1=y1, ys=ys, costs=costs, dense=_then(found.dense, lambda y: charged.parts(y)[0]))


def _then(dense: Callable[[float], Any] | None, change: Callable[[Any], Any]) -> Callable[[float], Any] | None:
    return None if dense is None else lambda t: change(dense(t))


def solve_sde(  # noqa: PLR0913 - one keyword for each thing that one may want of a solve
    drift: VectorField,
    diffusion: VectorField,
    y0: State,
    t0: Time,
    t1: Time,
    *,
    path: BrownianPath | SupportsIndex | None = None,
    noise: Noise = "diagonal",
    calculus: Calculus = "ito",
    is_mixing: bool = False,
    settings: SolveSettings | None = None,
    ts: Iterable[Time] = (),
    parameters: Sequence[Tensor] | None = None,
    differentiable_records: bool = False,
    watch: Watch | None = None,
    throw: bool = True,
    **overrides: Unpack[Overrides],
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
        path: W; or for diagonal or scalar noise a seed, for the `BrownianTree` of it over [t0, t1]; or None, where the
            seed is that of `ndecore.observe(path_seed=...)`, or else drawn from torch's default generator.
        noise: "diagonal", "scalar", "additive" or "general"; see `SDETerm`.
        calculus: "ito" or "stratonovich".
        is_mixing: see `SDETerm`.
        settings: method, controller, adjoint, tolerances; see `solve`.
        ts: output times from t0 to t1.
        parameters: the tensors that f and g depend on, where the adjoint needs to know and they are not `nn.Module`s.
        differentiable_records: whether error and stiffness carry gradients (for global regularizers).
        watch: told (t, y) where each accepted step began, as the solve goes.
        throw: raise `SolveFailed` unless the status is SUCCESS; if false, read `solution.status`.
        overrides: fields of the settings by name, such as `rtol=1e-4` or `solver="dopri5"`, instead of theirs.

    Returns:
        The solution; evaluations of the drift and of the diffusion are counted apart.

    Raises:
        InputError: a caller's mistake; noise that the method does not take, with the reason.
        SolveFailed: the solve ended early and `throw` is set.
    """
    if not isinstance(path, BrownianPath):
        if noise not in ("diagonal", "scalar"):
            got = "none" if path is None else "a seed"
            raise InputError(f"path: got {got} for {noise!r} noise, allowed: a BrownianTree of shape [*batch, m]")
        shape = y0.shape if noise == "diagonal" else (*y0.shape[:-1], 1)
        path = UndrawnPath(tuple(shape), y0.dtype, y0.device, None if path is None else whole("path", path))
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
        **overrides,
    )


def _settings(given: SolveSettings | None, overrides: Overrides, is_stochastic: bool) -> SolveSettings:
    """Those by which a solve is made: given ones, or the observer's, or the default ones; with its overrides."""
    if given is None:
        given = silent_settings(STOCHASTIC_SETTINGS if is_stochastic else DEFAULT_SETTINGS)
    return final_settings(_overridden(given, overrides) if overrides else given)


def _overridden(settings: SolveSettings, overrides: Overrides) -> SolveSettings:
    allowed = {each.name for each in fields(settings)}
    unknown = [name for name in overrides if name not in allowed]
    if unknown:
        raise TypeError(f"solve() got an unexpected keyword argument {unknown[0]!r}; settings are {sorted(allowed)}")
    adjoint = member("adjoint", overrides.get("adjoint", settings.adjoint), (ADJOINTS, SDE_ADJOINTS))
    return replace(settings, **{**overrides, "adjoint": adjoint})


def _with_tolerances_on(state: State, structure: Structure | None, settings: SolveSettings) -> SolveSettings:
    """The settings with a tolerance for each element of the state, where they are not numbers."""
    rtol, atol = (on_state(name, getattr(settings, name), state, structure) for name in ("rtol", "atol"))
    check_tolerances(rtol, atol)
    return settings.at(rtol, atol)


def _check_problem(problem: Problem, settings: SolveSettings, running_cost: RunningCost | None) -> None:
    """Raise `InputError` if adjoint or method cannot give what is asked."""
    term, adjoint = problem.term, settings.adjoint
    _check_equation(term, settings)
    if isinstance(term, SDETerm):
        _check_stochastic(term, problem, running_cost)
        if adjoint.is_closed and not (problem.norm is None and isinstance(settings.rtol, float)):
            name = type(adjoint).__name__
            raise InputError(f"norm, rtol: got others than one with {name}, allowed: norm='rms' and numbers")
    if problem.differentiable_records and not adjoint.differentiates_records:
        raise InputError(
            f"differentiable_records: got true with {type(adjoint).__name__}, which does not differentiate "
            "the steps of the solve, allowed: false, or a discrete adjoint of ours (tape, checkpointed); or a local "
            "penalty"
        )
    _check_steps(problem, settings)
    if problem.watch is not None and not adjoint.tells_steps:
        raise InputError(
            f"watch: got one with {adjoint}, which does not tell its steps, allowed: an adjoint of ours, or "
            "an adaptive method of torchdiffeq"
        )


def _check_steps(problem: Problem, settings: SolveSettings) -> None:
    """Raise `InputError` if the adjoint does not take what is asked of the steps, or keep them."""
    adjoint = settings.adjoint
    name = type(adjoint).__name__
    is_asked = problem.step_t or problem.jump_t or settings.first_step is not None or math.isfinite(settings.max_step)
    if is_asked and adjoint.is_closed and not adjoint.tells_steps:
        raise InputError(f"step_t, jump_t, first_step, max_step: got one with {name}, allowed: an adjoint of ours")
    if problem.dense and (adjoint.is_closed or (torch.is_grad_enabled() and not adjoint.tapes_states)):
        raise InputError(
            f"dense: got true with {name}, which keeps no steps that could be differentiated, allowed: the adjoint "
            "tape; or one of ours under torch.no_grad()"
        )


def _check_equation(term: Term, settings: SolveSettings) -> None:
    """Raise `InputError` if adjoint or method are for another kind of equation."""
    adjoint = settings.adjoint
    equations: Equations = "stochastic" if isinstance(term, SDETerm) else "ordinary"
    if equations not in adjoint.equations:
        allowed = "an adjoint for ordinary ones" if equations == "ordinary" else "tape, checkpointed, or torchsde's"
        raise InputError(
            f"adjoint: got {type(adjoint).__name__} with an equation of {type(term).__name__}, allowed: {allowed}"
        )
    if not adjoint.is_closed:
        settings.solver.check(term)


def _check_moments(problem: Problem, asked: Problem) -> None:
    if (problem.t1, problem.ts) != (asked.t1, asked.ts):
        raise InputError(
            "t0, t1, ts: got one that requires a gradient inside observe() with a penalty that moves or adds times, "
            "allowed: another penalty, or times without gradients; detach them"
        )
    if isinstance(problem.term, SDETerm):
        raise InputError("t0, t1, ts: got one that requires a gradient with an SDETerm, allowed: numbers; detach it")
    if problem.differentiable_records:
        raise InputError(
            "differentiable_records: got true and a time that requires a gradient, which the records of steps do not "
            "have, allowed: false, or times without gradients; detach them"
        )


def _check_stochastic(term: SDETerm, problem: Problem, running_cost: RunningCost | None) -> None:
    if problem.t1 < problem.t0:
        raise InputError(f"t0, t1: got {problem.t0!r}, {problem.t1!r} with an SDETerm, allowed: t0 <= t1")
    if running_cost is not None:
        raise InputError("running_cost: got one with an SDETerm, allowed: none; it is for ordinary equations")
    check_noise(term, problem.t0, problem.y0)


def _check_state(y0: State) -> None:
    if y0.dtype not in (torch.float32, torch.float64) or y0.numel() == 0:
        raise InputError(f"y0: got {tuple(y0.shape)} of {y0.dtype}, allowed: a non-empty float32 or float64 tensor")
