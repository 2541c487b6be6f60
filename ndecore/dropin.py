"""torchdiffeq's calls on the solvers of this package: change the import, keep the code.

    from ndecore import odeint, odeint_adjoint, odeint_event    # instead of torchdiffeq

Signatures, defaults and shapes are those of torchdiffeq 0.2.5, results agree to the tolerance. Solves are seen by
`ndecore.observe`; one that fails raises `SolveFailed`. What is not as there:

| there | here |
|---|---|
| `rk4` | the classical method, not the 3/8 rule; both have order 4 |
| `heun2`, `adaptive_heun` | `Heun`; also `tsit5` and `dop853` |
| `dopri8`, `fehlberg2`, `heun3`, Adams methods, `scipy_solver` | refused |
| gradients of `odeint_adjoint` | exact for the steps taken, from two states of each: nothing is integrated backwards |
| `adjoint_rtol`, `adjoint_atol`, `adjoint_method`, `adjoint_options` | without effect: no such error is there |
| outputs of fixed-step methods | by dense output of order 3, not by straight lines |
| options `interp`, `perturb` | refused |
| `max_num_steps` | of the whole call, not from one output to the next |
| `callback_step`, `callback_accept_step`, `callback_reject_step` | refused: `ndecore.observe` tells steps |
| `event_fn` that is 0 at the start | has the sign that it takes with the first step; there no event is ever found |
| `step_t`, `jump_t`, `grid_constructor` with `event_fn` | refused |
| second derivatives through times of events | refused |
| `torch.func` (`grad`, `vmap`, `jvp`), forward mode | refused; `torch.autograd.functional` works |
| `odeint_dense`, tolerances that need a gradient | refused or not there |
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ndecore.adjoints.checkpointed import Checkpointed
from ndecore.autocast import outside_autocast
from ndecore.dropin_options import Options, options_of
from ndecore.errors import InputError
from ndecore.events import differentiable_event, first_event, moved
from ndecore.integrate import Adjoint, Problem, Tape
from ndecore.observing import observers
from ndecore.solving import solve
from ndecore.states import map_tensors, structure_of, tensors_of
from ndecore.terms import ODETerm
from ndecore.tolerances import norm_of, on_state
from ndecore.transforms import refuse_transforms
from ndecore.types import Scalar, StateTree

_CALLBACKS = ("callback_step", "callback_accept_step", "callback_reject_step")
Field = Callable[[Tensor, Any], Any]


def odeint(
    func: Field,
    y0: StateTree,
    t: Tensor | Sequence[float],
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Field | None = None,
) -> Any:
    """Solve dy/dt = func(t, y) from y(t[0]) = y0; as `torchdiffeq.odeint`. Gradients through the steps.

    Args:
        func: f(t, y), t a 0-d tensor.
        y0: a tensor of any shape, or a tuple of tensors.
        t: output times [times], ascending or descending, the first one the start; gradients reach them.
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
        method: dopri5 by default; see the module.
        options: of adaptive methods first_step, max_num_steps, safety, ifactor, dfactor, min_step, max_step, norm,
            step_t, jump_t, dtype; of others step_size, grid_constructor.
        event_fn: (t, y) -> values of any shape; the solve ends where one changes its sign, and of two times t the
            second says the direction alone. Times and states of events have gradients.

    Returns:
        y at t: [times, *state], or a tuple of such; with an event its time, and y at the start and there.

    Raises:
        InputError: what is not offered, and other mistakes of the caller.
        SolveFailed: the solve ended early.
    """
    params = tuple(func.parameters()) if isinstance(func, nn.Module) else None
    call = _Call(func, y0, _times(t), options_of(method, options), (rtol, atol), Tape(), params)
    return call.outputs() if event_fn is None else call.until(event_fn)


def odeint_adjoint(  # noqa: PLR0913 - the signature is torchdiffeq's
    func: Field,
    y0: StateTree,
    t: Tensor | Sequence[float],
    *,
    rtol: Any = 1e-7,
    atol: Any = 1e-9,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    event_fn: Field | None = None,
    adjoint_rtol: Any = None,
    adjoint_atol: Any = None,
    adjoint_method: str | None = None,
    adjoint_options: Mapping[str, Any] | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> Any:
    """The same with two states of each step in memory in the place of a tape; as `torchdiffeq.odeint_adjoint`.

    The gradient is that of `odeint`, exact for the steps taken, by `Checkpointed`. See `odeint`.

    Args:
        func: f(t, y).
        y0: a tensor, or a tuple of tensors.
        t: output times [times].
        rtol: relative tolerance, dimensionless.
        atol: absolute tolerance, unit of y.
        method: dopri5 by default.
        options: see `odeint`.
        event_fn: see `odeint`.
        adjoint_rtol: without effect, as the next three: no backward integration has an error to be controlled.
        adjoint_atol: without effect.
        adjoint_method: without effect.
        adjoint_options: without effect.
        adjoint_params: the tensors that func depends on; those of func if it is an `nn.Module` and None is given.

    Raises:
        InputError: nobody said the parameters; see also `odeint`.
        SolveFailed: the solve ended early.
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise InputError(
            "adjoint_params: got none for a func that is no nn.Module, allowed: every tensor that it depends on, `()` "
            "if there is none; or odeint"
        )
    params = tuple(
        func.parameters() if isinstance(func, nn.Module) and adjoint_params is None else adjoint_params or ()
    )
    call = _Call(func, y0, _times(t), options_of(method, options), (rtol, atol), Checkpointed(), params)
    return call.outputs() if event_fn is None else call.until(event_fn)


