"""The one loop: exact counts with stub methods, exact ends, honest statuses, replays."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from initial_value_problems import PROBLEMS, TinyField, logistic, lotka_volterra
from torch import Tensor

from ndecore.controllers.base import Controller, ControllerState, Start, Verdict
from ndecore.controllers.integral import IController
from ndecore.controllers.proportional_integral import PIController
from ndecore.controllers.step_to import StepTo
from ndecore.errors import InputError, SolveFailed
from ndecore.integrate import SolveSettings
from ndecore.norms import Differences
from ndecore.solution import Solution
from ndecore.solvers.base import Solver, StepResult
from ndecore.solving import solve
from ndecore.status import Status
from ndecore.terms import ODETerm

NAN, INF = math.nan, math.inf
ONE = torch.ones(1, dtype=torch.float64)


class ScriptedStep(StepResult):
    """A step that stays at zero with an error of the given size: at atol = 1 this is the error ratio."""

    def __init__(self, y0: Tensor, size: float) -> None:
        self.y1 = y0
        self.size = size

    @property
    def carry(self) -> Tensor:
        return self.y1

    def differences(self) -> Differences:
        return Differences(torch.full_like(self.y1, self.size))

    def interpolate(self, ts: Sequence[float]) -> Tensor:
        return self.y1.expand(len(ts), *self.y1.shape)


class ScriptedSolver(Solver):
    """Meets the given error ratios one after the other, then 0.5 for ever; remembers what was attempted."""

    order = error_order = 5
    stability_size = 1.0
    evaluations_per_step = 1
    evaluations_per_output = 0

    def __init__(self, *ratios: float) -> None:
        self.ratios: Iterator[float] = iter(ratios)
        self.attempts: list[tuple[float, float]] = []

    def start(self, term: ODETerm, t0: float, y0: Tensor) -> Tensor:
        return term(t0, y0)

    def scratch(self, y0: Tensor) -> None:
        return None

    def step(  # noqa: PLR0917
        self, term: ODETerm, t0: float, dt: float, y0: Tensor, carry: Tensor, scratch: None = None
    ) -> ScriptedStep:
        self.attempts.append((t0, dt))
        term(t0 + dt, y0)
        return ScriptedStep(y0, next(self.ratios, 0.5))


@dataclass(frozen=True)
class Remembering(Controller):
    """Another controller, and a list of every state that came in and went out of its verdicts."""

    inner: Controller
    states: list[tuple[bool, ControllerState, ControllerState]] = field(default_factory=list)

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        return self.inner.start(span, probe)

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: int) -> Verdict:
        verdict = self.inner.judge(error_ratio, dt, state, error_order)
        self.states.append((verdict.accept, state, verdict.state))
        return verdict


@dataclass(frozen=True)
class Steps(Controller):
    """Always the same step; accepts below 1; never learns."""

    size: float

    def start(self, span: float, probe: Callable[[], float]) -> Start:
        return Start(math.copysign(self.size, span), None)

    def judge(self, error_ratio: float, dt: float, state: ControllerState, error_order: int) -> Verdict:
        return Verdict(error_ratio < 1, math.copysign(self.size, dt), None)


def scripted(solver: Solver, controller: Controller, t1: float = 1.0, **more: float) -> Solution:
    settings = SolveSettings(solver, controller, rtol=1.0, atol=1.0, **more)
    return solve(lambda t, y: torch.zeros_like(y), 0 * ONE, 0.0, t1, settings=settings, throw=False)


def test_rejected_step_keeps_controller_state() -> None:
    controller = Remembering(PIController())
    scripted(ScriptedSolver(0.3, 5.0, 7.0, 0.4), controller)
    assert [accept for accept, _, _ in controller.states][:4] == [True, False, False, True]
    for accept, before, after in controller.states:
        assert after != before if accept and before != 0.5 else after == before or accept


def test_controller_state_passes_from_verdict_to_verdict() -> None:
    controller = Remembering(PIController())
    scripted(ScriptedSolver(0.3, 5.0, 0.4), controller)
    assert controller.states[0][1] == 1e-4
    for (_, _, out), (_, into, _) in zip(controller.states, controller.states[1:], strict=False):
        assert into == out


def test_rejected_step_is_tried_again_from_the_same_time_with_a_smaller_step() -> None:
    solver = ScriptedSolver(2.0, 3.0, 0.5)
    solution = scripted(solver, Steps(0.25))
    assert [t for t, _ in solver.attempts] == [0.0, 0.0, 0.0, 0.25, 0.5, 0.75]
    assert (solution.stats.n_accepted, solution.stats.n_rejected) == (4, 2)
    shrinking = ScriptedSolver(2.0, 3.0, 0.5)
    scripted(shrinking, IController())
    first, second, third = (dt for _, dt in shrinking.attempts[:3])
    assert first > second > third > 0


def test_step_after_a_rejection_does_not_grow_and_the_next_one_may() -> None:
    solver = ScriptedSolver(2.0, 1e-9, 1e-9)
    scripted(solver, IController(), first_step=0.01)
    first, second, third, fourth = (dt for _, dt in solver.attempts[:4])
    assert second < first
    assert third == pytest.approx(second)
    assert fourth > 5 * third


def test_step_is_accepted_below_one_and_rejected_at_one() -> None:
    assert scripted(ScriptedSolver(math.nextafter(1.0, 0.0)), Steps(0.5)).stats.n_rejected == 0
    assert scripted(ScriptedSolver(1.0), Steps(0.5)).stats.n_rejected == 1


def test_every_accepted_step_leaves_one_record_of_what_it_met() -> None:
    records = scripted(ScriptedSolver(0.1, 2.0, 0.2, 0.3, 0.4), Steps(0.25)).records
    assert records.t.tolist() == [0.0, 0.25, 0.5, 0.75]
    assert records.dt.tolist() == [0.25] * 4
    assert records.error_ratio.tolist() == records.error.tolist() == [0.1, 0.2, 0.3, 0.4]


def test_step_that_would_leave_a_sliver_is_stretched_and_another_is_not() -> None:
    solver = ScriptedSolver()
    scripted(solver, Steps(0.995))
    assert solver.attempts == [(0.0, 1.0)]
    solver = ScriptedSolver()
    scripted(solver, Steps(0.98))
    assert solver.attempts == [(0.0, 0.98), (0.98, 1 - 0.98)]


@pytest.mark.parametrize("controller", [IController(), PIController()], ids=["i", "pi"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_evaluations_are_two_and_six_for_each_attempt(problem: object, controller: Controller) -> None:
    calls = 0

    def counted(t: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return problem.field(t, y)

    settings = SolveSettings(controller=controller, rtol=1e-5, atol=1e-5)
    stats = solve(counted, problem.start(), problem.t0, problem.t1, settings=settings).check().stats
    assert stats.n_evaluations == calls == 2 + 6 * (stats.n_accepted + stats.n_rejected)


def test_rejected_steps_cost_evaluations_too() -> None:
    def kinked(t: Tensor, y: Tensor) -> Tensor:
        return torch.where(t < 0.4, -y, 20 * y * torch.cos(50 * t))

    stats = solve(kinked, ONE, 0.0, 1.0).check().stats
    assert stats.n_rejected > 0
    assert stats.n_evaluations == 2 + 6 * (stats.n_accepted + stats.n_rejected)


def test_replay_has_no_probe_to_pay() -> None:
    settings = SolveSettings(controller=StepTo((0.25,) * 4))
    assert solve(logistic, 0.5 * ONE, 0.0, 1.0, settings=settings).check().stats.n_evaluations == 1 + 6 * 4


def test_a_given_term_goes_on_counting_and_the_solve_reports_its_own_share() -> None:
    term = ODETerm(logistic)
    first, second = (solve(term, 0.5 * ONE, 0.0, 1.0).stats.n_evaluations for _ in range(2))
    assert term.n_evaluations == first + second == 2 * first


times = st.floats(-10, 10)


@given(t0=times, t1=times, controller=st.sampled_from([IController(), PIController()]))
def test_last_step_ends_exactly_at_the_end_and_steps_join(t0: float, t1: float, controller: Controller) -> None:
    settings = SolveSettings(controller=controller, rtol=1e-3, atol=1e-3)
    solution = solve(lambda t, y: torch.cos(t) * y, ONE, t0, t1, settings=settings, ts=[t1]).check()
    t, dt = solution.records.t.tolist(), solution.records.dt.tolist()
    assert [a + b for a, b in zip(t[:-1], dt[:-1], strict=True)] == t[1:]
    assert not t or t[-1] + dt[-1] == pytest.approx(t1, abs=4e-15)
    assert all((step > 0) == (t1 > t0) for step in dt)
    assert math.fsum(dt) == pytest.approx(t1 - t0, rel=1e-12)
    assert torch.equal(solution.ys[-1], solution.y1)


def test_no_step_is_shortened_for_an_output_time() -> None:
    dense = torch.linspace(0, 2, 201, dtype=torch.float64).tolist()
    start = torch.tensor([1.0, 1.0], dtype=torch.float64)
    plain, sampled = (solve(lotka_volterra, start, 0.0, 2.0, ts=ts).check() for ts in ([], dense))
    assert torch.equal(plain.records.dt, sampled.records.dt)
    assert plain.stats == sampled.stats


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("span", [5e-324, 1e-300, 1e-30, 1e-12, 1e-7])
def test_tiny_spans_are_solved(span: float, dtype: torch.dtype) -> None:
    solution = solve(lambda t, y: -y, ONE.to(dtype), 0.0, span).check()
    torch.testing.assert_close(solution.y1, ONE.to(dtype), rtol=1e-6, atol=0)


def test_span_of_one_rounding_is_one_step() -> None:
    solution = solve(lambda t, y: -y, ONE, 1.0, math.nextafter(1.0, 2.0)).check()
    assert solution.stats.n_accepted == 1


def test_solve_over_nothing_returns_its_start_without_an_evaluation() -> None:
    solution = solve(logistic, ONE, 0.3, 0.3, ts=[0.3, 0.3], differentiable_records=True).check()
    assert torch.equal(solution.y1, ONE)
    assert solution.ys.tolist() == [[1.0], [1.0]]
    assert len(solution.records.t) == solution.stats.n_evaluations == solution.stats.n_differentiated == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_zero_start_on_a_long_span_is_no_underflow(dtype: torch.dtype) -> None:
    # The automatic step knows no scale here and guesses 1e-4, far below the rounding of t1 in float32.
    settings = SolveSettings(rtol=1e-3, atol=1e-3)
    solution = solve(lambda t, y: 1e-3 * torch.cos(1e-3 * t) + 0 * y, 0 * ONE.to(dtype), 0.0, 1e4, settings=settings)
    assert solution.check().y1.item() == pytest.approx(math.sin(10.0), abs=0.05)
    shifted = solve(lambda t, y: torch.ones_like(y), 0 * ONE.to(dtype), 1e4, 1e4 + 1, settings=settings)
    assert shifted.check().y1.item() == pytest.approx(1.0, rel=1e-3)


# --- how solves end -------------------------------------------------------------------------------------------------


def ends(
    vector_field: Callable[[Tensor, Tensor], Tensor], start: Tensor = ONE, t1: float = 1.0, **more: int
) -> Solution:
    return solve(vector_field, start, 0.0, t1, settings=SolveSettings(**more), throw=False)


def after_half(value: float) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda t, y: torch.where(t >= 0.5, value, -y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_field_that_stops_being_finite_ends_there_with_the_last_good_state(value: float, dtype: torch.dtype) -> None:
    solution = ends(after_half(value), ONE.to(dtype))
    assert solution.status is Status.NON_FINITE
    assert solution.y1.item() == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert solution.stats.n_evaluations == 2 + 6 * (solution.stats.n_accepted + solution.stats.n_rejected)
    assert solution.records.error_ratio.isfinite().all()


@pytest.mark.parametrize("value", [NAN, INF])
def test_state_or_field_that_is_not_finite_at_the_start_is_told(value: float) -> None:
    assert ends(lambda t, y: y * 0 + value).status is Status.NON_FINITE
    for t1 in (1.0, 0.0, -1.0):
        assert ends(logistic, torch.tensor([1.0, value]), t1).status is Status.NON_FINITE


@pytest.mark.parametrize("value", [NAN, INF])
def test_field_that_is_not_finite_at_the_end_alone_is_no_success(value: float) -> None:
    assert ends(lambda t, y: torch.where(t >= 1.0, value, -y)).status is Status.NON_FINITE


@given(bad=st.floats(0.0, 1.0), value=st.sampled_from([NAN, INF, -INF]), width=st.sampled_from([0.0, 1e-9, 1e-3]))
def test_success_always_means_finite_numbers(bad: float, value: float, width: float) -> None:
    def spiked(t: Tensor, y: Tensor) -> Tensor:
        return torch.where((t >= bad) & (t <= bad + width), value, -y)

    solution = solve(spiked, ONE, 0.0, 1.0, ts=[0.3, 0.6], throw=False)
    assert all(values.isfinite().all() for values in (solution.y1, solution.ys, solution.records.error_ratio))
    if solution.status is Status.SUCCESS:
        assert solution.y1.item() == pytest.approx(math.exp(-1), rel=1e-4)


def test_nan_in_one_member_of_a_batch_is_not_averaged_away() -> None:
    def field_of_one(t: Tensor, y: Tensor) -> Tensor:
        return torch.where((torch.arange(1000) == 7) & (t > 0.5), NAN, -y)

    assert ends(field_of_one, torch.ones(1000)).status is Status.NON_FINITE


def test_infinite_state_does_not_hide_behind_its_own_scale() -> None:
    # The tolerance scale is infinite there, and a finite error over it is 0.
    grown = ends(lambda t, y: torch.full_like(y, 3e38), torch.tensor([1e38]), t1=2.0)
    assert grown.status is not Status.SUCCESS
    assert grown.y1.isfinite().all()


def test_large_but_finite_state_is_solved_in_single_precision() -> None:
    solution = ends(lambda t, y: 60 * y, torch.tensor([1.0])).check()  # e^60 squared is not a float32
    assert solution.y1.item() == pytest.approx(math.exp(60), rel=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_blow_up_in_finite_time_is_told(dtype: torch.dtype) -> None:
    solution = ends(lambda t, y: y * y, ONE.to(dtype), t1=2.0)
    assert solution.status in (Status.STEP_UNDERFLOW, Status.NON_FINITE)
    assert solution.records.t[-1].item() == pytest.approx(1.0, abs=1e-3)
    assert solution.y1.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_discontinuity_is_passed_without_giving_up(dtype: torch.dtype) -> None:
    solution = ends(lambda t, y: torch.where(t < 1 / 3, 1.0, -1.0) * torch.ones_like(y), 0 * ONE.to(dtype)).check()
    assert solution.y1.item() == pytest.approx(-1 / 3, abs=1e-3)


def test_error_that_no_step_satisfies_ends_in_underflow() -> None:
    solver = ScriptedSolver(*[2.0] * 10_000)
    assert scripted(solver, IController()).status is Status.STEP_UNDERFLOW
    assert len(solver.attempts) < 200


def test_not_finite_error_that_no_step_satisfies_is_told_as_such() -> None:
    assert scripted(ScriptedSolver(*[NAN] * 10_000), IController()).status is Status.NON_FINITE


def test_attempts_end_at_max_steps_whatever_the_controller_does() -> None:
    for ratio in (2.0, NAN):
        solver = ScriptedSolver(*[ratio] * 1000)
        solution = scripted(solver, Steps(0.5), max_steps=37)
        assert solution.status is Status.MAX_STEPS
        assert solution.stats.n_rejected == len(solver.attempts) == 37
    solution = ends(lotka_volterra, torch.tensor([1.0, 1.0]), t1=10.0, max_steps=5)
    assert solution.status is Status.MAX_STEPS
    assert solution.stats.n_accepted + solution.stats.n_rejected == 5


def test_max_steps_that_just_suffice_succeed() -> None:
    attempts = ends(logistic, 0.5 * ONE).stats
    needed = attempts.n_accepted + attempts.n_rejected
    assert ends(logistic, 0.5 * ONE, max_steps=needed).status is Status.SUCCESS
    assert ends(logistic, 0.5 * ONE, max_steps=needed - 1).status is Status.MAX_STEPS


def test_replay_that_meets_a_nan_ends_at_once() -> None:
    settings = SolveSettings(controller=StepTo((0.1,) * 10))
    solution = solve(after_half(NAN), ONE, 0.0, 1.0, settings=settings, throw=False)
    assert solution.status is Status.NON_FINITE
    assert (solution.stats.n_accepted, solution.stats.n_rejected) == (4, 1)


def test_early_end_keeps_the_outputs_that_were_reached() -> None:
    solution = solve(after_half(NAN), ONE, 0.0, 1.0, ts=[0.0, 0.25, 0.75], throw=False)
    assert len(solution.ys) == 2
    assert solution.at(0.25).item() == pytest.approx(math.exp(-0.25), rel=1e-5)
    with pytest.raises(InputError, match=r"no output at t = 0.75"):
        solution.at(0.75)


def test_throw_raises_with_status_counts_and_remedy_and_otherwise_nothing_is_raised() -> None:
    with pytest.raises(SolveFailed, match="NON_FINITE") as failure:
        solve(after_half(NAN), ONE, 0.0, 1.0, throw=True)
    assert Status.NON_FINITE.remedy in str(failure.value)
    assert "accepted" in str(failure.value)
    assert solve(logistic, ONE, 0.0, 1.0, throw=True).status is Status.SUCCESS


@pytest.mark.parametrize("status", Status)
def test_every_status_has_a_sentence_and_a_remedy(status: Status) -> None:
    assert len(status.sentence) > 10
    assert len(status.remedy) > 5


# --- replays --------------------------------------------------------------------------------------------------------


@given(
    problem=st.sampled_from(PROBLEMS),
    tolerance=st.sampled_from([1e-2, 1e-4, 1e-7]),
    shift=st.sampled_from([0.0, -0.7, 123.4, 1e6]),
    backwards=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_replay_of_the_recorded_steps_gives_the_same_numbers(
    problem: object, tolerance: float, shift: float, backwards: bool, dtype: torch.dtype
) -> None:
    if dtype is torch.float32 and shift == 1e6:
        return  # the steps are below the resolution of time
    sign = -1 if backwards else 1

    def moved(t: Tensor, y: Tensor) -> Tensor:
        return sign * problem.field((t - shift) * sign, y)

    t0, t1 = shift + sign * problem.t0, shift + sign * problem.t1
    ts = [t0 + 0.3 * (t1 - t0), t0 + 0.8 * (t1 - t0), t1]
    settings = SolveSettings(rtol=tolerance, atol=tolerance)
    recorded = solve(moved, problem.start(dtype), t0, t1, settings=settings, ts=ts).check()
    steps = SolveSettings(controller=StepTo(tuple(recorded.records.dt.tolist())), rtol=tolerance, atol=tolerance)
    replayed = solve(moved, problem.start(dtype), t0, t1, settings=steps, ts=ts).check()
    assert torch.equal(recorded.y1, replayed.y1)
    assert torch.equal(recorded.ys, replayed.ys)
    for name in ("t", "dt", "error_ratio", "error", "stiffness"):
        assert torch.equal(getattr(recorded.records, name), getattr(replayed.records, name))


def test_steps_far_from_the_origin_of_time_are_rounded_so_that_they_add_up() -> None:
    # Times are 1.5e-8 apart there: steps that were not rounded would miss the span by more than a replay accepts.
    start = torch.tensor([1.0, 1.0], dtype=torch.float64)
    recorded = solve(lotka_volterra, start, 1e8, 1e8 + 3).check()
    dts = tuple(recorded.records.dt.tolist())
    assert math.fsum(dts) == 3
    replayed = solve(lotka_volterra, start, 1e8, 1e8 + 3, settings=SolveSettings(controller=StepTo(dts))).check()
    assert torch.equal(recorded.y1, replayed.y1)


def test_replay_takes_the_steps_it_was_given_slivers_included() -> None:
    settings = SolveSettings(controller=StepTo((0.5, 0.495, 0.005)))
    assert solve(logistic, ONE, 0.0, 1.0, settings=settings).check().records.dt.tolist() == pytest.approx(
        [0.5, 0.495, 0.005]
    )


@pytest.mark.parametrize("dts", [(), (0.5,), (0.5, 0.6), (2.0, -1.0), (1.0, 0.0), (NAN,), (-0.5, -0.5)], ids=str)
def test_replay_refuses_steps_that_do_not_fill_the_span(dts: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"add up to t1 - t0 = 1\.0"):
        solve(logistic, ONE, 0.0, 1.0, settings=SolveSettings(controller=StepTo(dts)))


def test_solving_twice_gives_the_same_numbers() -> None:
    first, second = (solve(TinyField(), torch.ones(3, 2, dtype=torch.float64), 0.0, 1.0) for _ in range(2))
    assert torch.equal(first.y1, second.y1)
    assert first.stats == second.stats


def test_solve_in_inference_mode_does_not_spoil_a_later_gradient() -> None:
    with torch.inference_mode():
        solve(logistic, torch.tensor([0.25]), 0.0, 1.0)
    start = torch.tensor([0.25], requires_grad=True)
    solve(logistic, start, 0.0, 1.0).y1.sum().backward()
    assert start.grad is not None
    assert start.grad.item() == pytest.approx(math.e / (0.75 + 0.25 * math.e) ** 2, rel=1e-4)


# --- callers' mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_state_of_another_type_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="float32 or float64"):
        solve(logistic, ONE.to(dtype), 0.0, 1.0)


def test_empty_state_is_refused() -> None:
    with pytest.raises(InputError, match="non-empty"):
        solve(logistic, torch.ones(0, 3), 0.0, 1.0)


@pytest.mark.parametrize(
    ("wrong", "got"),
    [(lambda t, y: y[:1], r"\(1,\)"), (lambda t, y: y.sum(), r"\(\)"), (lambda t, y: y.float(), "float32")],
    ids=["shape", "scalar", "dtype"],
)
def test_field_that_is_not_like_its_state_is_refused(wrong: Callable[[Tensor, Tensor], Tensor], got: str) -> None:
    with pytest.raises(InputError, match=f"vector field returned .*{got}"):
        solve(wrong, torch.ones(2, dtype=torch.float64), 0.0, 1.0)


@pytest.mark.parametrize(("t0", "t1"), [(NAN, 1.0), (0.0, INF), (-INF, 0.0)])
def test_times_that_are_not_finite_are_refused(t0: float, t1: float) -> None:
    with pytest.raises(InputError, match="t0, t1"):
        solve(logistic, ONE, t0, t1)


@pytest.mark.parametrize("ts", [[0.5, 0.2], [-0.1], [1.1], [NAN], [INF]], ids=str)
def test_output_times_out_of_order_or_outside_are_refused(ts: list[float]) -> None:
    with pytest.raises(InputError, match="ts: got"):
        solve(logistic, ONE, 0.0, 1.0, ts=ts)


def test_output_times_run_backwards_with_time() -> None:
    solution = solve(lambda t, y: -y, ONE, 1.0, 0.0, ts=[1.0, 0.6, 0.0]).check()
    torch.testing.assert_close(solution.ys[:, 0], torch.exp(torch.tensor([0.0, 0.4, 1.0]).double()), rtol=1e-5, atol=0)
    with pytest.raises(InputError, match="ts: got"):
        solve(logistic, ONE, 1.0, 0.0, ts=[0.2, 0.6])


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize("value", [-1e-6, NAN, INF])
def test_tolerance_that_is_negative_or_not_finite_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}: got"):
        SolveSettings(**{name: value})


@pytest.mark.parametrize("max_steps", [0, -1])
def test_max_steps_below_one_is_refused(max_steps: int) -> None:
    with pytest.raises(InputError, match="max_steps: got"):
        SolveSettings(max_steps=max_steps)
