"""Run a study: Ray Tune executes, Optuna proposes, the ledger remembers, MLflow shows."""

import os
import platform
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from ndecore.metrics import EpochRecord
from ndecore.tasks import TASKS
from ndecore.errors import InputError
from reports.records import StudyRecord, TrialStatus
from studies.build import build
from studies.ledger import Ledger
from studies.search import LedgerSearcher
from studies.spec import StudySpec
from studies.trainable import TrialTrainable
from studies.tracking import Experiment, Tracker, open_experiment

_VERSIONED = ("torch", "ray", "optuna", "mlflow", "numpy", "nde-study")
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # trials exchange a few numbers; Ray's smallest store is enough

OnChange = Callable[[StudyRecord], None]


def run_study(spec: StudySpec, root: Path, tracking_uri: str, on_change: OnChange) -> StudyRecord:
    """Run a study, or what is left of it, under `root`.

    Finished trials stay as they are. Ctrl-C ends the study cleanly: what is finished is kept, what was running is begun again
    when the same spec is run again.

    Args:
        spec: what to run.
        root: the folder of all studies; this one gets `root / spec.name`.
        tracking_uri: of the MLflow store or server.
        on_change: called in the driver with the study as it stands, after each event.

    Returns:
        The study as it ended.

    Raises:
        InputError: the spec cannot be run, or a study of this name has another spec. Nothing was created.
        TrackingError: the tracking store does not answer. Nothing was created.
        StudyBusy: another process runs this study.
    """
    _check_runnable(spec)
    folder = root / spec.name
    if folder.exists():
        ledger = Ledger(folder)
        _check_same(spec, ledger)
        experiment = Experiment(ledger.record().tracking_uri, ledger.record().experiment_id)
    else:
        root.mkdir(parents=True, exist_ok=True)
        experiment = open_experiment(tracking_uri, root, spec.name)
        facts = {
            "tracking_uri": experiment.uri,
            "experiment_id": experiment.experiment_id,
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _VERSIONED},
        }
        ledger = Ledger.create(folder, spec, facts)
    with ledger.writing():
        return _run(ledger, experiment, on_change)


def _check_runnable(spec: StudySpec) -> None:
    """Whatever would make every trial fail is found here, before anything is created."""
    for start in spec.start:
        build(spec.task, start.config)
    task = TASKS[spec.task]
    measured = {metric.name for metric in task.metrics} | {"nfe", "train_s", "predict_s", "train_work"}
    for name in spec.objectives:
        if name not in measured:
            raise InputError(f"objectives: got {name!r}, which task {spec.task!r} does not measure; allowed: {', '.join(sorted(measured))}")


def _check_same(spec: StudySpec, ledger: Ledger) -> None:
    # The number of workers and where a study is tracked do not change its results.
    free = {"workers": spec.workers, "tracking_uri": spec.tracking_uri}
    if ledger.spec.model_copy(update=free) != spec:
        raise InputError(
            f"study {spec.name!r} exists under {ledger.folder.parent} with another spec; "
            "give this one another name (--name), or remove that folder"
        )


def _run(ledger: Ledger, experiment: Experiment, on_change: OnChange) -> StudyRecord:
    searcher = LedgerSearcher(ledger)
    if searcher.n_left == 0:
        return ledger.record()
    tracker = Tracker(experiment, ledger.record())
    try:
        _execute(ledger, searcher, _Recorder(ledger, tracker, on_change))
    finally:
        for trial in ledger.unfinished():
            ledger.ended(trial.number, TrialStatus.INTERRUPTED, "the study was interrupted")
            tracker.end_trial(ledger.trial(trial.number))
        study = ledger.record()
        tracker.close(study, finished=len(study.trials) == study.n_trials and not ledger.unfinished())
    if tracker.failure:
        print(f"warning: MLflow lacks a part of this study: {tracker.failure}")
    return study


def _execute(ledger: Ledger, searcher: LedgerSearcher, recorder: "_Recorder") -> None:
    spec = ledger.spec
    n_threads = int(spec.fixed.get("threads", 1))
    _start_ray(spec.workers * n_threads)
    tuner = tune.Tuner(
        tune.with_resources(TrialTrainable, {"cpu": n_threads}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            num_samples=searcher.n_left,
            max_concurrent_trials=spec.workers,
            reuse_actors=True,  # a new process per trial costs three quarters of the workers' time
        ),
        run_config=tune.RunConfig(
            name="ray", storage_path=str(ledger.folder), verbose=0, callbacks=[recorder]
        ),
    )
    try:
        tuner.fit()
    finally:
        ray.shutdown()


def _start_ray(n_cpus: int) -> None:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the ledger and MLflow hold what these would write
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    ray.init(
        num_cpus=n_cpus,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=_OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
    )


class _Recorder(tune.Callback):
    """What Tune reports goes to the ledger first, then to MLflow and to whoever watches."""

    def __init__(self, ledger: Ledger, tracker: Tracker, on_change: OnChange) -> None:
        self._ledger, self._tracker, self._on_change = ledger, tracker, on_change

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot to keep: a study is resumed from its ledger."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker takes up a trial, which the searcher has entered in the ledger."""
        self._tracker.start_trial(self._ledger.trial(trial.config["number"]))
        self._on_change(self._ledger.record())

    def on_trial_result(self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any) -> None:
        """An epoch is done, or the trial ended by itself."""
        number, status = trial.config["number"], TrialStatus(result["status"])
        if "record" in result:
            record = EpochRecord(**result["record"])
            self._ledger.epoch(number, record)
            self._tracker.log_epoch(number, record)
        if status is not TrialStatus.RUNNING:
            self._end(number, status, result["reason"])
        self._on_change(self._ledger.record())

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's process raised or was lost."""
        self._end(trial.config["number"], TrialStatus.FAILED, _reason(trial))
        self._on_change(self._ledger.record())

    def _end(self, number: int, status: TrialStatus, reason: str) -> None:
        self._ledger.ended(number, status, reason)
        self._tracker.end_trial(self._ledger.trial(number))


def _reason(trial: Trial) -> str:
    """The last line of the worker's traceback: the error itself."""
    lines = [line for line in str(trial.get_error() or "the worker was lost").splitlines() if line.strip()]
    return lines[-1].strip()
