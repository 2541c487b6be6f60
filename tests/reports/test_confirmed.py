"""The confirmed front: means over new seeds on the test split, and how sure they are."""

import math
from dataclasses import replace
from itertools import product

import pytest
from made_up_studies import epoch, study_of, trial

from ndecore.metrics import METRICS
from reports.choice import knee_trial
from reports.confirmed import (
    confirmed_seeds,
    confirmed_study,
    front_sentence,
    non_dominated_probabilities,
    published_study,
)
from reports.confirmed_table import confirmed_rows
from reports.pareto import front
from reports.records import Cause, Confirmation, Threshold, TrialStatus

OBJECTIVES = (METRICS["accuracy"], METRICS["nfe"])
SEARCHED = (trial(0, 0.96, 44.0, 8.0, label="vanilla"), trial(1, 0.99, 14.0, 3.0), trial(2, 0.97, 20.0, 3.0))


def confirmation(number, seed, accuracy, nfe, gap=0.001):
    return Confirmation(number, seed, epoch(accuracy, nfe, 4.0, gap), {"accuracy": accuracy})


def confirmed(*confirmations, asked=(0, 1, 2), **changes):
    """Trial 1, which the search liked for its luck, is worse than trial 2 with other seeds."""
    told = confirmations or [
        confirmation(number, seed, accuracy + 0.001 * (seed - 2), nfe)
        for seed in (1, 2, 3)
        for number, accuracy, nfe in ((0, 0.95, 44.0), (1, 0.955, 26.0), (2, 0.97, 20.0))
    ]
    study = study_of(*SEARCHED, objectives=OBJECTIVES)
    return replace(study, confirming=asked, confirmations=tuple(told), **changes)


def test_means_over_the_seeds_take_the_place_of_what_the_search_measured():
    study = confirmed()
    found = confirmed_study(study)
    assert [t.number for t in front(study)] == [1]
    assert [t.number for t in front(found)] == [2]
    assert knee_trial(published_study(study)).number == 2
    assert found.trials[1].epochs[0].scores["accuracy"] == pytest.approx(0.955, abs=1e-12)
    assert found.trials[1].config == study.trials[1].config
    assert confirmed_seeds(study) == (1, 2, 3)


def test_means_are_of_named_parts_too_and_what_is_the_same_for_all_seeds_stays():
    told = [confirmation(number, seed, 0.9, 20.0) for number in (0, 1, 2) for seed in (1, 2)]
    told = [
        replace(each, test=replace(each.test, loss_parts={"kl": float(each.seed)}, n_parameters=5, is_last=True))
        for each in told
    ]
    (record,) = confirmed_study(confirmed(*told)).trials[0].epochs
    assert record.loss_parts == {"kl": 1.5}
    assert record.is_last is True
    assert record.n_parameters == 5


def test_means_that_tie_but_for_rounding_are_no_lead():
    """347 + 344 + 351 of 360 is 349 + 345 + 348: the dearer one is dominated."""
    right = {0: (347, 344, 351), 2: (349, 345, 348)}
    told = [
        confirmation(number, seed, right[number][seed] / 360, nfe)
        for number, nfe in ((0, 44.0), (2, 14.0))
        for seed in range(3)
    ]
    study = confirmed(*told, asked=(0, 2))
    assert [t.number for t in front(confirmed_study(study))] == [2]
    assert front_sentence(study).startswith("Confirmed front: 1 of 2 trials, with 3 new seeds each")
    better = sum(
        sum(right[0][i] for i in draw) > sum(right[2][i] for i in draw) for draw in product(range(3), repeat=3)
    )
    assert non_dominated_probabilities(study)[0] == pytest.approx(better / 27, abs=0.06)


def test_without_a_confirmation_the_search_is_what_is_published():
    study = study_of(*SEARCHED)
    assert confirmed_study(study) is None
    assert published_study(study) is study
    assert front_sentence(study) == ""
    assert confirmed_rows(study) == ()
    assert non_dominated_probabilities(study) == {}


