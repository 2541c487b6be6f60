"""The ledger's projection into MLflow: one writer, a thread of the driver, sends what the server does not have yet.

Nothing is remembered but what can be asked of the server. What is sent carries the ledger's times, so that a request
that was made twice, because its answer was lost, adds nothing.
"""

import logging
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ndecore.errors import NDEError
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
from studies.secret import has_password, redacted

_EXPERIMENT_KIND = "mlflow.experimentKind"  # without it the page opens in MLflow's view for language models
_TRAINING = "custom_model_development"
_BATCH = 1000  # metrics in one request: MLflow's limit
_RUN_STATUS = {
    TrialStatus.COMPLETE: RunStatus.FINISHED,
    TrialStatus.DIVERGED: RunStatus.FAILED,
    TrialStatus.FAILED: RunStatus.FAILED,
    TrialStatus.INTERRUPTED: RunStatus.KILLED,
    TrialStatus.RUNNING: RunStatus.RUNNING,
}
_SQLITE = "sqlite:///"
_PATIENCE_S = (1.0, 2.0, 5.0, 10.0)  # between two attempts to reach a server that is down
_MS = 1000


class TrackingError(NDEError):
    """The tracking server or store cannot be used."""


@dataclass(frozen=True)
class Experiment:
    """Where a study is tracked."""

    uri: str  # without a password: MLflow takes that from MLFLOW_TRACKING_PASSWORD
    experiment_id: str


def default_uri(root: Path) -> str:
    """The embedded store beside the artifacts: an SQLite file under `root`."""
    return f"{_SQLITE}{root.resolve()}/mlflow.db"


def _without_credentials(uri: str) -> str:
    """Hand the password of a server to MLflow through the environment, so that it stands in no address."""
    if has_password(uri) and uri.startswith("http"):
        scheme, _, rest = uri.partition("://")
        user, _, host = rest.rpartition("@")
        name, _, password = user.partition(":")
        os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"] = (
            unquote(name),
            unquote(password),
        )
        return f"{scheme}://{host}"
    return uri


def open_experiment(uri: str, root: Path, name: str, study_id: str | None = None) -> Experiment:
    """Create the experiment of a new study, and an SQLite store if it is missing.

    Before any worker starts, since creating a store is not safe in parallel.

    Args:
        uri: of the store or server. The artifacts of an SQLite store go to `root`.
        root: the folder of all studies.
        name: of the study.
        study_id: of a study that may be there already, in part.

    Raises:
        TrackingError: the store does not answer, or has runs of another study of this name.
    """
    # A server that is down should be told of in seconds, not after MLflow's two minutes of retries.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # it tells of each table that it creates
    uri = _without_credentials(uri)
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
        is_usable = found.lifecycle_stage == "active" and _is_free(client, found.experiment_id, study_id)
    if not is_usable:
        # Its runs may be a colleague's, and an experiment that was deleted in MLflow keeps its name.
        raise TrackingError(
            f"{redacted(uri)} has an experiment {name!r} already; give the study another name with --name"
        )
    return Experiment(uri, found.experiment_id)


def _is_free(client: MlflowClient, experiment_id: str, study_id: str | None) -> bool:
    """Whether an experiment has no runs, or those of this study."""
    own = client.search_runs([experiment_id], f"tags.`{Tag.STUDY_ID}` = '{study_id}'", max_results=1)
    return bool(study_id and own) or not client.search_runs([experiment_id], max_results=1)


@contextmanager
def _answering(uri: str) -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        said = f"tracking store {redacted(uri)} does not answer: {_first_line(error)}"
        raise TrackingError(f"{said}; start it, or name another with --tracking-uri") from None


@dataclass
class _Sent:
    """What a trial's run in MLflow has."""

    run_id: str
    n_epochs: int = 0
    status: str = ""  # of the run; empty where it has no params and tags yet
    last_ms: int | None = None  # ms since 1970, of the last of the epochs; None where that is not known


