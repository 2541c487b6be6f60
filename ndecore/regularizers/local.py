"""What the local penalties share: fresh steps from random times of a solve."""

import math
import random
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

import torch
from torch.linalg import vector_norm

from ndecore.controllers.initial_step import initial_step
from ndecore.double import InDouble
from ndecore.facts import Settings
from ndecore.keys import AtLeast, check_fields
from ndecore.norms import StepSizes, sizes_of_step
from ndecore.observing import Grid, Wishes
from ndecore.regularizers.base import PenaltyContext, Regularizer, drawn_seed
from ndecore.reliability import rounding, warn_of_rounding
from ndecore.solution import Rounding
from ndecore.solvers.base import Solver
from ndecore.solvers.sosri2 import SOSRI2
from ndecore.solvers.tsit5 import Tsit5
from ndecore.terms import ODETerm, SDETerm
from ndecore.types import PerStep, Scalar, State

Sampling: TypeAlias = Literal["unbiased", "biased"]


class LocalStep(NamedTuple):
    """A step that was made for a penalty alone."""

    sizes: StepSizes
    dt: float
    n: int  # elements of the state
    solver: Solver
    rounding: Rounding | None = None  # of its estimates, [1] each; None of a stochastic equation


@dataclass(frozen=True)
class LocalPenalty(Regularizer):
    """R = mean over the sampled times of a size of one fresh step from there.

    Unbiased, each time is uniform over the span and drawn before the solve; the state there is the dense output.
    Biased, each is the start of an accepted step of the solve, all of them equally likely: denser where the solve is
    hard. It is drawn while the solve goes on, by reservoir sampling, so that no state is stored for it, whatever the
    outputs are. (P2's code draws from the output times where there are some; its text means the solver's own.)

    The step starts with a new automatic step size, as a new integrator on (t_reg, t1) would. It is one of the solver
    that the settings name, or of Tsit5 where that one cannot tell (P2's code takes Tsit5 always). The solve may be by
    any method and adjoint.

    Of a stochastic equation, increments are fresh too, and constants as dt and the state; drift and diffusion at the
    start of the step are differentiated (P2's code does so here, and not for ordinary equations). The step is one of
    SOSRI2 where the settings' solver cannot tell, as in P2's text.

    A new integrator's step is so short that its error, O(dt^5) beside slopes of O(1), is the rounding of float32 at
    tolerances of 1e-5 and below (reports/benchmarks/precision.md). So the step of an ordinary equation is computed in
    float64, field and gradient included.

    Args:
        sampling: "unbiased" or "biased".
        n_times: the times sampled in each solve, independently; P2 has one.
        full_derivative: let the gradient flow through the state and the first slope too. A departure from P2: there is
            then one to the input, and biased sampling needs the states on the tape.
        in_float64: compute the step in float64; else in the state's dtype, as P2's code does, which is faster.

    Reference: P2 (Pal et al., Locally Regularized Neural Differential Equations, ICML 2023), algorithms 1 and 2;
    Vitter, Random sampling with a reservoir, ACM TOMS 11 (1985), for the sampling.
    """

    sampling: Annotated[Sampling, "How a local penalty draws times: from the span, or from the steps."] = "unbiased"
    n_times: Annotated[int, AtLeast(1), "The times that a local penalty draws in each solve."] = 1
    full_derivative: Annotated[bool, "Whether a local penalty's gradient flows through the sampled state too."] = False
    in_float64: Annotated[bool, "Whether a local penalty's step is computed in float64 or in the state's dtype."] = True
    needs_differentiable_records: ClassVar[bool] = False
    needs_told_steps: ClassVar[Settings] = {"sampling": "biased"}
    needs_taped_states: ClassVar[Settings] = {"sampling": "biased", "full_derivative": True}

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def suits(self, solver: Solver) -> bool:
        """Whether a step of the solver tells what the penalty looks at."""

    @abstractmethod
    def size(self, step: LocalStep) -> Scalar:
        """The penalty of one step, dimensionless."""

    @abstractmethod
    def rounded(self, rounding: Rounding) -> PerStep:
        """The part of the size that may be rounding."""

    def prepare(self, grid: Grid, generator: torch.Generator) -> Wishes:
        """Times, or a watch that draws them."""
        if self.sampling == "biased":
            return Wishes(grid, watch=Reservoir(self.n_times, drawn_seed(generator), self.full_derivative))
        fractions = torch.rand(self.n_times, dtype=torch.float64, generator=generator).tolist()
        return Wishes(grid, times=tuple(grid[0] + fraction * (grid[-1] - grid[0]) for fraction in fractions))

    def penalty(self, context: PenaltyContext) -> Scalar:
        """R of the solve; see the class."""
        sampled = list(self._sampled(context))
        if isinstance(context.term, SDETerm):  # over no time there is no increment
            sampled = [(t, u) for t, u in sampled if t < context.solution.t1]
        y1 = context.solution.y1
        if not sampled:  # a solve of no step has none
            return y1.new_zeros(())
        steps = [self._step(context, n, t, u) for n, (t, u) in enumerate(sampled)]
        sizes = torch.stack([self.size(step) for step in steps])
        parts = [self.rounded(step.rounding) for step in steps if step.rounding is not None]
        if parts:
            warn_of_rounding(type(self).__name__, sizes, torch.cat(parts))
        return sizes.mean().to(y1.dtype)

    def _sampled(self, context: PenaltyContext) -> Iterator[tuple[float, State]]:
        watch = context.wishes.watch
        if isinstance(watch, Reservoir):
            yield from watch.kept
        for t in context.wishes.times:
            yield t, context.solution.at(t)

    def _step(self, context: PenaltyContext, n: int, t: float, u: State) -> LocalStep:
        settings, term = context.settings, context.term
        is_stochastic = isinstance(term, SDETerm)
        if self.in_float64 and isinstance(term, ODETerm) and u.dtype is torch.float32:
            term, u = term.mapped(InDouble), u.double()
        solver = self._solver(settings.solver, is_stochastic)
        solver.check(term)
        u = u if self.full_derivative else u.detach()
        # An implicit step evaluates its start again, and asks this slope only whether it needs gradients.
        follows_start = self.full_derivative or is_stochastic or solver.is_implicit
        with torch.set_grad_enabled(follows_start and torch.is_grad_enabled()):
            k1 = solver.start(term, t, u)
        span = context.solution.t1 - t
        dt = initial_step(term, t, u, k1, span, solver.order, settings.rtol, settings.atol)
        if isinstance(term, SDETerm):
            if not math.isfinite(dt):  # over which there is no increment; the loss will tell
                return LocalStep(StepSizes(*u.new_full((5,), math.nan)), dt, u.numel(), solver)
            term = term.along(term.path.apart(n, t, t + dt))
        step = solver.step(term, t, dt, u, k1)
        sizes = sizes_of_step(step.differences(), u, step.y1, settings.rtol, settings.atol)
        if isinstance(term, SDETerm):
            return LocalStep(sizes, dt, u.numel(), solver)
        narrow = isinstance(term.field, InDouble) and term.field.is_narrow
        eps = torch.finfo(torch.float32 if narrow else u.dtype).eps
        told = LocalStep(sizes, dt, u.numel(), solver)
        if abs(dt) >= abs(span):  # cut short by the end of the solve: its error is next to nothing, and so its rounding
            return told
        *values, slope = torch.stack([each.detach() for each in (*sizes, vector_norm(k1))]).tolist()
        return told._replace(rounding=rounding([(values, abs(dt) * slope)], eps))

    def _solver(self, own: Solver, is_stochastic: bool) -> Solver:
        if self.suits(own) and (own.calculus is not None) == is_stochastic:
            return own
        return SOSRI2() if is_stochastic else Tsit5()


class Reservoir:
    """Keeps places of a solve drawn uniformly, with replacement, from those that it is told.

    Args:
        n: places to draw.
        seed: of the draws.
        with_graph: keep the states with their gradient path.
    """

    def __init__(self, n: int, seed: int, with_graph: bool = False) -> None:
        self._random, self._with_graph, self._n_told = random.Random(seed), with_graph, 0
        self._n, self.kept = n, list[tuple[float, State]]()

    def __call__(self, t: float, y: State) -> None:
        """Take in the next place: each draw is replaced by it with probability 1 / number of places so far."""
        self._n_told += 1
        place = t, y if self._with_graph else y.detach()
        self.kept = [
            place if self._random.random() * self._n_told < 1 else kept for kept in (self.kept or [place] * self._n)
        ]
