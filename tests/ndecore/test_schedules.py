"""The weight of a penalty over training: each formula, and the ascent that finds the weight of a budget."""

import math

import pytest

from ndecore.errors import InputError
from ndecore.regularizers.schedules import Constant, DualAscent, Exponential, Linear, Moment, Schedule, Seen, WarmUp


def at_epoch(epoch: int, n_epochs: int) -> Moment:
    return Moment(epoch, n_epochs, 10 * epoch, 10 * n_epochs)


def at_step(step: int, n_steps: int) -> Moment:
    return Moment(step // 10, n_steps // 10, step, n_steps)


def test_exponential_schedule_is_the_formula_of_the_first_paper() -> None:
    schedule = Exponential(100.0, 10.0)
    rate = math.log(100 / 10) / 75
    assert [schedule(at_epoch(epoch, 75)) for epoch in (0, 30, 74)] == pytest.approx(
        [100 * math.exp(-rate * epoch) for epoch in (0, 30, 74)]
    )
    assert schedule(at_epoch(75, 75)) == pytest.approx(10)


def test_exponential_schedule_by_the_step_is_the_formula_of_the_second_paper() -> None:
    schedule = Exponential(2.5, 1.0, "step")
    rate = math.log(2.5 / 1.0) / 7500
    assert [schedule(at_step(step, 7500)) for step in (0, 1, 3333, 7499)] == pytest.approx(
        [2.5 * math.exp(-rate * step) for step in (0, 1, 3333, 7499)]
    )


def test_exponential_schedule_may_grow_and_with_equal_ends_is_constant() -> None:
    assert Exponential(0.1, 5.0)(at_epoch(10, 20)) == pytest.approx(math.sqrt(0.1 * 5.0))
    moments = [at_epoch(epoch, 9) for epoch in range(9)]
    assert list(map(Exponential(3.0, 3.0), moments)) == list(map(Constant(3.0), moments))


def test_linear_schedule_falls_or_grows_by_equal_differences() -> None:
    assert [Linear(10.0, 2.0)(at_epoch(i, 4)) for i in range(5)] == pytest.approx([10, 8, 6, 4, 2])
    assert [Linear(0.0, 2.0, "step")(at_step(i, 40)) for i in (0, 10, 15)] == pytest.approx([0, 0.5, 0.75])


def test_warm_up_grows_from_nothing_and_stays() -> None:
    assert [WarmUp(6.0, 0.5)(at_step(i, 40)) for i in (0, 5, 10, 20, 39)] == pytest.approx([0, 1.5, 3, 6, 6])
    assert [WarmUp(6.0, 0.5, "epoch")(at_step(i, 40)) for i in (0, 5, 10, 20, 39)] == pytest.approx([0, 0, 3, 6, 6])


@pytest.mark.parametrize("make", [Exponential, Linear], ids=lambda kind: kind.__name__)
def test_schedule_by_the_epoch_waits_for_its_end(make: type[Schedule]) -> None:
    weights = [make(4.0, 1.0)(at_step(i, 40)) for i in range(40)]
    assert [len(set(weights[10 * i : 10 * i + 10])) for i in range(4)] == [1, 1, 1, 1]
    assert len(set(weights)) == 4
    assert len({make(4.0, 1.0, "step")(at_step(i, 40)) for i in range(40)}) == 40


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_weights_that_are_negative_or_not_finite_are_refused(value: float) -> None:
    for make in (
        lambda: Constant(value),
        lambda: Exponential(value, 1.0),
        lambda: Exponential(1.0, value),
        lambda: Linear(value, 1.0),
        lambda: Linear(1.0, value),
        lambda: WarmUp(value),
        lambda: DualAscent(value, 1.0),
    ):
        with pytest.raises(InputError, match="weight"):
            make()


def test_zero_is_a_weight_but_no_end_of_an_exponential_and_no_start_of_an_ascent() -> None:
    assert Constant(0.0)(at_epoch(0, 1)) == 0
    for make in (lambda: Exponential(0.0, 1.0), lambda: Exponential(1.0, 0.0), lambda: DualAscent(0.0, 1.0)):
        with pytest.raises(InputError, match="> 0"):
            make()


@pytest.mark.parametrize("warmup", [0.0, -0.1, 1.1, math.nan])
def test_warm_up_takes_a_part_of_the_training(warmup: float) -> None:
    with pytest.raises(InputError, match=r"warmup: got .*, allowed: a number 0 < x <= 1"):
        WarmUp(1.0, warmup)


# --- dual ascent ----------------------------------------------------------------------------------------------------


def after(seen: Seen | None, before: Seen | None = None) -> Moment:
    return Moment(0, 1, 0, 10, seen, before)


def test_ascent_begins_at_its_weight_and_moves_by_the_ratio_to_the_budget() -> None:
    ascent = DualAscent(3.0, budget=50.0, gain=0.5)
    assert ascent(after(None)) == 3
    assert ascent(after(Seen(2.0, 100.0, 7.0))) == pytest.approx(2 * math.sqrt(2))
    assert ascent(after(Seen(2.0, 25.0, 7.0))) == pytest.approx(2 / math.sqrt(2))
    assert ascent(after(Seen(2.0, 50.0, 7.0))) == pytest.approx(2)
    of_penalty = DualAscent(3.0, budget=3.5, budget_of="penalty", gain=1.0)
    assert of_penalty(after(Seen(2.0, 100.0, 7.0))) == pytest.approx(4)


def test_ascent_is_damped_by_the_change() -> None:
    ascent = DualAscent(3.0, budget=50.0, gain=0.5, damping=2.0)
    falling = after(Seen(2.0, 100.0, 7.0), before=Seen(9.0, 200.0, 7.0))
    assert ascent(falling) == pytest.approx(2 * math.sqrt(2) / 4)
    of_penalty = DualAscent(3.0, 7.0, "penalty", gain=1.0, damping=1.0)
    assert of_penalty(after(Seen(2.0, 100.0, 14.0), before=Seen(9.0, 100.0, 7.0))) == pytest.approx(2 * 2 * 2)


def test_damped_ascent_overshoots_less_on_a_model_that_follows_its_weight_slowly() -> None:
    def lowest(damping: float) -> float:
        ascent = DualAscent(0.01, budget=40.0, gain=0.1, damping=damping)
        followed = lowest = 100.0
        seen = before = None
        for _ in range(1000):
            weight = ascent(after(seen, before))
            followed += 0.02 * (20 + 80 / (1 + weight) - followed)
            seen, before, lowest = Seen(weight, followed, 0.0), seen, min(lowest, followed)
        assert followed == pytest.approx(40, rel=0.02)
        return lowest

    assert lowest(damping=4.0) > 39
    assert lowest(damping=0.0) < 30


def test_weight_of_the_ascent_is_kept_between_its_bounds() -> None:
    least, most = DualAscent.bounds
    ascent = DualAscent(1.0, budget=1.0, gain=5.0)
    assert ascent(after(Seen(most / 2, 1e3, 0.0))) == most
    assert ascent(after(Seen(least * 2, 1e-3, 0.0))) == least
    assert DualAscent(1.0, 1.0, gain=1e300)(after(Seen(1.0, 1e300, 0.0))) == most


@pytest.mark.parametrize("measured", [math.nan, math.inf])
def test_step_that_was_not_finite_leaves_the_weight(measured: float) -> None:
    assert DualAscent(1.0, 1.0)(after(Seen(4.0, measured, 0.0))) == pytest.approx(4)


def test_one_step_of_no_penalty_does_not_throw_the_weight_away() -> None:
    ascent = DualAscent(1.0, 1e-3, "penalty", gain=0.05)
    assert ascent(after(Seen(4.0, 10.0, 0.0))) == pytest.approx(4 * 1e-3**0.05)
    assert ascent(after(Seen(4.0, 10.0, 1e300))) == pytest.approx(4 * 1e3**0.05)


@pytest.mark.parametrize("first", [1e-4, 1.0, 1e4])
def test_ascent_finds_the_weight_of_its_budget_from_any_decade(first: float) -> None:
    ascent = DualAscent(first, budget=40.0, gain=0.3)
    weight = ascent(after(None))
    for _ in range(400):
        nfe = 20 + 80 / (1 + weight)  # of a model that answers its penalty at once: 40 at weight 3
        weight = ascent(after(Seen(weight, nfe, 0.0)))
    assert weight == pytest.approx(3, rel=1e-3)


def test_ascent_refuses_what_is_no_budget_and_no_gain() -> None:
    for make, name in (
        (lambda: DualAscent(1.0, 0.0), "budget"),
        (lambda: DualAscent(1.0, math.inf), "budget"),
        (lambda: DualAscent(1.0, 1.0, gain=0.0), "gain"),
        (lambda: DualAscent(1.0, 1.0, gain=math.nan), "gain"),
        (lambda: DualAscent(1.0, 1.0, damping=-1.0), "damping"),
    ):
        with pytest.raises(InputError, match=f"{name}: got"):
            make()
