"""What the writer does when a study does not go as planned; on a real SQLite store."""

from dataclasses import replace

import mlflow
import pytest
from test_progress import epoch, study, trial

from reports.records import Tag, TrialStatus
from studies.tracking import Tracker, TrackingError, default_uri, open_experiment

DONE = trial(0, 3, TrialStatus.COMPLETE)
NEXT = trial(1, 0)
STOPPED = replace(NEXT, status=TrialStatus.INTERRUPTED, reason="by hand")


@pytest.fixture
def experiment(tmp_path):
    return open_experiment(default_uri(tmp_path), tmp_path, "s")


@pytest.fixture
def client(experiment):
    return mlflow.MlflowClient(tracking_uri=experiment.uri)


def trial_runs(client, experiment):
    found = client.search_runs([experiment.experiment_id])
    return {run.data.tags[Tag.TRIAL]: run for run in found if Tag.TRIAL in run.data.tags}


def track(tracker, record):
    tracker.start_trial(replace(record, status=TrialStatus.RUNNING, epochs=()))
    for each in record.epochs:
        tracker.log_epoch(record.number, each)
    tracker.end_trial(record)


def test_a_trial_that_is_stopped_before_a_worker_took_it_up_has_a_run_that_was_killed(client, experiment):
    tracker = Tracker(experiment, study())
    tracker.end_trial(STOPPED)
    tracker.close(study(STOPPED), finished=False)
    assert not tracker.failure
    assert trial_runs(client, experiment)["1"].info.status == "KILLED"


def test_what_a_failure_kept_from_the_store_is_written_at_the_end(client, experiment):
    tracker = Tracker(experiment, study())
    track(tracker, DONE)
    tracker._jobs.put(lambda: client.get_run("no such run"))  # the store refuses something once
    tracker.start_trial(NEXT)
    tracker.log_epoch(1, epoch(1))
    failed = replace(NEXT, epochs=(epoch(1),), status=TrialStatus.FAILED, reason="made to")
    tracker.end_trial(failed)
    tracker.close(study(DONE, failed), finished=True)
    assert not tracker.failure
    runs = trial_runs(client, experiment)
    assert {number: run.info.status for number, run in runs.items()} == {"0": "FINISHED", "1": "FAILED"}
    assert len(client.get_metric_history(runs["0"].info.run_id, "nfe")) == 3
    assert len(client.get_metric_history(runs["1"].info.run_id, "nfe")) == 1


def test_runs_that_a_killed_driver_left_are_not_doubled(client, experiment):
    killed = Tracker(experiment, study())
    track(killed, DONE)
    killed.start_trial(NEXT)
    killed.log_epoch(1, epoch(1))
    killed._jobs.put(None)
    killed._thread.join()
    client.create_run(experiment.experiment_id, tags={Tag.TRIAL.value: "0"})  # twice around a crash
    again = Tracker(experiment, study(DONE, NEXT))
    track(again, trial(1, 2, TrialStatus.COMPLETE))
    again.close(study(DONE, trial(1, 2, TrialStatus.COMPLETE)), finished=True)
    assert len(client.search_runs([experiment.experiment_id])) == 3
    runs = trial_runs(client, experiment)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert len(client.get_metric_history(runs["1"].info.run_id, "nfe")) == 2


def test_an_experiment_that_was_deleted_in_mlflow_is_not_taken(client, experiment, tmp_path):
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackingError, match="has an experiment 's' already"):
        open_experiment(experiment.uri, tmp_path, "s")


def test_an_experiment_without_runs_is_taken_up(experiment, tmp_path):
    """As after a crash between the store and the ledger."""
    assert open_experiment(experiment.uri, tmp_path, "s") == experiment
