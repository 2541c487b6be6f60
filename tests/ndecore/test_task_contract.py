"""What a task of anybody's may be: named tensors, data sets, models of several solves, named losses, own metrics."""

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ndecore.blocks import NeuralODE
from ndecore.datasets.base import Batch, Splits
from ndecore.datasets.source import source
from ndecore.errors import InputError
from ndecore.evaluation import measure
from ndecore.gathering import union_grid
from ndecore.hyperparameters import OPTIMIZERS, Hyperparameters
from ndecore.integrate import SolveSettings
from ndecore.metrics import COSTS, Direction, EpochRecord, Metric
from ndecore.observation import observe
from ndecore.optimizers import made_optimizer
from ndecore.regularizers.error import GlobalError
from ndecore.regularizers.local_error import LocalError
from ndecore.regularizers.schedules import Constant, Moment
from ndecore.regularizers.weighted import Weighted
from ndecore.solving import solve
from ndecore.tasks.base import Task
from ndecore.tasks.metering import Meter
from ndecore.training import TrainPlan, TrainState, train

pytestmark = [
    pytest.mark.usefixtures("threads_restored"),
    # The fields are so smooth that in float32 their errors are rounding: it is the sums that are looked at.
    pytest.mark.filterwarnings("ignore::ndecore.errors.RoundingWarning"),
]
SETTINGS = SolveSettings(rtol=1e-2, atol=1e-2)
N, LENGTH, CHANNELS = 8, 3, 3


def field(n: int) -> nn.Module:
    """dy/dt = W y + b, without its time."""

    class Field(nn.Linear):
        def forward(self, t: Tensor, y: Tensor) -> Tensor:
            return torch.tanh(super().forward(y))

    return Field(n, n)


class EncoderDecoder(nn.Module):
    """An ODE-RNN over the observations, backwards in time, and a decoder from the last state: a latent model."""

    def __init__(self) -> None:
        super().__init__()
        self.between, self.cell = field(4), nn.GRUCell(CHANNELS, 4)
        self.normalized = nn.BatchNorm1d(4)
        self.decoder, self.head, self.dropout = NeuralODE(field(4)), nn.Linear(4, 1), nn.Dropout(0.1)

    def forward(self, values: Tensor, times: Tensor, mask: Tensor) -> dict[str, Tensor]:
        state = values.new_zeros(len(values), 4)
        grid = [0.0, *times[0].tolist()]
        for i in reversed(range(LENGTH)):
            state = solve(self.between, state, grid[i + 1], grid[i]).y1
            state = torch.where(mask[:, i, None], self.cell(values[:, i], state), state)
        state = self.dropout(self.normalized(state))
        return {"prediction": self.head(self.decoder(state)).squeeze(1), "state": state}


class Latent(Task):
    """A regression on series with missing values; a loss of two parts, one of which is switched on slowly."""

    metrics = (Metric("mae", "1", Direction.MINIMIZE), Metric("spread", "1", Direction.MAXIMIZE))
    defaults = Hyperparameters(epochs=2, learning_rate=1e-2, batch_size=4, eval_batch_size=8, optimizer="adamw")
    inputs = ("values", "times", "mask")

    def data(self, seed: int) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        values = torch.randn(N, LENGTH, CHANNELS, generator=draw)
        times = torch.linspace(0.2, 1.0, LENGTH).expand(N, LENGTH)
        mask = torch.rand(N, LENGTH, generator=draw) < 0.8
        return {"values": values, "times": times, "mask": mask, "labels": values.sum(dim=(1, 2)).sign()}

    def splits(self) -> Splits:
        return Splits(self.data(0), self.data(1), self.data(2))

    def model(self, generator: torch.Generator) -> nn.Module:
        return EncoderDecoder()

    def loss(self, output: Mapping[str, Tensor], batch: Batch, moment: Moment) -> Mapping[str, Tensor]:
        squares = (output["prediction"] - batch["labels"]).square().mean()
        return {"squares": squares, "state": moment.progress("step") * output["state"].square().mean()}

    def scores(self, output: Mapping[str, Tensor], batch: Batch) -> Mapping[str, float]:
        error = (output["prediction"] - batch["labels"]).abs().mean().item()
        return {"mae": error, "spread": output["prediction"].std().item()}


