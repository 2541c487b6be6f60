"""Where trials stand, and how a study came there."""

from dataclasses import replace

import pytest
from made_up_studies import realistic, realistic_trials, study_of, trial

from ndecore.metrics import Direction
from reports.choice import knee_trial
from reports.pareto import front, study_hypervolume
from reports.records import Threshold, TrialStatus
from reports.standing import Standing, course, ended_trials, growth, relative_hypervolume, standings


def timed(trials):
    """Trials that end in another order than that of their numbers."""
    return study_of(*(replace(each, ended_s=1000.0 + 7 * each.number % 24) for each in trials))


def test_every_trial_has_one_standing_and_the_front_is_the_front():
    study = realistic()
    places = standings(study)
    assert sorted(places) == [trial.number for trial in study.trials]
    on_front = {number for number, place in places.items() if place in (Standing.FRONT, Standing.KNEE)}
    assert on_front == {member.number for member in front(study)}
    assert [n for n, place in places.items() if place is Standing.KNEE] == [knee_trial(study).number]
    assert [n for n, place in places.items() if place is Standing.INFEASIBLE] == [9, 15]
    assert [n for n, place in places.items() if place is Standing.FAILED] == [22, 23]


@pytest.mark.parametrize("status", [TrialStatus.RUNNING, TrialStatus.INTERRUPTED])
def test_a_trial_that_is_not_trained_to_its_end_is_partial_however_good_it_looks(status):
    cheap = replace(trial(1, 0.99, 8.0, 1.0), status=status)
    study = study_of(trial(0, 0.9, 20.0, 3.0), cheap)
    assert standings(study) == {0: Standing.KNEE, 1: Standing.PARTIAL}


def test_a_trial_that_misses_a_threshold_is_infeasible():
    study = study_of(trial(0, 0.9, 20.0, 3.0), trial(1, 0.99, 120.0, 3.0))
    bounded = replace(study, thresholds=(Threshold("nfe", 100.0, Direction.MINIMIZE),))
    assert standings(bounded)[1] is Standing.INFEASIBLE


def test_the_course_at_the_end_is_the_study_and_each_moment_depends_on_those_before_alone():
    study = timed(realistic_trials())
    moments = course(study)
    assert [moment.n_ended for moment in moments] == list(range(1, 25))
    assert [moment.time_s for moment in moments] == sorted(moment.time_s for moment in moments)
    assert moments[-1].values == {
        "hypervolume": study_hypervolume(study),
        "front_size": len(front(study)),
        "trials_complete": 22,
        "trials_failed": 2,
    }
    assert course(study, after=20) == moments[20:]
    for n in (1, 7, 23):
        earlier = replace(study, trials=ended_trials(study)[:n])
        assert course(earlier) == moments[:n]
        assert moments[n - 1].values["hypervolume"] == pytest.approx(study_hypervolume(earlier))


def test_trials_that_have_not_ended_are_no_moment():
    study = study_of(trial(0, 0.9, 20.0, 3.0), replace(trial(1, 0.9, 8.0, 3.0), status=TrialStatus.RUNNING))
    assert len(course(study)) == 1


def test_the_growth_in_the_final_box_never_falls_and_ends_where_the_study_does():
    study = timed(realistic_trials())
    shares = growth(study)
    assert list(shares) == sorted(shares)
    assert shares[-1] == pytest.approx(study_hypervolume(study))
    for n in (5, 12):
        earlier = replace(study, trials=ended_trials(study)[:n])
        assert shares[n - 1] == pytest.approx(study_hypervolume(earlier, box_of=study))


def test_a_study_without_feasible_trials_has_no_volume():
    assert growth(study_of(replace(trial(0, 0.9, 20.0, 3.0), status=TrialStatus.FAILED))) == (0.0,)
    assert growth(study_of()) == ()


def test_the_hypervolume_against_the_baseline_is_in_a_box_that_does_not_move():
    trials = [trial(0, 0.9, 100.0, 10.0, label="vanilla"), trial(1, 0.8, 50.0, 12.0, label="er-code")]
    begun = replace(study_of(*trials), n_trials=9)
    assert relative_hypervolume(begun) is None  # no trial of the search yet: a start config may be to come
    # The box ends at accuracy 0.72, NFE 110 and 13.2 s.
    alone, added = 0.18 * 10 * 3.2, 0.08 * 60 * 1.2
    searched = replace(study_of(*trials, trial(2, 0.5, 900.0, 99.0)), n_trials=9)
    both = alone + added - 0.08 * 10.0 * 1.2
    assert relative_hypervolume(searched) == pytest.approx(both / alone)
    better = study_of(*searched.trials, trial(3, 0.9, 55.0, 10.0))
    assert relative_hypervolume(better) > both / alone
    assert relative_hypervolume(study_of(trial(0, 0.9, 100.0, 10.0))) is None
