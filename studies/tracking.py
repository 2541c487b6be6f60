"""Trials -> MLflow: one writer, a thread of the driver, which sends what has gathered in batches."""

import logging
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ndecore.errors import NDEError
from ndecore.metrics import EpochRecord
from reports.publish import publish_front
from reports.records import (
    Kind,
    StudyRecord,
    Tag,
    TrialRecord,
    TrialStatus,
    config_params,
    metric_names,
    study_tags,
    trial_tags,
)

_EXPERIMENT_KIND = "mlflow.experimentKind"  # without it the page opens in MLflow's view for language models
_TRAINING = "custom_model_development"
_BATCH = 1000  # metrics in one request: MLflow's limit
_RUN_STATUS = {
    TrialStatus.COMPLETE: RunStatus.FINISHED,
    TrialStatus.DIVERGED: RunStatus.FAILED,
    TrialStatus.FAILED: RunStatus.FAILED,
    TrialStatus.INTERRUPTED: RunStatus.KILLED,
}
_SQLITE = "sqlite:///"


class TrackingError(NDEError):
    """The tracking server or store cannot be used."""


@dataclass(frozen=True)
class Experiment:
    """Where a study is tracked."""

    uri: str
    experiment_id: str


def default_uri(root: Path) -> str:
    """The embedded store beside the artifacts: an SQLite file under `root`."""
    return f"{_SQLITE}{root.resolve()}/mlflow.db"


