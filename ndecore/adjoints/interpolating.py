"""The continuous adjoint that reads y(t) from the forward solve."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import Function

from ndecore.adjoints.replay import Bars, Products, buffers_kept, gathered, known_parameters
from ndecore.autocast import outside_autocast
from ndecore.dense import Path
from ndecore.errors import InputError, SolveFailed
from ndecore.graphs import is_batched
from ndecore.integrate import Accepted, Adjoint, Problem, SolveSettings, integrate
from ndecore.norms import refuse_second_derivative, rms_norm
from ndecore.solution import Solution, StepRecords
from ndecore.solvers.bosh3 import Bosh3
from ndecore.status import Status
from ndecore.terms import Term
from ndecore.tolerances import least
from ndecore.types import State, States

_DENSE = 4  # times as many outputs as steps


@dataclass(frozen=True)
class Interpolating(Adjoint):
    """da/dt = -a df/dy, backwards from a(t1) = dL/dy1, with dL/dy added at each output; dL/dtheta = int a df/dtheta dt.

    y(t) is the dense output of the forward solve: it is not integrated again, which costs nothing and is as stable as
    the solve itself. Method, controller and tolerances are those of the solve (Bosh3 where outputs are four times as
    many as its steps); the integral for the parameters is carried along outside the error control, and the tolerance is
    relative to the size of the cotangent, since the equation is linear in it. The gradient is that of the exact
    solution to a multiple of the tolerance, not that of the steps taken, so error and stiffness have none. Memory: of
    each accepted step its stages and four states more.

    Reference: P2, section on sensitivity algorithms (InterpolatingAdjoint); Chen et al., Neural ordinary differential
    equations, NeurIPS 2018, for the equation; Kidger et al., "Hey, that's not an ODE", ICML 2021, for control.
    """

    differentiates_records: ClassVar[bool] = False
    tapes_states: ClassVar[bool] = False

    def solve(self, problem: Problem, settings: SolveSettings) -> Solution:
        """Solve without a tape and remember the dense output; see `Adjoint.solve`."""
        if not torch.is_grad_enabled():
            return integrate(problem, settings)
        run = _Run(problem, settings)
        found: list[Solution] = []
        parameters = known_parameters(problem.term, self)
        y1, ys = _Solve.apply(run, found, problem.y0, *parameters)
        return replace(found[0], y1=y1, ys=ys)


class _AdjointTerm(Term):
    """d/dt (a, g) = (-a df/dy, -a df/dtheta) along a path, as one vector [n + parameters]."""

    def __init__(self, products: Products, path: Path, n: int) -> None:
        super().__init__()
        self._products, self._path, self._n = products, path, n
        self._at: tuple[float, State, State] | None = None

    def __call__(self, t: float, y: State) -> State:
        """The right-hand side: a vector-Jacobian product, and an evaluation unless the last was at the same time."""
        self.counts.n_evaluations += 1
        if self._at is None or self._at[0] != t:
            with torch.enable_grad():
                state = self._path.at(t).detach().requires_grad_()
                slope = self._products.term(t, state)
            self._products.check(slope, state)
            self._at = t, state, slope
        _, state, slope = self._at
        bars = [y[: self._n].view(state.shape)]
        to_state, to_parameters = self._products.pull([slope], bars, [state], retain_graph=True)
        inputs = (state, *self._products.parameters)
        found = zip(inputs, (*to_state, *to_parameters), strict=True)
        return torch.cat([(torch.zeros_like(x) if bar is None else bar).reshape(-1) for x, bar in found]).neg_()

    def fresh(self) -> "_AdjointTerm":
        """The same right-hand side with counts of zero."""
        return _AdjointTerm(self._products, self._path, self._n)


class _Run:
    """A solve, and what its gradient needs of it."""

    def __init__(self, problem: Problem, settings: SolveSettings) -> None:
        self.problem, self.settings = replace(problem, y0=problem.y0.detach()), settings
        self.path = Path(self.problem.y0, math.copysign(1.0, problem.t1 - problem.t0))
        self.end = problem.t0

    def solve(self) -> Solution:
        """Solve, keeping each accepted step."""
        solution = integrate(self.problem, self.settings, self._watch, keeps_steps=True)
        if solution.stats.n_accepted:
            t, dt = solution.records.t[-1].item(), solution.records.dt[-1].item()
            self.end = self.problem.t1 if solution.status is Status.SUCCESS else t + dt
        return solution

    def _watch(self, accepted: Accepted) -> None:
        self.path.add(accepted.t, accepted.y0, accepted.step)

    def pull(self, products: Products, y_bar: Tensor | None, ys_bar: Tensor | None) -> Bars:
        """The cotangents of y0 and of the parameters, from those of y1 and of the outputs."""
        y0, stops = self.problem.y0, self._stops(ys_bar)
        n = y0.numel()
        state = y0.new_zeros(n + sum(parameter.numel() for parameter in products.parameters))
        if y_bar is not None:
            state[:n] += y_bar.reshape(-1)
        at, step = self.end, None
        term, settings = _AdjointTerm(products, self.path, n), self._settings_back(len(stops))
        for stop, outputs, go_on in stops:
            if stop != at:
                state, step = self._back(term, settings, state, (at, stop), step)
            at = go_on
            jump = gathered(ys_bar, outputs)
            if jump is not None:
                state[:n] += jump.reshape(-1)
        shapes = [y0.shape, *(parameter.shape for parameter in products.parameters)]
        parts = state.split([shape.numel() for shape in shapes])
        bars = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        return Bars([bars[0]], list(bars[1:]))

    def _stops(self, ys_bar: Tensor | None) -> list[tuple[float, range, float]]:
        """The output times and jumps from the end to the start, with the numbers of their outputs, and where to go on;
        last the start itself.
        """
        problem, sign = self.problem, math.copysign(1.0, self.problem.t1 - self.problem.t0)
        stops = [(problem.t0, range(0), problem.t0)]
        stops += [
            (s.resume, range(0), s.end)
            for s in problem.stops()
            if sign * s.end < sign * min(s.resume, self.end, key=lambda t: sign * t)
        ]
        if ys_bar is not None and len(ys_bar):
            ts = self.problem.ts[: len(ys_bar)]
            firsts = [i for i, t in enumerate(ts) if i == 0 or t != ts[i - 1]]
            stops += [(ts[a], range(a, b), ts[a]) for a, b in zip(firsts, [*firsts[1:], len(ts)], strict=True)]
        return sorted(stops, key=lambda stop: sign * stop[0], reverse=True)

    def _settings_back(self, n_stops: int) -> SolveSettings:
        # Each output is a stop. Where there are many more of them than the solve had steps, even one step of a method
        # of high order in each interval is more than is needed, and order 3 meets the tolerance with half the stages.
        settings = self.settings
        if settings.controller.needs_error and n_stops > _DENSE * self.path.n_steps:
            settings = replace(settings, solver=Bosh3())
        # Cotangents have other units than the state: of tolerances by element they take the least.
        rtol, atol = least(settings.rtol), least(settings.atol)
        return replace(settings, rtol=rtol, atol=atol or rtol)

    def _back(
        self, term: _AdjointTerm, settings: SolveSettings, state: State, span: tuple[float, float], first: float | None
    ) -> tuple[State, float]:
        """Solve for the cotangents over a span without outputs; with them the step to begin the next with."""
        n = self.problem.y0.numel()
        size = state[:n].abs().max().item()
        if not math.isfinite(size):
            return torch.full_like(state, math.nan), abs(span[1] - span[0])
        if size == 0:
            return state, abs(span[1] - span[0])
        # The equation is linear: solved for a cotangent of size 1, whatever the scale of the loss is.
        unit = torch.cat([state[:n] / size, torch.zeros_like(state[n:])])
        problem = Problem(term, unit, *span, n_controlled=n, first_step=first, norm=self.problem.norm)
        solution = integrate(problem, replace(settings, atol=settings.atol * rms_norm(unit[:n]).item()))
        if solution.status is not Status.SUCCESS:
            ending = solution.ending()
            raise SolveFailed(f"adjoint solve of Interpolating from t = {span[0]:g} to {span[1]:g}: {ending}")
        back = solution.y1 * size
        back[n:] += state[n:]
        return back, _next_step(solution.records, settings)


def _next_step(records: StepRecords, settings: SolveSettings) -> float:
    """The largest step that would have met the tolerance; steps that end at a stop say little by themselves."""
    steps, order = records.dt.abs(), settings.solver.error_order
    if order is None:
        return steps.max().item()
    growth = 0.9 * records.error_ratio.double().cpu().clamp(min=1e-6) ** (-1 / order)
    return (steps * growth).max().item()


class _Solve(Function):
    """(y0, parameters) -> (y1, ys)."""

    @staticmethod
    def forward(ctx: Any, run: _Run, found: list[Solution], y0: State, *parameters: Tensor) -> tuple[State, States]:
        ctx.set_materialize_grads(False)
        solution = run.solve()
        # Not through `run`: a function that holds its own outputs is never freed.
        found.append(solution)
        ctx.run = run
        ctx.save_for_backward(y0, *parameters)  # the start too, so that a change in place is noticed
        return solution.y1.clone(), solution.ys  # a copy: the path holds the end itself, which would be a cycle

    @staticmethod
    def backward(ctx: Any, y_bar: Tensor | None, ys_bar: Tensor | None) -> tuple[Any, ...]:
        refuse_second_derivative("the gradient of the adjoint interpolating")
        if is_batched():
            raise InputError(
                "is_grads_batched: got true with Interpolating, which chooses its steps for one cotangent, allowed: "
                "false, or the adjoint tape or checkpointed"
            )
        term = ctx.run.problem.term
        products = Products(term.fresh(), ctx.saved_tensors[1:])
        before = term.n_evaluations
        with outside_autocast(ctx.run.problem.y0.device), buffers_kept(term.modules):
            (to_y0,), to_parameters = ctx.run.pull(products, y_bar, ys_bar)
        # Dense output may have evaluated the field for stages of its own.
        for_outputs, term.counts.n_evaluations = term.n_evaluations - before, before
        term.counts.n_replayed += products.term.n_evaluations + for_outputs
        return None, None, to_y0, *to_parameters
