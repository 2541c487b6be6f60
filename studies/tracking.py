"""The ledger's projection into MLflow: one writer, a thread of the driver, sends what the server does not have yet.

Nothing is remembered but what can be asked of the server. What is sent carries the ledger's times, so that a request
that was made twice, because its answer was lost, adds nothing.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from mlflow.entities import Metric, Param, Run, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from reports.publish import publish
from reports.records import StudyRecord, TrialRecord, TrialStatus, best_epoch
from reports.report import StudyReport
from reports.shared_view import view_tag
from reports.standing import Standing, course, standings
from reports.vocabulary import Kind, Tag, best_metric_names, config_params, metric_names, study_tags, trial_tags
from studies.experiment import Experiment, answering, first_line, without_credentials

_BATCH = 1000  # metrics in one request: MLflow's limit
_RUN_STATUS = {
    TrialStatus.COMPLETE: RunStatus.FINISHED,
    TrialStatus.DIVERGED: RunStatus.FAILED,
    TrialStatus.FAILED: RunStatus.FAILED,
    TrialStatus.STOPPED: RunStatus.KILLED,
    TrialStatus.INTERRUPTED: RunStatus.KILLED,
    TrialStatus.RUNNING: RunStatus.RUNNING,
}
_ENDED = (TrialStatus.COMPLETE, TrialStatus.DIVERGED, TrialStatus.FAILED, TrialStatus.STOPPED)
_PATIENCE_S = (1.0, 2.0, 5.0, 10.0)  # between two attempts to reach a server that is down
_INTERVAL_S = 1.0  # between two rounds of requests: their cost is the workers' where the server shares the machine
_MS = 1000


@dataclass
class _Sent:
    """What a trial's run in MLflow has."""

    run_id: str
    n_epochs: int = 0
    status: str = ""  # of the run; empty where it has no params and tags yet
    last_ms: int | None = None  # ms since 1970, of the last of the epochs; None where that is not known
    standing: str = ""  # of the trial in its study
    is_calibrated: bool = False  # whether it has the calibration of its worker


