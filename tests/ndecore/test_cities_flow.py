"""The density of cities: its data, the exact trace, that densities are densities, and that it learns."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ndecore.datasets.base import Splits
from ndecore.datasets.cities import SIZES, cities
from ndecore.integrate import SolveSettings
from ndecore.models.density_flow import DensityFlow, FlowMLP
from ndecore.observation import observe
from ndecore.solvers.bosh3 import Bosh3
from ndecore.tasks.cities_flow import CitiesFlow
from ndecore.training import TrainPlan, train

GAUSSIAN = math.log(2 * math.pi) + 1  # nats, of two independent normal variables


@pytest.fixture(scope="module")
def splits() -> Splits:
    return cities()


pytestmark = pytest.mark.usefixtures("threads_restored")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wild_flow(n_inputs: int) -> DensityFlow:
    """A flow in float64 that bends."""
    field = FlowMLP(n_inputs, 8, generator()).double()
    nn.init.normal_(field.third.weight, generator=generator(1))
    return DensityFlow(field)


def test_cities_have_the_stated_sizes_and_each_is_in_one_part(splits: Splits) -> None:
    parts = (splits.train, splits.validation, splits.test)
    assert tuple(len(part["inputs"]) for part in parts) == SIZES
    everything = torch.cat([part["inputs"] for part in parts])
    assert len(everything.unique(dim=0)) == sum(SIZES)
    torch.testing.assert_close(splits.train["inputs"].std(dim=0, correction=0), torch.ones(2))
    assert splits.train["inputs"].mean(dim=0).abs().max() < 1e-5


def test_cities_are_the_same_every_time_and_split_otherwise_with_another_seed(splits: Splits) -> None:
    assert torch.equal(splits.test["inputs"], cities().test["inputs"])
    assert not torch.equal(splits.test["inputs"], cities(split_seed=1).test["inputs"])


@pytest.mark.parametrize("n_inputs", [1, 2, 5])
def test_the_trace_is_that_of_the_jacobian(n_inputs: int) -> None:
    field, t = wild_flow(n_inputs).block.field, torch.tensor(0.3, dtype=torch.float64)
    states = torch.randn(4, n_inputs + 1, dtype=torch.float64, generator=generator(2))
    slopes = field(t, states)
    for state, slope in zip(states, slopes, strict=True):
        jacobian = torch.func.jacrev(lambda y: field(t, y[None])[0])(state)
        torch.testing.assert_close(slope[-1], jacobian[:-1, :-1].trace())
        torch.testing.assert_close(jacobian[:, -1], torch.zeros(n_inputs + 1, dtype=torch.float64))


def test_a_density_integrates_to_one() -> None:
    axis = torch.linspace(-8, 8, 81, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad(), observe(settings=SolveSettings(rtol=1e-5, atol=1e-5)):
        log_density = wild_flow(2)(points)
    assert (log_density.exp().sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-3)


def test_it_learns_more_than_a_gaussian() -> None:
    task = CitiesFlow(n_hidden=8)
    plan = TrainPlan(task, SolveSettings(Bosh3(), rtol=1e-2, atol=1e-2), replace(task.defaults, epochs=1))
    (record,) = train(plan)
    assert record.scores["loss"] < GAUSSIAN - 0.1
