"""What every task promises."""

import math
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import pytest
import torch

from ndecore.datasets.base import Split
from ndecore.integrate import SolveSettings
from ndecore.models import SDES
from ndecore.models.base import Prediction, SolveRequest
from ndecore.solvers import SDE_SOLVERS, SOLVERS
from ndecore.solvers.sosri import SOSRI
from ndecore.solvers.tsit5 import Tsit5
from ndecore.tasks import STOCHASTIC, TASKS
from ndecore.tasks.base import Task
from search_spaces.parameters import PARAMETERS
from search_spaces.penalty import ITO
from studies.build import build


@pytest.fixture(params=list(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    made: Task = TASKS[request.param]()
    return made


def predicted(task: Task, part: Split, seed: int = 0) -> Prediction:
    solver = Tsit5() if task.calculus is None else SOSRI()
    request = SolveRequest(SolveSettings(solver, rtol=0.1, atol=0.1))
    return task.model(torch.Generator().manual_seed(seed))(part.inputs, request)


def few(task: Task) -> Split:
    part = task.splits().validation
    return Split(part.inputs[:6], part.targets[:6])


def test_splits_are_three_parts_of_examples_along_the_first_axis_the_same_every_time(task: Task) -> None:
    once, again = task.splits(), task.splits()
    for name in ("train", "validation", "test"):
        part, same = getattr(once, name), getattr(again, name)
        assert len(part) == len(part.inputs) == len(part.targets) > 0
        assert torch.equal(part.targets, same.targets)
    assert len(once.train) >= task.defaults.batch_size


def test_held_out_data_is_one_batch(task: Task) -> None:
    splits = task.splits()
    assert len(splits.validation) == len(splits.test) == task.defaults.eval_batch_size


def test_loss_is_one_number_that_reaches_every_parameter_and_scores_are_the_metrics_in_order(task: Task) -> None:
    part, model = few(task), task.model(torch.Generator().manual_seed(0))
    solver = Tsit5() if task.calculus is None else SOSRI()
    output = model(part.inputs, SolveRequest(SolveSettings(solver, rtol=0.1, atol=0.1))).output
    loss = task.loss(output, part.targets)
    assert loss.shape == ()
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    scores = task.scores(output.detach(), part.targets)
    assert list(scores) == [metric.name for metric in task.metrics]
    assert all(map(math.isfinite, scores.values()))


def test_model_is_drawn_from_its_generator_alone(task: Task) -> None:
    before = torch.get_rng_state()
    one, same, other = (predicted(task, few(task), seed).output for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_model_follows_random_paths_where_the_task_is_stochastic(task: Task) -> None:
    assert task.model(torch.Generator()).is_stochastic == (task.calculus is not None)


@pytest.mark.parametrize("name", TASKS)
def test_names_of_stochastic_tasks_are_listed_and_all_of_them_ito(name: str) -> None:
    assert TASKS[name].calculus == ("ito" if name in STOCHASTIC else None)
    assert set(ITO) == {solver for solver in SDE_SOLVERS if SDE_SOLVERS[solver].calculus == "ito"}
    assert not set(SDE_SOLVERS) & set(SOLVERS)


def test_a_silent_config_trains_at_the_task_s_tolerance_with_a_solver_for_its_equations(task: Task) -> None:
    (name,) = (name for name in TASKS if isinstance(task, TASKS[name]))
    plan = build(name, {})
    assert (plan.settings.rtol, plan.settings.atol) == (task.tolerance, task.tolerance)
    assert plan.settings.solver.calculus == task.calculus
    assert plan.hyperparameters == task.defaults


def test_fields_of_a_task_are_keys_of_a_config_and_cannot_change(task: Task) -> None:
    for field in fields(task) if is_dataclass(task) else ():
        assert field.name in PARAMETERS
        with pytest.raises(FrozenInstanceError):
            setattr(task, field.name, None)


@pytest.mark.parametrize("name", STOCHASTIC)
@pytest.mark.parametrize("sde", SDES)
def test_every_equation_is_a_choice_of_every_stochastic_task(name: str, sde: str) -> None:
    task = build(name, {"sde": sde}).task
    assert isinstance(task.model(torch.Generator()).sde, SDES[sde])
    assert replace(task, sde="naive") == TASKS[name]()
