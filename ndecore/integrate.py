"""The one adaptive loop: propose, judge, record, advance, save."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, NamedTuple, SupportsFloat, SupportsIndex, TypeAlias

import torch
from torch import Tensor
from torch.linalg import vector_norm

from ndecore.compatibility import chosen, control_clashes, implicit_clashes, refuse
from ndecore.controllers import CONTROLLERS
from ndecore.controllers.base import Controller, ControllerState, Verdict
from ndecore.controllers.initial_step import initial_step
from ndecore.controllers.integral import IController
from ndecore.dense import Path
from ndecore.errors import InputError
from ndecore.facts import AdjointFacts, ControllerFacts, Equations, SolverFacts, facts_of
from ndecore.given import member, whole
from ndecore.keys import Above, AtLeast, check_fields
from ndecore.norms import Measured, Norm, SizeTape, StepSizes, step_sizes
from ndecore.reliability import rounding, warn_of_instability
from ndecore.solution import Rounding, Solution, SolveStats, StepRecords
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.base import Solver, StepResult
from ndecore.solvers.tsit5 import Tsit5
from ndecore.status import Status
from ndecore.terms import Term
from ndecore.tolerances import NORMS, NormChoice, Tolerance, check_tolerances, same, tolerance
from ndecore.types import Carry, State, States


class Stop(NamedTuple):
    """Where a step has to end, and where the next one begins: elsewhere if the field jumps in between."""

    end: float
    resume: float


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
    first_step: float | None = None  # that of the settings if None
    step_t: tuple[float, ...] = ()  # where a step ends, whatever the controller says; inside the span, sorted as `ts`
    jump_t: tuple[float, ...] = ()  # where the field jumps: no step goes across; inside the span, sorted as `ts`
    dense: bool = False  # whether the solution is wanted at any time afterwards
    norm: Norm | None = None  # of the scaled error of the controlled elements; one root mean square if None

    def stops(self) -> list["Stop"]:
        """Where steps have to end, t1 last.

        Around a jump lies a gap of some roundings of time, so that a stage at the end of a step sees the field before
        it, and the next one the field behind it. The state does not move there.
        """
        sign = math.copysign(1.0, self.t1 - self.t0)
        found = {t: Stop(t, t) for t in (*self.step_t, self.t1)}
        for t in self.jump_t:
            gap = sign * 4 * torch.finfo(self.y0.dtype).eps * max(abs(t), abs(self.t1 - self.t0))
            found[t] = Stop(t - gap, t + gap)
        return [found[t] for t in sorted(found, key=lambda t: sign * t)]

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
    equations: ClassVar[tuple[Equations, ...]] = ("ordinary",)  # those it is for
    # Of one that solves by methods of its own, while the solver of the settings rests: those with which a watch is told
    # of accepted steps (None: it always is), and those for Ito equations.
    telling_methods: ClassVar[tuple[str, ...] | None] = None
    ito_methods: ClassVar[tuple[str, ...] | None] = None

    @property
    def is_closed(self) -> bool:
        """Whether it solves by methods of its own."""
        return self.telling_methods is not None

    @property
    def tells_steps(self) -> bool:
        """Whether a watch is told of accepted steps."""
        return facts_of(AdjointFacts, type(self)).tells_steps(getattr(self, "method", None))

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
    equations: ClassVar[tuple[Equations, ...]] = ("ordinary", "stochastic")

    def solve(self, problem: Problem, settings: "SolveSettings") -> Solution:
        """Run the loop; see `Adjoint.solve`."""
        solution = integrate(problem, settings)
        warn_of_instability(solution, settings.solver)
        return solution


_TSIT5, _INTEGRAL, _TAPE = Tsit5(), IController(), Tape()
_TOLERANCE = 1e-6
_MAX_STEPS = 4096


@dataclass(frozen=True, init=False)
class SolveSettings:
    """How to solve: method, step size control, adjoint, tolerances, and when to give up.

    The I controller is the default because it was measured to need the least work: PI takes 1.3 times its evaluations
    at equal tolerance and 1.1 to 1.2 times at equal error, PID 1.1 times, in float32 and in float64
    (reports/benchmarks/solvers.md).

    Solver and controller may be given by the names in their registries, numbers in any type.

    `within_stability` is for gradients through a solve whose steps stability limits, not accuracy: without it they may
    be wrong by orders of magnitude (`UnstableGradientWarning`). It rejects a step whose stiffness |dt| is above the
    method's stability size, and keeps the next ones below 0.9 of it by the largest stiffness that was met. A mode that
    has decayed below the rounding of the stages is not seen.
    """

    solver: Solver
    controller: Controller
    adjoint: Adjoint
    # Keys of a config, where they are numbers > 0; here one of them may be 0, or a `Tolerance` by part or element.
    rtol: Annotated[float, Above(0), "The relative tolerance of a step, dimensionless."] = _TOLERANCE
    atol: Annotated[
        float, Above(0), "The absolute tolerance of a step, in the state's unit; the same as rtol if absent."
    ] = _TOLERANCE
    max_steps: Annotated[int, AtLeast(1), "The attempted steps after which a solve is given up."] = _MAX_STEPS
    norm: NormChoice = "rms"  # of the tolerance-scaled error, whose size decides over a step
    first_step: float | None = None  # unit of time, > 0 in either direction; the automatic one if None
    max_step: float = math.inf  # the largest step, unit of time
    within_stability: bool = False

    def __init__(  # noqa: PLR0913, PLR0917 - the fields in order
        self,
        solver: Solver | str = _TSIT5,
        controller: Controller | str = _INTEGRAL,
        adjoint: Adjoint = _TAPE,
        rtol: Tolerance = _TOLERANCE,
        atol: Tolerance = _TOLERANCE,
        max_steps: SupportsIndex = _MAX_STEPS,
        norm: NormChoice = "rms",
        first_step: SupportsFloat | None = None,
        max_step: SupportsFloat = math.inf,
        within_stability: bool = False,
    ) -> None:
        self.__dict__.update(
            solver=member("solver", solver, (SOLVERS, SDE_SOLVERS)),
            controller=member("controller", controller, (CONTROLLERS,)),
            adjoint=adjoint,
            rtol=tolerance("rtol", rtol),
            atol=tolerance("atol", atol),
            max_steps=whole("max_steps", max_steps),
            norm=norm,
            first_step=None if first_step is None else float(first_step),
            max_step=float(max_step),
            within_stability=within_stability,
        )
        self.__post_init__()

    @property
    def has_plain_tolerances(self) -> bool:
        """Whether both tolerances are numbers, the same for the whole state."""
        given: tuple[Tolerance, Tolerance] = self.rtol, self.atol
        return all(isinstance(each, float) for each in given)

    def at(self, rtol: Tolerance, atol: Tolerance) -> "SolveSettings":
        """The same at other tolerances."""
        return replace(self, rtol=rtol, atol=atol)

    def __post_init__(self) -> None:
        check_fields(self, besides=("rtol", "atol"))  # `tolerance` has checked them
        if self.has_plain_tolerances:
            check_tolerances(self.rtol, self.atol)
        if self.norm not in NORMS and not callable(self.norm):
            raise InputError(f"norm: got {self.norm!r}, allowed: {', '.join(NORMS)}, or a function of the scaled error")
        if self.first_step is not None and not (math.isfinite(self.first_step) and self.first_step > 0):
            raise InputError(f"first_step: got {self.first_step!r}, allowed: a finite number > 0, or None")
        if not self.max_step > 0:
            raise InputError(f"max_step: got {self.max_step!r}, allowed: a number > 0")
        solver = chosen(SolverFacts, self.solver)
        refuse(control_clashes(solver, chosen(ControllerFacts, self.controller)))
        refuse(implicit_clashes(solver, chosen(AdjointFacts, self.adjoint)))
        if self.within_stability and not (self.solver.tells_stiffness and self.controller.needs_error):
            raise InputError(
                f"within_stability: got true with {type(self.solver).__name__} and {type(self.controller).__name__}, "
                "allowed: a method with a stiffness estimate, such as tsit5, and a controller that adapts the step"
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SolveSettings) and same(tuple(vars(self).values()), tuple(vars(other).values()))

    def __hash__(self) -> int:
        return hash((self.solver, self.controller, self.adjoint, self.max_steps))


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
    is_fresh: bool  # whether the carry is from `Solver.start`, as after a jump


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
    keeps_steps = keeps_steps or problem.dense
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
        self.slopes: list[Tensor] = []  # the size of f at the end of each, where its rounding is asked for
        self.stiffest = 0.0  # estimate met so far, 1/time
        self.tape = SizeTape(settings.rtol, settings.atol, problem.norm)  # of the same, if they are differentiated
        self.sign = math.copysign(1.0, problem.t1 - problem.t0)
        # Below this a step is lost in the rounding of times: never under ten roundings of t itself, so that a step
        # which is shrunk and then rounded does shrink; near t = 0, where times are as fine as one likes, the span takes
        # the place of t, or shrinking would not end.
        rounding = 10 * torch.finfo(torch.float64).eps * abs(problem.t1 - problem.t0)
        self.finest = max(rounding, problem.term.resolution)
        # The field sees time in the state's dtype, and below its resolution stage times no longer differ.
        self.relative_resolution = max(torch.finfo(self.y.dtype).eps, 10 * torch.finfo(torch.float64).eps)
        self.stops = problem.stops()[::-1]  # the next one last
        self.path = Path(self.y, self.sign) if problem.dense else None
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
        finite, was_rejected, is_fresh = True, False, True
        while self.t != t1:
            wanted, (dt, is_last) = dt, self._fit(dt)
            if self.n_accepted + self.n_rejected >= max_steps:
                return Status.MAX_STEPS
            if not is_last and abs(dt) < self._resolution():
                return self._underflow() if finite else Status.NON_FINITE
            step = solver.step(term, self.t, dt, self.y, carry, self.scratch)
            attempt = self._measure(step)
            finite = math.isfinite(attempt.ratio)
            verdict = controller.judge(attempt.ratio, dt, state, solver.error_order or 1)
            if self.settings.within_stability and finite:
                verdict = self._within_stability(verdict, attempt.values, dt, state)
            if verdict.accept and finite:
                t_next = self.stops[-1].end if is_last else self.t + dt
                accepted = Accepted(self.t, dt, self.y, carry, step, attempt.sizes, *self._passed(t_next), is_fresh)
                self._accept(accepted, attempt, t_next)
                carry, is_fresh = step.carry, False
                if is_last and t_next != t1:
                    # A step that was cut off says nothing against the one that was wanted.
                    dt, state, was_rejected = max(wanted, verdict.dt, key=abs), verdict.state, False
                    carry, is_fresh = self._resume(carry)
                    continue
                # No growth in the step after a rejection, as in Hairer's codes: the step before was as long, and was
                # too long. Measured against growth at once: on DETEST's jumps (F) at 1e-6 23 % fewer evaluations with
                # tsit5, 21 % with dopri5, 10 % with bosh3 (11 % more at 1e-3); on the classes A to E between
                # 8 % fewer and 8 % more; at equal error in float64, on eight of those problems and four networks, 2.5 %
                # fewer with tsit5 (0.92 to 1.00 of them).
                keeps = was_rejected and abs(verdict.dt) > abs(dt)
                dt, was_rejected = dt if keeps else verdict.dt, False
            else:
                self.n_rejected += 1
                if verdict.accept:  # by a controller that cannot shrink its steps
                    return Status.NON_FINITE
                dt, was_rejected = verdict.dt, True
            state = verdict.state
        return Status.SUCCESS

    def _first_step(self, carry: Carry) -> float:
        s, problem, span = self.settings, self.problem, self.problem.t1 - self.t
        first = s.first_step if problem.first_step is None else problem.first_step
        if first is not None:
            return math.copysign(min(abs(first), abs(span)), span)
        measure = s.rtol, s.atol, problem.n_controlled, problem.norm
        dt = initial_step(problem.term, self.t, self.y, carry, span, s.solver.order, *measure)
        # A guess below the resolution of time is no reason to give up before the controller has seen a step.
        return math.copysign(max(abs(dt), min(self._resolution(), abs(span))), span) if math.isfinite(dt) else dt

    def _fit(self, dt: float) -> tuple[float, bool]:
        """The step to take, and whether it ends at the next stop."""
        left = self.stops[-1].end - self.t
        if abs(dt) > self.settings.max_step:
            dt = math.copysign(self.settings.max_step, dt)
        if abs(left) <= self.settings.controller.stretch * abs(dt):
            return left, True
        # Rounded so that t + dt is exact: the recorded steps add up to the span, and replayed they are the same steps.
        # Steps that nobody's error estimate has asked for are taken as they are.
        is_asked = self.settings.controller.needs_error
        end = self.problem.term.step_end(self.t, dt) if is_asked else self.t + dt
        return end - self.t, False

    def _resume(self, carry: Carry) -> tuple[Carry, bool]:
        """Go on behind the stop that was reached: the carry, and whether it had to be made anew."""
        end, resume = self.stops.pop()
        if resume == end:
            return carry, False
        self.t = resume
        return self.settings.solver.start(self.problem.term, resume, self.y), True

    def _underflow(self) -> Status:
        """Whose resolution the step size fell below: of times as numbers, or of the path."""
        return Status.PATH_UNDERFLOW if self._resolution() == self.problem.term.resolution else Status.STEP_UNDERFLOW

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
        sizes = step_sizes(*controlled, s.rtol, s.atol, self.problem.norm)
        # The one host synchronisation of a step. The size of y1 is read too: an infinite state scales its error to 0.
        values = sizes.tolist()
        ratio = values[0] / math.sqrt(self.n_sized)
        # The squares in a norm overflow at the root of the largest number: only then is each element looked at.
        finite = math.isfinite(ratio) and (math.isfinite(values[-1]) or bool(step.y1.isfinite().all()))
        return _Attempt(controlled, sizes, values, ratio if finite else math.inf)

    def _within_stability(self, verdict: Verdict, values: list[float], dt: float, state: ControllerState) -> Verdict:
        """The verdict with a step for which the method is stable; a rejection if this one was not."""
        size = self.settings.solver.stability_size
        own = values[2] / (values[3] * abs(dt)) if self._is_told(values) else 0.0
        # The largest so far and not the last one: a decayed mode is not seen, and grows back where it is forgotten.
        self.stiffest = max(self.stiffest, own)
        longest = 0.9 * size / self.stiffest if self.stiffest else math.inf
        is_stable = own * abs(dt) <= size
        after = math.copysign(min(abs(verdict.dt), longest), dt)
        return Verdict(verdict.accept and is_stable, after, verdict.state if is_stable else state)

    def _is_told(self, values: list[float]) -> bool:
        """Whether a stiffness was measured, and not the rounding of its stages."""
        return values[3] > 10 * torch.finfo(self.y.dtype).eps * values[4]

    def _accept(self, accepted: Accepted, attempt: _Attempt, t_next: float) -> None:
        self.watch(accepted)
        if self.path is not None:
            self.path.add(accepted.t, accepted.y0, accepted.step)
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
        if self.problem.differentiable_records and accepted.step.carry.shape == self.y.shape:
            self.slopes.append(vector_norm(accepted.step.carry.detach().reshape(-1)[: self.n_sized]))
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
        size = solver.stability_size if solver.tells_stiffness else math.inf
        stats = SolveStats(
            n_evaluations=problem.term.n_evaluations - self.evaluations_before[0],
            # The last stage of the last step serves the estimates alone.
            n_differentiated=self.n_accepted * solver.evaluations_per_step
            + solver.evaluations_for_estimates * (self.differentiable and self.n_accepted > 0),
            n_accepted=self.n_accepted,
            n_rejected=self.n_rejected,
            n_diffusion_evaluations=problem.term.n_diffusion_evaluations - self.evaluations_before[1],
            n_unstable=sum(each[2] > size * each[3] and self._is_told(each) for each in self.values),
        )
        ys = torch.cat(self.saved)
        found = Solution(problem.t0, problem.t1, self.y, problem.ts, ys, self._records(), stats, status, solver=solver)
        return found if self.path is None else replace(found, reached=self.t, dense=self.path.at)

    def _records(self) -> StepRecords:
        if self.differentiable and self.n_accepted:
            sizes = self.tape.result()
        else:
            sizes = self.y.new_tensor(self.values, requires_grad=False).reshape(-1, len(StepSizes._fields)).t()
        times = torch.tensor(self.times, dtype=torch.float64).reshape(-1, 2)
        records = step_records(times[:, 0], times[:, 1], StepSizes(*sizes), self.n_sized, self.settings.solver)
        return replace(records, rounding=self._rounding()) if self.slopes else records

    def _rounding(self) -> Rounding:
        slopes = torch.stack(self.slopes).tolist()
        moves = [abs(dt) * slope for (_, dt), slope in zip(self.times, slopes, strict=True)]
        return rounding(zip(self.values, moves, strict=True), torch.finfo(self.y.dtype).eps)


def step_records(t: Tensor, dt: Tensor, sizes: StepSizes, n: int, solver: Solver) -> StepRecords:
    """The records of steps from the sizes of what they left, [steps] each, over n elements."""
    error_ratio, error = sizes.error_ratio(n), sizes.rms_error(n)
    if solver.error_order is None:
        error_ratio, error = (torch.full_like(x, math.nan) for x in (error_ratio, error))
    return StepRecords(t, dt, error_ratio, error, sizes.stiffness(dt.to(sizes.slopes)))
