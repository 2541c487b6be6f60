"""Every epoch as a model of its own: which are on the front, and what a config of one says."""

from dataclasses import replace

import pytest
from made_up_studies import study_of, trial

from ndecore.errors import InputError
from ndecore.metrics import METRICS, counts_epochs
from reports.anytime import anytime_front, candidate, candidates, exported_candidate
from reports.records import TrialStatus

OBJECTIVES = tuple(METRICS[name] for name in ("accuracy", "nfe", "train_work"))
SCORES = (0.5, 0.7, 0.8, 0.75, 0.9)


def curve(number, scores=SCORES, gaps=(None, None, 1e-3, None, 2e-3), nfe=20.0, status=TrialStatus.COMPLETE):
    made = trial(number, 0.5, 20.0, 1.0, epochs=5)
    epochs = tuple(
        replace(
            made.epochs[-1],
            epoch=i,
            scores={**made.epochs[-1].scores, "accuracy": score},
            nfe=nfe,
            train_work=100.0 * i,
            solver_gap=gap,
            is_last=i == 5,
        )
        for i, (score, gap) in enumerate(zip(scores, gaps, strict=False), start=1)
    )
    return replace(made, epochs=epochs, status=status, config={**made.config, "epochs": 5})


def study(*trials):
    return study_of(*trials, objectives=OBJECTIVES)


def names(study):
    return [str(each) for each in anytime_front(study).members]


def test_an_epoch_that_is_beaten_by_an_earlier_one_is_not_on_the_front():
    # Smoothed, the third is 0.75, as the fourth's median of 0.8, 0.75, 0.9 is 0.8.
    assert names(study(curve(7))) == ["7@5", "7@4", "7@3", "7@2", "7@1"]
    flat = curve(7, scores=(0.5, 0.9, 0.6, 0.6, 0.6))  # a lucky second epoch: smoothed it is 0.6
    assert names(study(flat)) == ["7@2", "7@1"]


def test_the_front_of_epochs_dominates_more_than_that_of_whole_trials():
    found = anytime_front(study(curve(1), curve(2, nfe=10.0, scores=(0.3, 0.4, 0.5, 0.6, 0.7))))
    assert found.hypervolume > found.of_whole > 0.0


def test_a_gap_that_was_not_measured_is_that_of_a_later_epoch_and_infeasible_epochs_do_not_count():
    found = {str(each): each for each in candidates(study(curve(1)))}
    assert [(each.trial.epochs[-1].solver_gap, each.has_own_gap) for each in found.values()] == [
        (1e-3, False), (1e-3, False), (1e-3, True), (2e-3, False), (2e-3, True),
    ]  # fmt: skip
    assert [str(each) for each in candidates(study(curve(1, gaps=(None, None, 1e-3, None, 0.5))))] == [
        "1@1", "1@2", "1@3",
    ]  # fmt: skip
    assert candidates(study(curve(1, gaps=(None,) * 5))) == ()


def test_epochs_of_a_stopped_trial_count_too():
    stopped = curve(3, scores=SCORES[:3], gaps=(None, None, 1e-3), status=TrialStatus.STOPPED)
    assert names(study(stopped)) == ["3@3", "3@2", "3@1"]
    assert anytime_front(study(stopped)).of_whole == 0.0


def test_a_config_of_an_epoch_says_how_long_its_schedules_are_and_when_it_ends():
    own = study(curve(12))
    found = exported_candidate(own, candidate(own, "12@3"))
    assert (found.trial, found.role) == (12, "trial 12 after 3 of 5 epochs")
    assert (found.config["epochs"], found.config["stop_after"]) == (5, 3)
    assert (found.expected["accuracy"], found.expected["train_work"], found.expected["solver_gap"]) == (0.8, 300, 1e-3)
    assert "solver_gap" not in exported_candidate(own, candidate(own, "12@2")).expected
    assert "stop_after" not in exported_candidate(own, candidate(own, "12@5")).config


@pytest.mark.parametrize("name", ["12", "12@9", "3@1", "a@b", "@"])
def test_a_name_of_none_is_refused(name):
    with pytest.raises(InputError, match="allowed: TRIAL@EPOCH such as 12@5"):
        candidate(study(curve(12)), name)


def test_epochs_count_where_a_cost_of_training_is_an_objective():
    assert counts_epochs(OBJECTIVES)
    assert not counts_epochs(OBJECTIVES[:2])
