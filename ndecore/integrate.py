"""The one adaptive loop: propose, judge, record, advance, save."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeAlias

import torch
from torch import Tensor

from ndecore.controllers.base import Controller
from ndecore.controllers.initial_step import initial_step
from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.norms import Measured, SizeTape, StepSizes, step_sizes
from ndecore.solution import Solution, SolveStats, StepRecords
from ndecore.solvers.base import Solver, StepResult
from ndecore.solvers.tsit5 import Tsit5
from ndecore.status import Status
from ndecore.terms import ODETerm, SDETerm, Term
from ndecore.types import Carry, State, States

Watch: TypeAlias = Callable[[float, State], None]  # (t, y) where an accepted step began


@dataclass(frozen=True)
class Problem:
    """An initial value problem, checked: dy/dt = f(t, y) from y(t0) = y0 to t1, and what is wanted of it."""

    term: Term
    y0: State
    t0: float
    t1: float
    ts: tuple[float, ...] = ()  # output times, sorted from t0 to t1
    differentiable_records: bool = False
    n_controlled: int | None = None  # leading elements of the flattened state whose error is controlled; all if None
    watch: Watch | None = None  # is told where each accepted step began
    first_step: float | None = None  # the automatic one if None

    def outputs_at_start(self) -> range:
        """The outputs at t0, by number."""
        return range(sum(1 for t in self.ts if t == self.t0))

    @property
    def n_sized(self) -> int:
        """The elements over which sizes are taken."""
        return self.n_controlled or self.y0.numel()

    def controlled(self, step: Measured) -> Measured:
        """What a step left, of the elements whose error is controlled; the step itself if that is all of them."""
        return step if self.n_controlled is None else step.head(self.n_controlled)


class Adjoint(ABC):
    """How a solve is differentiated."""

    differentiates_records: ClassVar[bool]  # whether error and stiffness can carry gradients
    tapes_states: ClassVar[bool]  # whether the states that a watch is told carry gradients
    solves: ClassVar[tuple[type, ...]] = (ODETerm,)  # the equations it is for
    is_closed: ClassVar[bool] = False  # whether it solves by methods of its own, and the solver of the settings rests

    @property
    def tells_steps(self) -> bool:
        """Whether a watch is told of accepted steps."""
        return True

    @abstractmethod
    def solve(self, problem: Problem, settings: "SolveSettings") -> Solution:
        """Solve so that gradients flow back from what is returned."""


@dataclass(frozen=True)
class Tape(Adjoint):
    """The loop itself, recorded by autograd: the exact derivative of the solve on its accepted step sequence.

    Gradients reach y0 and whatever the vector field depends on. Memory: every stage of every accepted step, with what
    the field saves for its own gradient.
    """

    differentiates_records: ClassVar[bool] = True
    tapes_states: ClassVar[bool] = True
    solves: ClassVar[tuple[type, ...]] = (ODETerm, SDETerm)

    def solve(self, problem: Problem, settings: "SolveSettings") -> Solution:
        """Run the loop; see `Adjoint.solve`."""
        return integrate(problem, settings)


@dataclass(frozen=True)
class SolveSettings:
    """How to solve: method, step size control, adjoint, tolerances, and when to give up.

    The I controller is the default because it was measured to need the least work: PI takes 1.3 times its evaluations
    at equal tolerance and 1.1 to 1.2 times at equal error, PID 1.1 times, in float32 and in float64
    (reports/benchmarks/solvers.md).
    """

    solver: Solver = field(default_factory=Tsit5)
    controller: Controller = field(default_factory=IController)
    adjoint: Adjoint = field(default_factory=Tape)
    rtol: float = 1e-6  # dimensionless
    atol: float = 1e-6  # unit of y
    max_steps: int = 4096  # attempts, accepted and rejected

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise InputError(f"{name}: got {value!r}, allowed: a finite number > 0")
        if not (isinstance(self.max_steps, int) and self.max_steps >= 1):
            raise InputError(f"max_steps: got {self.max_steps!r}, allowed: an integer >= 1")
        if self.controller.needs_error and self.solver.error_order is None:
            raise InputError(
                f"controller: got {type(self.controller).__name__} for {type(self.solver).__name__}, which has no "
                "error estimate, allowed: ConstantStep (in a config `controller: constant` and a `step_size`)"
            )


class Accepted(NamedTuple):
    """An accepted step: where it began, and what it is."""

    t: float
    dt: float
    y0: State
    carry: Carry  # of the step before
    step: StepResult
    sizes: Tensor  # [5], see `StepSizes`
    inside: range  # the outputs inside the step, by number
    at_end: range  # those at its end


def integrate(
    problem: Problem,
    settings: SolveSettings,
    watch: Callable[[Accepted], None] = lambda accepted: None,
    keeps_steps: bool = False,
) -> Solution:
    """Run the loop on a checked problem. Gradients are recorded if they are enabled.

    `watch` sees each accepted step, of which something can be read later only if it `keeps_steps`.

    Step sizes are plain numbers, so autograd sees the solve on its accepted step sequence. One step size serves the
    whole state, as in P1 and P2.
    """
    run = _Run(problem, settings, watch, None if keeps_steps else settings.solver.scratch(problem.y0))
    return run.solution(run.advance())


class _Attempt(NamedTuple):
    """What one attempted step left."""

    controlled: Measured
    sizes: Tensor  # [5], see `StepSizes`
    values: list[float]  # the same on the host
    ratio: float  # error ratio; infinite where the step or its new state is not finite


class _Run:
    """The state of one solve while it runs."""

    def __init__(
        self, problem: Problem, settings: SolveSettings, watch: Callable[[Accepted], None], scratch: Any
    ) -> None:
        self.problem, self.settings, self.watch, self.scratch = problem, settings, watch, scratch
        self.t, self.y = problem.t0, problem.y0
        self.differentiable = problem.differentiable_records and torch.is_grad_enabled()
        self.n_sized = problem.n_sized
        self.evaluations_before = problem.term.n_evaluations, problem.term.n_diffusion_evaluations
        self.n_accepted = self.n_rejected = 0
        self.times: list[tuple[float, float]] = []
        self.values: list[list[float]] = []  # the sizes of each accepted step
        self.tape = SizeTape(settings.rtol, settings.atol)  # of the same, if they are differentiated
        self.sign = math.copysign(1.0, problem.t1 - problem.t0)
        # Below this a step is lost in the rounding of times: never under ten roundings of t itself, so that a step
        # which is shrunk and then rounded does shrink; near t = 0, where times are as fine as one likes, the span takes
        # the place of t, or shrinking would not end.
        rounding = 10 * torch.finfo(torch.float64).eps * abs(problem.t1 - problem.t0)
        self.finest = max(rounding, problem.term.resolution)
        # The field sees time in the state's dtype, and below its resolution stage times no longer differ.
        self.relative_resolution = max(torch.finfo(self.y.dtype).eps, 10 * torch.finfo(torch.float64).eps)
        # Outputs at t0 are known; the others are filled in as steps pass over them.
        self.n_saved = len(problem.outputs_at_start())
        self.saved: list[States] = [self.y.expand(self.n_saved, *self.y.shape)]

    def advance(self) -> Status:
        """Step from t0 to t1; return how it ended."""
        term, t1, max_steps = self.problem.term, self.problem.t1, self.settings.max_steps
        if self.t == t1:
            return Status.SUCCESS if bool(self.y.isfinite().all()) else Status.NON_FINITE
        solver, controller = self.settings.solver, self.settings.controller
        carry = solver.start(term, self.t, self.y)
        dt, state = controller.start(t1 - self.t, lambda: self._first_step(carry))
        if math.isnan(dt):
            return Status.NON_FINITE
        finite = True
        while self.t != t1:
            dt, is_last = self._fit(dt)
            if self.n_accepted + self.n_rejected >= max_steps:
                return Status.MAX_STEPS
            if not is_last and abs(dt) < self._resolution():
                return Status.STEP_UNDERFLOW if finite else Status.NON_FINITE
            step = solver.step(term, self.t, dt, self.y, carry, self.scratch)
            attempt = self._measure(step)
            finite = math.isfinite(attempt.ratio)
            verdict = controller.judge(attempt.ratio, dt, state, solver.error_order or 1)
            if verdict.accept and finite:
                t_next = t1 if is_last else self.t + dt
                accepted = Accepted(self.t, dt, self.y, carry, step, attempt.sizes, *self._passed(t_next))
                self._accept(accepted, attempt, t_next)
                carry = step.carry
            else:
                self.n_rejected += 1
                if verdict.accept:  # by a controller that cannot shrink its steps
                    return Status.NON_FINITE
            dt, state = verdict.dt, verdict.state
        return Status.SUCCESS

    def _first_step(self, carry: Carry) -> float:
        s, problem, span = self.settings, self.problem, self.problem.t1 - self.t
        if problem.first_step is not None:
            return math.copysign(min(abs(problem.first_step), abs(span)), span)
        dt = initial_step(problem.term, self.t, self.y, carry, span, s.solver.order, s.rtol, s.atol, self.n_sized)
        # A guess below the resolution of time is no reason to give up before the controller has seen a step.
        return math.copysign(max(abs(dt), min(self._resolution(), abs(span))), span) if math.isfinite(dt) else dt

    def _fit(self, dt: float) -> tuple[float, bool]:
        """The step to take, and whether it ends at t1."""
        left = self.problem.t1 - self.t
        if abs(left) <= self.settings.controller.stretch * abs(dt):
            return left, True
        # Rounded so that t + dt is exact: the recorded steps add up to the span, and replayed they are the same steps.
        # Steps that nobody's error estimate has asked for are taken as they are.
        is_asked = self.settings.controller.needs_error
        end = self.problem.term.step_end(self.t, dt) if is_asked else self.t + dt
        return end - self.t, False

    def _resolution(self) -> float:
        return max(self.relative_resolution * abs(self.t), self.finest)

    def _measure(self, step: StepResult) -> _Attempt:
        s = self.settings
        if self.differentiable or not torch.is_grad_enabled():
            differences = step.differences()
        else:
            with torch.no_grad():
                differences = step.differences()
        controlled = self.problem.controlled(Measured(differences, self.y, step.y1))
        sizes = step_sizes(*controlled, s.rtol, s.atol)
        # The one host synchronisation of a step. The size of y1 is read too: an infinite state scales its error to 0.
        values = sizes.tolist()
        ratio = values[0] / math.sqrt(self.n_sized)
        # The squares in a norm overflow at the root of the largest number: only then is each element looked at.
        finite = math.isfinite(ratio) and (math.isfinite(values[-1]) or bool(step.y1.isfinite().all()))
        return _Attempt(controlled, sizes, values, ratio if finite else math.inf)

    def _accept(self, accepted: Accepted, attempt: _Attempt, t_next: float) -> None:
        self.watch(accepted)
        if self.problem.watch is not None:
            self.problem.watch(self.t, self.y)
        if accepted.inside:
            self.saved.append(accepted.step.interpolate([self.problem.ts[i] for i in accepted.inside]))
        if accepted.at_end:
            self.saved.append(accepted.step.y1.expand(len(accepted.at_end), *self.y.shape))
        self.n_saved += len(accepted.inside) + len(accepted.at_end)
        self.times.append((self.t, accepted.dt))
        self.values.append(attempt.values)
        self.n_accepted += 1
        if self.differentiable:
            self.tape.add(attempt.sizes, *attempt.controlled)
        self.t, self.y = t_next, accepted.step.y1

    def _passed(self, t_next: float) -> tuple[range, range]:
        """The outputs inside a step to `t_next`, and those at its end, by number."""
        ts, first = self.problem.ts, self.n_saved
        inside = first
        while inside < len(ts) and self.sign * ts[inside] < self.sign * t_next:
            inside += 1
        end = inside
        while end < len(ts) and ts[end] == t_next:
            end += 1
        return range(first, inside), range(inside, end)

    def solution(self, status: Status) -> Solution:
        """What the run has come to."""
        problem, solver = self.problem, self.settings.solver
        stats = SolveStats(
            n_evaluations=problem.term.n_evaluations - self.evaluations_before[0],
            # The last stage of the last step serves the estimates alone.
            n_differentiated=self.n_accepted * solver.evaluations_per_step
            + solver.evaluations_for_estimates * (self.differentiable and self.n_accepted > 0),
            n_accepted=self.n_accepted,
            n_rejected=self.n_rejected,
            n_diffusion_evaluations=problem.term.n_diffusion_evaluations - self.evaluations_before[1],
        )
        ys = torch.cat(self.saved)
        return Solution(problem.t0, problem.t1, self.y, problem.ts, ys, self._records(), stats, status)

    def _records(self) -> StepRecords:
        if self.differentiable and self.n_accepted:
            sizes = self.tape.result()
        else:
            sizes = self.y.new_tensor(self.values, requires_grad=False).reshape(-1, len(StepSizes._fields)).t()
        times = torch.tensor(self.times, dtype=torch.float64).reshape(-1, 2)
        return step_records(times[:, 0], times[:, 1], StepSizes(*sizes), self.n_sized, self.settings.solver)


def step_records(t: Tensor, dt: Tensor, sizes: StepSizes, n: int, solver: Solver) -> StepRecords:
    """The records of steps from the sizes of what they left, [steps] each, over n elements."""
    error_ratio, error = sizes.error_ratio(n), sizes.rms_error(n)
    if solver.error_order is None:
        error_ratio, error = (torch.full_like(x, math.nan) for x in (error_ratio, error))
    return StepRecords(t, dt, error_ratio, error, sizes.stiffness(dt.to(sizes.slopes)))
