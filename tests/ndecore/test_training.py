"""Training on the real digits: repeatable, resumable, honest about how it ends."""

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ndecore.adjoints import ADJOINTS
from ndecore.adjoints.torchdiffeq import Torchdiffeq
from ndecore.controllers.constant import ConstantStep
from ndecore.controllers.proportional_integral import PIController
from ndecore.datasets.base import Batch, Splits
from ndecore.errors import InputError, SolveFailed, TrainingDiverged
from ndecore.evaluation import _reference_settings
from ndecore.integrate import SolveSettings, Tape
from ndecore.metrics import METRICS, EpochRecord
from ndecore.models.time_mlp import TimeMLP
from ndecore.regularizers.base import Regularizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.none import NoRegularizer
from ndecore.regularizers.rnode import RNODE
from ndecore.regularizers.schedules import Constant, DualAscent, Exponential, Linear, Moment, Schedule, WarmUp
from ndecore.regularizers.steer import STEER
from ndecore.regularizers.stiffness import GlobalStiffness
from ndecore.regularizers.taynode import TayNODE
from ndecore.regularizers.weighted import Weighted
from ndecore.solvers.bosh3 import Bosh3
from ndecore.solvers.dopri5 import Dopri5
from ndecore.solvers.rk4 import RK4
from ndecore.tasks import TASKS
from ndecore.tasks.digits_node import DigitsNode
from ndecore.training import TrainPlan, TrainState, train

pytestmark = pytest.mark.usefixtures("threads_restored")

DIGITS = DigitsNode().splits()


class GuardedSplits(Splits):
    """Splits whose test part must not be looked at."""

    def __getattribute__(self, name: str) -> object:
        if name == "test":
            raise AssertionError("training read the test split")
        return super().__getattribute__(name)


class FewDigits(DigitsNode):
    """The task on a part of the digits: two batches an epoch."""

    def splits(self) -> Splits:
        train_part, held_out = DIGITS.train, DIGITS.validation
        few, held_out = first(train_part, 260), first(held_out, 100)
        return GuardedSplits(few, held_out, few)


def first(part: Batch, n: int) -> Batch:
    """The first examples."""
    return {name: tensor[:n] for name, tensor in part.items()}


def ticking() -> Callable[[], float]:
    """A clock that goes on by one second at each look: training seconds become a count of batches."""
    ticks = count()
    return lambda: float(next(ticks))


def plan(regularizer: Regularizer | None = None, epochs: int = 3, tolerance: float = 1e-4, **more: object) -> TrainPlan:
    return TrainPlan(
        task=FewDigits(),
        settings=SolveSettings(rtol=tolerance, atol=tolerance),
        hyperparameters=replace(FewDigits.defaults, epochs=epochs),
        penalties=(Weighted(regularizer, Exponential(10.0, 1.0)),) if regularizer else (),
        **more,
    )


def penalized(*penalties: tuple[Regularizer, Schedule], **more: object) -> TrainPlan:
    """A plan of several penalties, each with its schedule."""
    return replace(plan(**more), penalties=tuple(Weighted(*each) for each in penalties))


def with_settings(given: TrainPlan, **more: object) -> TrainPlan:
    return replace(given, settings=replace(given.settings, **more))


def carry_out(given: TrainPlan, state: TrainState | None = None) -> list[EpochRecord]:
    return list(train(given, state, clock=ticking()))


def without_seconds(record: EpochRecord) -> EpochRecord:
    return replace(record, train_s=0.0, predict_s=0.0)


ALL = [None, NoRegularizer(), GlobalError(), GlobalStiffness(), LocalError(), LocalError("biased", 2), STEER(), RNODE()]


@pytest.mark.parametrize("regularizer", ALL, ids=repr)
def test_same_seed_gives_the_same_records(regularizer: Regularizer) -> None:
    assert carry_out(plan(regularizer, epochs=1)) == carry_out(plan(regularizer, epochs=1))