class Tracker:
    """Keeps a study's experiment up to date: a run for the study and a top-level run for each trial.

    Trials are not nested below the study's run: MLflow folds children away, and the chart page would show none of them.
    While the server does not answer the study goes on; what it missed is sent when it is back, at the latest by
    `close`, and what even that could not send by the next session or `sync`.

    Raises:
        TrackingError: the store does not answer.
    """

    def __init__(self, experiment: Experiment, study: StudyRecord) -> None:
        self._uri = without_credentials(experiment.uri)
        self._client = MlflowClient(tracking_uri=self._uri)
        self._experiment_id = experiment.experiment_id
        self._study = study
        self._sent: dict[int, _Sent] = {}
        self._study_run = ""
        self._n_moments = 0  # of the study's course, that its run has
        self._standings: dict[int, Standing] = {}
        self._news: dict[int, TrialRecord] = {}
        self._wake = threading.Condition()
        self._closing = False
        self.failure = ""
        with answering(self._uri):
            self._open()
        self._news = {trial.number: trial for trial in study.trials}
        self._thread = threading.Thread(target=self._work, name="mlflow-writer", daemon=True)
        self._thread.start()

    def update(self, trial: TrialRecord) -> None:
        """A trial stands like this now; returns at once."""
        with self._wake:
            self._news[trial.number] = trial
            self._wake.notify()

    def close(self, report: StudyReport, finished: bool) -> None:
        """Publish the report, close the study's run and wait until everything is written; `failure` tells if it was."""
        study = report.study
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        try:
            if self.failure:
                self._open()
                self._send_all(study.trials)
            tags = [RunTag(key, value) for key, value in study_tags(study).items()]
            self._client.log_batch(self._study_run, tags=tags)
            publish(self._client, self._study_run, report)
            self._share_view()
            status = RunStatus.FINISHED if finished else RunStatus.KILLED
            self._client.set_terminated(self._study_run, RunStatus.to_string(status))
            self.failure = ""
        except (MlflowException, OSError) as error:
            self.failure = first_line(error)

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
                self._send_all(tuple(news[number] for number in sorted(news)))
            except (MlflowException, OSError) as error:
                self.failure, failures = first_line(error), failures + 1
                with self._wake:
                    self._news = news | self._news  # what has arrived of it is known again after `_open`
            else:
                with self._wake:
                    self._wake.wait_for(lambda: self._closing, _INTERVAL_S)

    def _open(self) -> None:
        """Find out what the server has. Of two runs of a trial, made around a crash, the one that has more stays."""
        experiment = self._client.get_experiment(self._experiment_id)
        if experiment.name != self._study.name:  # a store that was made anew has given the number away
            raise MlflowException(f"experiment {self._experiment_id} is {experiment.name!r}, not {self._study.name!r}")
        found: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self._all_runs():
            found[run.data.tags.get(Tag.TRIAL, "")].append(run)
        study_runs = [run.info.run_id for run in found.pop("", []) if run.data.tags.get(Tag.KIND) == Kind.STUDY]
        self._study_run = study_runs[0] if study_runs else self._create_run("study", study_tags(self._study), None)
        logged = self._client.get_metric_history(self._study_run, "hypervolume")
        self._n_moments = max((metric.step for metric in logged), default=0)
        for twin in study_runs[1:]:
            self._client.delete_run(twin)
        self._client.update_run(self._study_run, status=RunStatus.to_string(RunStatus.RUNNING))
        self._sent = {}
        for number, runs in found.items():
            best, *twins = sorted(runs, key=_epoch, reverse=True)
            for twin in twins:
                self._client.delete_run(twin.info.run_id)
            status = best.info.status if best.data.params else ""
            standing = best.data.tags.get(Tag.FRONT, "")
            has = "calibration_s" in best.data.metrics
            self._sent[int(number)] = _Sent(best.info.run_id, _epoch(best), status, self._last_ms(best), standing, has)

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

    def _send_all(self, trials: tuple[TrialRecord, ...]) -> None:
        """Bring the runs of trials up to date; where some have ended, the study's course and the front with them."""
        known = {trial.number: trial for trial in (*self._study.trials, *trials)}
        self._study = replace(self._study, trials=tuple(known[number] for number in sorted(known)))
        has_ended = any(trial.status is not TrialStatus.RUNNING for trial in trials)
        if has_ended:
            self._standings = standings(self._study)
        for trial in trials:
            self._send(trial)
        if has_ended:
            self._send_course()

    def _send_course(self) -> None:
        moments = course(self._study, after=self._n_moments)
        metrics = [
            Metric(name, value, int(moment.time_s * _MS), moment.n_ended)
            for moment in moments
            for name, value in moment.values.items()
        ]
        for at in range(0, len(metrics), _BATCH):
            self._client.log_batch(self._study_run, metrics=metrics[at : at + _BATCH])
        self._n_moments += len(moments)
        for number, standing in self._standings.items():
            sent = self._sent[number]
            if sent.standing != standing:
                self._client.set_tag(sent.run_id, Tag.FRONT.value, standing.value)
                sent.standing = standing

    def _share_view(self) -> None:
        """Columns and charts for the experiment's page, from what the study varied and measured."""
        name, value = view_tag(self._study)
        self._client.set_experiment_tag(self._experiment_id, name, value)

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
        best = best_epoch(trial, self._study.objectives[0]) if is_new and trial.status in _ENDED else None
        if best is not None:
            time_ms = int(trial.epoch_times[trial.epochs.index(best)] * _MS)
            metrics += [Metric(name, value, time_ms, best.epoch) for name, value in best_metric_names(best).items()]
        # A trial that goes on in another worker has another value: that of the last is told, once.
        if trial.status in _ENDED and trial.calibration_s is not None and not sent.is_calibrated:
            metrics.append(Metric("calibration_s", trial.calibration_s, int(trial.began_s * _MS), 0))
            sent.is_calibrated = True
        params = [Param(key, value) for key, value in config_params(trial.config).items()] if not sent.status else []
        tags = [RunTag(key, value) for key, value in trial_tags(trial, self._study.task).items()] if is_new else []
        standing = self._standings.get(trial.number)
        if is_new and standing:
            tags.append(RunTag(Tag.FRONT.value, standing.value))
            sent.standing = standing.value
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
