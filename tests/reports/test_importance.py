"""Importance finds what objectives were made of, and says when it finds nothing."""

from dataclasses import replace

import numpy as np
from made_up_studies import study_of, trial

from reports.importance import LEAST_TRIALS, importances


def searched(n, rng, accuracy):
    trials = []
    for number in range(n):
        weight, rate = float(rng.uniform()), float(rng.uniform())
        config = {"lr": rate, "regularizer": "none"} if number % 3 == 0 else {"lr": rate, "regularizer": "error"}
        config |= {} if number % 3 == 0 else {"weight": weight}
        nfe = 20.0 + (0.0 if number % 3 == 0 else 80.0 * weight)
        trials.append(trial(number, accuracy(rate, rng), nfe, float(rng.uniform(1, 2)), **config))
    return study_of(*trials)


def test_an_objective_hangs_on_what_it_was_made_of_even_where_only_some_trials_have_it():
    study = searched(60, np.random.default_rng(0), lambda rate, _: 0.5 + 0.4 * rate)
    accuracy, nfe, train_s = importances(study)
    assert accuracy.shares["lr"] > 0.9
    assert accuracy.explained > 0.8
    assert nfe.shares["weight"] > 0.8
    assert nfe.explained > 0.6
    assert train_s.explained < 0.2
    assert abs(sum(nfe.shares.values()) - 1.0) < 1e-12


def test_the_order_of_magnitude_of_an_objective_changes_nothing():
    study = searched(30, np.random.default_rng(1), lambda rate, _: 0.5 + 0.4 * rate)
    wild = [replace(t, epochs=(replace(t.epochs[0], nfe=float(np.exp(t.epochs[0].nfe / 10))),)) for t in study.trials]
    assert importances(study)[1].shares == importances(study_of(*wild))[1].shares


def test_a_key_that_repeats_another_does_not_take_half_of_its_importance():
    study = searched(30, np.random.default_rng(2), lambda rate, _: 0.5 + 0.4 * rate)
    tied = study_of(*(replace(t, config={**t.config, "twin": t.config["lr"]}) for t in study.trials))
    assert importances(tied) == importances(study)


def test_too_few_trials_or_nothing_varied_have_no_importance():
    assert importances(study_of(*(trial(n, 0.9, 20.0, 1.0, lr=n / 10) for n in range(LEAST_TRIALS - 1)))) == ()
    assert importances(study_of(*(trial(n, 0.9, 20.0 + n, 1.0) for n in range(20)))) == ()


def test_equal_values_of_an_objective_hang_on_nothing():
    found = importances(study_of(*(trial(n, 0.9, 20.0 + n, 1.0, lr=n / 10) for n in range(20))))
    assert set(found[0].shares.values()) == {0.0}
    assert found[1].shares["lr"] == 1.0