def test_different_seeds_differ() -> None:
    first, second = (carry_out(plan(epochs=1, seed=seed))[0] for seed in (0, 1))
    assert first.train_loss != second.train_loss


BUDGET = DualAscent(1.0, budget=15.0, gain=0.3)
RESUMED = {
    "none": plan(),
    "error": plan(GlobalError()),
    "stiffness": plan(GlobalStiffness()),
    "local": plan(LocalError()),
    "biased by steps": penalized((LocalError("biased", 2), Exponential(10.0, 1.0, "step"))),
    "steer": penalized((STEER(), Constant(0.0))),
    "rnode": penalized((RNODE(), Linear(1e-2, 1e-3, "step"))),
    "dual ascent": penalized((GlobalError(), BUDGET)),
    "several": penalized(
        (STEER(), Constant(0.0)),
        (LocalError(), BUDGET),
        (RNODE(), DualAscent(1e-2, 0.1, "penalty")),
        (GlobalError(), WarmUp(10.0)),
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_resumed_training_goes_on_as_if_it_had_not_stopped(name: str, tmp_path: Path) -> None:
    given, whole = RESUMED[name], []
    state = TrainState(given)
    for record in train(given, state, clock=ticking()):
        whole.append(without_seconds(record))
        torch.save(state.state_dict(), tmp_path / f"{record.epoch}.pt")
    for stop in (1, 2):
        checkpoint = torch.load(tmp_path / f"{stop}.pt", weights_only=True)
        records = carry_out(given, TrainState(given).load_state_dict(checkpoint))
        assert list(map(without_seconds, records)) == whole[stop:]


def test_resuming_a_finished_run_yields_nothing() -> None:
    given = plan(epochs=1)
    state = TrainState(given)
    assert len(list(train(given, state))) == 1
    assert list(train(given, state)) == []


def test_ceasing_to_iterate_stops_early_and_the_state_is_that_epoch() -> None:
    given = plan()
    state = TrainState(given)
    epochs = train(given, state)
    assert next(epochs).epoch == state.epoch == 1
    epochs.close()


def test_penalty_that_draws_times_does_not_change_the_order_of_the_batches() -> None:
    plans = [plan(epochs=2), *(penalized((each, Constant(0.0)), epochs=2) for each in (LocalError(), RNODE()))]
    losses = [[r.train_loss for r in carry_out(each)] for each in plans]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert losses[0] == pytest.approx(losses[2], rel=1e-4)  # its slopes come from `vjp`, which rounds otherwise


def test_warm_up_leaves_no_trace() -> None:
    given = plan(LocalError())
    state = TrainState(given)
    before = state.state_dict()
    kept = {name: value.clone() for name, value in before["model"].items()}
    streams = before["batch_order"].clone(), before["penalty_times"].clone()
    looks = 0

    def first_look() -> float:
        nonlocal looks
        looks += 1
        raise StopAsyncIteration  # the clock starts after the warm-up

    with pytest.raises(StopAsyncIteration):
        next(train(given, state, clock=first_look))
    assert looks == 1
    after = state.state_dict()
    assert all(torch.equal(after["model"][name], value) for name, value in kept.items())
    assert torch.equal(after["penalty_times"], streams[1])
    assert after["optimizer"]["state"] == {}
    assert (state.epoch, state.train_work, state.train_s) == (0, 0, 0.0)
    assert all(parameter.grad is None for parameter in state.model.parameters())


def test_global_random_state_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = carry_out(plan(LocalError(), epochs=1))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert carry_out(plan(LocalError(), epochs=1)) == first


def test_thread_count_of_the_plan_is_set() -> None:
    next(train(plan(epochs=1, threads=2)))
    assert torch.get_num_threads() == 2


def test_seconds_are_of_the_updates_alone_and_add_up() -> None:
    records = carry_out(plan())
    assert [r.train_s for r in records] == [2.0, 4.0, 6.0]  # two batches an epoch, one tick each
    assert [r.predict_s for r in records] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("regularizer", "extra_forward", "extra_backward"),
    [
        (NoRegularizer(), 0, 0),
        (STEER(), 0, 0),
        (GlobalError(), 0, 1),
        (LocalError(), 8, 6),
        (LocalError("biased", 2), 16, 12),
    ],
    ids=["none", "steer", "global", "local", "two biased"],
)
def test_work_is_evaluations_forward_and_differentiated(
    regularizer: Regularizer, extra_forward: int, extra_backward: int
) -> None:
    (record,) = carry_out(plan(regularizer, epochs=1))
    steps = record.accepted_train + record.rejected_train
    assert record.nfe_train == 2 + 6 * steps + extra_forward
    assert record.train_work == 2 * (record.nfe_train + 6 * record.accepted_train + extra_backward)  # two batches
    assert record.nfe == 2 + 6 * (record.accepted + record.rejected)  # no penalty at prediction


@pytest.mark.parametrize("regularizer", [NoRegularizer(), LocalError()], ids=["none", "local"])
@pytest.mark.parametrize("adjoint", list(ADJOINTS))
def test_every_adjoint_trains_to_the_loss_of_the_tape(adjoint: str, regularizer: Regularizer) -> None:
    chosen, tape = (with_settings(plan(regularizer, epochs=1), adjoint=ADJOINTS[name]()) for name in (adjoint, "tape"))
    ((record,), (expected,)) = carry_out(chosen), carry_out(tape)
    allowed = 1e-6 if adjoint in ("tape", "checkpointed") else 1e-3
    assert record.train_loss == pytest.approx(expected.train_loss, rel=allowed)
    assert record.solver_gap < 1e-3


@pytest.mark.parametrize("regularizer", [GlobalError(), GlobalStiffness()], ids=["error", "stiffness"])
def test_checkpointed_training_on_records_is_that_of_the_tape(regularizer: Regularizer) -> None:
    # At a loose tolerance: at a tight one the error of a short step is rounding, which differs after the first update.
    loose = plan(regularizer, epochs=1, tolerance=1e-2)
    chosen, tape = (with_settings(loose, adjoint=ADJOINTS[name]()) for name in ("checkpointed", "tape"))
    ((record,), (expected,)) = carry_out(chosen), carry_out(tape)
    assert record.train_loss == pytest.approx(expected.train_loss, rel=1e-6)
    assert record.penalty == pytest.approx(expected.penalty, rel=1e-4)


@pytest.mark.parametrize(
    ("regularizer", "of_penalty"), [(NoRegularizer(), 0), (LocalError(), 6)], ids=["none", "local"]
)
def test_work_of_checkpointed_is_forward_and_twice_what_is_made_again(
    regularizer: Regularizer, of_penalty: int
) -> None:
    (record,) = carry_out(with_settings(plan(regularizer, epochs=1), adjoint=ADJOINTS["checkpointed"]()))
    again = 1 + 6 * record.accepted_train
    assert record.train_work == 2 * (record.nfe_train + of_penalty + 2 * again)  # two batches


@pytest.mark.parametrize("adjoint", ["interpolating", "torchdiffeq_adjoint"])
def test_work_of_continuous_adjoints_has_what_they_evaluate_on_the_way_back(adjoint: str) -> None:
    seen: list[int] = []

    class Counting(FewDigits):
        def model(self, generator: torch.Generator) -> nn.Module:
            model = super().model(generator)
            model[0].field.register_forward_hook(lambda field, given, slope: seen.append(1))
            return model

    given = with_settings(replace(plan(epochs=1), task=Counting()), adjoint=ADJOINTS[adjoint]())
    state = TrainState(given)
    calls: list[int] = []

    def looking() -> float:
        calls.append(len(seen))
        return 0.0

    (record,) = train(given, state, clock=looking)
    in_updates = sum(end - begin for begin, end in zip(calls[:4:2], calls[1:4:2], strict=True))
    again = in_updates - 2 * record.nfe_train
    assert again > 0
    assert record.train_work == 2 * record.nfe_train + 2 * again


def test_work_of_a_closed_box_counts_all_that_is_on_its_tape_as_differentiated() -> None:
    (record,) = carry_out(with_settings(plan(epochs=1), adjoint=Torchdiffeq()))
    assert record.train_work == 2 * 2 * record.nfe_train


@pytest.mark.parametrize(
    "more",
    [
        {"solver": RK4(), "controller": ConstantStep(0.1)},
        {"solver": Dopri5(), "controller": ConstantStep(0.1)},
        {"solver": Bosh3(), "controller": PIController()},
        {"adjoint": Torchdiffeq("rk4", 0.1)},
        {"solver": RK4(), "controller": ConstantStep(0.1), "adjoint": Torchdiffeq("rk4", 0.1)},
    ],
    ids=["rk4", "dopri5 by constant steps", "bosh3", "closed box", "closed box beside rk4"],
)
def test_solver_gap_is_measured_by_an_adaptive_method_of_high_order(more: dict[str, object]) -> None:
    given = with_settings(plan(epochs=1), **more)
    reference = _reference_settings(given.settings)
    assert reference.controller.needs_error
    assert reference.solver.order >= 5
    assert reference.adjoint == Tape()
    (record,) = carry_out(given)
    assert 0 < record.solver_gap < 1e-2


def test_solver_gap_keeps_an_adaptive_method_of_high_order() -> None:
    settings = SolveSettings(
        Dopri5(), PIController(), ADJOINTS["interpolating"](), rtol=1e-5, atol=1e-8, max_steps=9000
    )
    expected = replace(settings, adjoint=Tape(), rtol=1e-10, atol=1e-10)
    assert _reference_settings(settings) == expected


def test_weight_follows_the_schedule() -> None:
    schedule = Exponential(10.0, 1.0)
    assert [r.weight for r in carry_out(plan(GlobalError()))] == [schedule(Moment(i, 3, 2 * i, 6)) for i in range(3)]


def test_weight_may_follow_the_steps() -> None:
    for schedule in (Exponential(10.0, 1.0, "step"), Linear(10.0, 1.0, "step"), WarmUp(10.0, 0.5)):
        weights = [[schedule(Moment(i, 3, step, 6)) for step in (2 * i, 2 * i + 1)] for i in range(3)]
        found = [r.weight for r in carry_out(penalized((GlobalError(), schedule)))]
        assert found == pytest.approx([sum(pair) / 2 for pair in weights])


@pytest.mark.parametrize(("budget", "grows"), [(5.0, True), (500.0, False)])
def test_dual_ascent_moves_the_weight_by_what_training_solves_take(budget: float, grows: bool) -> None:
    records = carry_out(penalized((GlobalError(), DualAscent(1.0, budget, gain=0.5))))
    weights = [r.weight for r in records]
    assert weights == sorted(weights, reverse=not grows)
    ratio = (records[0].nfe_train / budget) ** 0.5  # of the first to the second step
    assert weights[0] == pytest.approx((1 + ratio) / 2, rel=0.1)


def test_several_penalties_are_told_as_their_mean_by_weight_and_the_sum_of_weights() -> None:
    alone = [
        carry_out(penalized((each, Constant(0.0)), epochs=1))[0].penalty for each in (GlobalError(), GlobalStiffness())
    ]
    # Weights so small that the model is the same: both are then measured on one run.
    pair = penalized((GlobalError(), Constant(1e-12)), (GlobalStiffness(), Constant(3e-12)), epochs=1)
    (record,) = carry_out(pair)
    assert record.weight == pytest.approx(4e-12)
    assert record.penalty == pytest.approx((alone[0] + 3 * alone[1]) / 4, rel=1e-3)


def test_steer_moves_the_solves_of_training_alone() -> None:
    ends: list[float] = []

    class Watched(FewDigits):
        def model(self, generator: torch.Generator) -> nn.Module:
            model = super().model(generator)
            model[0].field.register_forward_pre_hook(lambda field, given: times.append(given[0].item()))
            model.register_forward_hook(lambda model, given, made: ends.append(reached()))
            return model

    times: list[float] = []

    def reached() -> float:
        latest = max(times)
        times.clear()
        return latest

    list(train(replace(penalized((STEER(), Constant(0.0)), epochs=1), task=Watched())))
    of_training = ends[1:5]  # the warm-up's last, two updates, and the step that tells the memory
    assert all(end != 1 and 0.49 <= end <= 1.51 for end in of_training)
    assert of_training[1] != of_training[2]
    assert set(ends[5:]) == {1.0}


@pytest.mark.parametrize("regularizer", [RNODE(), TayNODE(2)], ids=["rnode", "taynode"])
def test_work_of_checkpointed_with_a_running_cost_counts_what_it_evaluates(regularizer: Regularizer) -> None:
    given = with_settings(plan(regularizer, epochs=1), adjoint=ADJOINTS["checkpointed"]())
    (record,) = carry_out(given)
    again = 1 + 6 * record.accepted_train
    assert record.train_work == 2 * (record.nfe_train + 2 * again)  # two batches
    assert record.nfe == 2 + 6 * (record.accepted + record.rejected)  # no penalty at prediction


def test_records_have_every_metric_of_the_task_as_numbers() -> None:
    record = carry_out(plan(epochs=1))[-1]
    assert list(record.scores) == [metric.name for metric in DigitsNode.metrics]
    of_other_tasks = {metric.name for task in TASKS.values() for metric in task.metrics} - set(record.scores)
    assert set(record.objectives()) == set(METRICS) - of_other_tasks
    assert all(math.isfinite(value) for value in record.objectives().values())
    assert set(record.score_gaps) == set(record.scores)


def test_solver_gap_is_measured_at_the_end_alone() -> None:
    records = carry_out(plan())
    assert [r.solver_gap is None for r in records] == [True, True, False]
    assert [bool(r.score_gaps) for r in records] == [False, False, True]


def test_a_training_that_stops_after_some_epochs_is_the_beginning_of_the_whole_one() -> None:
    whole = plan(epochs=4)
    schedules = replace(whole.hyperparameters, lr_schedule="cosine", lr_warmup=0.25)
    whole = replace(whole, hyperparameters=schedules)
    short = replace(whole, hyperparameters=replace(schedules, stop_after=2))
    states = TrainState(whole), TrainState(short)
    expected, found = (carry_out(*each) for each in zip((whole, short), states, strict=True))
    assert (len(found), found[-1].is_last, expected[1].is_last) == (2, True, False)
    assert [r.scores for r in found] == [r.scores for r in expected[:2]]
    assert [r.learning_rate for r in found] == [r.learning_rate for r in expected[:2]]
    assert found[-1].solver_gap is not None


def test_training_does_not_stop_after_its_end() -> None:
    with pytest.raises(InputError, match="stop_after: got 5 where epochs is 4, allowed: at most epochs"):
        replace(plan(epochs=4).hyperparameters, stop_after=5)


def test_solver_gap_is_small_at_a_tight_tolerance_and_larger_at_a_loose_one() -> None:
    tight, loose = (carry_out(plan(epochs=2, tolerance=tolerance))[-1].solver_gap for tolerance in (1e-6, 1e-1))
    assert tight is not None
    assert loose is not None
    assert tight < 1e-5
    assert loose > 10 * tight


def test_solver_gap_leaves_the_model_as_it_was() -> None:
    given = plan(epochs=1)
    state = TrainState(given)
    carry_out(given, state)
    assert {parameter.dtype for parameter in state.model.parameters()} == {torch.float32}


@pytest.mark.parametrize("rate", [1e6, 1e20, 1e38])
def test_diverging_training_raises_with_a_remedy(rate: float) -> None:
    # tanh bounds this field: at 1e6 its numbers stay finite, and it is the stiffness that ends the run.
    given = plan(regularizer=GlobalStiffness())
    settings = replace(given.settings, max_steps=50)
    wild = replace(given, settings=settings, hyperparameters=replace(given.hyperparameters, learning_rate=rate))
    with pytest.raises((TrainingDiverged, SolveFailed), match=r"lower the learning rate|regularize the vector field"):
        carry_out(wild)


def test_reference_solve_that_fails_is_told_as_such() -> None:
    class OnlyInSingle(FewDigits):
        def model(self, generator: torch.Generator) -> nn.Module:
            model = super().model(generator)
            model[0].field.register_forward_hook(spoil_in_double)
            return model

    def spoil_in_double(field: nn.Module, given: tuple[Tensor, Tensor], slope: Tensor) -> Tensor:
        return slope * math.nan if slope.dtype == torch.float64 else slope

    with pytest.raises(SolveFailed, match="reference solve of the solver gap at 1e-09: NON_FINITE"):
        carry_out(replace(plan(epochs=1), task=OnlyInSingle()))


def test_solve_that_fails_in_training_raises_with_its_status() -> None:
    given = plan(epochs=1)
    short = replace(given, settings=replace(given.settings, max_steps=1))
    with pytest.raises(SolveFailed, match=r"MAX_STEPS.* raise max_steps"):
        carry_out(short)


def test_last_update_of_all_that_spoils_the_model_is_told() -> None:
    class Spoilt(FewDigits):
        def scores(self, output: Tensor, batch: Batch) -> dict[str, float]:
            return super().scores(output * math.nan, batch)

    with pytest.raises(TrainingDiverged, match=r"held-out .* lower the learning rate"):
        carry_out(replace(plan(epochs=1), task=Spoilt()))


def test_test_split_is_not_touched() -> None:
    with pytest.raises(AssertionError, match="test split"):
        _ = FewDigits().splits().test
    assert len(carry_out(plan(epochs=1))) == 1


def test_two_epochs_on_all_digits_learn_something() -> None:
    given = replace(plan(epochs=2), task=DigitsNode())
    records = carry_out(given)
    assert records[1].scores["accuracy"] > records[0].scores["accuracy"] > 0.2
    assert records[1].train_loss < records[0].train_loss


def test_incomplete_batches_are_dropped_and_each_epoch_shuffles_anew() -> None:
    seen = []

    class Watching(FewDigits):
        def loss(self, output: Tensor, batch: Batch, moment: Moment) -> Tensor:
            seen.append((moment.step, batch["targets"].tolist()))
            return super().loss(output, batch, moment)

    list(train(replace(plan(epochs=2), task=Watching())))
    batches = [targets for _, targets in seen[2:-1]]  # two are the warm-up's, the last tells the memory
    assert [step for step, _ in seen] == [0, 0, 0, 1, 2, 3, 4]
    assert {len(targets) for targets in batches} == {128}
    assert batches[0] != batches[2]


def test_model_is_drawn_from_its_generator_and_time_enters_as_a_column() -> None:
    first, second = (TimeMLP(3, 5, torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    x, t = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)), torch.tensor(0.3)
    inner = torch.cat([first.inner.weight, first.inner.time_weight[:, None]], 1)
    joined = torch.cat([x, t.expand(2, 1)], 1) @ inner.T + first.inner.bias
    torch.testing.assert_close(first.inner(t, x), joined)
    assert inner.abs().max() <= math.sqrt(6 / (3 + 1 + 5))


def test_classifier_is_as_large_as_the_paper_says_in_miniature() -> None:
    model = DigitsNode().model(torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in model.parameters()) == 65 * 100 + 100 + 101 * 64 + 64 + 64 * 10 + 10
