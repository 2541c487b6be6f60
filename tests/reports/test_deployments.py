"""Which of the ways to solve a trained model is the cheapest that gives the same outputs."""

import math
from dataclasses import replace

from made_up_studies import study_of, trial

from ndecore.metrics import METRICS
from reports.deployments import cheapest_point, deployed_trial, points_of
from reports.records import Deployment, SweptPoint, Threshold

TRAINED = trial(3, 0.9, 44.0, 8.0, 1e-6)


def point(solver, rtol, nfe, gap, accuracy=0.9, **scores):
    scores = {"accuracy": accuracy, "loss": 0.3} | scores
    return SweptPoint(3, Deployment(solver, rtol, rtol), scores, nfe, nfe / 6, 0.0, 0.002, gap)


POINTS = (
    point("tsit5", 1e-2, 14.0, 0.02),
    point("tsit5", 1e-4, 26.0, 1e-3),
    point("bosh3", 1e-2, 20.0, 5e-3, accuracy=0.89),
    point("bosh3", 1e-3, 20.0, 4e-3),
    SweptPoint(3, Deployment("tsit5", 1e-8, 1e-8), {}, *[math.nan] * 5, "MAX_STEPS: too many"),
)


def test_the_cheapest_within_the_gap_is_chosen_and_of_equals_the_nearest():
    assert cheapest_point(TRAINED, POINTS, 0.01) is POINTS[3]
    assert cheapest_point(TRAINED, POINTS, 0.1) is POINTS[0]
    assert cheapest_point(TRAINED, POINTS, 1e-9) is None


def test_thresholds_are_those_of_the_deployed_model():
    within = (Threshold("nfe", 19.0, METRICS["nfe"].direction),)
    assert cheapest_point(TRAINED, POINTS, 0.01, within) is None
    assert cheapest_point(TRAINED, POINTS, 0.1, within) is POINTS[0]
    seconds = (Threshold("train_s", 9.0, METRICS["train_s"].direction),)
    assert cheapest_point(TRAINED, POINTS, 0.01, seconds) is POINTS[3]


def test_a_deployed_trial_keeps_what_its_training_took():
    last = deployed_trial(TRAINED, POINTS[2]).epochs[-1]
    before = TRAINED.epochs[-1]
    assert (last.nfe, last.solver_gap, last.scores["accuracy"]) == (20.0, 5e-3, 0.89)
    assert (last.train_s, last.train_work, last.nfe_train) == (before.train_s, before.train_work, before.nfe_train)
    assert last.score_gaps["accuracy"] == 0.89 - 0.9
    assert deployed_trial(TRAINED, POINTS[2]).deployment == Deployment("bosh3", 1e-2, 1e-2)


def test_points_come_method_by_method_from_tight_to_loose():
    study = replace(study_of(TRAINED), swept=POINTS)
    found = [(p.deployment.solver, p.deployment.rtol) for p in points_of(study, 3)]
    assert found == [("bosh3", 1e-3), ("bosh3", 1e-2), ("tsit5", 1e-8), ("tsit5", 1e-4), ("tsit5", 1e-2)]
    assert points_of(study, 4) == ()
