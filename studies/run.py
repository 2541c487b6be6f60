"""Run a study: Ray Tune executes, Optuna proposes, the ledger remembers, MLflow shows."""

import platform
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ray import tune

from ndecore.errors import InputError, NDEError
from reports.records import StopRule, StudyRecord
from reports.report import study_report
from studies.addresses import SQLITE
from studies.asked import NO_MORE, More, Where
from studies.build import build
from studies.carried_files import Carried, carrier
from studies.cluster import started_ray
from studies.code_files import changed, originals_of
from studies.ending import Ending, Interrupted, Interruption, interruptible
from studies.event_log import LedgerUnwritable
from studies.events import Tracking
from studies.experiment import Experiment, experiment_of, open_experiment
from studies.ledger import Ledger, Origin
from studies.messages import ORDER
from studies.profiles import solver_profiles
from studies.reading import SPEC
from studies.recorder import Recorder
from studies.sameness import check_same_spec
from studies.search import LedgerSearcher
from studies.secret import redacted, without_password
from studies.spec import StudySpec
from studies.store import set_aside
from studies.sweeping import deployments
from studies.tracking import Tracker
from studies.trainable import TrialTrainable
from studies.trial_files import DIRECT

_VERSIONED = ("torch", "ray", "optuna", "mlflow", "numpy", "nde-study")

OnChange = Callable[[StudyRecord], None]


def run_study(spec: StudySpec, where: Where, on_change: OnChange, more: More = NO_MORE) -> StudyRecord:
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
        return _run_again(spec, root, where, on_change, more)
    if more != NO_MORE:
        raise InputError(f"--trials: got +{more.trials}, and no study {spec.name!r} under {root} to add them to")
    with ExitStack() as stack:
        if where.address:  # before anything is created
            stack.enter_context(started_ray(spec, where.address))
        ledger = _create(spec, root, where.tracking_uri)
        if ledger is None:  # another process was faster
            return _run_again(spec, root, where, on_change, more)
        with ledger.writing():
            return _run(ledger, where, on_change, is_started=bool(where.address))


def _run_again(spec: StudySpec, root: Path, where: Where, on_change: OnChange, more: More) -> StudyRecord:
    ledger = Ledger(root / spec.name, spec.storage)
    return _resumed(ledger, where, on_change, more, check_same_spec(spec, ledger))


def resume_study(name: str, where: Where, on_change: OnChange, more: More = NO_MORE) -> StudyRecord:
    """Go on with the study of this name as its ledger has it; as `run_study` in all else."""
    ledger = Ledger(where.root.resolve() / name, where.storage)
    if more.retries:
        recoded = changed(ledger.folder, originals_of(ledger.folder))
        return _resumed(ledger, where, on_change, more, recoded)
    _check_runnable(ledger.spec, ledger.folder)
    return _resumed(ledger, where, on_change, more)


def sync_study(name: str, root: Path, tracking_uri: str | None, rebuild: bool = False) -> StudyRecord:
    """Bring the tracking server up to date with the ledger; nothing is added twice.

    Args:
        name: of the study.
        root: the folder of all studies.
        tracking_uri: another server than the study's: it gets the study whole, and is the study's from now on.
        rebuild: make the study's SQLite store anew; the file that is there is kept beside.

    Raises:
        InputError: the study is tracked on a server, which cannot be made anew from here.
        TrackingError: the server does not answer, or has another study of this name.
        StudyBusy: the study is running, and so kept up to date.
    """
    ledger = Ledger(root.resolve() / name)
    with ledger.writing():
        if rebuild:
            _set_store_aside(ledger)
        if tracking_uri is not None and without_password(tracking_uri) != ledger.tracking.uri:
            experiment = open_experiment(tracking_uri, root.resolve(), name, ledger.study_id)
            ledger.moved(Tracking(without_password(experiment.uri), experiment.experiment_id))
        tracker = _tracker(ledger, tracking_uri)
        _close(ledger, tracker)
    return ledger.record()


def _set_store_aside(ledger: Ledger) -> None:
    uri = ledger.tracking.uri
    if not uri.startswith(SQLITE):
        raise InputError(f"--rebuild: got a study that is tracked at {redacted(uri)}, allowed: one in an SQLite file")
    set_aside(Path(uri.removeprefix(SQLITE)))


def _resumed(
    ledger: Ledger, where: Where, on_change: OnChange, more: More, recoded: Mapping[Path, Path] = MappingProxyType({})
) -> StudyRecord:
    if more.rerun is not None:
        _check_rerun(ledger, more)
    reopening = _reopening(ledger, more)
    if ledger.is_tracked and ledger.is_finished and more == NO_MORE and not recoded:
        return ledger.record()
    with ledger.writing(reopening):
        if recoded:
            ledger.recoded(recoded)
        if more.retries:
            ledger.retried()
        if more.rerun is not None:
            ledger.rerun(more.rerun, more.changes)
        elif more.trials:
            ledger.extended(more.trials)
        return _run(ledger, where, on_change)


