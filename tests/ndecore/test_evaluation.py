"""What is measured of a trained model: the same as training tells, on any split, and timed after a warm-up."""

from dataclasses import replace
from itertools import accumulate, cycle

import pytest

from ndecore.controllers.constant import ConstantStep
from ndecore.errors import InputError, SolveFailed
from ndecore.evaluation import estimated_gap, evaluate, measure
from ndecore.integrate import SolveSettings
from ndecore.solvers.rk4 import RK4
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
    found = measure(TASK, model, TASK.source(TASK.splits().validation), SETTINGS, TASK.defaults.eval_batch_size)
    told = {name: getattr(record, name) for name in vars(found)}
    assert vars(found) | {"predict_s": 0.0} == told | {"predict_s": 0.0}


def test_another_split_has_other_scores_and_its_own_tight_solve(trained):
    model, record = trained
    found = measure(TASK, model, TASK.source(TASK.splits().test), SETTINGS, 360)
    assert found.scores != record.scores
    assert 0.0 < found.solver_gap < 1e-2


@pytest.mark.parametrize(("repeats", "expected"), [(1, 9.0), (4, 2.0)])
def test_seconds_are_the_median_of_what_comes_after_a_warm_up(repeats, expected, trained):
    ticks = accumulate(tick for lasting in cycle((9.0, 1.0, 2.0, 5.0)) for tick in (0.0, lasting))
    data = TASK.source(TASK.splits().test)
    reference = evaluate(TASK, trained[0], data, SETTINGS, 360, keeps_outputs=True)
    clock = lambda: next(ticks)  # noqa: E731
    found = measure(TASK, trained[0], data, SETTINGS, 360, reference=reference, repeats=repeats, clock=clock)
    assert found.predict_s == expected
    assert found.solver_gap == 0


def test_scores_that_lack_a_metric_of_the_task_are_told(trained):
    class Silent(DigitsNode):
        def scores(self, output, batch):
            return {"accuracy": 1.0}

    with pytest.raises(InputError, match="scores: got accuracy of Silent, allowed: every metric that it declares: acc"):
        evaluate(Silent(), trained[0], TASK.source(TASK.splits().test), SETTINGS, 360)


def test_a_solve_that_ends_early_is_raised(trained):
    with pytest.raises(SolveFailed, match="MAX_STEPS"):
        measure(TASK, trained[0], TASK.source(TASK.splits().test), replace(SETTINGS, max_steps=1), 360)


@pytest.mark.parametrize(("tolerance", "factor"), [(1e-2, 3), (1e-3, 1.5), (1e-4, 1.5), (1e-5, 1.5)])
def test_an_estimated_gap_is_near_the_gap(trained, tolerance, factor):
    settings, held_out = SolveSettings(rtol=tolerance, atol=tolerance), TASK.source(TASK.splits().validation)
    exact = measure(TASK, trained[0], held_out, settings, 360).solver_gap
    assert 1 / factor < estimated_gap(TASK, trained[0], held_out, settings, 360) / exact < factor


def test_the_gap_of_constant_steps_is_not_estimated(trained):
    settings, held_out = SolveSettings(RK4(), ConstantStep(0.25)), TASK.source(TASK.splits().validation)
    exact = measure(TASK, trained[0], held_out, settings, 360).solver_gap
    assert estimated_gap(TASK, trained[0], held_out, settings, 360) == exact