class Rows(Dataset[Any]):
    """The same examples one by one."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {name: tensor[i] for name, tensor in self.tensors.items()}


class Streamed(Meter):
    """The mean absolute error, batch by batch."""

    def __init__(self) -> None:
        self.total, self.n, self.spread = 0.0, 0, list[Tensor]()

    def update(self, output: Mapping[str, Tensor], batch: Batch) -> None:
        self.total += (output["prediction"] - batch["labels"]).abs().sum().item()
        self.n += len(batch["labels"])
        self.spread.append(output["prediction"])

    def compute(self) -> Mapping[str, float]:
        return {"mae": self.total / self.n, "spread": torch.cat(self.spread).std().item()}


class FromDataset(Latent):
    """The same task, read example by example, and scored as it goes."""

    def splits(self) -> Splits:
        return Splits(*(Rows(self.data(seed)) for seed in range(3)))

    def meter(self) -> Meter:
        return Streamed()


def plan(task: Task | None = None, *penalties: Weighted, **more: object) -> TrainPlan:
    task = task or Latent()
    return TrainPlan(task, SETTINGS, replace(task.defaults, **more), penalties)


def without_seconds(given: TrainPlan, state: TrainState | None = None) -> list[EpochRecord]:
    return [replace(record, train_s=0.0, predict_s=0.0) for record in train(given, state)]


def test_every_solve_of_a_forward_pass_is_counted_and_penalized() -> None:
    task, model = Latent(), TrainState(plan()).model
    batch = next(task.source(task.splits().validation).in_order(8))
    penalty = GlobalError()
    with observe(settings=SETTINGS, penalties=[penalty]) as solves:
        task.forward(model, batch)
    assert len(solves) == LENGTH + 1
    assert solves.nfe == sum(each.solution.stats.n_evaluations for each in solves) > 6 * len(solves)
    alone = torch.stack([penalty.penalty(each.context) for each in solves])
    assert (alone > 0).all()
    torch.testing.assert_close(solves.penalties[0], alone.sum())
    record = without_seconds(plan(None, Weighted(penalty, Constant(1.0)), epochs=1))[0]
    assert record.nfe > 6 * (LENGTH + 1)
    assert record.nfe_train > 6 * (LENGTH + 1)
    assert record.penalty > 0


def test_loss_s_parts_are_summed_and_told_and_see_the_moment() -> None:
    first, second = without_seconds(plan())
    for record in (first, second):
        assert list(record.loss_parts) == ["squares", "state"]
        assert sum(record.loss_parts.values()) == pytest.approx(record.train_loss, rel=1e-5)
    assert second.loss_parts["state"] > first.loss_parts["state"] > 0


def test_record_has_what_the_task_declares_and_every_cost() -> None:
    *_, last = without_seconds(plan())
    assert list(last.scores) == ["mae", "spread"]
    assert list(last.objectives()) == ["mae", "spread", *COSTS]
    assert last.n_parameters == sum(p.numel() for p in TrainState(plan()).model.parameters())
    assert last.peak_memory_mib is not None
    assert 1e-4 < last.peak_memory_mib < 10
    assert last.solver_gap is not None
    assert last.solver_gap < 0.1


@pytest.mark.parametrize("n_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_data_set_and_streamed_meter_give_the_numbers_of_tensors_in_memory(n_workers: int) -> None:
    task = FromDataset()
    task.n_workers = n_workers
    penalty = Weighted(LocalError(), Constant(1.0))
    in_memory, loaded = (without_seconds(plan(each, penalty)) for each in (Latent(), task))
    for left, right in zip(in_memory, loaded, strict=True):
        assert left.scores == pytest.approx(right.scores, rel=1e-6)
        assert (left.train_loss, left.nfe, left.train_work) == (right.train_loss, right.nfe, right.train_work)


def test_seed_decides_the_parameters_and_dropout_and_a_resumed_training_goes_on(tmp_path: Path) -> None:
    torch.manual_seed(1)
    given, whole = plan(lr_schedule="cosine", lr_warmup=0.2, clip_norm=0.5), []
    state = TrainState(given)
    for record in train(given, state):
        whole.append(replace(record, train_s=0.0, predict_s=0.0))
        torch.save(state.state_dict(), tmp_path / f"{record.epoch}.pt")
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert without_seconds(given) == whole
    checkpoint = torch.load(tmp_path / "1.pt", weights_only=True)
    assert without_seconds(given, TrainState(given).load_state_dict(checkpoint)) == whole[1:]
    assert torch.equal(torch.get_rng_state(), before)


def test_warm_up_leaves_buffers_as_they_were() -> None:
    given = plan()
    state = TrainState(given)
    before = {name: value.clone() for name, value in state.model.named_buffers()}

    def stop() -> float:
        raise StopAsyncIteration  # the clock starts after the warm-up

    with pytest.raises(StopAsyncIteration):
        next(train(given, state, clock=stop))
    assert all(torch.equal(value, before[name]) for name, value in state.model.named_buffers())


# --- batch norm in a field ------------------------------------------------------------------------------------------


class NormalizedField(nn.Module):
    """dy/dt = sin(W norm(y)), twenty times as fast after a jump in time, at which steps are rejected."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(2), nn.Linear(2, 2)

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return (1 + 19 * (t > 0.37)) * torch.sin(self.linear(self.norm(y)))


