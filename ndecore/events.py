"""The first time at which a function of the solution changes its sign."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from ndecore.errors import SolveFailed
from ndecore.integrate import Accepted, Problem, SolveSettings, integrate
from ndecore.norms import refuse_second_derivative
from ndecore.status import Status
from ndecore.terms import ODETerm
from ndecore.types import Scalar, State

EventFunction = Callable[[Tensor, State], Tensor]  # (t, y) -> values of any shape; an event is a change of any sign
_MOST = 100  # halvings of a step: more than float64 has bits


class Event(NamedTuple):
    """Where it happens."""

    t: float
    y: State  # by the dense output of the step in which it happens
    signs: Tensor  # of the event function's values before, flattened


class _Found(Exception):
    """Ends the loop."""

    def __init__(self, accepted: Accepted) -> None:
        super().__init__()
        self.accepted = accepted


def first_event(problem: Problem, settings: SolveSettings, function: EventFunction) -> Event:
    """Integrate until a value of `function` changes its sign or becomes zero.

    A value that is zero at the start has the sign that it has after the first step. The event is located on the dense
    output of its step, to the rounding of y's dtype; a value that changes its sign twice within one step is missed.

    Args:
        problem: y0 at t0, and as t1 up to where the search looks at first; it goes on twice as far each time.
        settings: method, controller, tolerances and the attempts in all.
        function: of the time, a 0-d tensor, and the state.

    Raises:
        SolveFailed: the solve ended before an event.
    """
    watcher, span = _Watcher(function, problem.t0, problem.y0), problem.t1 - problem.t0
    left = settings.max_steps
    while True:
        try:
            solution = integrate(problem, replace(settings, max_steps=left), watcher, keeps_steps=True)
        except _Found as found:
            return watcher.located(found.accepted)
        left -= solution.stats.n_accepted + solution.stats.n_rejected
        if solution.status is not Status.SUCCESS or left < 1 or not math.isfinite(problem.t1 + 2 * span):
            raise SolveFailed(f"event_fn: no event until t = {problem.t1!r}; {solution.ending()}")
        span *= 2
        last = abs(solution.records.dt[-1].item())
        problem = replace(problem, y0=solution.y1, t0=problem.t1, t1=problem.t1 + span, first_step=last)


class _Watcher:
    """Looks at the event function at the end of each step."""

    def __init__(self, function: EventFunction, t0: float, y0: State) -> None:
        self._function = function
        self._signs = [math.copysign(1.0, value) if value else 0.0 for value in self._values(t0, y0)]

    def __call__(self, accepted: Accepted) -> None:
        values = self._values(accepted.t + accepted.dt, accepted.step.y1)
        if any(sign * value <= 0 for sign, value in zip(self._signs, values, strict=True) if sign):
            raise _Found(accepted)
        pairs = zip(self._signs, values, strict=True)
        self._signs = [sign or (math.copysign(1.0, value) if value else 0.0) for sign, value in pairs]

    def located(self, accepted: Accepted) -> Event:
        """The event within a step, by Ridders' method on the dense output.

        Reference: Ridders, A new algorithm for computing a single root of a real continuous function, IEEE Trans.
        Circuits Syst. 26 (1979).
        """
        start, end = accepted.t, accepted.t + accepted.dt
        before, after = self._least(start, accepted.y0), self._least(end, accepted.step.y1)
        resolution = torch.finfo(accepted.y0.dtype).eps * max(abs(start), abs(end), abs(accepted.dt))
        for _ in range(_MOST):
            if abs(end - start) <= resolution or after == 0:
                break
            middle = start + (end - start) / 2
            at_middle = self._inside(accepted, middle)
            root = math.sqrt(at_middle**2 - before * after)
            guess = middle + (middle - start) * at_middle / root if root > 0 else middle
            for t, value in ((middle, at_middle), (guess, self._inside(accepted, guess))):
                if (t - start) * (t - end) > 0:  # behind what is known by now
                    continue
                if value > 0:
                    start, before = t, value
                else:
                    end, after = t, value
        y = accepted.step.y1 if end == accepted.t + accepted.dt else accepted.step.interpolate([end])[0]
        return Event(end, y, y.new_tensor(self._signs))

    def _inside(self, accepted: Accepted, t: float) -> float:
        with torch.no_grad():
            return self._least(t, accepted.step.interpolate([t])[0])

    def _least(self, t: float, y: State) -> float:
        """The least value, each by its sign at the start: positive before the event."""
        pairs = zip(self._signs, self._values(t, y), strict=True)
        return min(sign * value for sign, value in pairs if sign)

    def _values(self, t: float, y: State) -> list[float]:
        with torch.no_grad():
            found: list[float] = (
                self._function(torch.full((), t, dtype=y.dtype, device=y.device), y).reshape(-1).tolist()
            )
        return found


def differentiable_event(event: Event, state: State, term: ODETerm, function: EventFunction) -> tuple[Scalar, State]:
    """The time and the state of an event with their gradients, by the implicit function theorem.

    With c(t, y(t; theta)) = 0:  dt/dtheta = -(dc/dy dy/dtheta + dc/dtheta) / (dc/dt + dc/dy f), and the state moves by
    f dt. Differentiable once.

    Args:
        event: where it happens.
        state: the solution at `event.t`, differentiable at that fixed time.
        term: of the vector field f.
        function: c.

    Reference: Chen, Amos, Nickel, Learning neural event functions for ordinary differential equations, ICLR 2021.
    """
    moment = torch.full((), event.t, dtype=state.dtype, device=state.device)
    signs = event.signs
    with torch.enable_grad():
        t, y = moment.clone().requires_grad_(), state.detach().requires_grad_()
        of_each = function(t, y).reshape(-1) * signs
        which = int(of_each.detach().masked_fill(signs == 0, math.inf).argmin())
        to_t, to_y = torch.autograd.grad(of_each[which], (t, y), materialize_grads=True)
    with torch.no_grad():
        slope = term.at(moment, state.detach())
        rate = to_t + (to_y * slope).sum()
    value = (function(moment, state).reshape(-1) * signs)[which]
    if not (value.requires_grad or state.requires_grad):
        return moment, state
    time = _EventTime.apply(value, moment, rate)
    return time, state + slope * moved(time).to(state.dtype)


class _EventTime(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, moment: Tensor, rate: Tensor) -> Tensor:
        ctx.rate = rate
        return moment.clone()

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> tuple[Tensor, None, None]:
        refuse_second_derivative("the time of an event")
        return -bar / ctx.rate, None, None


def moved(t: Scalar) -> Scalar:
    """Zero, with the gradient of t: what is moved by it as t moves. Differentiable once."""
    found: Tensor = _Moved.apply(t)
    return found


class _Moved(Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    @staticmethod
    def backward(ctx: Any, bar: Tensor) -> Tensor:
        refuse_second_derivative("a time")
        return bar
