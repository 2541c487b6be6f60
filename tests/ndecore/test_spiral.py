"""The spiral: its data against another solver, its split, its model, and that it learns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from ndecore.blocks import NeuralODE
from ndecore.datasets.base import Splits
from ndecore.datasets.spiral import TIMES, initial_points, paths, spiral
from ndecore.integrate import SolveSettings
from ndecore.models.cubic_mlp import CubicMLP
from ndecore.models.path_at_times import PathAtTimes
from ndecore.observation import observe
from ndecore.regularizers.schedules import Moment
from ndecore.solving import solve
from ndecore.tasks import TASKS
from ndecore.tasks.spiral_ode import SpiralODE
from ndecore.training import TrainPlan, TrainState, train


@pytest.fixture(scope="module")
def splits() -> Splits:
    return spiral()


pytestmark = pytest.mark.usefixtures("threads_restored")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def published(_: float, u: np.ndarray) -> list[float]:
    """B.3 of the methods reference, written out once more."""
    a, b = 0.1, 2.0
    return [-a * u[0] ** 3 + b * u[1] ** 3, -b * u[0] ** 3 - a * u[1] ** 3]


def test_paths_are_those_of_another_solver() -> None:
    points = initial_points(0, 5)
    for point, path in zip(points, paths(points), strict=True):
        other = solve_ivp(
            published, (0.0, TIMES[-1]), point.numpy(), method="DOP853", t_eval=TIMES, rtol=1e-12, atol=1e-12
        )
        np.testing.assert_allclose(path.numpy(), other.y.T, rtol=0, atol=1e-9)


def test_kept_paths_are_those_of_another_solver_to_float32(splits: Splits) -> None:
    point = initial_points(0, 1)[0]
    other = solve_ivp(published, (0.0, TIMES[-1]), point.numpy(), method="Radau", t_eval=TIMES, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(splits.train["inputs"][0].numpy(), point.numpy(), rtol=1e-7)
    np.testing.assert_allclose(splits.train["targets"][0].numpy(), other.y.T, rtol=0, atol=1e-6)


def test_observations_are_uniform_in_time_and_the_start_is_none() -> None:
    steps = np.diff([0.0, *TIMES])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-12)


def test_splits_have_the_sizes_and_shapes_that_they_say(splits: Splits) -> None:
    for part, n in ((splits.train, 320), (splits.validation, 64), (splits.test, 64)):
        assert part["inputs"].shape == (n, 2)
        assert part["targets"].shape == (n, len(TIMES), 2)
        assert part["inputs"].dtype == part["targets"].dtype == torch.float32


def test_initial_points_are_near_the_published_one(splits: Splits) -> None:
    for part in (splits.train, splits.validation, splits.test):
        radius = torch.linalg.vector_norm(part["inputs"], dim=1)
        angle = torch.atan2(part["inputs"][:, 1], part["inputs"][:, 0])
        assert 1.8 <= radius.min() < radius.max() <= 2.2
        assert -0.3 <= angle.min() < 0 < angle.max() <= 0.3


def test_no_initial_point_is_in_two_parts(splits: Splits) -> None:
    points = torch.cat([part["inputs"] for part in (splits.train, splits.validation, splits.test)])
    assert len(points.unique(dim=0)) == 448


def test_data_is_the_same_every_time_and_another_with_another_seed(splits: Splits) -> None:
    again, other = spiral.__wrapped__(0), spiral(seed=1)
    for name in ("train", "validation", "test"):
        kept, drawn, moved = (getattr(each, name) for each in (splits, again, other))
        assert torch.equal(kept["inputs"], drawn["inputs"])
        assert torch.equal(kept["targets"], drawn["targets"])
        assert not torch.equal(kept["inputs"], moved["inputs"])


def test_field_is_the_published_formula() -> None:
    field = CubicMLP(2, 50, generator()).double()
    y = torch.randn(7, 2, generator=generator(1), dtype=torch.float64)
    w1, b1, w2, b2 = field.inner.weight, field.inner.bias, field.outer.weight, field.outer.bias
    expected = torch.tanh(y.pow(3) @ w1.T + b1) @ w2.T + b2
    torch.testing.assert_close(field(torch.tensor(0.3, dtype=torch.float64), y), expected)
    assert (w1.shape, w2.shape) == ((50, 2), (2, 50))
    assert w1.abs().max() <= math.sqrt(6 / 52)


def test_output_is_the_solution_at_each_time_of_the_grid_but_the_first() -> None:
    field = CubicMLP(2, 50, generator())
    model = PathAtTimes(NeuralODE(field, (0.1, 0.25, 0.3, 0.7), return_times=True))
    inputs = torch.tensor([[2.0, 0.0], [1.9, 0.1]])
    with observe() as solves:
        output = model(inputs)
    expected = solve(field, inputs, 0.1, 0.7, ts=(0.25, 0.3, 0.7))
    assert solves[0].grid == (0.1, 0.25, 0.3, 0.7)
    assert output.shape == (2, 3, 2)
    assert torch.equal(output, expected.ys.movedim(0, 1))
    assert torch.equal(output[:, -1], solves[0].solution.y1)
    assert solves.nfe == expected.stats.n_evaluations


def test_one_observation_is_the_end_of_the_solve() -> None:
    model = PathAtTimes(NeuralODE(CubicMLP(2, 50, generator()), (0.0, 0.4), return_times=True))
    with observe() as solves:
        output = model(torch.tensor([[2.0, 0.0]]))
    assert torch.equal(output, solves[0].solution.y1.unsqueeze(1))


def test_model_with_the_true_field_has_no_error(splits: Splits) -> None:
    class TrueField(torch.nn.Module):
        def forward(self, t: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
            return torch.stack(published(t, u.T), dim=1)  # type: ignore[arg-type, call-overload]

    task = SpiralODE()
    output = PathAtTimes(NeuralODE(TrueField(), (0.0, *TIMES), return_times=True))(splits.test["inputs"])
    assert task.scores(output, splits.test)["mse"] < 1e-9


def test_mse_is_the_mean_over_points_times_and_coordinates() -> None:
    output, targets = torch.randn(2, 3, 30, 2, generator=generator())
    expected = (output - targets).pow(2).sum().item() / (3 * 30 * 2)
    batch = {"targets": targets}
    assert SpiralODE().scores(output, batch) == {"mse": pytest.approx(expected)}
    assert SpiralODE().loss(output, batch, Moment(0, 1, 0, 1)).item() == pytest.approx(expected)


def short_plan(epochs: int) -> TrainPlan:
    task = TASKS["spiral_ode"]()
    return TrainPlan(task, SolveSettings(rtol=1e-3, atol=1e-3), replace(task.defaults, epochs=epochs), seed=3)


def test_training_lowers_the_error(splits: Splits) -> None:
    plan = short_plan(epochs=2)
    untrained = TrainState(plan).model(splits.validation["inputs"])
    first, second = train(plan)
    assert first.scores["mse"] < 0.2 * plan.task.scores(untrained, splits.validation)["mse"]
    assert second.train_loss < first.train_loss


def test_record_has_the_mse_a_whole_number_of_evaluations_and_the_solver_gap() -> None:
    (record,) = train(short_plan(epochs=1))
    assert list(record.scores) == list(record.score_gaps) == ["mse"]
    assert record.nfe == int(record.nfe)
    assert record.solver_gap is not None
    assert 0 < record.solver_gap < 0.1


def test_same_seed_gives_the_same_numbers() -> None:
    once, again = (
        [replace(record, train_s=0.0, predict_s=0.0) for record in train(short_plan(epochs=1))] for _ in range(2)
    )
    assert once == again