class Normalized(Latent):
    """A model with batch normalization in its field."""

    inputs = ("values",)

    def model(self, generator: torch.Generator) -> nn.Module:
        class Model(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.block, self.head = NeuralODE(NormalizedField()), nn.Linear(2, 1)

            def forward(self, values: Tensor) -> Mapping[str, Tensor]:
                end = self.block(values[:, 0, :2])
                return {"prediction": self.head(end).squeeze(1), "state": end}

        return Model()


def test_running_statistics_in_a_field_see_the_end_of_each_solve_and_nothing_else() -> None:
    given = plan(Normalized(), epochs=1, batch_size=N)
    state = TrainState(given)
    norm = state.model.block.field.norm
    kept = [norm.running_mean.clone(), norm.running_var.clone()]
    with torch.no_grad(), observe(settings=SETTINGS) as solves:
        # One batch has all examples: its order changes nothing. Copied, for this forward moves the statistics.
        expected = deepcopy(state.model)(given.task.data(0)["values"])["state"]
    assert solves.n_rejected > 0
    next(train(given, state))
    assert norm.num_batches_tracked == 1
    for found, first, seen in zip(
        (norm.running_mean, norm.running_var), kept, (expected.mean(dim=0), expected.var(dim=0)), strict=True
    ):
        torch.testing.assert_close(found, 0.9 * first + 0.1 * seen, rtol=1e-3, atol=1e-4)
    assert norm.track_running_stats
    assert not norm._forward_hooks


# --- output at times of each sample's own ---------------------------------------------------------------------------


def test_union_of_times_is_gathered_to_each_sample_s_own() -> None:
    times = torch.tensor([[0.1, 0.5, 0.9], [0.7, 0.5, 0.0]])
    grid = union_grid(times, torch.tensor([[True, True, True], [True, True, False]]))
    assert grid.times == pytest.approx((0.1, 0.5, 0.7, 0.9))
    y0 = torch.tensor([[1.0], [2.0]])
    states = solve(lambda t, y: -y, y0, 0.0, 1.0, ts=grid.times).ys
    found = grid.gather(states)
    expected = y0.unsqueeze(1) * torch.exp(-times).unsqueeze(2)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1, :2], expected[1, :2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1, 2], states[0, 1])


def test_times_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="times: got none"):
        union_grid(torch.ones(2, 3), torch.zeros(2, 3, dtype=torch.bool))


