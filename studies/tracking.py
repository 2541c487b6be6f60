"""Trials -> MLflow: one writer, a thread of the driver, which sends what has gathered in batches."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ndecore.errors import NDEError
from ndecore.metrics import EpochRecord
from reports.publish import publish_front
from reports.records import Kind, StudyRecord, Tag, TrialRecord, TrialStatus, config_params, metric_names
from reports.records import study_tags, trial_tags

_EXPERIMENT_KIND = "mlflow.experimentKind"  # without it the page opens in MLflow's view for language models
_TRAINING = "custom_model_development"
_BATCH = 1000  # metrics in one request: MLflow's limit
_RUN_STATUS = {
    TrialStatus.COMPLETE: RunStatus.FINISHED,
    TrialStatus.DIVERGED: RunStatus.FAILED,
    TrialStatus.FAILED: RunStatus.FAILED,
    TrialStatus.INTERRUPTED: RunStatus.KILLED,
}


class TrackingError(NDEError):
    """The tracking server or store cannot be used."""


@dataclass(frozen=True)
class Experiment:
    """Where a study is tracked."""

    uri: str
    experiment_id: str


def default_uri(root: Path) -> str:
    """The embedded store beside the artifacts: an SQLite file under `root`."""
    return f"sqlite:///{root.resolve()}/mlflow.db"


def open_experiment(uri: str, root: Path, name: str) -> Experiment:
    """Create the store and the experiment if they are missing; before any worker starts, since that is not safe in parallel.

    Raises:
        TrackingError: the store does not answer.
    """
    # A server that is down should be told of in seconds, not after MLflow's two minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    is_local = uri.startswith("sqlite:")
    try:
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(name)
        if found is not None:
            return Experiment(uri, found.experiment_id)
        artifacts = (root.resolve() / "artifacts" / name).as_uri() if is_local else None
        created = client.create_experiment(name, artifact_location=artifacts, tags={_EXPERIMENT_KIND: _TRAINING})
    except MlflowException as error:
        raise TrackingError(f"tracking store {uri} does not answer: {_first_line(error)}; start it or name another with --tracking-uri") from error
    return Experiment(uri, created)


class Tracker:
    """Writes a study into its experiment: a run for the study and a top-level run for each trial.

    Trials are not nested below the study's run: MLflow folds children away, and the chart page would show none of them. What is
    asked of it is queued and done in order by one thread; a failure there is kept in `failure` and does not stop the study.
    """

    def __init__(self, experiment: Experiment, study: StudyRecord) -> None:
        self._client = MlflowClient(tracking_uri=experiment.uri)
        self._experiment_id = experiment.experiment_id
        self._task = study.task
        self._runs: dict[int, str] = {}  # trial number -> run id
        self._study_run = ""
        self.failure = ""
        self._jobs: queue.SimpleQueue[Callable[[], None] | _Metrics | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._thread.start()
        self._jobs.put(lambda: self._open(study))

    def start_trial(self, trial: TrialRecord) -> None:
        """Open the trial's run. One left by an interrupted attempt is deleted: the trial begins again."""
        self._jobs.put(lambda: self._start_trial(trial))

    def log_epoch(self, number: int, record: EpochRecord) -> None:
        """Log an epoch's metrics, with the epoch as step."""
        now = int(time.time() * 1000)
        values = metric_names(record).items()
        self._jobs.put(_Metrics(number, [Metric(name, value, now, record.epoch) for name, value in values]))

    def end_trial(self, trial: TrialRecord) -> None:
        """Close the trial's run with its status and reason."""
        self._jobs.put(lambda: self._end_trial(trial))

    def close(self, study: StudyRecord, finished: bool) -> None:
        """Publish the front, close the study's run and wait until everything is written."""
        self._jobs.put(lambda: self._close(study, finished))
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while True:
            jobs, is_last = self._gathered()
            for job in _merged(jobs):
                try:
                    if isinstance(job, _Metrics):
                        self._log(job)
                    else:
                        job()
                except (MlflowException, OSError) as error:
                    self.failure = self.failure or _first_line(error)
            if is_last:
                return

    def _gathered(self) -> tuple[list["Callable[[], None] | _Metrics"], bool]:
        """Everything that is queued now, waiting for the first; and whether it is the last."""
        jobs = []
        job = self._jobs.get()
        while job is not None:
            jobs.append(job)
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _open(self, study: StudyRecord) -> None:
        found = self._client.search_runs([self._experiment_id], max_results=10_000)
        for run in found:
            if run.data.tags.get(Tag.KIND) == Kind.STUDY:
                self._study_run = run.info.run_id
            elif Tag.TRIAL in run.data.tags:
                self._runs[int(run.data.tags[Tag.TRIAL])] = run.info.run_id
        if not self._study_run:
            run = self._client.create_run(self._experiment_id, run_name="study", tags=study_tags(study))
            self._study_run = run.info.run_id
        self._client.update_run(self._study_run, status=RunStatus.to_string(RunStatus.RUNNING))

    def _start_trial(self, trial: TrialRecord) -> None:
        if trial.number in self._runs:
            self._client.delete_run(self._runs.pop(trial.number))
        name = f"trial {trial.number:04d}" + (f" {trial.label}" if trial.label else "")
        run = self._client.create_run(self._experiment_id, run_name=name, tags=trial_tags(trial, self._task))
        self._runs[trial.number] = run.info.run_id
        params = [Param(key, value) for key, value in config_params(trial.config).items()]
        self._client.log_batch(run.info.run_id, params=params)

    def _log(self, metrics: "_Metrics") -> None:
        for start in range(0, len(metrics.values), _BATCH):
            self._client.log_batch(self._runs[metrics.number], metrics=metrics.values[start : start + _BATCH])

    def _end_trial(self, trial: TrialRecord) -> None:
        tags = [RunTag(key, value) for key, value in trial_tags(trial, self._task).items()]
        self._client.log_batch(self._runs[trial.number], tags=tags)
        self._client.set_terminated(self._runs[trial.number], RunStatus.to_string(_RUN_STATUS[trial.status]))

    def _close(self, study: StudyRecord, finished: bool) -> None:
        publish_front(self._client, self._study_run, study)
        status = RunStatus.FINISHED if finished else RunStatus.KILLED
        self._client.set_terminated(self._study_run, RunStatus.to_string(status))


@dataclass
class _Metrics:
    """Metrics of one trial, to be sent together."""

    number: int
    values: list[Metric]


def _merged(jobs: Iterable["Callable[[], None] | _Metrics"]) -> list["Callable[[], None] | _Metrics"]:
    """The same jobs in the same order, with each trial's metrics between two other jobs in one."""
    merged: list[Callable[[], None] | _Metrics] = []
    open_batches: Mapping[int, _Metrics] = {}
    for job in jobs:
        if not isinstance(job, _Metrics):
            merged.append(job)
            open_batches = {}
        elif job.number in open_batches:
            open_batches[job.number].values.extend(job.values)
        else:
            merged.append(job)
            open_batches = {**open_batches, job.number: job}
    return merged


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
