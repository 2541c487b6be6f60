"""The discrete adjoint that keeps two states of each step."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from ndecore.adjoints.replay import Bars, Products, add, buffers_kept, gathered, known_parameters
from ndecore.autocast import outside_autocast
from ndecore.facts import Equations
from ndecore.integrate import Accepted, Adjoint, Problem, SolveSettings, integrate, step_records
from ndecore.norms import Measured, SizeTape, StepSizes, refuse_second_derivative
from ndecore.reliability import warn_of_instability
from ndecore.solution import Solution
from ndecore.terms import SDETerm
from ndecore.types import Carry, State, States

_FEW, _MOST = 16384, 32  # elements in the states of the steps that are made again at once, and how many at most


@dataclass(frozen=True)
class Checkpointed(Adjoint):
    """The tape's gradient from (t, dt, y, k1) of each accepted step: backwards the steps are made again.

    Exact to rounding against the tape, error and stiffness included. Memory: two states for each accepted step, beside
    the tape of one step, or of up to 32 if they are small. Costs one evaluation more for each that the tape
    differentiates. Differentiable once.

    Reference: Griewank, Walther, Evaluating Derivatives, 2nd ed. (2008), chapter 12; Zhuang et al., Adaptive checkpoint
    adjoint, ICML 2020, for neural ODEs.
    """

    differentiates_records: ClassVar[bool] = True
    tapes_states: ClassVar[bool] = False
    equations: ClassVar[tuple[Equations, ...]] = ("ordinary", "stochastic")

    def solve(self, problem: Problem, settings: SolveSettings) -> Solution:
        """Solve without a tape and remember the steps; see `Adjoint.solve`."""
        if not torch.is_grad_enabled():
            return integrate(problem, settings)
        run = _Run(problem, settings)
        found: list[Solution] = []
        parameters = known_parameters(problem.term, self)
        y1, ys, sizes = _Solve.apply(run, found, problem.y0, *parameters)
        solution = replace(found[0], y1=y1, ys=ys)
        warn_of_instability(solution, settings.solver)
        if not problem.differentiable_records:
            return solution
        t, dt = solution.records.t, solution.records.dt
        records = step_records(t, dt, StepSizes(*sizes), problem.n_sized, settings.solver)
        records = replace(records, rounding=solution.records.rounding)
        # The last stage of the last step serves the estimates alone.
        for_estimates = settings.solver.evaluations_for_estimates * (solution.stats.n_accepted > 0)
        n_differentiated = solution.stats.n_differentiated + for_estimates
        return replace(solution, records=records, stats=replace(solution.stats, n_differentiated=n_differentiated))


class _Kept(NamedTuple):
    """What is kept of an accepted step."""

    t: float
    dt: float
    y0: State
    carry: Carry  # of the step before
    inside: range  # the outputs inside the step, by number
    at_end: range  # those at its end
    is_fresh: bool  # whether the carry is from `Solver.start`


class _Run:
    """A solve, and what its gradient needs of it."""

    def __init__(self, problem: Problem, settings: SolveSettings) -> None:
        self.problem, self.settings = replace(problem, y0=problem.y0.detach()), settings
        self.steps: list[_Kept] = []
        self.sizes: list[Tensor] = []

    def solve(self) -> Solution:
        """Solve, keeping each accepted step."""
        return integrate(self.problem, self.settings, self._watch)

    def _watch(self, accepted: Accepted) -> None:
        t, dt, y0, carry, _, sizes, inside, at_end, is_fresh = accepted
        self.steps.append(_Kept(t, dt, y0, carry, inside, at_end, is_fresh and t != self.problem.t0))
        if self.problem.differentiable_records:
            self.sizes.append(sizes)

    def pull(self, products: Products, y_bar: Tensor | None, ys_bar: Tensor | None, sizes_bar: Tensor | None) -> Bars:
        """The cotangents of y0 and of the parameters, from those of y1, the outputs and the sizes."""
        carry_bar: Tensor | None = None
        totals: list[Tensor | None] = [None] * len(products.parameters)
        # The steps that are made again at once: small ones together, since each call of the engine has its price.
        count = min(_MOST, max(1, _FEW // self.problem.y0.numel()))
        for last in range(len(self.steps), 0, -count):
            chunk = range(max(0, last - count), last)
            (y_bar, carry_bar), own = self._pull_chunk(products, chunk, (y_bar, carry_bar, ys_bar, sizes_bar))
            totals = list(map(add, totals, own))
        if carry_bar is not None:
            with torch.enable_grad():
                y0 = self.problem.y0.detach().requires_grad_()
                carry = self.settings.solver.start(products.term, self.problem.t0, y0)
            products.check(carry, y0)
            (to_y0,), own = products.pull([carry], [carry_bar], [y0], retain_graph=True)
            y_bar, totals = add(y_bar, to_y0), list(map(add, totals, own))
        return Bars([add(y_bar, gathered(ys_bar, self.problem.outputs_at_start()))], totals)

    def _pull_chunk(self, products: Products, chunk: range, bars: tuple[Tensor | None, ...]) -> Bars:
        """Make steps again; the cotangents of their start from those of their end, of the outputs and of the sizes."""
        s, (y_bar, carry_bar, ys_bar, sizes_bar) = self.settings, bars
        made: list[Tensor] = []
        cotangents: list[Tensor | None] = []
        tape, scratch = SizeTape(s.rtol, s.atol, self.problem.norm), s.solver.scratch(self.problem.y0)
        with torch.enable_grad():
            first = self.steps[chunk.start]
            y0, carry0 = (x.detach().requires_grad_() for x in (first.y0, first.carry))
            y, carry = y0, carry0
            for n in chunk:
                step = self.steps[n]
                if step.is_fresh:
                    carry = s.solver.start(products.term, step.t, y)
                again = s.solver.step(products.term, step.t, step.dt, y, carry, scratch)
                if sizes_bar is not None:
                    left = Measured(again.differences(), y, again.y1)
                    tape.add(self.sizes[n], *self.problem.controlled(left))
                if ys_bar is not None and step.inside:
                    made.append(again.interpolate([self.problem.ts[i] for i in step.inside]))
                    cotangents.append(ys_bar[step.inside.start : step.inside.stop])
                y, carry = again.y1, again.carry
                made.append(y)
                cotangents.append(gathered(ys_bar, step.at_end))
            if isinstance(products.term, SDETerm):  # whose start need not evaluate anything
                products.check(y, y0, carry0)
            if sizes_bar is not None:
                made.append(tape.result())
                cotangents.append(sizes_bar[:, chunk.start : chunk.stop])
        # What the field was given as computed from its parameters is passed again with the steps before.
        return products.pull([*made, y, carry], [*cotangents, y_bar, carry_bar], [y0, carry0], retain_graph=True)


class _Solve(Function):
    """(y0, parameters) -> (y1, ys, sizes of each step's differences [5, steps])."""

    @staticmethod
    def forward(
        ctx: Any, run: _Run, found: list[Solution], y0: State, *parameters: Tensor
    ) -> tuple[State, States, Tensor]:
        ctx.set_materialize_grads(False)
        solution = run.solve()
        # Not through `run`: a function that holds its own outputs is never freed.
        found.append(solution)
        ctx.run = run
        ctx.save_for_backward(y0, *parameters)  # the start too, so that a change in place is noticed
        sizes = torch.stack(run.sizes, dim=1) if run.sizes else y0.new_zeros(len(StepSizes._fields), 0)
        # A copy: where no step was taken it is the start that `run` holds, which would be a cycle.
        return solution.y1.clone(), solution.ys, sizes

    @staticmethod
    def backward(ctx: Any, y_bar: Tensor | None, ys_bar: Tensor | None, sizes_bar: Tensor | None) -> tuple[Any, ...]:
        refuse_second_derivative("the gradient of the adjoint checkpointed")
        term = ctx.run.problem.term
        products = Products(term.fresh(), ctx.saved_tensors[1:])
        with outside_autocast(ctx.run.problem.y0.device), buffers_kept(term.modules):
            (to_y0,), to_parameters = ctx.run.pull(products, y_bar, ys_bar, sizes_bar)
        term.counts.n_replayed += products.term.n_evaluations + products.term.n_replayed
        return None, None, to_y0, *to_parameters
