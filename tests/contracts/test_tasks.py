"""What every task promises."""

import math
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from ndecore.datasets.base import Batch
from ndecore.integrate import SolveSettings
from ndecore.keys import keys_of
from ndecore.models import SDES
from ndecore.observation import observe
from ndecore.regularizers.schedules import Moment
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.tsit5 import Tsit5
from ndecore.tasks import TASKS
from ndecore.tasks.base import Task
from ndecore.terms import SDETerm
from studies.build import build


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    made: Task = TASKS[request.param]()
    return made


def predicted(task: Task, part: Batch, seed: int = 0) -> Tensor:
    return observed(task, task.model(torch.Generator().manual_seed(seed)), part)


def observed(task: Task, model: nn.Module, part: Batch) -> Tensor:
    solver = Tsit5() if task.calculus is None else SOSRI()
    with observe(settings=SolveSettings(solver, rtol=0.1, atol=0.1), path_seed=0):
        return task.forward(model, part)


def few(task: Task) -> Batch:
    return {name: tensor[:6] for name, tensor in task.splits().validation.items()}


def test_splits_are_three_parts_of_examples_along_the_first_axis_the_same_every_time(task: Task) -> None:
    once, again = task.splits(), task.splits()
    for name in ("train", "validation", "test"):
        part, same = getattr(once, name), getattr(again, name)
        assert len({len(tensor) for tensor in part.values()}) == 1
        assert all(torch.equal(tensor, same[name]) for name, tensor in part.items())
    assert len(task.source(once.train)) >= task.defaults.batch_size


def test_held_out_data_is_one_batch(task: Task) -> None:
    splits = task.splits()
    for part in (splits.validation, splits.test):
        assert len(task.source(part)) == task.defaults.eval_batch_size


def test_loss_is_one_number_that_reaches_every_parameter_and_scores_are_the_metrics_in_order(task: Task) -> None:
    part, model = few(task), task.model(torch.Generator().manual_seed(0))
    output = observed(task, model, part)
    loss = task.loss(output, part, Moment(0, 1, 0, 1))
    assert loss.shape == ()
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    scores = task.scores(output.detach(), part)
    assert list(scores) == [metric.name for metric in task.metrics]
    assert all(map(math.isfinite, scores.values()))


def test_model_is_drawn_from_its_generator_alone(task: Task) -> None:
    before = torch.get_rng_state()
    one, same, other = (predicted(task, few(task), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_model_follows_random_paths_where_the_task_is_stochastic(task: Task) -> None:
    with observe(settings=SolveSettings(Tsit5() if task.calculus is None else SOSRI(), rtol=0.1, atol=0.1)) as solves:
        task.forward(task.model(torch.Generator()).eval(), few(task))
    assert len(solves) == task.n_paths
    assert {isinstance(each.term, SDETerm) for each in solves} == {task.calculus is not None}


def test_a_silent_config_trains_at_the_task_s_tolerance_with_a_solver_for_its_equations(task: Task) -> None:
    (name,) = (name for name in TASKS if isinstance(task, TASKS[name]))
    plan = build(name, {})
    assert (plan.settings.rtol, plan.settings.atol) == (task.tolerance, task.tolerance)
    assert plan.settings.solver.calculus == task.calculus
    assert plan.hyperparameters == task.defaults


def test_fields_of_a_task_are_keys_of_a_config_and_cannot_change(task: Task) -> None:
    for field in fields(task) if is_dataclass(task) else ():
        assert field.name in keys_of(type(task))
        with pytest.raises(FrozenInstanceError):
            setattr(task, field.name, None)


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS.facts(name).calculus is not None])
@pytest.mark.parametrize("sde", SDES)
def test_every_equation_is_a_choice_of_every_stochastic_task(name: str, sde: str) -> None:
    task = build(name, {"sde": sde}).task
    assert isinstance(task.model(torch.Generator()).block.drift, SDES[sde])
    assert replace(task, sde="naive") == TASKS[name]()