def _check_runnable(spec: StudySpec, folder: Path | None = None) -> None:
    """Whatever would make every trial fail is found here, before anything is created."""
    for start in spec.start:
        build(spec.task, start.config, folder=folder)
    evaluate = spec.evaluate_tolerances
    if evaluate:
        deployments(build(spec.task, {}, folder=folder), evaluate.solver, evaluate.rtol)


def _check_rerun(ledger: Ledger, more: More) -> None:
    if more.rerun not in ledger.history.trials:
        raise InputError(f"--rerun: got {more.rerun}, allowed: the number of a trial, `nde-study show` has them")
    build(ledger.spec.task, {**ledger.trial(more.rerun).config, **more.changes}, folder=ledger.folder)


def _reopening(ledger: Ledger, more: More) -> tuple[int, ...]:
    stopped = ledger.stopped_trials
    asked = more.reopening
    unknown = ["all"] if asked is None and not stopped else [str(n) for n in asked or () if n not in stopped]
    if unknown:
        allowed = ", ".join(map(str, stopped)) or "none here"
        raise InputError(f"--take-up: got {', '.join(unknown)}, allowed: trials that a rule stopped: {allowed}")
    return stopped if asked is None else asked


def _create(spec: StudySpec, root: Path, tracking_uri: str) -> Ledger | None:
    """The new study; None where there is one by now."""
    study_id = uuid.uuid4().hex
    try:
        # First: if it is down no folder is left behind.
        experiment = open_experiment(tracking_uri, root, spec.name, study_id)
        origin = Origin(
            study_id=study_id,
            tracking=Tracking(without_password(experiment.uri), experiment.experiment_id),
            versions={"python": platform.python_version()} | {name: version(name) for name in _VERSIONED},
        )
        root.mkdir(parents=True, exist_ok=True)
        return Ledger.create(root / spec.name, spec, origin)
    except OSError as error:
        if (root / spec.name / SPEC).exists():
            return None
        place = error.filename or root
        remedy = "name another folder with --root, or another store with --tracking-uri"
        raise InputError(f"{place}: cannot be written: {error.strerror}; {remedy}") from error


def _tracker(ledger: Ledger, tracking_uri: str | None) -> Tracker:
    """The address as it was given now, which has the password that the ledger does not keep."""
    kept = ledger.tracking
    same = tracking_uri is not None and without_password(tracking_uri) == kept.uri
    known = Experiment(str(tracking_uri) if same else kept.uri, kept.experiment_id)
    found = experiment_of(known, ledger.folder.parent.resolve(), ledger.name, ledger.study_id)
    if found.experiment_id != kept.experiment_id:
        ledger.moved(Tracking(without_password(found.uri), found.experiment_id))
    return Tracker(found, ledger.record())


def _run(ledger: Ledger, where: Where, on_change: OnChange, is_started: bool = False) -> StudyRecord:
    ending = Ending()
    with interruptible(ending):  # to the last word to MLflow: a second Ctrl-C must leave no run open
        ledger.opened()
        tracker = _tracker(ledger, where.tracking_uri)
        searcher = LedgerSearcher(ledger, time.perf_counter, Carried() if where.address else DIRECT)
        try:
            if searcher.has_work:
                recorder = Recorder(ledger, tracker, searcher, ending, on_change)
                with _ray(ledger, where, is_started):
                    _execute(ledger, where, searcher, recorder, ending)
        finally:
            _leave(ledger, tracker, ending)
    study = ledger.record()
    if study.stopped and study.stopped.rule is StopRule.SAME_ERROR:
        raise NDEError(ledger.failure)
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


def _ray(ledger: Ledger, where: Where, is_started: bool) -> AbstractContextManager[None]:
    if is_started:
        return nullcontext()
    spec = ledger.spec.model_copy(update={"workers": where.workers or ledger.spec.workers})
    return started_ray(spec, where.address)


def _resources(cpus: int, config: dict[str, Any]) -> tune.PlacementGroupFactory:
    gpu = config[ORDER].gpu
    return tune.PlacementGroupFactory([{"CPU": cpus, "GPU": gpu} if gpu else {"CPU": cpus}])


def _execute(ledger: Ledger, where: Where, searcher: LedgerSearcher, recorder: Recorder, ending: Ending) -> None:
    cpus, n_workers = ledger.spec.cpus, where.workers or ledger.spec.workers
    with (
        # The ledger has all that Tune keeps here, which is thrown away. Workers write nothing there.
        tempfile.TemporaryDirectory(prefix=".ray-") as scratch,
        carrier() if where.address else nullcontext(),
        suppress(Interrupted),
    ):
        tune.Tuner(
            tune.with_resources(TrialTrainable, lambda config: _resources(cpus, config)),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,  # the searcher says when it is enough: a trial whose worker died comes again
                max_concurrent_trials=n_workers,
                reuse_actors=True,  # a new process per trial costs three quarters of the workers' time
            ),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=scratch,
                verbose=0,
                callbacks=[recorder],
                stop=Interruption(ending, recorder.note, recorder.look),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
