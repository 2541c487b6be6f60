"""Run a study: Ray Tune executes, Optuna proposes, the ledger remembers, MLflow shows."""

import logging
import os
import platform
import shutil
import signal
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from ndecore.errors import InputError, NDEError
from ndecore.metrics import COSTS, METRICS, EpochRecord
from ndecore.tasks import TASKS
from ndecore.tasks.base import Task
from reports.records import StudyRecord, TrialStatus
from studies.build import build
from studies.ledger import Ledger
from studies.search import LedgerSearcher
from studies.spec import StudySpec
from studies.tracking import Experiment, Tracker, open_experiment
from studies.trainable import TrialTrainable

_VERSIONED = ("torch", "ray", "optuna", "mlflow", "numpy", "nde-study")
_OBJECT_STORE_BYTES = 80 * 1024 * 1024  # trials exchange a few numbers; Ray's smallest store is enough
_RAY_FOLDER = "ray"

OnChange = Callable[[StudyRecord], None]


def run_study(spec: StudySpec, root: Path, tracking_uri: str, on_change: OnChange) -> StudyRecord:
    """Run a study, or what is left of it, under `root`.

    Finished trials stay as they are. Ctrl-C ends the study cleanly: what is finished is kept, what was running is begun
    again when the same spec is run again.

    Args:
        spec: what to run.
        root: the folder of all studies; this one gets `root / spec.name`.
        tracking_uri: of the MLflow store or server, for a study that is new.
        on_change: called in the driver with the study as it stands, after each event.

    Returns:
        The study as it ended.

    Raises:
        InputError: the spec cannot be run, a study of this name has another spec, or `root` cannot be written. Nothing
            was created.
        TrackingError: the tracking store does not answer. No study was created.
        StudyBusy: another process runs this study.
        NDEError: MLflow lacks a part of the study; running it again sends that.
    """
    _check_runnable(spec)
    root = root.resolve()
    if (root / spec.name).exists():
        ledger = Ledger(root / spec.name)
        _check_same(spec, ledger)
        if ledger.is_tracked:
            return ledger.record()
    else:
        ledger = _create(spec, root, tracking_uri)
    with ledger.writing():
        return _run(ledger, on_change)


def _check_runnable(spec: StudySpec) -> None:
    """Whatever would make every trial fail is found here, before anything is created."""
    task: type[Task] = TASKS[spec.task]
    measured = [name for name in METRICS if name in COSTS or METRICS[name] in task.metrics]
    for name in spec.objectives:
        if name not in measured:
            raise InputError(
                f"objectives: got {name!r}, which task {spec.task!r} does not measure, allowed: {', '.join(measured)}"
            )
    for start in spec.start:
        build(spec.task, start.config)


def _check_same(spec: StudySpec, ledger: Ledger) -> None:
    # The number of workers and where a study is tracked do not change its results.
    free = {"workers": spec.workers, "tracking_uri": spec.tracking_uri}
    if ledger.spec.model_copy(update=free) != spec:
        raise InputError(
            f"study {spec.name!r} exists under {ledger.folder.parent} with another spec; "
            "give this one another name with --name"
        )


def _create(spec: StudySpec, root: Path, tracking_uri: str) -> Ledger:
    try:
        experiment = open_experiment(tracking_uri, root, spec.name)  # first: if it is down no folder is left behind
        facts = {
            "tracking_uri": experiment.uri,
            "experiment_id": experiment.experiment_id,
            "versions": {"python": platform.python_version()} | {name: version(name) for name in _VERSIONED},
        }
        root.mkdir(parents=True, exist_ok=True)
        return Ledger.create(root / spec.name, spec, facts)
    except OSError as error:
        place = error.filename or root
        remedy = "name another folder with --root, or another store with --tracking-uri"
        raise InputError(f"{place}: cannot be written: {error.strerror}; {remedy}") from error


def _run(ledger: Ledger, on_change: OnChange) -> StudyRecord:
    study = ledger.record()
    searcher = LedgerSearcher(ledger)
    tracker = Tracker(Experiment(study.tracking_uri, study.experiment_id), study)
    try:
        if searcher.n_left:
            _execute(ledger, searcher, _Recorder(ledger, tracker, on_change))
    finally:
        for trial in ledger.unfinished():
            if trial.status is TrialStatus.RUNNING:
                ledger.ended(trial.number, TrialStatus.INTERRUPTED, "the study was interrupted")
                tracker.end_trial(ledger.trial(trial.number))
        study = ledger.record()
        is_finished = len(study.trials) == study.n_trials and not ledger.unfinished()
        tracker.close(study, is_finished)
        if is_finished and not tracker.failure:
            ledger.tracked()
    if tracker.failure:
        raise NDEError(f"MLflow lacks some of this: {tracker.failure}; run it again when {study.tracking_uri} is up")
    return study


def _execute(ledger: Ledger, searcher: LedgerSearcher, recorder: "_Recorder") -> None:
    n_threads = int(ledger.spec.fixed.get("threads", 1))
    with _interruptible() as interrupted, suppress(_Interrupted), _started_ray(ledger.spec.workers * n_threads):
        tune.Tuner(
            tune.with_resources(TrialTrainable, {"cpu": n_threads}),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=searcher.n_left,
                max_concurrent_trials=ledger.spec.workers,
                reuse_actors=True,  # a new process per trial costs three quarters of the workers' time
            ),
            run_config=tune.RunConfig(
                name=_RAY_FOLDER,
                storage_path=str(ledger.folder),
                verbose=0,
                callbacks=[recorder],
                stop=_Interruption(interrupted),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    shutil.rmtree(ledger.folder / _RAY_FOLDER, ignore_errors=True)  # the ledger has all that Tune keeps there


class _Interrupted(BaseException):
    """The person has asked for an end. Tune, which waits up to 15 s for its workers, lets a BaseException through."""


class _Interruption(tune.Stopper):
    """Ends the study once the person has asked for it."""

    def __init__(self, asked: threading.Event) -> None:
        self._asked = asked

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """A single trial is never ended."""
        return False

    def stop_all(self) -> bool:
        """Tune calls this several times a second, between two events."""
        if self._asked.is_set():
            raise _Interrupted
        return False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot to keep."""
        return {}


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets the event, however often it comes.

    The alternative, an exception wherever the driver happens to be, leaves half an event written, or half of Ray.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # which alone may handle signals
        yield asked
        return
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _started_ray(n_cpus: int) -> Iterator[None]:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # the ledger and MLflow hold what these would write
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    os.environ["TUNE_PRINT_ALL_TRIAL_ERRORS"] = "0"  # each is told of once, with its trial
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one prints a banner even at verbose=0
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        ray.init(
            num_cpus=n_cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
        )
        yield
    finally:
        ray.shutdown()


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

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
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
        number = trial.config["number"]
        error = Path(trial.error_file).read_text(encoding="utf-8")
        folder = self._ledger.trial_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(error, encoding="utf-8")
        self._end(number, TrialStatus.FAILED, _reason(error))
        self._on_change(self._ledger.record())

    def _end(self, number: int, status: TrialStatus, reason: str) -> None:
        self._ledger.ended(number, status, reason)
        self._tracker.end_trial(self._ledger.trial(number))


def _reason(error: str) -> str:
    """The last line of the worker's traceback: the error itself. Ray explains a lost worker at length."""
    return textwrap.shorten([line for line in error.splitlines() if line.strip()][-1], 160, placeholder=" ...")
