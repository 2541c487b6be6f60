"""What the local penalties share: fresh steps from random times of a solve."""

import math
import random
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch

from ndecore.controllers.initial_step import initial_step
from ndecore.errors import InputError
from ndecore.integrate import SolveSettings
from ndecore.models.base import Grid, Wishes
from ndecore.norms import StepSizes, sizes_of_step
from ndecore.regularizers.base import PenaltyContext, Regularizer, drawn_seed
from ndecore.solvers.base import Solver
from ndecore.solvers.sosri2 import SOSRI2
from ndecore.solvers.tsit5 import Tsit5
from ndecore.terms import SDETerm
from ndecore.types import Scalar, State

SAMPLINGS = ("unbiased", "biased")


class LocalStep(NamedTuple):
    """A step that was made for a penalty alone."""

    sizes: StepSizes
    dt: float
    n: int  # elements of the state
    solver: Solver


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

    Args:
        sampling: "unbiased" or "biased".
        n_times: the times sampled in each solve, independently; P2 has one.
        full_derivative: let the gradient flow through the state and the first slope too. A departure from P2: there is
            then one to the input, and biased sampling needs the states on the tape.

    Reference: P2 (Pal et al., Locally Regularized Neural Differential Equations, ICML 2023), algorithms 1 and 2;
    Vitter, Random sampling with a reservoir, ACM TOMS 11 (1985), for the sampling.
    """

    sampling: Literal["unbiased", "biased"] = "unbiased"
    n_times: int = 1
    full_derivative: bool = False
    needs_differentiable_records: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.sampling not in SAMPLINGS:
            raise InputError(f"sampling: got {self.sampling!r}, allowed: {', '.join(SAMPLINGS)}")
        if not (isinstance(self.n_times, int) and self.n_times >= 1):
            raise InputError(f"n_times: got {self.n_times!r}, allowed: an integer >= 1")

    @abstractmethod
    def suits(self, solver: Solver) -> bool:
        """Whether a step of the solver tells what the penalty looks at."""

    @abstractmethod
    def size(self, step: LocalStep) -> Scalar:
        """The penalty of one step, dimensionless."""

    def check(self, settings: SolveSettings) -> None:
        """Raise `InputError` if the adjoint hides what is to be sampled."""
        if self.sampling != "biased":
            return
        if not settings.adjoint.tells_steps:
            raise InputError(
                f"sampling: got 'biased' with {settings.adjoint}, which does not tell its steps, allowed: unbiased, or "
                "an adjoint of ours, or an adaptive method of torchdiffeq"
            )
        if self.full_derivative and not settings.adjoint.tapes_states:
            raise InputError(
                f"full_derivative: got true for biased sampling with {type(settings.adjoint).__name__}, which keeps no "
                "tape of the states, allowed: false, or unbiased sampling, or the adjoint tape"
            )

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
        sizes = [self.size(self._step(context, n, t, u)) for n, (t, u) in enumerate(sampled)]
        # A solve of no step has none to sample.
        return torch.stack(sizes).mean() if sizes else context.solution.y1.new_zeros(())

    def _sampled(self, context: PenaltyContext) -> Iterator[tuple[float, State]]:
        watch = context.wishes.watch
        if isinstance(watch, Reservoir):
            yield from watch.kept
        for t in context.wishes.times:
            yield t, context.solution.at(t)

    def _step(self, context: PenaltyContext, n: int, t: float, u: State) -> LocalStep:
        settings, term = context.settings, context.term
        is_stochastic = isinstance(term, SDETerm)
        solver = self._solver(settings.solver, is_stochastic)
        solver.check(term)
        u = u if self.full_derivative else u.detach()
        with torch.set_grad_enabled((self.full_derivative or is_stochastic) and torch.is_grad_enabled()):
            k1 = solver.start(term, t, u)
        span = context.solution.t1 - t
        dt = initial_step(term, t, u, k1, span, solver.order, settings.rtol, settings.atol)
        if isinstance(term, SDETerm):
            if not math.isfinite(dt):  # over which there is no increment; the loss will tell
                return LocalStep(StepSizes(*u.new_full((5,), math.nan)), dt, u.numel(), solver)
            term = term.along(term.path.apart(n, t, t + dt))
        step = solver.step(term, t, dt, u, k1)
        sizes = sizes_of_step(step.differences(), u, step.y1, settings.rtol, settings.atol)
        return LocalStep(sizes, dt, u.numel(), solver)

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
