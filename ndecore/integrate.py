"""The one adaptive loop: propose, judge, record, advance, save."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from ndecore.controllers.base import Controller
from ndecore.controllers.initial_step import initial_step
from ndecore.controllers.integral import IController
from ndecore.errors import InputError
from ndecore.norms import error_ratio, rms_norm
from ndecore.solution import Solution, SolveStats, StepRecords
from ndecore.solvers.base import Solver, StepResult
from ndecore.solvers.tsit5 import Tsit5
from ndecore.status import Status
from ndecore.terms import ODETerm
from ndecore.types import State, States, VectorField


@dataclass(frozen=True)
class SolveSettings:
    """How to solve: method, step size control, tolerances, and when to give up.

    The I controller is the default because on the 4 to 25 step solves of neural ODEs the PI exponents buy accuracy
    that nobody asked for: about 1.5 times the evaluations at the same tolerance.
    """

    solver: Solver = field(default_factory=Tsit5)
    controller: Controller = field(default_factory=IController)
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


_DEFAULT_SETTINGS = SolveSettings()


def solve(
    vector_field: VectorField | ODETerm,
    y0: State,
    t0: float,
    t1: float,
    *,
    settings: SolveSettings = _DEFAULT_SETTINGS,
    ts: Sequence[float] = (),
    differentiable_records: bool = False,
    throw: bool = False,
) -> Solution:
    """Solve dy/dt = f(t, y) from y(t0) = y0 to t1, forwards or backwards in time.

    Gradients flow to y0 and to the parameters of f through the plain tape (discrete adjoint) with step sizes
    detached: the exact derivative of the solve on its accepted step sequence. One step size serves the whole state,
    as in P1 and P2.

    Args:
        vector_field: f(t, y), t a 0-d tensor, returning a tensor like y; or an `ODETerm` that goes on counting.
        y0: initial state, any shape, float32 or float64.
        t0: start, in units of time.
        t1: end; the last step ends exactly there.
        settings: method, controller, tolerances.
        ts: output times between t0 and t1 in the direction of time; dense output, no step is shortened for them.
        differentiable_records: whether error and stiffness carry gradients (for global regularizers).
        throw: raise `SolveFailed` unless the status is SUCCESS; otherwise read `solution.status`.

    Returns:
        The solution with one record per accepted step.

    Raises:
        InputError: a caller's mistake (times, shapes, dtypes).
        SolveFailed: the solve ended early and `throw` is set.
    """
    _check_problem(y0, t0, t1, ts)
    term = vector_field if isinstance(vector_field, ODETerm) else ODETerm(vector_field)
    run = _Run(term, settings, y0, float(t0), float(t1), tuple(map(float, ts)), differentiable_records)
    solution = run.solution(run.advance())
    return solution.check() if throw else solution


def _check_problem(y0: State, t0: float, t1: float, ts: Sequence[float]) -> None:
    if y0.dtype not in (torch.float32, torch.float64) or y0.numel() == 0:
        raise InputError(f"y0: got {tuple(y0.shape)} of {y0.dtype}, allowed: a non-empty float32 or float64 tensor")
    if not (math.isfinite(t0) and math.isfinite(t1)):
        raise InputError(f"t0, t1: got {t0!r}, {t1!r}, allowed: finite numbers")
    sign = 1 if t1 >= t0 else -1
    ordered = [t0, *ts, t1]
    if not all(sign * (b - a) >= 0 for a, b in pairwise(ordered)):
        raise InputError(f"ts: got {tuple(ts)!r}, allowed: times sorted from t0 = {t0!r} to t1 = {t1!r}")


@dataclass(frozen=True)
class _Measured:
    """Sizes read off one attempted step: tensors for the record, numbers for the controller."""

    error_ratio: Tensor
    error: Tensor
    stiffness: Tensor
    ratio: float  # of error_ratio; infinite where the step or its new state is not finite


class _Run:
    """The state of one solve while it runs."""

    def __init__(  # noqa: PLR0917
        self,
        term: ODETerm,
        settings: SolveSettings,
        y0: State,
        t0: float,
        t1: float,
        ts: tuple[float, ...],
        differentiable: bool,
    ) -> None:
        self.term, self.settings = term, settings
        self.t0, self.t1, self.ts = t0, t1, ts
        self.t, self.y = t0, y0
        self.differentiable = differentiable and torch.is_grad_enabled()
        self.evaluations_before = term.n_evaluations
        self.n_accepted = self.n_rejected = 0
        self.times: list[tuple[float, float]] = []
        self.measured: list[_Measured] = []
        # Outputs at t0 are known; the others are filled in as steps pass over them.
        self.n_saved = sum(1 for t in ts if t == t0)
        self.saved: list[States] = [y0.expand(self.n_saved, *y0.shape)]

    def advance(self) -> Status:
        """Step from t0 to t1; return how it ended."""
        if self.t0 == self.t1:
            return Status.SUCCESS if bool(self.y.isfinite().all()) else Status.NON_FINITE
        solver, controller = self.settings.solver, self.settings.controller
        carry = solver.start(self.term, self.t, self.y)
        dt, state = controller.start(self.t1 - self.t, lambda: self._automatic_step(carry))
        if math.isnan(dt):
            return Status.NON_FINITE
        finite = True
        while self.t != self.t1:
            dt, is_last = self._fit(dt)
            if self.n_accepted + self.n_rejected >= self.settings.max_steps:
                return Status.MAX_STEPS
            if not is_last and abs(dt) < self._resolution():
                return Status.STEP_UNDERFLOW if finite else Status.NON_FINITE
            step = solver.step(self.term, self.t, dt, self.y, carry)
            measured = self._measure(step)
            finite = math.isfinite(measured.ratio)
            verdict = controller.judge(measured.ratio, dt, state, solver.error_order)
            if verdict.accept and finite:
                self._accept(step, measured, dt, self.t1 if is_last else self.t + dt)
                carry = step.carry
            else:
                self.n_rejected += 1
                if verdict.accept:  # by a controller that cannot shrink its steps
                    return Status.NON_FINITE
            dt, state = verdict.dt, verdict.state
        return Status.SUCCESS

    def _automatic_step(self, carry: State) -> float:
        s, span = self.settings, self.t1 - self.t
        dt = initial_step(self.term, self.t, self.y, carry, span, s.solver.order, s.rtol, s.atol)
        # A guess below the resolution of time is no reason to give up before the controller has seen a step.
        return math.copysign(max(abs(dt), min(self._resolution(), abs(span))), span) if math.isfinite(dt) else dt

    def _fit(self, dt: float) -> tuple[float, bool]:
        """The step to take, and whether it ends at t1."""
        left = self.t1 - self.t
        if abs(left) <= self.settings.controller.stretch * abs(dt):
            return left, True
        # Rounded so that t + dt is exact: the recorded steps add up to the span, and replayed they are the same steps.
        return (self.t + dt) - self.t, False

    def _resolution(self) -> float:
        # Of the state's dtype: the field sees time in it, and below it stage times no longer differ. Never under ten
        # roundings of t itself, so that a step which is shrunk and then rounded does shrink; near t = 0, where times
        # are as fine as one likes, the span takes the place of t, or shrinking would not end.
        t, span = abs(self.t), abs(self.t1 - self.t0)
        return max(torch.finfo(self.y.dtype).eps * t, 10 * torch.finfo(torch.float64).eps * max(t, span))

    def _measure(self, step: StepResult) -> _Measured:
        with torch.set_grad_enabled(self.differentiable):
            error = step.error()
            ratio = error_ratio(error, self.y, step.y1, self.settings.rtol, self.settings.atol)
            raw, stiffness = rms_norm(error), step.stiffness()
        # The one host synchronisation of a step. The norm of y1 is read too: an infinite state scales its error to 0.
        value, size = torch.stack([ratio.detach(), torch.linalg.vector_norm(step.y1.detach())]).tolist()
        # The squares in a norm overflow at the root of the largest number: only then is each element looked at.
        finite = math.isfinite(value) and (math.isfinite(size) or bool(step.y1.isfinite().all()))
        return _Measured(ratio, raw, stiffness, value if finite else math.inf)

    def _accept(self, step: StepResult, measured: _Measured, dt: float, t_next: float) -> None:
        self._save(step, t_next)
        self.times.append((self.t, dt))
        self.measured.append(measured)
        self.n_accepted += 1
        self.t, self.y = t_next, step.y1

    def _save(self, step: StepResult, t_next: float) -> None:
        sign = math.copysign(1.0, self.t1 - self.t0)
        passed = [t for t in self.ts[self.n_saved :] if sign * t <= sign * t_next]
        if not passed:
            return
        inside = [t for t in passed if t != t_next]
        if inside:
            self.saved.append(step.interpolate(inside))
        at_end = len(passed) - len(inside)
        self.saved.append(step.y1.expand(at_end, *step.y1.shape))
        self.n_saved += len(passed)

    def solution(self, status: Status) -> Solution:
        """What the run has come to."""
        times = torch.tensor(self.times, dtype=torch.float64).reshape(-1, 2)
        records = StepRecords(
            t=times[:, 0],
            dt=times[:, 1],
            error_ratio=self._stack([m.error_ratio for m in self.measured]),
            error=self._stack([m.error for m in self.measured]),
            stiffness=self._stack([m.stiffness for m in self.measured]),
        )
        stats = SolveStats(
            n_evaluations=self.term.n_evaluations - self.evaluations_before,
            # The last stage of the last step serves the estimates alone.
            n_differentiated=self.n_accepted * self.settings.solver.evaluations_per_step
            + (self.differentiable and self.n_accepted > 0),
            n_accepted=self.n_accepted,
            n_rejected=self.n_rejected,
        )
        return Solution(self.t0, self.t1, self.y, self.ts, torch.cat(self.saved), records, stats, status)

    def _stack(self, values: list[Tensor]) -> Tensor:
        return torch.stack(values) if values else self.y.new_zeros(0)