def odeint_event(
    func: Field,
    y0: StateTree,
    t0: Tensor,
    *,
    event_fn: Field,
    reverse_time: bool = False,
    odeint_interface: Callable[..., Any] = odeint,
    **kwargs: Any,
) -> tuple[Scalar, Any]:
    """The time of the first event, and y at t0 and there; as `torchdiffeq.odeint_event`. See `odeint`.

    Args:
        func: f(t, y).
        y0: a tensor, or a tuple of tensors.
        t0: start, a 0-d tensor; gradients reach it.
        event_fn: (t, y) -> values of any shape.
        reverse_time: go backwards in time.
        odeint_interface: `odeint` or `odeint_adjoint`.
        kwargs: of that.
    """
    step = -1.0 if reverse_time else 1.0
    t = torch.stack([t0.reshape(()), t0.detach().reshape(()) + step])
    found: tuple[Scalar, Any] = odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
    return found


class _Call:
    """One call: what is solved, and how."""

    def __init__(  # noqa: PLR0917 - the call as it came
        self,
        func: Field,
        y0: StateTree,
        times: Tensor,
        options: Options,
        tolerances: tuple[Any, Any],
        adjoint: Adjoint,
        parameters: tuple[Tensor, ...] | None,
    ) -> None:
        for name in _CALLBACKS:
            if hasattr(func, name):
                raise InputError(
                    f"{name}: got one on {type(func).__name__}, which is not called here, allowed: none; "
                    "ndecore.observe tells steps after the solve, ndecore.solve(watch=...) as they are accepted"
                )
        self.func, self.y0, self.times, self.numbers = func, y0, times, times.tolist()
        self.options = options.on(self.numbers, func, y0, times)
        self.settings = self.options.settings(*tolerances, adjoint, not isinstance(y0, Tensor))
        self.parameters = parameters
        self.has_moving_times = times.requires_grad and torch.is_grad_enabled()

    def outputs(self) -> Any:
        """y at the times."""
        ways: dict[str, Any] = {"settings": self.settings, "parameters": self.parameters, **self.options.stops()}
        found: Any = solve(self.func, self.y0, self.times[0], self.numbers[-1], ts=self.times, **ways).ys
        return found

    def until(self, event_fn: Field) -> tuple[Scalar, Any]:
        """The time of the event, and y at the start and there."""
        if len(self.numbers) != 2:
            raise InputError(f"t: got {len(self.numbers)} times with event_fn, allowed: two, the start and a later one")
        self.options.check_event()
        refuse_transforms()
        start, (t0, t1) = self._start(), self.numbers
        structure = structure_of(start)
        flat = start if structure is None else structure.flatten(start)
        function = event_fn if structure is None else (lambda t, y: event_fn(t, structure.unflatten(y)))
        rtol, atol = (on_state(name, getattr(self.settings, name), flat, structure) for name in ("rtol", "atol"))
        settings, norm = self.settings.at(rtol, atol), norm_of(self.settings.norm, flat, structure)
        tapes = settings.adjoint.tapes_states
        # The search tapes what it needs; but who observes sees solves alone, and other adjoints make their own.
        solves_again = bool(observers()) or (torch.is_grad_enabled() and not tapes)
        with outside_autocast(flat.device, tapes) as wrap:
            field = wrap(self.func)
            term = ODETerm(field if structure is None else structure.flat(field), self.parameters)
            with torch.set_grad_enabled(torch.is_grad_enabled() and not solves_again):
                event = first_event(Problem(term, flat, t0, t1, norm=norm), settings, function)
        state = event.y
        if solves_again:
            again = solve(self.func, start, t0, event.t, settings=self.settings, parameters=self.parameters)
            state = again.y1 if structure is None else structure.flatten(again.y1)
        time, state = differentiable_event(event, state, term, function)
        ys = [self.y0, state if structure is None else structure.unflatten(state)]
        return time.to(self.times), _joined(ys, torch.stack)

    def _start(self) -> StateTree:
        """y0, as it moves where the start does: y(t; t0 + d, y0) = y(t; t0, y0 - f d) to first order in d."""
        if not self.has_moving_times:
            return self.y0
        return _shifted(self.y0, self._slope(self.numbers[0], self.y0), -moved(self.times[0]))

    def _slope(self, t: float, y: StateTree) -> StateTree:
        like = tensors_of(y)[0]
        with torch.no_grad():
            return self.func(torch.full((), t, dtype=like.dtype.to_real(), device=like.device), y)


def _times(t: Tensor | Sequence[float]) -> Tensor:
    """[times]; raise `InputError` unless they are in strict order."""
    times = t if isinstance(t, Tensor) else torch.tensor(t, dtype=torch.float64)
    if times.dim() != 1 or not len(times) or not times.dtype.is_floating_point:
        raise InputError(f"t: got {tuple(times.shape)} of {times.dtype}, allowed: [times] of a floating-point type")
    numbers = times.tolist()
    sign = 1 if numbers[-1] >= numbers[0] else -1
    if not all(sign * (after - before) > 0 for before, after in pairwise(numbers)):
        raise InputError(f"t: got {numbers}, allowed: strictly increasing or strictly decreasing times")
    return times


def _shifted(y: StateTree, slope: StateTree, by: Scalar) -> StateTree:
    """y + slope by, where `by` is zero and has a gradient."""
    slopes = iter(tensors_of(slope))
    return map_tensors(lambda each: each + next(slopes) * by.to(each), y)


def _joined(states: Sequence[StateTree], join: Callable[[list[Tensor]], Tensor]) -> Any:
    """One state of what is joined part by part."""
    columns = zip(*map(tensors_of, states), strict=True)
    return map_tensors(lambda _: join(list(next(columns))), states[0])
