"""A study end to end: `nde-study run` on real Ray, Optuna and MLflow."""

import itertools
import json

import mlflow
import pytest
import torch
from command_line import descendants, events, of_kind

from reports.pareto import front
from reports.records import Cause, TrialStatus
from reports.vocabulary import Kind, Tag, metric_names
from studies.ledger import Ledger

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def study(small):
    return Ledger(small.folder).record()


@pytest.fixture(scope="module")
def client(small):
    return mlflow.MlflowClient(tracking_uri=small.uri)


@pytest.fixture(scope="module")
def runs(client):
    experiment = client.get_experiment_by_name("small")
    return client.search_runs([experiment.experiment_id])


@pytest.fixture(scope="module")
def trial_runs(runs):
    return {int(run.data.tags[Tag.TRIAL]): run for run in runs if run.data.tags[Tag.KIND] == Kind.TRIAL}


def test_every_trial_asked_for_is_in_the_ledger_and_has_ended(study):
    assert [trial.number for trial in study.trials] == list(range(6))
    statuses = [trial.status for trial in study.trials]
    assert statuses.count(TrialStatus.COMPLETE) == 5
    complete = [trial for trial in study.trials if trial.status is TrialStatus.COMPLETE]
    assert all([epoch.epoch for epoch in trial.epochs] == [1, 2, 3, 4] for trial in complete)
    assert all(trial.epochs[-1].solver_gap is not None for trial in complete)


def test_start_configs_come_first_with_their_labels_and_keys_beyond_the_space(study):
    assert [trial.label for trial in study.trials] == ["plain", "damped", "wild", "", "", ""]
    assert study.trials[0].config["learning_rate"] == 0.2
    assert (study.trials[1].config["momentum"], study.trials[1].config["weight"]) == (0.8, 10.0)
    assert study.trials[3].config["momentum"] == 0.9


def test_a_diverging_trial_is_recorded_with_its_reason_and_the_study_goes_on(study):
    wild = study.trials[2]
    assert wild.status is TrialStatus.DIVERGED
    assert (wild.cause, wild.reason[:9]) == (Cause.STEP_LIMIT, "MAX_STEPS")
    assert wild not in front(study)


def test_optuna_learns_of_a_diverged_trial_as_a_violated_constraint(small):
    with Ledger(small.folder).writing() as ledger:
        trials = ledger.proposals.get_trials(deepcopy=False)
    assert {trial.state.name for trial in trials} == {"COMPLETE"}
    assert trials[2].constraints["diverged"] > 0
    assert trials[0].constraints["diverged"] == 0
    assert trials[2].values == [-1e6, 1e6, 1e6]


def test_trials_overlap_in_time_but_never_more_than_there_are_workers(small):
    spans = {event["number"]: [event["time"]] for event in of_kind(small.folder, "started")}
    for event in of_kind(small.folder, "ended"):
        spans[event["number"]].append(event["time"])
    pairs = itertools.combinations(spans.values(), 2)
    assert sum(a[0] < b[1] and b[0] < a[1] for a, b in pairs) >= 3
    turns = [number for number, _ in itertools.groupby(event["number"] for event in of_kind(small.folder, "epoch"))]
    assert len(turns) > len(set(turns))  # the epochs of some trials lie between each other's
    running: set[int] = set()
    for event in events(small.folder):
        running = running | {event["number"]} if event["event"] == "started" else running
        running = running - {event["number"]} if event["event"] == "ended" else running
        assert len(running) <= 2


def test_what_ran_where_beside_what_is_recorded(study, trial_runs):
    """Two workers on one machine: trials share it, though on a busy one the first may have ended before the second."""
    assert all(trial.node for trial in study.trials)
    assert all(0 < trial.calibration_s < 1 for trial in study.trials)
    packed = [trial.number for trial in study.trials if trial.packed]
    assert len(packed) >= 2
    assert trial_runs[packed[0]].data.tags[Tag.PACKED] == "true"
    assert trial_runs[0].data.tags[Tag.NODE] == study.trials[0].node


def test_workers_are_reused_from_trial_to_trial(small):
    assert len(small.workers) == 2


def test_nothing_of_ray_is_left(small):
    assert not [title for title in descendants(1).values() if str(small.home) in title]
    assert not (small.folder / "ray").exists()


def test_each_trial_is_one_top_level_run_with_its_params_metrics_and_tags(study, trial_runs, client):
    assert sorted(trial_runs) == [0, 1, 2, 3, 4, 5]
    for trial in study.trials:
        run = trial_runs[trial.number]
        assert "mlflow.parentRunId" not in run.data.tags
        assert run.data.params == {key: str(value) for key, value in trial.config.items()}
        assert run.data.tags[Tag.STATUS] == trial.status.value
        assert run.data.tags[Tag.REASON] == trial.reason
        for name, value in metric_names(trial.epochs[-1]).items() if trial.epochs else ():
            assert run.data.metrics[name] == value
    history = client.get_metric_history(trial_runs[0].info.run_id, "nfe")
    assert [(m.step, m.value) for m in history] == [(e.epoch, e.nfe) for e in study.trials[0].epochs]
    assert trial_runs[0].info.run_name == "trial 0000 plain"


def test_no_run_is_left_running(runs):
    assert sorted(run.info.status for run in runs) == ["FAILED"] + ["FINISHED"] * 6


def test_the_experiment_opens_in_the_training_view(client):
    tags = client.get_experiment_by_name("small").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_the_study_has_one_run_with_its_front(study, runs, client, small):
    (run,) = (run for run in runs if run.data.tags[Tag.KIND] == Kind.STUDY)
    paths = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert paths == {"report.html", "report.md", "report.json", "front.html", "tables", "configs"}
    folder = small.root / "artifacts" / "small" / run.info.run_id / "artifacts"
    assert (folder / "configs").is_dir()
    on_front = [row["trial"] for row in json.loads((folder / "report.json").read_text())["front"]]
    assert on_front == [trial.number for trial in front(study)]
    assert run.data.metrics["trials_failed"] == 1


def test_weights_of_complete_trials_are_plain_tensors(small, study):
    ledger = Ledger(small.folder)
    for trial in study.trials:
        path = ledger.weights_path(trial.number)
        assert path.exists() == (trial.status is TrialStatus.COMPLETE)
    weights = torch.load(ledger.weights_path(0), weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())


def test_nothing_but_the_study_is_said(small):
    assert small.ended.err == ""
    lines = small.ended.out.splitlines()
    assert [line[:6] for line in lines[:6]] == [f"[{n}/6] " for n in range(1, 7)]
    assert lines[6] == "small (digits_node): 6 of 6 trials: 5 complete, 1 diverged"
    assert "front of " in lines[5]
    assert lines[-3] == "browse:  nde-study ui small"
    for noise in ("Configuration for experiment", "View detailed results", "Warning", "INFO"):
        assert noise not in small.ended.out


def test_the_lock_and_the_logs_are_all_that_the_folder_holds(small):
    names = {path.name for path in small.folder.iterdir()}
    assert names == {"spec.yaml", "events.jsonl", "proposals.log", "lock", "trials"}
    assert {path.name for path in small.root.iterdir()} == {"small", "mlflow.db", "artifacts"}
    assert {path.name for path in small.home.iterdir()} == {"small.yaml", "nde-runs"}