def open_experiment(uri: str, root: Path, name: str) -> Experiment:
    """Create the experiment of a new study, and an SQLite store if it is missing.

    Before any worker starts, since creating a store is not safe in parallel.

    Args:
        uri: of the store or server. The artifacts of an SQLite store go to `root`.
        root: the folder of all studies.
        name: of the study.

    Raises:
        TrackingError: the store does not answer, or has runs of another study of this name.
    """
    # A server that is down should be told of in seconds, not after MLflow's two minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of each table that it creates
    is_local = uri.startswith(_SQLITE)
    artifacts = (root / "artifacts" / name).as_uri() if is_local else None
    if is_local:
        # MLflow would try for minutes to open a file in a folder that is not there.
        Path(uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    with _answering(uri):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(name)
        if found is None:
            tags = {_EXPERIMENT_KIND: _TRAINING}
            return Experiment(uri, client.create_experiment(name, artifact_location=artifacts, tags=tags))
        is_usable = found.lifecycle_stage == "active" and not client.search_runs([found.experiment_id], max_results=1)
    if not is_usable:
        # Its runs may be a colleague's, and an experiment that was deleted in MLflow keeps its name.
        raise TrackingError(f"{uri} has an experiment {name!r} already; give the study another name with --name")
    return Experiment(uri, found.experiment_id)


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        raise TrackingError(
            f"tracking store {uri} does not answer: {_first_line(error)}; start it, or name another with --tracking-uri"
        ) from error


class Tracker:
    """Writes a study into its experiment: a run for the study and a top-level run for each trial.

    Trials are not nested below the study's run: MLflow folds children away, and the chart page would show none of them.
    What is asked of it is queued and done in order by one thread. After a failure, which does not stop the study,
    nothing more is sent until `close`, which writes whatever is missing.

    Raises:
        TrackingError: the store does not answer.
    """

    def __init__(self, experiment: Experiment, study: StudyRecord) -> None:
        self._client = MlflowClient(tracking_uri=experiment.uri)
        self._experiment_id = experiment.experiment_id
        self._task = study.task
        self._runs: dict[int, str] = {}  # trial number -> run id
        self._study_run = ""
        self.failure = ""
        self._jobs: queue.SimpleQueue[_Job | _Metrics | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        with _answering(experiment.uri):
            self._open(study)
        self._thread.start()

    def start_trial(self, trial: TrialRecord) -> None:
        """Open the trial's run. One left by an interrupted attempt is deleted: the trial begins again."""
        self._jobs.put(lambda: self._start_trial(trial))

    def log_epoch(self, number: int, record: EpochRecord) -> None:
        """Log an epoch's metrics, with the epoch as step."""
        self._jobs.put(_Metrics(number, _logged(record)))

    def end_trial(self, trial: TrialRecord) -> None:
        """Close the trial's run with its status and reason."""
        self._jobs.put(lambda: self._end_trial(trial))

    def close(self, study: StudyRecord, finished: bool) -> None:
        """Publish the front, close the study's run and wait until everything is written; `failure` tells if it was."""
        self._jobs.put(None)
        self._thread.join()
        try:
            if self.failure:
                self._open(study)
            publish_front(self._client, self._study_run, study)
            status = RunStatus.FINISHED if finished else RunStatus.KILLED
            self._client.set_terminated(self._study_run, RunStatus.to_string(status))
            self.failure = ""
        except (MlflowException, OSError) as error:
            self.failure = _first_line(error)

    def _work(self) -> None:
        is_last = False
        while not is_last:
            jobs, is_last = self._gathered()
            for job in [] if self.failure else _merged(jobs):
                try:
                    if isinstance(job, _Metrics):
                        self._log(job.number, job.values)
                    else:
                        job()
                except (MlflowException, OSError) as error:
                    self.failure = _first_line(error)
                    break

    def _gathered(self) -> tuple[list["_Job | _Metrics"], bool]:
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
        """Find the runs that are there, and make them what the ledger says: a killed driver leaves halves."""
        found: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self._all_runs():
            found[run.data.tags.get(Tag.TRIAL, "")].append(run)
        study_runs = [run.info.run_id for run in found.pop("", []) if run.data.tags.get(Tag.KIND) == Kind.STUDY]
        self._study_run = study_runs[0] if study_runs else self._create_run("study", study_tags(study))
        self._client.update_run(self._study_run, status=RunStatus.to_string(RunStatus.RUNNING))
        for trial in study.trials:
            self._mirror(trial, found[str(trial.number)])

    def _all_runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _mirror(self, trial: TrialRecord, runs: list[Run]) -> None:
        """Leave one run of the trial if it has ended, none if it begins again."""
        status = _RUN_STATUS.get(trial.status)
        whole = [run.info.run_id for run in runs if status and run.info.status == RunStatus.to_string(status)]
        self._runs.pop(trial.number, None)
        for run in runs:
            if run.info.run_id not in whole[:1]:
                self._client.delete_run(run.info.run_id)
        if whole:
            self._runs[trial.number] = whole[0]
        elif status:
            self._start_trial(trial)
            self._log(trial.number, [metric for record in trial.epochs for metric in _logged(record)])
            self._end_trial(trial)

    def _create_run(self, name: str, tags: Mapping[str, str]) -> str:
        run_id: str = self._client.create_run(self._experiment_id, run_name=name, tags=dict(tags)).info.run_id
        return run_id

    def _start_trial(self, trial: TrialRecord) -> None:
        if trial.number in self._runs:
            self._client.delete_run(self._runs.pop(trial.number))
        name = f"trial {trial.number:04d}" + (f" {trial.label}" if trial.label else "")
        self._runs[trial.number] = self._create_run(name, trial_tags(trial, self._task))
        params = [Param(key, value) for key, value in config_params(trial.config).items()]
        self._client.log_batch(self._runs[trial.number], params=params)

    def _log(self, number: int, values: list[Metric]) -> None:
        for start in range(0, len(values), _BATCH):
            self._client.log_batch(self._runs[number], metrics=values[start : start + _BATCH])

    def _end_trial(self, trial: TrialRecord) -> None:
        if trial.number not in self._runs:  # it ended before a worker took it up
            self._start_trial(trial)
        tags = [RunTag(key, value) for key, value in trial_tags(trial, self._task).items()]
        self._client.log_batch(self._runs[trial.number], tags=tags)
        self._client.set_terminated(self._runs[trial.number], RunStatus.to_string(_RUN_STATUS[trial.status]))


def _logged(record: EpochRecord) -> list[Metric]:
    now = int(time.time() * 1000)
    return [Metric(name, value, now, record.epoch) for name, value in metric_names(record).items()]


_Job = Callable[[], None]


@dataclass
class _Metrics:
    """Metrics of one trial, to be sent together."""

    number: int
    values: list[Metric]


def _merged(jobs: Iterable[_Job | _Metrics]) -> list[_Job | _Metrics]:
    """The same jobs in the same order, with each trial's metrics between two other jobs in one."""
    merged: list[_Job | _Metrics] = []
    open_batches: dict[int, _Metrics] = {}
    for job in jobs:
        if not isinstance(job, _Metrics):
            merged.append(job)
            open_batches.clear()
        elif job.number in open_batches:
            open_batches[job.number].values.extend(job.values)
        else:
            merged.append(job)
            open_batches[job.number] = job
    return merged


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
