"""What the writer does when a study does not go as planned; on a real SQLite store."""

import time
from dataclasses import replace

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from test_progress import study, trial

from reports.records import TrialStatus
from reports.report import study_report
from reports.shared_view import VIEW_TAG, view_tag
from reports.vocabulary import Tag
from studies import tracking
from studies.addresses import default_uri
from studies.experiment import TrackingError, open_experiment
from studies.tracking import Tracker


def timed(record, first=100.0):
    return replace(record, epoch_times=tuple(first + i for i in range(len(record.epochs))), began_s=first)


DONE = timed(trial(0, 3, TrialStatus.COMPLETE))
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


def until(claim):
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def history(client, run, name="nfe"):
    return [(metric.step, metric.timestamp) for metric in client.get_metric_history(run.info.run_id, name)]


class Broken:
    """A client whose store answers nothing but errors for a while, the answers to what it has done included."""

    def __init__(self, client, n_failures, loses_answers):
        self._client, self.n_failures, self._loses_answers = client, n_failures, loses_answers

    def __getattr__(self, name):
        def call(*args, **options):
            fails = self.n_failures > 0
            self.n_failures -= 1
            if fails and not self._loses_answers:
                raise MlflowException("500")
            answer = getattr(self._client, name)(*args, **options)
            if fails:
                raise MlflowException("500")
            return answer

        return call


def test_a_trial_that_is_stopped_before_a_worker_took_it_up_has_a_run_that_was_killed(client, experiment):
    tracker = Tracker(experiment, study())
    tracker.update(STOPPED)
    tracker.close(study_report(study(STOPPED)), finished=False)
    assert not tracker.failure
    assert trial_runs(client, experiment)["1"].info.status == "KILLED"


def test_a_trial_is_sent_as_it_goes(client, experiment):
    tracker = Tracker(experiment, study())
    for n_epochs in range(3):
        tracker.update(timed(trial(0, n_epochs)))
        until(lambda n=n_epochs: len(trial_runs(client, experiment)) == 1 and n == logged(client, experiment))
    assert trial_runs(client, experiment)["0"].info.status == "RUNNING"
    tracker.update(DONE)
    tracker.close(study_report(study(DONE)), finished=True)
    run = trial_runs(client, experiment)["0"]
    assert (run.info.status, run.info.start_time) == ("FINISHED", 100_000)
    assert history(client, run) == [(1, 100_000), (2, 101_000), (3, 102_000)]


def logged(client, experiment):
    return int(trial_runs(client, experiment)["0"].data.metrics.get("epoch", 0))


@pytest.mark.parametrize("loses_answers", [False, True], ids=["refused", "answers lost"])
@pytest.mark.parametrize("n_failures", [1, 2, 3, 5])
def test_an_outage_while_trials_run_loses_nothing_and_doubles_nothing(
    n_failures, loses_answers, client, experiment, monkeypatch
):
    monkeypatch.setattr(tracking, "_PATIENCE_S", (0.01,))
    tracker = Tracker(experiment, study())
    tracker._client = broken = Broken(tracker._client, n_failures, loses_answers)
    tracker.update(timed(trial(0, 1)))
    tracker.update(replace(NEXT, status=TrialStatus.FAILED, reason="made to"))
    until(lambda: broken.n_failures < 0 and not tracker._news and not tracker.failure)
    tracker.update(DONE)
    tracker.close(study_report(study(DONE)), finished=True)
    assert not tracker.failure
    runs = trial_runs(client, experiment)
    assert len(client.search_runs([experiment.experiment_id])) == 3
    assert {number: run.info.status for number, run in runs.items()} == {"0": "FINISHED", "1": "FAILED"}
    assert history(client, runs["0"]) == [(1, 100_000), (2, 101_000), (3, 102_000)]


def test_what_an_outage_kept_from_the_store_until_the_end_is_told_and_sent_next_time(client, experiment, monkeypatch):
    monkeypatch.setattr(tracking, "_PATIENCE_S", (0.01,))
    tracker = Tracker(experiment, study())
    tracker._client = Broken(tracker._client, 10**6, False)
    tracker.update(DONE)
    tracker.close(study_report(study(DONE)), finished=True)
    assert tracker.failure == "500"
    again = Tracker(experiment, study(DONE))
    again.close(study_report(study(DONE)), finished=True)
    assert not again.failure
    assert {run.info.status for run in client.search_runs([experiment.experiment_id])} == {"FINISHED"}
    assert len(history(client, trial_runs(client, experiment)["0"])) == 3


def test_runs_that_a_killed_driver_left_are_gone_on_with(client, experiment):
    killed = Tracker(experiment, study())
    killed.update(DONE)
    killed.update(timed(trial(1, 1)))
    until(lambda: not killed._news and 1 in killed._sent and killed._sent[1].n_epochs == 1)
    before = trial_runs(client, experiment)
    client.create_run(experiment.experiment_id, tags={Tag.TRIAL.value: "0"})  # twice around a crash
    last = timed(trial(1, 2, TrialStatus.COMPLETE))
    again = Tracker(experiment, study(DONE, timed(trial(1, 1))))
    again.update(last)
    again.close(study_report(study(DONE, last)), finished=True)
    runs = trial_runs(client, experiment)
    assert len(client.search_runs([experiment.experiment_id])) == 3
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert runs["1"].info.run_id == before["1"].info.run_id
    assert history(client, runs["1"]) == [(1, 100_000), (2, 101_000)]


