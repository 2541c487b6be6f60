"""Which member of a front is recommended, and what is said of it against the baseline."""

import math
from dataclasses import replace

import pytest
from made_up_studies import epoch, realistic, study_of, trial

from ndecore.metrics import METRICS
from reports.choice import Rule, chosen_trial, compare, comparison_sentence, front_members, is_worse, lead
from reports.pareto import contributions, cost_matrix, front
from reports.records import Confirmation, Deployment, StudyRecord, SweptPoint

# The compromise, trial 1, is cheap and much worse than the baseline; trial 2 beats the baseline in everything.
TEMPTING = study_of(
    trial(0, 0.88, 170.0, 10.0, label="vanilla"),
    trial(1, 0.81, 60.0, 3.0),
    trial(2, 0.94, 99.0, 4.8),
    trial(3, 0.95, 180.0, 11.0),
)


def confirmed(study: StudyRecord, **scores: list[float]) -> StudyRecord:
    """With new seeds that score as given, by `t` and the trial's number."""
    found = []
    for name, values in scores.items():
        number = int(name[1:])
        last = next(each for each in study.trials if each.number == number).epochs[-1]
        for seed, value in enumerate(values, start=100):
            found.append(Confirmation(number, seed, replace(last, scores={**last.scores, "accuracy": value})))
    return replace(study, confirming=tuple(int(n[1:]) for n in scores), confirmations=tuple(found))


def test_the_knee_is_never_worse_than_the_baseline_where_a_member_is_not():
    assert chosen_trial(TEMPTING, Rule.IDEAL).number in (1, 2)
    assert chosen_trial(TEMPTING, Rule.KNEE).number == 2
    without = replace(TEMPTING, trials=tuple(t for t in TEMPTING.trials if t.number in (0, 1)))
    assert chosen_trial(without, Rule.KNEE).number == 0


def test_of_two_members_that_keep_the_baselines_score_the_knee_is_the_cheaper():
    study = study_of(trial(0, 0.8800, 20.0, 2.0, label="vanilla"), trial(1, 0.8799, 14.0, 2.0))
    study = replace(study, objectives=study.objectives[:2])
    assert [chosen_trial(study, rule).number for rule in (Rule.KNEE, Rule.TRADE)] == [1, 1]
    unguarded = replace(study, trials=tuple(replace(each, label="") for each in study.trials))
    assert chosen_trial(unguarded, Rule.KNEE).number == 0  # without a baseline the score decides


def test_where_every_member_is_worse_than_the_baseline_the_knee_is_of_all():
    # The baseline is infeasible and therefore not on the front.
    study = study_of(
        trial(0, 0.99, 170.0, 10.0, 0.5, label="vanilla"), trial(1, 0.8, 60.0, 3.0), trial(2, 0.9, 90.0, 5.0)
    )
    assert chosen_trial(study, Rule.KNEE).number == chosen_trial(study, Rule.IDEAL).number


def test_a_loss_within_the_scatter_of_the_baselines_last_epochs_is_no_loss():
    noisy = replace(
        TEMPTING.trials[0], epochs=tuple(epoch(a, 170.0, 10.0) for a in (0.7, 0.8, 0.86, 0.9, 0.85, 0.91, 0.85, 0.88))
    )
    steady = replace(
        TEMPTING.trials[0], epochs=tuple(epoch(a, 170.0, 10.0) for a in (0.7, 0.8, 0.86, 0.87, 0.88, 0.88, 0.88, 0.88))
    )
    slightly = trial(5, 0.86, 100.0, 5.0)
    assert not is_worse(TEMPTING, slightly, noisy)
    assert is_worse(TEMPTING, slightly, steady)


def test_a_lead_over_seeds_is_the_paired_difference_with_its_interval():
    study = confirmed(TEMPTING, t0=[0.88, 0.90, 0.86], t2=[0.93, 0.95, 0.92])
    found = lead(study, study.trials[2], study.trials[0])
    assert found.mean == pytest.approx((0.05 + 0.05 + 0.06) / 3)
    assert found.n == 3
    # t quantile 4.3027 for two degrees of freedom; the standard deviation is 1 / sqrt(3) hundredths.
    assert found.high - found.mean == pytest.approx(4.30265 * (0.01 / math.sqrt(3)) / math.sqrt(3), rel=1e-4)


def test_the_trade_is_the_cheapest_relative_to_the_baseline_of_those_that_keep_its_score():
    study = study_of(
        trial(0, 0.88, 100.0, 10.0, label="vanilla"),
        trial(1, 0.89, 50.0, 5.0),  # costs x 0.5
        trial(2, 0.93, 60.0, 6.0),
        trial(3, 0.80, 10.0, 1.0),
    )
    assert chosen_trial(study, Rule.TRADE).number == 1


def test_the_contribution_is_the_loss_of_hypervolume():
    members = front(TEMPTING)
    costs = cost_matrix(members, TEMPTING.objectives)
    lost = contributions(costs)
    assert (lost > 0.0).all()
    assert chosen_trial(TEMPTING, Rule.CONTRIBUTION) is members[int(lost.argmax())]


def test_a_sentence_says_what_is_gained_and_lost_and_how_sure_it_is():
    told = comparison_sentence(TEMPTING, TEMPTING.trials[1])
    assert told == (
        "Trial 1 against the baseline (trial 0): validation accuracy -7.00 points, NFE x 0.35, training time x 0.30; "
        "one seed each, not confirmed."
    )
    study = confirmed(TEMPTING, t0=[0.88, 0.90, 0.86], t2=[0.93, 0.95, 0.92])
    told = comparison_sentence(study, study.trials[2])
    assert "test accuracy +5.33 points [+3.90, +6.77] (better)" in told
    assert told.endswith("means over 3 new seeds, 95 % intervals.")
    study = confirmed(TEMPTING, t0=[0.88, 0.90, 0.86], t2=[0.90, 0.87, 0.89])
    assert "(no measurable difference)" in comparison_sentence(study, study.trials[2])
    assert comparison_sentence(TEMPTING, TEMPTING.trials[0]) == "Trial 0 is the unregularized baseline itself."


def test_like_is_compared_with_like_where_the_baseline_was_swept():
    def point(rtol, nfe, gap):
        return SweptPoint(0, Deployment("tsit5", rtol, rtol), {"accuracy": 0.88}, nfe, 10.0, 0.0, 0.1, gap)

    study = replace(TEMPTING, swept=(point(1e-4, 120.0, 5e-4), point(1e-3, 110.0, 9e-4), point(1e-2, 40.0, 0.1)))
    found = compare(study, study.trials[2])  # its solver gap is 0.001
    assert found is not None
    assert found.ratios["nfe"].mean == pytest.approx(99 / 170)
    assert found.nfe_at_equal_gap == pytest.approx(99 / 110)
    assert "NFE x 0.90 at equal solver gap" in comparison_sentence(study, study.trials[2])


def test_an_objective_that_is_minimized_is_better_where_it_is_smaller():
    objectives = (METRICS["loss"], METRICS["nfe"])
    study = study_of(trial(0, 0.88, 170.0, 10.0, label="vanilla"), trial(1, 0.94, 60.0, 3.0), objectives=objectives)
    assert lead(study, study.trials[1], study.trials[0]).mean == pytest.approx(2.5 * 0.06)
    assert "validation loss -0.15" in comparison_sentence(study, study.trials[1])


def test_every_rule_chooses_a_member_of_the_front():
    study = realistic()
    numbers = {member.number for member in front(study)}
    assert {each.number for each in front_members(study).values()} <= numbers
    assert set(front_members(study)) == set(Rule)
    assert front_members(study_of()) == {}
