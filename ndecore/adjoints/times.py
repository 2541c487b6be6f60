"""The gradients to the times of a solve, which are the same whatever the adjoint.

With y(t; t0, y0) the solution: dy/dt = f(t, y), and dy/dt0 = -dy/dy0 f(t0, y0). They are those of the exact solution,
so that they agree with the steps that were taken to the tolerance; step sizes have none.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from ndecore.adjoints.replay import buffers_kept
from ndecore.integrate import Problem, SolveSettings
from ndecore.running_cost import ChargedTerm
from ndecore.solution import Solution
from ndecore.status import Status
from ndecore.terms import ODETerm
from ndecore.types import State, States

_Term = ODETerm | ChargedTerm


class Moments(NamedTuple):
    """The times that need gradients; None where one does not."""

    t0: Tensor | None
    t1: Tensor | None
    ts: Tensor | None  # [times]


def moments_of(t0: Any, t1: Any, ts: Iterable[Any]) -> Moments | None:
    """The times that need gradients, or None if there are none."""
    if not torch.is_grad_enabled():
        return None
    start, end = (t if _needs(t) else None for t in (t0, t1))
    if isinstance(ts, Tensor):
        outputs = ts if _needs(ts) else None
    else:
        parts = tuple(ts)
        doubles = (
            [torch.as_tensor(t, dtype=torch.float64).reshape(()) for t in parts] if any(map(_needs, parts)) else []
        )
        outputs = torch.stack(doubles) if doubles else None
    return None if start is end is outputs is None else Moments(start, end, outputs)


def solve_from(moments: Moments | None, problem: Problem, settings: SolveSettings) -> Solution:
    """Solve by the adjoint of the settings, with gradients to the times too."""
    if moments is None:
        return settings.adjoint.solve(problem, settings)
    term = problem.term
    assert isinstance(term, ODETerm | ChargedTerm), "checked by `solve`"
    if moments.t0 is not None:
        problem = replace(problem, y0=_Start.apply(problem.y0, moments.t0, term))
    found = settings.adjoint.solve(problem, settings)
    y1, ys = found.y1, found.ys
    if moments.t1 is not None and found.status is Status.SUCCESS:
        y1 = _End.apply(y1, moments.t1, term)
    if moments.ts is not None and len(ys):
        ys = _Outputs.apply(ys, moments.ts[: len(ys)], term)
    return replace(found, y1=y1, ys=ys)


def _needs(time: Any) -> bool:
    return isinstance(time, Tensor) and time.requires_grad


def _rate(term: _Term, t: Tensor, y: State, cotangent: State) -> Tensor:
    """<cotangent, f(t, y)>, like t; with a graph where the way back is differentiated itself."""
    term.counts.n_replayed += 1
    with buffers_kept(term.modules):
        slope = term.field(t.reshape(()).to(y), y)
    return (cotangent * slope).sum().to(t).reshape(t.shape)


class _Start(Function):
    """y0, whose cotangent is that of the whole solve: -<cotangent, f(t0, y0)> to t0."""

    @staticmethod
    def forward(ctx: Any, y0: State, t0: Tensor, term: _Term) -> State:
        ctx.term = term
        ctx.save_for_backward(y0, t0)
        return y0.view_as(y0)

    @staticmethod
    def backward(ctx: Any, y_bar: State) -> tuple[State, Tensor, None]:
        y0, t0 = ctx.saved_tensors
        return y_bar, -_rate(ctx.term, t0, y0, y_bar), None


class _End(Function):
    """y1, and <cotangent, f(t1, y1)> to t1."""

    @staticmethod
    def forward(ctx: Any, y1: State, t1: Tensor, term: _Term) -> State:
        ctx.term, end = term, y1.clone()
        ctx.save_for_backward(end, t1)
        return end

    @staticmethod
    def backward(ctx: Any, y_bar: State) -> tuple[State, Tensor, None]:
        y1, t1 = ctx.saved_tensors
        return y_bar, _rate(ctx.term, t1, y1, y_bar), None


class _Outputs(Function):
    """ys, and <cotangent, f(t, y)> to each of their times."""

    @staticmethod
    def forward(ctx: Any, ys: States, ts: Tensor, term: _Term) -> States:
        ctx.term, outputs = term, ys.clone()
        ctx.save_for_backward(outputs, ts)
        return outputs

    @staticmethod
    def backward(ctx: Any, ys_bar: States) -> tuple[States, Tensor, None]:
        ys, ts = ctx.saved_tensors
        parts = zip(ts.unbind(), ys.unbind(), ys_bar.unbind(), strict=True)
        return ys_bar, torch.stack([_rate(ctx.term, t, y, y_bar) for t, y, y_bar in parts]), None
