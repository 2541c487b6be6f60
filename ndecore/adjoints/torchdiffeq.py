"""torchdiffeq as a closed box: its solvers and its adjoints, with the records that it gives away."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torchdiffeq
from torch import Tensor

from ndecore.adjoints import TORCHDIFFEQ_ADAPTIVE, TORCHDIFFEQ_METHODS
from ndecore.adjoints.replay import Products, buffers_kept, known_parameters
from ndecore.errors import InputError
from ndecore.integrate import Adjoint, Problem, SolveSettings, Watch
from ndecore.keys import Above, OneOf, check_fields
from ndecore.norms import rms_norm
from ndecore.running_cost import ChargedTerm
from ndecore.solution import Solution, SolveStats, StepRecords
from ndecore.status import Status
from ndecore.terms import ODETerm
from ndecore.tolerances import least
from ndecore.types import State, States

_PER_STEP = 10  # evaluations that a step of a method which does not count them is taken to cost
Integrator = Callable[..., Tensor]


@dataclass(frozen=True)
class Torchdiffeq(Adjoint):
    """`torchdiffeq.odeint` and the tape through it, by any of its methods; the settings' solver and controller rest.

    A black box in the sense of P2: it shows no error and no stiffness, so global penalties cannot use it and local ones
    can, by one step of the settings' solver. Records hold the accepted steps of its adaptive methods, estimates as NaN.
    `max_steps` counts from one output time to the next.

    Args:
        method: a method of torchdiffeq.
        step_size: of its fixed-step methods, unit of time; None steps from one output time to the next.

    Reference: Chen, torchdiffeq, https://github.com/rtqichen/torchdiffeq.
    """

    method: Annotated[str, OneOf(*TORCHDIFFEQ_METHODS), "The step method of torchdiffeq."] = "dopri5"
    step_size: Annotated[
        float | None, Above(0), "The step of torchdiffeq's methods of constant steps; unit of time."
    ] = None
    differentiates_records: ClassVar[bool] = False
    tapes_states: ClassVar[bool] = True
    # Of the others torchdiffeq does not tell the steps.
    telling_methods: ClassVar[tuple[str, ...] | None] = TORCHDIFFEQ_ADAPTIVE

    def __post_init__(self) -> None:
        check_fields(self)

    def solve(self, problem: Problem, settings: SolveSettings) -> Solution:
        """Solve by `odeint`; see `Adjoint.solve`."""
        if self.method == "scipy_solver" and torch.is_grad_enabled():
            raise InputError(f"method: got {self.method!r}, which autograd cannot record, allowed: torchdiffeq_adjoint")
        return _Box(problem, settings, self).solve(torchdiffeq.odeint, {})


@dataclass(frozen=True)
class TorchdiffeqAdjoint(Adjoint):
    """`torchdiffeq.odeint_adjoint`: the continuous adjoint that integrates y(t) again, backwards, with the cotangents.

    Memory: the outputs alone. See `Torchdiffeq` for what it shows and its arguments.

    Reference: Chen et al., Neural ordinary differential equations, NeurIPS 2018.
    """

    method: Annotated[str, OneOf(*TORCHDIFFEQ_METHODS), "The step method of torchdiffeq."] = "dopri5"
    step_size: Annotated[
        float | None, Above(0), "The step of torchdiffeq's methods of constant steps; unit of time."
    ] = None
    differentiates_records: ClassVar[bool] = False
    tapes_states: ClassVar[bool] = False
    # Of the others torchdiffeq does not tell the steps.
    telling_methods: ClassVar[tuple[str, ...] | None] = TORCHDIFFEQ_ADAPTIVE

    def __post_init__(self) -> None:
        check_fields(self)

    def solve(self, problem: Problem, settings: SolveSettings) -> Solution:
        """Solve by `odeint_adjoint`; see `Adjoint.solve`."""
        if not torch.is_grad_enabled():
            return _Box(problem, settings, self).solve(torchdiffeq.odeint, {})
        parameters = known_parameters(problem.term, self)
        box = _Box(problem, settings, self, Products(problem.term, parameters))
        return box.solve(torchdiffeq.odeint_adjoint, {"adjoint_params": parameters})


def _step_options(problem: Problem, settings: SolveSettings) -> dict[str, Any]:
    """What its adaptive methods are told about steps."""
    options: dict[str, Any] = {"max_num_steps": settings.max_steps, "max_step": settings.max_step}
    if settings.first_step is not None:
        options["first_step"] = settings.first_step
    for name in ("step_t", "jump_t"):
        if times := getattr(problem, name):
            options[name] = torch.tensor(times, dtype=torch.float64, device=problem.y0.device)
    return options


class _Field:
    """The vector field as torchdiffeq sees it.

    Args:
        products: which know the parameters, where the continuous adjoint evaluates the field again.
        most: evaluations after which the solve is given up, for a method that counts no steps.
    """

    def __init__(
        self, term: ODETerm | ChargedTerm, products: Products | None, most: float, watch: Watch | None
    ) -> None:
        self.term, self.products, self.most, self.watch = term, products, most, watch
        self.is_solving = True
        self.raised: AssertionError | None = None  # by the vector field itself
        self.slope: Tensor | None = None  # the last one
        self.steps: list[tuple[Tensor, Tensor]] = []
        self.n_rejected = 0
        self.last: State | None = None  # where the last attempt began,
        self.n_before_last = 0  # and the accepted steps up to there

    def __call__(self, t: Tensor, y: State) -> State:
        if not self.is_solving:
            self.term.counts.n_replayed += 1
            with buffers_kept(self.term.modules):
                slope = self.term.field(t, y)
            if self.products is not None and torch.is_grad_enabled():
                self.products.check(slope, t, y)
            return slope
        if self.term.n_evaluations >= self.most:
            raise _TooManyEvaluations
        try:
            slope = self.term.at(t, y)
        except AssertionError as raised:
            self.raised = raised
            raise
        self.slope = slope.detach()
        return slope


class _WatchedField(_Field):
    """With methods that torchdiffeq calls; bound ones as attributes would be a cycle that keeps the tape alive."""

    def callback_accept_step(self, t: Tensor, y: State, dt: Tensor) -> None:
        self.steps.append((t.detach(), dt.detach()))
        if self.watch is not None:
            self.watch(t.item(), y)

    def callback_step(self, t: Tensor, y: State, dt: Tensor) -> None:
        # Where the next attempt begins; `callback_accept_step` is told where the accepted one began.
        self.last, self.n_before_last = y, len(self.steps)

    def callback_reject_step(self, t: Tensor, y: State, dt: Tensor) -> None:
        self.n_rejected += 1


class _TooManyEvaluations(Exception):
    pass


class _Box:
    """One solve by torchdiffeq."""

    def __init__(
        self,
        problem: Problem,
        settings: SolveSettings,
        adjoint: "Torchdiffeq | TorchdiffeqAdjoint",
        products: Products | None = None,
    ) -> None:
        method, step_size = adjoint.method, adjoint.step_size
        assert isinstance(problem.term, ODETerm | ChargedTerm), "torchdiffeq solves ordinary differential equations"
        self.problem, self.settings, self.method = problem, settings, method
        is_adaptive = method in TORCHDIFFEQ_ADAPTIVE
        self.options: dict[str, Any] = {}
        if is_adaptive:
            self.options |= _step_options(problem, settings)
            if problem.n_controlled is not None or problem.norm is not None:
                norm = problem.norm or rms_norm
                self.options["norm"] = lambda x: norm(x.reshape(-1)[: problem.n_controlled])
        elif step_size is not None and method != "scipy_solver":
            self.options["step_size"] = step_size
        counts_steps = is_adaptive or method != "scipy_solver"
        most = math.inf if counts_steps else float(problem.term.n_evaluations + _PER_STEP * settings.max_steps)
        self.field = (_WatchedField if is_adaptive else _Field)(problem.term, products, most, problem.watch)
        self.sign = -1.0 if problem.t1 < problem.t0 else 1.0  # it counts time upwards

    def solve(self, integrator: Integrator, more: Mapping[str, Any]) -> Solution:
        """Solve; torchdiffeq's failures become statuses."""
        problem, term = self.problem, self.problem.term
        evaluations, taped = term.n_evaluations, term.counts.n_taped
        # It wants each time once; outputs may repeat, and include both ends.
        times = sorted({problem.t0, *problem.ts, problem.t1}, reverse=problem.t1 < problem.t0)
        status, found, y1 = self._integrate(integrator, times, more)
        self.field.is_solving = False
        reached = times[: len(found)]
        outputs = [times.index(t) for t in problem.ts if t in reached]
        stats = SolveStats(
            n_evaluations=term.n_evaluations - evaluations,
            n_differentiated=term.counts.n_taped - taped,  # what it rejected included: its steps are not ours to count
            n_accepted=len(self.field.steps),
            n_rejected=self.field.n_rejected,
        )
        return Solution(problem.t0, problem.t1, y1, problem.ts, found[outputs], self._records(), stats, status)

    def _integrate(
        self, integrator: Integrator, times: list[float], more: Mapping[str, Any]
    ) -> tuple[Status, States, State]:
        """How it ended, the states at the times that were reached, and the last state."""
        y0 = self.problem.y0
        status, found, last = Status.SUCCESS, y0.unsqueeze(0), None
        if len(times) > 1:
            ts = torch.tensor(times, dtype=torch.float64, device=y0.device)
            try:
                found = integrator(
                    self.field, y0, ts, **self._tolerances(more), method=self.method, options=self.options, **more
                )
            except _TooManyEvaluations:
                status = Status.MAX_STEPS
            except AssertionError as failure:  # how torchdiffeq tells that it cannot go on
                if failure is self.field.raised:
                    raise
                status, last = self._status_of(failure), self.field.last
                del self.field.steps[self.field.n_before_last :]
        is_finite = found.detach().isfinite().reshape(len(found), -1).all(1).tolist()
        if not all(is_finite):
            status, found = Status.NON_FINITE, found[: max(1, is_finite.index(False))]
        elif status is Status.SUCCESS and len(found) < len(times):  # how scipy tells the same
            status = Status.STEP_UNDERFLOW
        return status, found, found[-1] if last is None else last

    def _tolerances(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the settings; where they are by element, of the state beside which nothing else is controlled."""
        n_more = self.problem.y0.numel() - self.problem.n_sized
        found: dict[str, Any] = {}
        for name in ("rtol", "atol"):
            given = getattr(self.settings, name)
            if isinstance(given, Tensor) and more:  # cotangents have other units than the state
                found[f"adjoint_{name}"] = least(given)
            if isinstance(given, Tensor) and n_more:
                given = torch.cat([given, given.new_ones(n_more)])
            found[name] = given
        return found

    def _records(self) -> StepRecords:
        steps = self.field.steps
        times = (
            torch.stack([torch.stack(step) for step in steps]).double().cpu() if steps else torch.zeros(0, 2).double()
        )
        unknown = self.problem.y0.new_full((len(times),), math.nan)
        return StepRecords(times[:, 0], self.sign * times[:, 1], unknown, unknown, unknown)

    def _status_of(self, failure: AssertionError) -> Status:
        text, slope = str(failure), self.field.slope
        if "max_num_steps" in text:
            return Status.MAX_STEPS
        is_finite = slope is None or bool(slope.isfinite().all())
        return Status.NON_FINITE if "non-finite" in text or not is_finite else Status.STEP_UNDERFLOW
