"""What is logged comes back: epochs, trials and studies, as JSON and as MLflow's tags and metrics."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_studies import epoch, realistic_trials, study_of, trial

from ndecore.errors import InputError
from ndecore.metrics import METRICS, EpochRecord
from reports.records import Deployment, TrialRecord, TrialStatus
from reports.vocabulary import (
    config_params,
    epoch_from_metrics,
    metric_names,
    study_from_tags,
    study_tags,
    trial_from_run,
    trial_tags,
)

NUMBERS = st.floats(allow_nan=False)
SCORES = st.dictionaries(st.sampled_from(["accuracy", "loss"]), NUMBERS)
CONFIGS = st.dictionaries(st.text(min_size=1), st.none() | st.booleans() | st.integers() | NUMBERS | st.text())


@st.composite
def epochs(draw: st.DrawFn) -> EpochRecord:
    scores = draw(SCORES)
    own = ("epoch", "scores", "solver_gap", "score_gaps", "loss_parts", "n_parameters", "is_last")
    names = [n for n in EpochRecord.__dataclass_fields__ if n not in own]
    return EpochRecord(
        epoch=draw(st.integers(1, 10_000)),
        scores=scores,
        solver_gap=draw(st.none() | NUMBERS),
        score_gaps=draw(st.just({}) | st.fixed_dictionaries(dict.fromkeys(scores, NUMBERS))),
        loss_parts=draw(st.dictionaries(st.sampled_from(["kl", "fit"]), NUMBERS)),
        n_parameters=draw(st.none() | st.integers(0, 10**6)),
        **{name: draw(NUMBERS) for name in names},
    )


@st.composite
def trials(draw: st.DrawFn) -> TrialRecord:
    return TrialRecord(
        study=draw(st.text()),
        number=draw(st.integers(0)),
        config=draw(CONFIGS),
        status=draw(st.sampled_from(TrialStatus)),
        reason=draw(st.text()),
        label=draw(st.text()),
        epochs=draw(st.lists(epochs(), max_size=2).map(tuple)),
        deployment=draw(st.none() | st.builds(Deployment, st.text(), NUMBERS, NUMBERS)),
    )


@given(epochs())
def test_an_epoch_comes_back_from_its_metrics(record):
    assert epoch_from_metrics(metric_names(record), METRICS.values()) == record


@given(trials())
def test_a_trial_comes_back_from_its_run_with_its_last_epoch(record):
    metrics = metric_names(record.epochs[-1]) if record.epochs else {}
    is_last = record.status is TrialStatus.COMPLETE
    expected = tuple(replace(each, is_last=is_last) for each in record.epochs[-1:])
    assert trial_from_run(trial_tags(record, "task"), metrics) == replace(record, epochs=expected)


def test_a_study_comes_back_from_its_tags():
    study = study_of(*realistic_trials())
    assert study_from_tags(study_tags(study), study.trials) == study
    unversioned = replace(study, versions=None)
    assert study_from_tags(study_tags(unversioned), study.trials) == unversioned


def test_a_metric_of_somebody_else_is_passed_over():
    record = epoch(0.9, 26.0, 3.0)
    assert epoch_from_metrics(metric_names(record) | {"system/cpu": 0.5}, METRICS.values(), is_last=True) == record


def test_an_epoch_with_a_missing_measurement_is_refused():
    metrics = metric_names(epoch(0.9, 26.0, 3.0))
    del metrics["nfe"]
    with pytest.raises(KeyError, match="nfe"):
        epoch_from_metrics(metrics, METRICS.values())


def test_scores_of_every_known_metric_keep_apart_from_the_records_own():
    own = set(EpochRecord.__dataclass_fields__)
    assert not {f"{name}_gap" for name in METRICS} & own


def test_a_trial_has_values_only_when_complete_and_finite():
    complete = trial(0, 0.9, 26.0, 3.0)
    metrics = (METRICS["accuracy"], METRICS["nfe"])
    assert complete.values(metrics) == (0.9, 26.0)
    assert replace(complete, status=TrialStatus.DIVERGED).values(metrics) is None
    assert replace(complete, epochs=()).values(metrics) is None
    assert trial(0, math.nan, 26.0, 3.0).values(metrics) is None


@pytest.mark.parametrize(("gap", "is_feasible"), [(0.01, True), (0.011, False), (None, False), (math.nan, False)])
def test_a_trial_is_feasible_up_to_its_solver_gap_and_only_if_that_was_measured(gap, is_feasible):
    assert trial(0, 0.9, 26.0, 3.0, gap).is_feasible(0.01) is is_feasible


def test_params_are_text():
    assert config_params({"lr": 1e-06, "time_dependent": True}) == {"lr": "1e-06", "time_dependent": "True"}


def test_an_unknown_metric_names_the_known_ones():
    with pytest.raises(InputError, match="got 'acuracy', allowed: accuracy, loss, mse, nfe"):
        study_of().metric("acuracy")