# --- data that is none ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "told"),
    [
        ([1, 2], "splits: got a part of list"),
        ({}, "splits: got a part of dict"),
        ({"a": torch.zeros(3), "b": torch.zeros(4)}, r"unequal lengths \(a 3, b 4\)"),
        ({"a": torch.zeros(())}, "Tensor as 'a'"),
        ({"a": [1.0]}, "list as 'a'"),
        ({"a": torch.zeros(0, 2)}, "no examples"),
    ],
)
def test_parts_that_are_no_data_are_refused_in_one_line(part: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as refused:
        source(part, "cpu", list, 0)
    assert "\n" not in str(refused.value)


def test_batch_without_an_input_of_the_task_is_told() -> None:
    with pytest.raises(InputError, match="inputs: got times, allowed: the names of a batch: values, mask"):
        Latent().forward(nn.Identity(), {"values": torch.zeros(1), "mask": torch.zeros(1)})


# --- optimizers and learning rates ----------------------------------------------------------------------------------


def test_every_optimizer_that_is_named_steps_and_the_others_of_torch_cannot() -> None:
    of_torch = {name.lower() for name in torch.optim.__all__ if isinstance(getattr(torch.optim, name), type)}
    # LBFGS evaluates the loss by itself, SparseAdam takes sparse gradients, Muon matrices alone.
    assert of_torch - set(OPTIMIZERS) <= {"optimizer", "lbfgs", "sparseadam", "muon"}
    for name in OPTIMIZERS:
        layer = nn.Linear(2, 1)
        optimizer = made_optimizer(layer.parameters(), replace(Latent.defaults, optimizer=name))
        before = layer.weight.clone()
        layer(torch.ones(3, 2)).square().sum().backward()
        optimizer.step()
        assert not torch.equal(layer.weight, before), name


def test_arguments_of_an_optimizer_reach_it_and_others_are_refused() -> None:
    given = replace(Latent.defaults, weight_decay=0.3, optimizer_options={"beta2": 0.9, "amsgrad": True, "eps": 1e-3})
    (group,) = made_optimizer(nn.Linear(1, 1).parameters(), given).param_groups
    assert (group["weight_decay"], group["betas"], group["amsgrad"], group["eps"]) == (0.3, (0.9, 0.9), True, 1e-3)
    with pytest.raises(InputError, match=r"optimizer.nesterov: got True with 'adamw', allowed: beta1, beta2, eps"):
        made_optimizer(nn.Linear(1, 1).parameters(), replace(given, optimizer_options={"nesterov": True}))
    with pytest.raises(InputError, match=r"optimizer: got 'adamw' with .* Invalid beta"):
        made_optimizer(nn.Linear(1, 1).parameters(), replace(given, optimizer_options={"beta1": 2.0}))


def rates(n: int, **more: object) -> list[float]:
    hyper = replace(Latent.defaults, learning_rate=1.0, **more)
    return [hyper.rate(step, n, step // 2) for step in range(n)]


def test_learning_rates_are_the_formulas() -> None:
    assert rates(4) == [1.0] * 4
    assert rates(4, lr_schedule="cosine") == pytest.approx([(1 + math.cos(math.pi * p / 4)) / 2 for p in range(4)])
    assert rates(4, lr_schedule="exponential", lr_end=1e-4) == pytest.approx([1.0, 0.1, 0.01, 0.001])
    assert rates(4, lr_schedule="inverse", lr_end=0.2) == pytest.approx([1.0, 1 / 2, 1 / 3, 1 / 4])
    assert rates(6, lr_schedule="step", lr_step=2, lr_factor=0.5) == [1, 1, 1, 1, 0.5, 0.5]
    assert rates(8, lr_warmup=0.5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])
    with pytest.raises(InputError, match="lr_schedule: got 'inverse' with lr_end None"):
        rates(4, lr_schedule="inverse")


def test_learning_rate_of_the_last_step_is_recorded_and_clipping_bounds_the_update() -> None:
    slow = plan(epochs=1, optimizer="sgd", momentum=0.0, clip_norm=1e-3, learning_rate=1.0)
    state = TrainState(slow)
    before = nn.utils.parameters_to_vector(state.model.parameters()).detach().clone()
    (record,) = train(slow, state)
    moved = nn.utils.parameters_to_vector(state.model.parameters()).detach() - before
    assert 0 < moved.norm() <= 2 * 1e-3 * 1.001  # two steps
    assert record.learning_rate == 1.0


def test_measuring_a_trained_model_is_that_of_its_last_record() -> None:
    given = plan()
    state = TrainState(given)
    *_, last = train(given, state)
    data = given.task.source(given.task.splits().validation)
    found = measure(given.task, state.model, data, SETTINGS, given.hyperparameters.eval_batch_size)
    assert (found.scores, found.nfe, found.solver_gap) == (last.scores, last.nfe, last.solver_gap)


# --- several seeds --------------------------------------------------------------------------------------------------


def test_record_of_several_seeds_is_their_mean_and_a_resumed_one_goes_on(tmp_path: Path) -> None:
    given, whole = replace(plan(), n_seeds=2, seed=3), []
    state = TrainState(given)
    for record in train(given, state):
        whole.append(replace(record, train_s=0.0, predict_s=0.0))
        torch.save(state.state_dict(), tmp_path / f"{record.epoch}.pt")
    apart = [without_seconds(given.alone(seed)) for seed in (3, 4)]
    for record, *parts in zip(whole, *apart, strict=True):
        assert record.epoch == parts[0].epoch
        assert record.n_parameters == parts[0].n_parameters
        assert parts[0].scores != parts[1].scores
        for name, value in record.objectives().items():
            assert value == pytest.approx(sum(part.objectives()[name] for part in parts) / 2), name
    assert whole[-1].solver_gap == pytest.approx((apart[0][-1].solver_gap + apart[1][-1].solver_gap) / 2)
    checkpoint = torch.load(tmp_path / "1.pt", weights_only=True)
    assert without_seconds(given, TrainState(given).load_state_dict(checkpoint)) == whole[1:]