class Tracker:
    """Keeps a study's experiment up to date: a run for the study and a top-level run for each trial.

    Trials are not nested below the study's run: MLflow folds children away, and the chart page would show none of them.
    While the server does not answer the study goes on; what it missed is sent when it is back, at the latest by
    `close`, and what even that could not send by the next session or `sync`.

    Raises:
        TrackingError: the store does not answer.
    """

    def __init__(self, experiment: Experiment, study: StudyRecord) -> None:
        self._uri = _without_credentials(experiment.uri)
        self._client = MlflowClient(tracking_uri=self._uri)
        self._experiment_id = experiment.experiment_id
        self._study = study
        self._sent: dict[int, _Sent] = {}
        self._study_run = ""
        self._news: dict[int, TrialRecord] = {}
        self._wake = threading.Condition()
        self._closing = False
        self.failure = ""
        with _answering(self._uri):
            self._open()
        self._news = {trial.number: trial for trial in study.trials}
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._thread.start()

    def update(self, trial: TrialRecord) -> None:
        """A trial stands like this now; returns at once."""
        with self._wake:
            self._news[trial.number] = trial
            self._wake.notify()

    def close(self, study: StudyRecord, finished: bool) -> None:
        """Publish the front, close the study's run and wait until everything is written; `failure` tells if it was."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        try:
            if self.failure:
                self._study = study
                self._open()
                for trial in study.trials:
                    self._send(trial)
            tags = [RunTag(key, value) for key, value in study_tags(study).items()]
            self._client.log_batch(self._study_run, tags=tags)
            publish_front(self._client, self._study_run, study)
            status = RunStatus.FINISHED if finished else RunStatus.KILLED
            self._client.set_terminated(self._study_run, RunStatus.to_string(status))
            self.failure = ""
        except (MlflowException, OSError) as error:
            self.failure = _first_line(error)

    def _work(self) -> None:
        """Send news until the study closes; after a failure look again at what the server has."""
        failures = 0
        while True:
            with self._wake:
                wait_s = _PATIENCE_S[min(failures, len(_PATIENCE_S)) - 1] if failures else None
                self._wake.wait_for(lambda: self._closing or (wait_s is None and bool(self._news)), wait_s)  # noqa: B023
                news, self._news = self._news, {}
                if self._closing and (failures or not news):
                    return
            try:
                if failures:
                    self._open()
                    self.failure, failures = "", 0
                for number in sorted(news):
                    self._send(news[number])
                    del news[number]
            except (MlflowException, OSError) as error:
                self.failure, failures = _first_line(error), failures + 1
                with self._wake:
                    self._news = news | self._news

    def _open(self) -> None:
        """Find out what the server has. Of two runs of a trial, made around a crash, the one that has more stays."""
        found: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self._all_runs():
            found[run.data.tags.get(Tag.TRIAL, "")].append(run)
        study_runs = [run.info.run_id for run in found.pop("", []) if run.data.tags.get(Tag.KIND) == Kind.STUDY]
        self._study_run = study_runs[0] if study_runs else self._create_run("study", study_tags(self._study), None)
        for twin in study_runs[1:]:
            self._client.delete_run(twin)
        self._client.update_run(self._study_run, status=RunStatus.to_string(RunStatus.RUNNING))
        self._sent = {}
        for number, runs in found.items():
            best, *twins = sorted(runs, key=_epoch, reverse=True)
            for twin in twins:
                self._client.delete_run(twin.info.run_id)
            status = best.info.status if best.data.params else ""
            self._sent[int(number)] = _Sent(best.info.run_id, _epoch(best), status, self._last_ms(best))

    def _last_ms(self, run: Run) -> int | None:
        """Asked for where the trial had not completed: it may have gone another way since."""
        if run.info.status == RunStatus.to_string(RunStatus.FINISHED) or not _epoch(run):
            return None
        return max(metric.timestamp for metric in self._client.get_metric_history(run.info.run_id, "epoch"))

    def _all_runs(self) -> Iterator[Run]:
        token = None
        while True:
            page = self._client.search_runs([self._experiment_id], page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _send(self, trial: TrialRecord) -> None:
        """Bring a trial's run up to date."""
        status = RunStatus.to_string(_RUN_STATUS[trial.status])
        sent = self._sent.get(trial.number)
        if sent and not _is_beginning(sent, trial):
            self._client.delete_run(sent.run_id)  # epochs of a path that was given up: after a lost checkpoint
            sent = None
        if sent is None:
            name = f"trial {trial.number:04d}" + (f" {trial.label}" if trial.label else "")
            run_id = self._create_run(name, trial_tags(trial, self._study.task), trial.began_s)
            sent = self._sent[trial.number] = _Sent(run_id)
        if sent.status and sent.status != status and status == RunStatus.to_string(RunStatus.RUNNING):
            self._client.update_run(sent.run_id, status=status)
        self._log(sent, trial, is_new=sent.status != status)
        if sent.status != status and status != RunStatus.to_string(RunStatus.RUNNING):
            self._client.set_terminated(sent.run_id, status, int(trial.ended_s * _MS) or None)
        sent.status = status

    def _log(self, sent: _Sent, trial: TrialRecord, is_new: bool) -> None:
        """The epochs that the run lacks; and with a new status its params and tags."""
        metrics = [
            Metric(name, value, int(time_s * _MS), record.epoch)
            for record, time_s in zip(trial.epochs[sent.n_epochs :], trial.epoch_times[sent.n_epochs :], strict=True)
            for name, value in metric_names(record).items()
        ]
        if is_new and trial.calibration_s is not None:
            metrics.append(Metric("calibration_s", trial.calibration_s, int(trial.began_s * _MS), 0))
        params = [Param(key, value) for key, value in config_params(trial.config).items()] if not sent.status else []
        tags = [RunTag(key, value) for key, value in trial_tags(trial, self._study.task).items()] if is_new else []
        while metrics or params or tags:
            self._client.log_batch(sent.run_id, metrics=metrics[:_BATCH], params=params, tags=tags)
            metrics, params, tags = metrics[_BATCH:], [], []
        sent.n_epochs = len(trial.epochs)
        sent.last_ms = int(trial.epoch_times[-1] * _MS) if trial.epoch_times else None

    def _create_run(self, name: str, tags: Mapping[str, str], began_s: float | None) -> str:
        began_ms = None if began_s is None else int(began_s * _MS)
        run = self._client.create_run(self._experiment_id, began_ms, run_name=name, tags=dict(tags))
        run_id: str = run.info.run_id
        return run_id


def _is_beginning(sent: _Sent, trial: TrialRecord) -> bool:
    """Whether the epochs that the run has are the first ones of the trial."""
    if sent.n_epochs > len(trial.epochs):
        return False
    return not sent.n_epochs or sent.last_ms in (None, int(trial.epoch_times[sent.n_epochs - 1] * _MS))


def _epoch(run: Run) -> int:
    return int(run.data.metrics.get("epoch", 0))


def _first_line(error: Exception) -> str:
    text = redacted(str(error).strip())
    return text.splitlines()[0] if text else type(error).__name__
