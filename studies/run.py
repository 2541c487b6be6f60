"""Run a study: Ray Tune executes, Optuna proposes, the ledger remembers, MLflow shows."""

import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ray import tune

from ndecore.errors import InputError, NDEError
from ndecore.metrics import COSTS, METRICS
from ndecore.tasks import TASKS
from ndecore.tasks.base import Task
from reports.records import StudyRecord
from reports.report import study_report
from studies.build import build
from studies.cluster import check_storage, started_ray
from studies.ending import Ending, Interrupted, Interruption, interruptible
from studies.events import LedgerUnwritable
from studies.experiment import Experiment, open_experiment
from studies.ledger import Ledger
from studies.profiles import solver_profiles
from studies.recorder import Recorder
from studies.schedulers import SCHEDULERS
from studies.search import LedgerSearcher
from studies.secret import redacted, without_password
from studies.spec import StudySpec
from studies.stopping import BUG
from studies.sweeping import deployments
from studies.tracking import Tracker
from studies.trainable import TrialTrainable

_VERSIONED = ("torch", "ray", "optuna", "mlflow", "numpy", "nde-study")

OnChange = Callable[[StudyRecord], None]


@dataclass(frozen=True)
class Where:
    """Where a study runs and is kept; none of it changes its results."""

    root: Path  # the folder of all studies
    tracking_uri: str  # of the MLflow store or server
    address: str | None = None  # of a Ray cluster to join; this machine if None
    workers: int | None = None  # trials at once, instead of the spec's
    storage: str | None = None  # the URL of the study's database with the password that the ledger does not keep


@dataclass(frozen=True)
class More:
    """What is asked of a study beyond its spec."""

    trials: int = 0
    rerun: int | None = None  # the number of a trial to run again
    changes: Mapping[str, Any] = field(default_factory=dict)  # with these values


def run_study(spec: StudySpec, where: Where, on_change: OnChange, more: More = More()) -> StudyRecord:
    """Run a study, or what is left of it.

    Finished trials stay as they are, unfinished ones go on from their last checkpoint. Ctrl-C ends the study cleanly;
    the same command goes on.

    Args:
        spec: what to run.
        where: the study's folder is `where.root / spec.name`.
        on_change: called in the driver with the study as it stands, after each event.
        more: trials beyond those of the spec.

    Returns:
        The study as it ended.

    Raises:
        InputError: the spec cannot be run, a study of this name has another spec, or `root` cannot be written. Nothing
            was created.
        TrackingError: the tracking store does not answer. No study was created.
        StudyBusy: another process runs this study.
        NDEError: the study stopped at an error that is no trial's own; or MLflow lacks a part of the study, which
            running it again sends.
    """
    _check_runnable(spec)
    root = where.root.resolve()
    if (root / spec.name).exists():
        ledger = Ledger(root / spec.name, spec.storage)
        _check_same(spec, ledger)
        return _resumed(ledger, where, on_change, more)
    if more != More():
        raise InputError(f"--trials: got +{more.trials}, and no study {spec.name!r} under {root} to add them to")
    with ExitStack() as stack:
        if where.address:  # before anything is created
            stack.enter_context(started_ray(spec, where.address))
            check_storage(root)
        ledger = _create(spec, root, where.tracking_uri)
        with ledger.writing():
            return _run(ledger, where, on_change, is_started=bool(where.address))


def resume_study(name: str, where: Where, on_change: OnChange, more: More = More()) -> StudyRecord:
    """Go on with the study of this name as its ledger has it; as `run_study` in all else."""
    ledger = Ledger(where.root.resolve() / name, where.storage)
    _check_runnable(ledger.spec)
    return _resumed(ledger, where, on_change, more)


def sync_study(name: str, root: Path, tracking_uri: str | None) -> StudyRecord:
    """Bring the tracking server up to date with the ledger; nothing is added twice.

    Args:
        name: of the study.
        root: the folder of all studies.
        tracking_uri: another server than the study's: it gets the study whole, and is the study's from now on.

    Raises:
        TrackingError: the server does not answer, or has another study of this name.
        StudyBusy: the study is running, and so kept up to date.
    """
    ledger = Ledger(root.resolve() / name)
    with ledger.writing():
        facts = ledger.history.facts
        if tracking_uri is not None and without_password(tracking_uri) != facts["tracking_uri"]:
            experiment = open_experiment(tracking_uri, root.resolve(), name, facts["study_id"])
            ledger.moved(experiment.uri, experiment.experiment_id)
        tracker = _tracker(ledger, tracking_uri)
        _close(ledger, tracker)
    return ledger.record()


def _resumed(ledger: Ledger, where: Where, on_change: OnChange, more: More) -> StudyRecord:
    if more.rerun is not None:
        _check_rerun(ledger, more)
    if ledger.is_tracked and ledger.is_finished and more == More():
        return ledger.record()
    with ledger.writing():
        if more.rerun is not None:
            ledger.rerun(more.rerun, more.changes)
        elif more.trials:
            ledger.extended(more.trials)
        return _run(ledger, where, on_change)


