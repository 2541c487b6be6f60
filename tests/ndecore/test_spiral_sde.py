"""The spiral SDE: moments against finer steps, another solver and a closed form; that it is fitted."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ndecore.datasets.base import Splits
from ndecore.datasets.spiral_sde import N_PATHS, NOISE, START, STEPS, TIMES, drift, moments, simulate, spiral_sde
from ndecore.integrate import SolveSettings
from ndecore.observation import observe
from ndecore.regularizers.schedules import Moment
from ndecore.solvers.sosri import SOSRI
from ndecore.tasks.spiral_sde import SpiralSDE
from ndecore.training import TrainPlan, TrainState, train

pytestmark = pytest.mark.usefixtures("threads_restored")


@pytest.fixture(scope="module")
def splits() -> Splits:
    return spiral_sde()


def moments_of(normals: np.ndarray) -> torch.Tensor:
    return moments(torch.from_numpy(simulate(normals)).permute(2, 0, 1))


def joined(normals: np.ndarray, n: int) -> np.ndarray:
    """The same Brownian motion in steps n times as long."""
    steps, _, paths = normals.shape
    return normals.reshape(steps // n, n, 2, paths).sum(axis=1) / np.sqrt(n)


def test_half_the_step_moves_no_moment_by_more_than_half_of_its_sampling_error() -> None:
    fine = np.random.default_rng(1).standard_normal((2 * STEPS, 2, 2000))
    one, other = moments_of(joined(fine, 2)), moments_of(fine)
    variance = other[:, 1]
    sampling_error = torch.stack(((variance / N_PATHS).sqrt(), variance * (2 / N_PATHS) ** 0.5), dim=1)
    assert ((one - other).abs() < 0.5 * sampling_error).all()


def test_paths_are_those_of_milstein_steps_along_the_same_motion() -> None:
    """The method and its Ito sense: another sense, or half the noise, would be off by a tenth and more."""
    normals = np.random.default_rng(2).standard_normal((6000, 2, 50))
    u, dt = np.repeat(np.array(START)[:, None], 50, axis=1), 1 / 6000
    for normal in normals:
        dW = np.sqrt(dt) * normal
        cubes = u**3  # B.3 of the methods reference, written out once more
        slope = np.stack((-0.1 * cubes[0] + 2.0 * cubes[1], -2.0 * cubes[0] - 0.1 * cubes[1]))
        u = u + slope * dt + 0.2 * u * dW + 0.5 * 0.2**2 * u * (dW**2 - dt)
    found = simulate(joined(normals, 20))[-1]
    assert np.sqrt(np.mean((found - u) ** 2)) < 0.05 < 0.3 * u.std()


def test_without_drift_the_moments_are_those_of_geometric_brownian_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ndecore.datasets.spiral_sde.drift", np.zeros_like)
    found = moments_of(np.random.default_rng(3).standard_normal((30, 2, 20_000)))
    mean, variance = found[-1, 0, 0].item(), found[-1, 1, 0].item()
    exact = 4 * (np.exp(NOISE**2) - 1)
    # Alpha about 6e-5 for each of both: four standard errors.
    assert abs(mean - 2.0) < 4 * np.sqrt(exact / 20_000)
    assert abs(variance / exact - 1) < 4 * np.sqrt((2 + 16 * NOISE**2) / 20_000)
    assert found[:, :, 1].eq(0).all()  # what begins at zero stays there


def test_drift_is_the_published_formula() -> None:
    np.testing.assert_allclose(drift(np.array([[2.0], [0.5]])), [[-0.1 * 8 + 2 * 0.125], [-2 * 8 - 0.1 * 0.125]])


def test_each_part_has_moments_of_its_own_paths_within_sampling_error(splits: Splits) -> None:
    parts = (splits.train, splits.validation, splits.test)
    for part in parts:
        assert part["inputs"].shape == (1000, 2)
        assert part["targets"].shape == (1000, len(TIMES), 2, 2)
        assert part["inputs"].dtype == part["targets"].dtype == torch.float32
        assert torch.equal(part["inputs"][17], torch.tensor(START))
        assert torch.equal(part["targets"][0], part["targets"][999])
    means = torch.stack([part["targets"][0, :, 0] for part in parts])
    variance = parts[0]["targets"][0, :, 1]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        apart = (means[one] - means[other]).abs()
        # Five standard errors of a difference, 60 values each: alpha about 1e-4 in all.
        assert (apart < 5 * (2 * variance / N_PATHS).sqrt()).all()
        assert (apart > 0).any()


def test_data_is_the_same_every_time_and_another_with_another_seed(splits: Splits) -> None:
    again, other = spiral_sde.__wrapped__(0), spiral_sde.__wrapped__(1)
    assert torch.equal(again.validation["targets"], splits.validation["targets"])
    assert not torch.equal(other.validation["targets"], splits.validation["targets"])


def test_loss_is_the_mean_squared_error_of_means_plus_that_of_variances(splits: Splits) -> None:
    paths = torch.randn(40, 30, 2, generator=torch.Generator().manual_seed(0))
    target = splits.train["targets"][:40]
    mean, variance = paths.mean(dim=0), ((paths - paths.mean(dim=0)) ** 2).sum(dim=0) / 39
    expected = ((mean - target[0, :, 0]) ** 2).mean() + ((variance - target[0, :, 1]) ** 2).mean()
    batch = {"targets": target}
    assert SpiralSDE().loss(paths, batch, Moment(0, 1, 0, 1)).item() == pytest.approx(expected.item(), rel=1e-5)
    assert SpiralSDE().scores(paths, batch) == {"mse": pytest.approx(expected.item(), rel=1e-5)}


def test_true_paths_of_a_batch_score_about_the_chance_that_is_documented(splits: Splits) -> None:
    paths = torch.from_numpy(simulate(np.random.default_rng(9).standard_normal((60, 2, 1000)))).permute(2, 0, 1)
    assert SpiralSDE().scores(paths.float(), splits.validation)["mse"] < 4e-3


def short_plan(sde: str = "naive") -> TrainPlan:
    task = SpiralSDE(sde)
    hyper = replace(task.defaults, epochs=1)
    return TrainPlan(task, SolveSettings(SOSRI(), rtol=0.3, atol=0.3), hyper)


def test_training_lowers_the_error_and_the_record_tells_both_evaluations(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ndecore.evaluation._LOOSEST", 1.0)  # a reference at 0.3 / 4 is enough here
    plan = short_plan("linear_noise")
    state = TrainState(plan)
    with torch.no_grad(), observe(settings=plan.settings, path_seed=-1):
        untrained = state.model(splits.validation["inputs"])
    (record,) = train(plan, state)
    assert record.scores["mse"] < plan.task.scores(untrained, splits.validation)["mse"]
    assert record.nfe == int(record.nfe) == record.nfe_diffusion
    assert record.solver_gap is not None
    assert 0 < record.solver_gap < 0.5