def test_epochs_that_were_given_up_are_not_left_in_a_run(client, experiment):
    """The trial went on from an earlier checkpoint, and its run had more."""
    tracker = Tracker(experiment, study())
    tracker.update(timed(trial(0, 3)))
    tracker.close(study_report(study(timed(trial(0, 3)))), finished=False)
    done = trial(0, 3, TrialStatus.COMPLETE)
    done = replace(done, epoch_times=(100.0, 205.0, 206.0), began_s=100.0)
    again = Tracker(experiment, study(done))
    again.close(study_report(study(done)), finished=True)
    (run,) = trial_runs(client, experiment).values()
    assert history(client, run) == [(1, 100_000), (2, 205_000), (3, 206_000)]


def test_sending_a_study_again_changes_nothing(client, experiment):
    for _ in range(2):
        Tracker(experiment, study(DONE)).close(study_report(study(DONE)), finished=True)
        runs = client.search_runs([experiment.experiment_id])
        assert len(runs) == 2
        assert len(history(client, trial_runs(client, experiment)["0"])) == 3


def ended(number, at_s, nfe=26.0):
    done = trial(number, 3, TrialStatus.COMPLETE)
    epochs = tuple(replace(each, nfe=nfe, scores={"accuracy": 0.9 - 0.1 * i}) for i, each in enumerate(done.epochs))
    return replace(timed(replace(done, epochs=epochs), first=at_s - 5), ended_s=at_s)


def test_course_and_standings_are_live_and_a_replay_doubles_nothing(client, experiment):
    first, second = ended(0, 200.0), ended(1, 300.0, nfe=14.0)
    tracker = Tracker(experiment, study())
    tracker.update(first)
    until(lambda: course_of(client, experiment, "front_size") == [(1, 200_000, 1.0)])
    assert fronts(client, experiment) == {"0": "knee"}
    tracker.update(second)
    tracker.close(study_report(study(first, second)), finished=True)
    for _ in range(2):  # as `sync` does
        Tracker(experiment, study(first, second)).close(study_report(study(first, second)), finished=True)
    assert fronts(client, experiment) == {"0": "dominated", "1": "knee"}
    assert course_of(client, experiment, "front_size") == [(1, 200_000, 1.0), (2, 300_000, 1.0)]
    assert course_of(client, experiment, "trials_complete") == [(1, 200_000, 1.0), (2, 300_000, 2.0)]
    assert [step for step, *_ in course_of(client, experiment, "hypervolume")] == [1, 2]


def course_of(client, experiment, name):
    (run,) = (r for r in client.search_runs([experiment.experiment_id]) if Tag.TRIAL not in r.data.tags)
    return [(m.step, m.timestamp, m.value) for m in client.get_metric_history(run.info.run_id, name)]


def fronts(client, experiment):
    found = {number: run.data.tags.get(Tag.FRONT) for number, run in trial_runs(client, experiment).items()}
    return {number: place for number, place in found.items() if place}


def test_a_trial_has_its_best_epoch_beside_its_last_and_the_experiment_a_view(client, experiment):
    done = ended(0, 100.0)
    Tracker(experiment, study(done)).close(study_report(study(done)), finished=True)
    run = trial_runs(client, experiment)["0"]
    assert (run.data.metrics["accuracy"], run.data.metrics["best_accuracy"]) == (0.7, 0.9)
    assert run.data.metrics["best_epoch"] == 1
    assert history(client, run, "best_nfe") == [(1, 95_000)]
    assert run.data.tags[Tag.FIDELITY] == "full"
    assert client.get_experiment(experiment.experiment_id).tags[VIEW_TAG] == view_tag(study(done))[1]


def test_an_experiment_that_was_deleted_in_mlflow_is_not_taken(client, experiment, tmp_path):
    client.delete_experiment(experiment.experiment_id)
    with pytest.raises(TrackingError, match="has an experiment 's' already"):
        open_experiment(experiment.uri, tmp_path, "s")


def test_an_experiment_without_runs_is_taken_up(experiment, tmp_path):
    """As after a crash between the store and the ledger."""
    assert open_experiment(experiment.uri, tmp_path, "s") == experiment


def test_the_calibration_of_a_trial_that_went_on_elsewhere_stands_once(client, experiment):
    """Its first worker had another one."""
    begun = replace(timed(trial(0, 1)), calibration_s=0.01)
    stopped = replace(begun, status=TrialStatus.INTERRUPTED, reason="by hand")
    first = Tracker(experiment, study())
    first.update(begun)
    first.close(study_report(study(stopped)), finished=False)
    done = replace(DONE, calibration_s=0.02)
    for _ in range(2):
        Tracker(experiment, study(done)).close(study_report(study(done)), finished=True)
    run = trial_runs(client, experiment)["0"]
    assert [m.value for m in client.get_metric_history(run.info.run_id, "calibration_s")] == [0.02]