def _check_runnable(spec: StudySpec) -> None:
    """Whatever would make every trial fail is found here, before anything is created."""
    task: type[Task] = TASKS[spec.task]
    measured = [name for name in METRICS if name in COSTS or METRICS[name] in task.metrics]
    for key, names in (("objectives", spec.objectives), ("thresholds", [t.name for t in spec.metric_thresholds])):
        for name in names:
            if name not in measured:
                got = f"got {name!r}, which task {spec.task!r} does not measure"
                raise InputError(f"{key}: {got}, allowed: {', '.join(measured)}")
    for start in spec.start:
        build(spec.task, start.config)
    evaluate = spec.evaluate_tolerances
    if evaluate:
        deployments(build(spec.task, {}), evaluate.solver, evaluate.rtol)


def _check_same(spec: StudySpec, ledger: Ledger) -> None:
    # The number of workers and where a study is tracked do not change its results.
    free = {"workers": spec.workers, "tracking_uri": spec.tracking_uri}
    if ledger.spec.model_copy(update=free) != spec.without_passwords().model_copy(update=free):
        raise InputError(
            f"study {spec.name!r} exists under {ledger.folder.parent} with another spec; "
            "give this one another name with --name"
        )


def _check_rerun(ledger: Ledger, more: More) -> None:
    if more.rerun not in ledger.history.trials:
        raise InputError(f"--rerun: got {more.rerun}, allowed: the number of a trial, `nde-study show` has them")
    build(ledger.spec.task, {**ledger.trial(more.rerun).config, **more.changes})


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


def _tracker(ledger: Ledger, tracking_uri: str | None) -> Tracker:
    """The address as it was given now, which has the password that the ledger does not keep."""
    study = ledger.record()
    same = tracking_uri is not None and without_password(tracking_uri) == study.tracking_uri
    return Tracker(Experiment(str(tracking_uri) if same else study.tracking_uri, study.experiment_id), study)


def _run(ledger: Ledger, where: Where, on_change: OnChange, is_started: bool = False) -> StudyRecord:
    ending = Ending()
    with interruptible(ending):  # to the last word to MLflow: a second Ctrl-C must leave no run open
        ledger.opened()
        tracker = _tracker(ledger, where.tracking_uri)
        searcher = LedgerSearcher(ledger, time.perf_counter)
        try:
            if searcher.has_work:
                recorder = Recorder(ledger, tracker, searcher, ending, on_change)
                with _ray(ledger, where, is_started):
                    _execute(ledger, where, searcher, recorder, ending)
        finally:
            _leave(ledger, tracker, ending)
    study = ledger.record()
    if BUG in study.stopped:
        raise NDEError(f"study {study.name!r} stopped: {study.stopped}")
    if ending.error:
        raise NDEError(f"study {study.name!r}: {ending.error}")
    return study


def _leave(ledger: Ledger, tracker: Tracker, ending: Ending) -> None:
    with suppress(LedgerUnwritable):  # told of already; the next session marks them
        for number in sorted(ledger.history.running):
            ledger.interrupted(number, "the study was interrupted")
        ledger.closed()
    try:
        _close(ledger, tracker)
    except NDEError as error:  # what stopped the study comes first, and what MLflow lacks the next session sends
        ending.fail(str(error))


def _close(ledger: Ledger, tracker: Tracker) -> None:
    study = ledger.record()
    for trial in ledger.unfinished():
        tracker.update(trial)
    tracker.close(study_report(study, solver_profiles(ledger)), ledger.is_finished)
    if tracker.failure:
        uri = redacted(study.tracking_uri)
        raise NDEError(f"MLflow lacks some of this: {tracker.failure}; `nde-study sync {study.name}` when {uri} is up")
    if ledger.is_finished:
        ledger.tracked()


@contextmanager
def _ray(ledger: Ledger, where: Where, is_started: bool) -> Iterator[None]:
    if is_started:
        yield
        return
    spec = ledger.spec.model_copy(update={"workers": where.workers or ledger.spec.workers})
    with started_ray(spec, where.address):
        if where.address:
            check_storage(ledger.folder.parent)
        yield


def _resources(cpus: int, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    return tune.PlacementGroupFactory([{"CPU": cpus, "GPU": config["gpu"]} if config["gpu"] else {"CPU": cpus}])


def _execute(ledger: Ledger, where: Where, searcher: LedgerSearcher, recorder: Recorder, ending: Ending) -> None:
    cpus, n_workers = ledger.spec.cpus, where.workers or ledger.spec.workers
    # The ledger has all that Tune keeps here, which is thrown away. All nodes of a cluster must see it.
    with (
        tempfile.TemporaryDirectory(prefix=".ray-", dir=ledger.folder if where.address else None) as scratch,
        suppress(Interrupted),
    ):
        tune.Tuner(
            tune.with_resources(TrialTrainable, lambda config: _resources(cpus, config)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=SCHEDULERS["fifo"](ledger),
                num_samples=-1,  # the searcher says when it is enough: a trial whose worker died comes again
                max_concurrent_trials=n_workers,
                reuse_actors=True,  # a new process per trial costs three quarters of the workers' time
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=scratch,
                verbose=0,
                callbacks=[recorder],
                stop=Interruption(ending),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