def test_seeds_that_only_some_trials_were_trained_with_do_not_count():
    begun = confirmed(confirmation(0, 1, 0.95, 44.0), confirmation(1, 1, 0.95, 26.0))
    assert confirmed_study(begun) is None
    assert front_sentence(begun) == "The confirmation of 3 trials has begun."
    further = confirmed(*begun.confirmations, confirmation(2, 1, 0.97, 20.0), confirmation(0, 2, 0.1, 44.0))
    assert confirmed_seeds(further) == (1,)
    assert confirmed_study(further).trials[0].epochs[0].scores["accuracy"] == 0.95
    assert all(math.isnan(p) for p in non_dominated_probabilities(further).values())


def test_members_that_joined_the_front_later_are_named():
    assert "Not confirmed" not in front_sentence(confirmed())
    study = confirmed(asked=(0, 2))
    assert front_sentence(study).endswith(
        "3 new seeds each, on the test split. Not confirmed yet: 1 of the search's front."
    )


def test_a_trial_that_diverges_with_one_seed_is_on_no_front():
    ended = Confirmation(2, 3, None, {}, TrialStatus.DIVERGED, Cause.STEP_LIMIT, "MAX_STEPS: too many")
    told = [c for c in confirmed().confirmations if (c.trial, c.seed) != (2, 3)]
    study = confirmed(*told, ended)
    row = next(row for row in confirmed_rows(study) if row.trial == 2)
    assert (row.is_on_front, row.reason, row.intervals) == (False, "with seed 3: MAX_STEPS: too many", {})
    assert row.probability < 0.5  # the resamples that have no seed 3
    assert [t.number for t in front(confirmed_study(study))] == [1]


def test_probabilities_follow_how_often_means_change_places():
    sure = non_dominated_probabilities(confirmed())
    assert sure == {0: 0.0, 1: 0.0, 2: 1.0}
    told = [
        confirmation(number, seed, accuracy, nfe)
        for seed, lead in enumerate((0.01, 0.01, -0.01, -0.01), start=1)
        for number, accuracy, nfe in ((0, 0.9, 44.0), (1, 0.95 + lead, 20.0), (2, 0.95, 20.0))
    ]
    # A resample of four has as many of either sign, and a draw, in 6 / 16: either trial leads in 5 / 16 alone.
    open_race = non_dominated_probabilities(confirmed(*told), n_resamples=4000)
    assert open_race[1] == pytest.approx(11 / 16, abs=0.03)
    assert open_race[2] == pytest.approx(11 / 16, abs=0.03)


@pytest.mark.parametrize(
    ("gap", "thresholds", "bound"),
    [
        (0.02, (), "solver gap <= 0.01"),
        (0.001, (Threshold("nfe", 19.0, METRICS["nfe"].direction),), "nfe <= 19"),
    ],
)
def test_bounds_hold_for_means_too(gap, thresholds, bound):
    told = [
        confirmation(number, seed, 0.95, nfe, gap if number == 2 else 0.001)
        for seed in (1, 2)
        for number, nfe in ((0, 18.0), (1, 19.0), (2, 20.0))
    ]
    study = confirmed(*told, thresholds=thresholds)
    assert non_dominated_probabilities(study)[2] == 0.0
    assert 2 not in [t.number for t in front(confirmed_study(study))]
    assert {row.trial: row.reason for row in confirmed_rows(study)} == {0: "", 1: "", 2: f"misses {bound}"}


def test_rows_have_intervals_of_what_the_seeds_say_and_what_the_search_said():
    first, *others = confirmed_rows(confirmed())
    assert (first.trial, first.is_on_front, first.is_knee, first.probability) == (2, True, True, 1.0)
    assert [row.trial for row in others] == [0, 1]
    accuracy = first.intervals["accuracy"]
    assert (accuracy.n, accuracy.mean) == (3, pytest.approx(0.97))
    assert accuracy.high - accuracy.mean == pytest.approx(4.302652729911275 * 0.001 / math.sqrt(3))
    assert others[1].searched["accuracy"] == 0.99
    assert set(first.intervals) == {"accuracy", "nfe", "predict_s"}
