"""What every step size controller promises."""

import math
from dataclasses import FrozenInstanceError, fields

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ndecore.controllers import CONTROLLERS
from ndecore.controllers.base import Controller, Start, Verdict

ARGUMENTS = {"constant": {"step_size": 0.25}}  # of the controllers that cannot be made without


def make(name: str) -> Controller:
    controller: Controller = CONTROLLERS[name](**ARGUMENTS.get(name, {}))
    return controller


BY_ERROR = [name for name in CONTROLLERS if CONTROLLERS[name].needs_error]
controllers = st.sampled_from([make(name) for name in CONTROLLERS])
judges = st.sampled_from([make(name) for name in BY_ERROR])
ratios = st.one_of(st.floats(0, 1e12), st.sampled_from([0.0, 5e-324, 1.0, math.inf]))
steps = st.floats(1e-12, 1e6)
orders = st.integers(2, 8)


def begin(controller: Controller, dt: float) -> Start:
    return controller.start(math.copysign(1.0, dt), lambda: dt)


@given(controller=controllers, history=st.lists(ratios, max_size=6), dt=steps, backwards=st.booleans(), order=orders)
def test_proposals_are_finite_and_keep_their_direction(
    controller: Controller, history: list[float], dt: float, backwards: bool, order: int
) -> None:
    dt, state = begin(controller, -dt if backwards else dt)
    for ratio in history:
        verdict = controller.judge(ratio, dt, state, order)
        assert math.isfinite(verdict.dt)
        assert verdict.dt * dt > 0
        dt, state = verdict.dt, verdict.state


@given(controller=judges, ratio=ratios, dt=steps, order=orders)
def test_step_is_accepted_exactly_below_one(controller: Controller, ratio: float, dt: float, order: int) -> None:
    assert controller.judge(ratio, dt, begin(controller, dt).state, order).accept == (ratio < 1)


@given(controller=judges, past=st.floats(0, 0.999), ratio=st.floats(1, 1e300), dt=steps, order=orders)
def test_rejected_step_shrinks_and_keeps_the_state(
    controller: Controller, past: float, ratio: float, dt: float, order: int
) -> None:
    state = controller.judge(past, dt, begin(controller, dt).state, order).state
    verdict = controller.judge(ratio, dt, state, order)
    assert abs(verdict.dt) <= 0.95 * abs(dt)
    assert verdict.state == state


@given(controller=judges, low=st.floats(0, 10), high=st.floats(0, 10), dt=steps, order=orders)
def test_larger_error_never_proposes_a_larger_step(
    controller: Controller, low: float, high: float, dt: float, order: int
) -> None:
    low, high = sorted((low, high))
    state = begin(controller, dt).state
    proposals = [controller.judge(ratio, dt, state, order) for ratio in (low, high)]
    if proposals[0].accept == proposals[1].accept:
        assert proposals[0].dt >= proposals[1].dt


@given(controller=controllers, ratio=ratios, dt=steps, order=orders)
def test_the_same_question_has_the_same_answer(controller: Controller, ratio: float, dt: float, order: int) -> None:
    def ask() -> Verdict:
        return controller.judge(ratio, dt, begin(controller, dt).state, order)

    assert ask() == ask()


@pytest.mark.parametrize("name", CONTROLLERS)
def test_controller_is_frozen_compares_by_value_and_cites_its_source(name: str) -> None:
    controller, same = make(name), make(name)
    assert controller == same
    assert hash(controller) == hash(same)
    for attribute in fields(controller):
        with pytest.raises(FrozenInstanceError):
            setattr(controller, attribute.name, None)
    assert "Reference:" in (type(controller).__doc__ or "")


@pytest.mark.parametrize("name", BY_ERROR)
def test_step_that_keeps_meeting_the_tolerance_settles(name: str) -> None:
    # An error that goes with dt^5 and is 1 at dt = 0.1: the step settles a little below.
    controller = make(name)
    dt, state = begin(controller, 1e-3)
    proposals = []
    for _ in range(200):
        _, dt, state = controller.judge((dt / 0.1) ** 5, dt, state, 5)
        proposals.append(dt)
    assert proposals[-1] == pytest.approx(proposals[-2], rel=1e-6)
    assert 0.05 < proposals[-1] < 0.1
