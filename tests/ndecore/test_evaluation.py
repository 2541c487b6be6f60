"""What is measured of a trained model: the same as training tells, on any split, and timed after a warm-up."""

from dataclasses import replace
from itertools import accumulate, cycle

import pytest
import torch

from ndecore.errors import SolveFailed
from ndecore.evaluation import measure
from ndecore.integrate import SolveSettings
from ndecore.tasks.digits_node import DigitsNode
from ndecore.training import TrainPlan, TrainState, train

TASK = DigitsNode()
SETTINGS = SolveSettings(rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def trained():
    plan = TrainPlan(TASK, SETTINGS, replace(TASK.defaults, epochs=1, batch_size=512))
    state = TrainState(plan)
    (record,) = train(plan, state)
    return state.model, record


def test_on_the_validation_split_it_is_what_training_told(trained):
    model, record = trained
    found = measure(TASK, model, TASK.splits().validation, SETTINGS, TASK.defaults.eval_batch_size)
    told = {name: getattr(record, name) for name in vars(found)}
    assert vars(found) | {"predict_s": 0.0} == told | {"predict_s": 0.0}


def test_another_split_has_other_scores_and_its_own_tight_solve(trained):
    model, record = trained
    found = measure(TASK, model, TASK.splits().test, SETTINGS, 360)
    assert found.scores != record.scores
    assert 0.0 < found.solver_gap < 1e-2


@pytest.mark.parametrize(("repeats", "expected"), [(1, 9.0), (4, 2.0)])
def test_seconds_are_the_median_of_what_comes_after_a_warm_up(repeats, expected, trained):
    ticks = accumulate(tick for lasting in cycle((9.0, 1.0, 2.0, 5.0)) for tick in (0.0, lasting))
    split = TASK.splits().test
    output = torch.zeros(360, 10, dtype=torch.float64)
    clock = lambda: next(ticks)  # noqa: E731
    found = measure(TASK, trained[0], split, SETTINGS, 360, reference=output + 1.0, repeats=repeats, clock=clock)
    assert found.predict_s == expected


def test_a_solve_that_ends_early_is_raised(trained):
    with pytest.raises(SolveFailed, match="MAX_STEPS"):
        measure(TASK, trained[0], TASK.splits().test, replace(SETTINGS, max_steps=1), 360)
