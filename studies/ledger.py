"""The study's truth: an Optuna study for what was proposed, an append-only event log for what happened.

Both are written by one process at a time, the driver, and each event before it is acted on. Ray executes, MLflow shows;
neither is asked. Optuna's part can be made from the log again.
"""

import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from ndecore.errors import InputError
from ndecore.metrics import EpochRecord
from reports.deployments import cheapest_point, deployed_record
from reports.records import (
    Cause,
    Confirmation,
    Stop,
    StoppedBy,
    StopRule,
    StudyRecord,
    SweptPoint,
    TrialRecord,
    TrialStatus,
)
from reports.wording import printable
from studies import events
from studies.addresses import address_in, relative_to_root
from studies.code_files import packed, write_copies
from studies.constraints import constraints_of
from studies.event_log import EventLog, drop_torn_line
from studies.events import Definition, Digest, Entry, Event, Placement, Tracking, entry_data
from studies.history import Saved
from studies.kept_epochs import KeptEpochs
from studies.locks import is_locked
from studies.proposals import JOURNAL, agreeing_proposals, answering, drop_proposals, open_proposals
from studies.reading import SPEC, catch_up, read_history
from studies.replay import dimension_values, enqueue_reruns, tell
from studies.secret import without_password
from studies.spec import StudySpec, load_spec
from studies.trial_files import ERROR, WEIGHTS, attempt_folder, check_whole, settle, trial_folder, unsettled

_EVENTS = "events.jsonl"


@dataclass(frozen=True)
class Attempt:
    """What a worker needs to know of a trial beside its config."""

    folder: Path  # the only place where it may write
    checkpoint: Path | None  # where to go on
    worker_s: float  # s that earlier attempts have trained
    alone: bool  # with a GPU to itself


@dataclass(frozen=True)
class Origin:
    """What a new study has beside its spec."""

    study_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    tracking: Tracking = field(default_factory=Tracking)
    versions: Mapping[str, str] | None = None  # package -> version


class Ledger:
    """One study: its spec, its proposals, its events. Read by anyone, written by the one that holds the lock."""

    proposals: optuna.Study  # while writing

    def __init__(self, folder: Path, storage: str | None = None, clock: Callable[[], float] = time.time) -> None:
        """Read a study; neither its task nor its spec is asked.

        Args:
            folder: of the study.
            storage: the URL of its database with the password, which the ledger does not keep.
            clock: s since 1970, or in a simulation since it began.

        Raises:
            InputError: there is none.
            LedgerDamaged: a line of its log is not as it was written.
        """
        if not (folder / _EVENTS).exists():
            known = ", ".join(study_names(folder.parent)) or "none yet"
            raise InputError(f"no study {folder.name!r} under {folder.parent}, there are: {known}")
        self.folder, self._clock = folder, clock
        self._log = EventLog(folder / _EVENTS)
        self._kept = KeptEpochs(folder)
        self._load()
        if storage is not None and without_password(storage) != self.spec.storage:
            got = f"got {without_password(storage)}, allowed: {self.spec.storage or 'none'}"
            raise InputError(f"--storage: {got}, where study {self.name!r} is kept")
        self._given_storage = storage

    @classmethod
    def create(cls, folder: Path, spec: StudySpec, origin: Origin, clock: Callable[[], float] = time.time) -> "Ledger":
        """Begin a study in `folder`, all of it or nothing; `clock` as for one that is read.

        Raises:
            OSError: the folder exists with something in it, or cannot be written.
            StorageError: the database cannot be used.
        """
        spec, originals = packed(spec)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        tracking = replace(origin.tracking, uri=relative_to_root(origin.tracking.uri, folder.parent))
        created = events.Created(origin.study_id, _definition(spec), tracking=tracking, versions=origin.versions)
        try:
            partial.chmod(0o755)  # mkdtemp's 0o700 would hide a study from one's colleagues
            (partial / SPEC).write_text(spec.without_passwords().to_yaml(), encoding="utf-8")
            write_copies(partial, originals)
            (partial / _EVENTS).touch()
            with EventLog(partial / _EVENTS).opened(spec.name) as log:
                log.append(entry_data(Entry(clock(), created)))
            with open_proposals(partial, spec, spec.storage, origin.study_id) as study:
                for start in spec.start:
                    study.enqueue_trial(dimension_values(spec, start.config))
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial)
            if spec.storage:
                drop_proposals(spec, origin.study_id, spec.storage)
            raise
        return cls(folder, spec.storage, clock)

    @cached_property
    def spec(self) -> StudySpec:
        """What was asked for, as it was written down; only who runs trials needs it."""
        spec = load_spec(self.folder / SPEC, is_stored=True)
        if spec.name != self.name:
            got = f"got the name {spec.name!r}, allowed: {self.name!r}, with which the study began"
            raise InputError(f"{self.folder / SPEC}: {got}; to run it under another name copy the file")
        return spec

    @property
    def name(self) -> str:
        """Of the study."""
        return self.history.created.study.name

    @property
    def study_id(self) -> str:
        """By which the study is told from others of its name."""
        return self.history.created.study_id

    @property
    def tracking(self) -> Tracking:
        """Where the study is tracked, from where it lies now."""
        kept = self.history.created.tracking
        return replace(kept, uri=address_in(kept.uri, self.folder))

    @property
    def is_tracked(self) -> bool:
        """Whether MLflow holds all of a study that has come to its end."""
        return self.history.is_tracked

    @property
    def n_trials(self) -> int:
        """How many trials were asked for, those added later included."""
        return self.history.created.study.n_trials + self.history.n_added

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        history = self.history
        return not history.running | history.waiting and (len(history.trials) >= self.n_trials or bool(history.stopped))

    @property
    def is_running(self) -> bool:
        """Whether a process is writing it."""
        return is_locked(self.folder / _EVENTS)

    @property
    def state(self) -> str:
        """What the study is doing, in a word."""
        if self.is_running:
            return "running"
        return "stopped" if self.history.stopped else "finished" if self.is_finished else "interrupted"

    @property
    def failure(self) -> str:
        """Why the last session failed, by a mistake or because MLflow lacks a part, and the remedy; empty if not.

        A session that died, or that a full disk ended, has left an interrupted study.
        """
        stop = self.history.stopped
        if stop and stop.rule is StopRule.SAME_ERROR:
            trace = self.trial_folder(self.history.ended[-1]) / ERROR
            where = f"traceback: {trace}; " if trace.exists() else ""
            remedy = f"{where}after a fix: `nde-study resume {self.name} --retry-failed`"
            return f"study {self.name!r} stopped: {stop}; {remedy}"
        if self.is_finished and isinstance(self.history.last, events.Closed):
            return f"study {self.name!r}: MLflow lacks some of this; `nde-study sync {self.name}` sends it"
        return ""

    def catch_up(self) -> bool:
        """Take in what another process has written since; return whether that was anything."""
        return catch_up(self.history, self._log)

    def record(self) -> StudyRecord:
        """The study as reports see it, now."""
        history, tracking = self.history, self.tracking
        study = history.created.study
        return StudyRecord(
            name=study.name,
            task=study.task,
            objectives=study.objectives,
            max_solver_gap=study.max_solver_gap,
            n_trials=self.n_trials,
            trials=tuple(history.trials[number] for number in sorted(history.trials)),
            tracking_uri=tracking.uri,
            experiment_id=tracking.experiment_id,
            versions=history.created.versions,
            thresholds=study.thresholds,
            study_id=history.created.study_id,
            stopped=history.stopped,
            confirming=history.confirming,
            confirmations=tuple(history.confirmations.values()),
            swept=tuple(history.swept.values()),
            metrics=study.metrics,
            repairs=tuple(history.repairs),
        )

    def trial(self, number: int) -> TrialRecord:
        """The trial of this number, as it stands."""
        return self.history.trials[number]

    def unfinished(self) -> tuple[TrialRecord, ...]:
        """Trials that were begun and neither completed nor failed, in order: a resumed study goes on with them."""
        return tuple(self.history.trials[n] for n in sorted(self.history.running | self.history.waiting))

    @property
    def failed(self) -> tuple[int, ...]:
        """Trials that failed by a mistake and were not asked for again, in order."""
        again = {rerun.parent for rerun in self.history.reruns if not rerun.changes}
        trials = self.history.trials
        return tuple(n for n in sorted(trials) if trials[n].is_mistake and n not in again)

    @property
    def stopped_trials(self) -> tuple[int, ...]:
        """Trials that a rule stopped before their end, in order."""
        trials = self.history.trials
        return tuple(n for n in sorted(trials) if trials[n].status is TrialStatus.STOPPED)

    def weights_path(self, number: int) -> Path:
        """Where the trained weights of a trial that completed are kept."""
        return trial_folder(self.folder, number) / WEIGHTS

    def whole_weights(self, number: int) -> Path:
        """The same, once the file is known to be the one that the worker wrote.

        Raises:
            InputError: it is not there, was cut off or changed.
        """
        path, expected = self.weights_path(number), self.history.weights.get(number)
        if expected is not None:
            check_whole(path, expected)
        return path

    def epoch_weights(self, number: int, epoch: int) -> Path:
        """The checkpoint of an epoch before the last, which holds its weights.

        Raises:
            InputError: it is not kept, was cut off or changed.
        """
        saved = next((each for each in self.history.saved[number] if each.epoch == epoch), None)
        path = self._kept.path(number, saved) if saved else None
        if saved is None or path is None:
            raise InputError(
                f"{number}@{epoch}: its weights are not kept, since it was not on the anytime front when its trial "
                f"ended, or another one has taken its place; allowed: `nde-study resume {self.name} --rerun "
                f"{number}@{epoch}`, which trains it again"
            )
        if saved.digest is not None:
            check_whole(path, saved.digest)
        return path

    def trial_folder(self, number: int) -> Path:
        """Where the files of a trial are kept."""
        return trial_folder(self.folder, number)

    def attempt_folder(self, number: int) -> Path:
        """Where the last attempt at a trial writes."""
        return attempt_folder(self.folder, number, self.history.attempts[number])

    @contextmanager
    def writing(self, reopening: Collection[int] = ()) -> Iterator["Ledger"]:
        """Take the lock, which the system releases if the process dies; only then may the methods below be called.

        What a killed driver had begun is finished first.

        Args:
            reopening: trials that a rule had stopped and that are taken up again. What Optuna has is made anew, where a
                trial that has ended stays so.

        Raises:
            StudyBusy: another process has it; the message names the holder.
            StorageError: the database cannot be used.
            LedgerUnwritable: the disk is full, say, or may not be written.
            LedgerDamaged: a line of the log is not as it was written.
        """
        with self._log.opened(self.name):
            drop_torn_line(self.folder / JOURNAL)
            (self.folder / f"{JOURNAL}.lock").unlink(missing_ok=True)  # Optuna would wait 30 s for a killed writer's
            self._load()  # what another process wrote since this one looked
            created = self.history.created
            if created.format < events.FORMAT:
                self._append(replace(created, format=events.FORMAT))
            for number in reopening:
                self._append(events.Reopened(number))
            storage = self._given_storage or self.spec.storage
            with agreeing_proposals(self.folder, self.spec, storage, self.history) as (self.proposals, why):
                if why and not reopening:
                    self._append(events.Repaired(f"what Optuna has was made from the log again: {why}"))
                self._recover()
                yield self

    def opened(self) -> None:
        """A session begins."""
        self._append(events.Opened())

    def closed(self) -> None:
        """A session ends."""
        self._append(events.Closed())

    def moved(self, tracking: Tracking) -> None:
        """The study is tracked elsewhere from now on."""
        uri = relative_to_root(tracking.uri, self.folder.parent)
        self._append(events.Moved(replace(tracking, uri=uri)))

    def extended(self, n_trials: int) -> None:
        """More trials are asked for."""
        self._append(events.Extended(n_trials))

    def rerun(self, parent: int, changes: Mapping[str, Any]) -> None:
        """One more trial is asked for: that of `parent`, with some values changed."""
        self._append(events.Rerun(parent, dict(changes)))
        enqueue_reruns(self.proposals, self.spec, self.history)

    def retried(self) -> None:
        """Each trial that failed is asked for again, as a new one."""
        for number in self.failed:
            self.rerun(number, {})

    def recoded(self, originals: Mapping[Path, Path]) -> None:
        """From now on the study runs files as they are now; see `studies.code_files`."""
        write_copies(self.folder, originals)
        begun = f"trials from {len(self.history.trials)} on" if self.history.trials else "all trials"
        self._append(events.Repaired(f"{', '.join(p.name for p in originals.values())} was changed: {begun} run it so"))

    def stopped(self, stop: Stop) -> None:
        """No more trials are proposed."""
        self._append(events.Stopped(stop))

    def started(
        self, number: int, label: str, config: Mapping[str, Any], parent: int | None = None, sampler_s: float = 0.0
    ) -> Attempt:
        """A trial begins, or goes on from its last checkpoint; epochs after that are forgotten."""
        history, attempt = self.history, self.history.attempts[number] + 1
        saved = self._last_saved(number)
        from_epoch = saved.epoch if saved else 0
        self._append(events.Started(number, attempt, from_epoch, label, dict(config), parent, sampler_s))
        return Attempt(
            folder=attempt_folder(self.folder, number, attempt),
            checkpoint=self.trial_folder(number) / saved.path if saved else None,
            worker_s=history.worker_s[number],
            alone=number in history.alone,
        )

    def placed(self, number: int, placement: Placement) -> None:
        """A worker has taken up a trial."""
        self._append(events.Placed(number, placement), durable=False)

    def epoch(
        self,
        number: int,
        record: EpochRecord,
        checkpoint: str = "",
        worker_s: float = 0.0,
        points: Sequence[SweptPoint] = (),
        *,
        weights: Digest | None = None,
    ) -> None:
        """A trial has completed an epoch.

        Args:
            number: of the trial.
            record: what the epoch measured.
            checkpoint: saved after it, below the trial's folder.
            worker_s: s that it took.
            points: of the last epoch, what the spec's `evaluate_tolerances` measured: the trial stands in the study as
                the cheapest of them that is within the study's bounds, if one is.
            weights: of the last epoch, by which the file is known again.
        """
        study, trial = self.history.created.study, self.trial(number)
        trial = replace(trial, status=TrialStatus.COMPLETE, epochs=(record,))
        best = cheapest_point(trial, points, study.max_solver_gap, study.thresholds)
        record, deployment = (deployed_record(record, best), best.deployment) if best else (record, None)
        event = events.Epoch(number, record, checkpoint, worker_s, tuple(points), deployment, weights)
        self._append(event, durable=record.is_last)

    def interrupted(
        self, number: int, reason: str, *, lost: bool = False, alone: bool = False, worker_s: float = 0.0
    ) -> None:
        """A trial has stopped before its end and will go on; it stays open in Optuna.

        Args:
            number: of the trial.
            reason: why.
            lost: whether its worker died.
            alone: whether it will go on with a GPU to itself.
            worker_s: s that it trained since its last epoch.
        """
        self._append(events.Interrupted(number, printable(reason), lost, alone, worker_s))

    def ended(
        self, number: int, status: TrialStatus, reason: str = "", cause: Cause = Cause.NONE, worker_s: float = 0.0
    ) -> None:
        """A trial has ended; the sampler learns of it."""
        constraints = constraints_of(self.trial(number), status, self.spec)
        self._append(events.Ended(number, status, printable(reason), cause, worker_s, constraints))
        self._tell(number)
        self._settle(number)

    def stopped_early(self, number: int, by: StoppedBy) -> None:
        """A rule has stopped a trial after the epoch that came last; its last checkpoint is kept."""
        self._append(events.Ended(number, TrialStatus.STOPPED, printable(str(by)), stopped_by=by))
        self._tell(number)
        self._sift(number)

    def confirming(self, trials: Sequence[int]) -> None:
        """These trials are to be trained again with new seeds."""
        if tuple(trials) != self.history.confirming:
            self._append(events.Confirming(tuple(trials)))

    def confirmed(self, found: Confirmation) -> None:
        """A trial was trained again with another seed, or diverged with it."""
        self._append(events.Confirmed(found))

    def swept(self, points: Sequence[SweptPoint]) -> None:
        """A trained model was solved in other ways."""
        self._append(events.Swept(points[0].trial, tuple(points)))

    def tracked(self) -> None:
        """The study is finished and MLflow holds all of it; `is_tracked` until something else happens."""
        self._append(events.Tracked())

    def _append(self, event: Event, durable: bool = True) -> None:
        entry = Entry(self._clock(), event)
        self._log.append(entry_data(entry), durable)
        self.history.apply(entry)

    def _load(self) -> None:
        self.history = read_history(self._log)

    def _last_saved(self, number: int) -> Saved | None:
        folder = self.trial_folder(number)
        return next((each for each in reversed(self.history.saved[number]) if (folder / each.path).exists()), None)

    def _recover(self) -> None:
        """Finish what a killed driver had begun."""
        history = self.history
        for number in sorted(history.running):
            self.interrupted(number, "its driver was gone")
        for trial in self.unfinished():
            if trial.epochs and trial.epochs[-1].is_last:  # its last epoch had come, and no more
                self.ended(trial.number, TrialStatus.COMPLETE)
        for frozen in self.proposals.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if frozen.number in history.constraints:
                self._tell(frozen.number)
        for number in unsettled(self.folder, set(history.ended) - set(self.stopped_trials)):
            self._settle(number)
        enqueue_reruns(self.proposals, self.spec, history)

    def _settle(self, number: int) -> None:
        settle(self.folder, number, self.history.attempts[number], self._sift(number))

    def _sift(self, number: int) -> dict[int, Path]:
        """The checkpoints of an ended trial that are kept for their weights; a stopped one may be taken up again."""
        if not self.spec.keeps_epochs:
            return {}
        return self._kept.sift(self.record(), self.trial(number), self.history.saved)

    def _tell(self, number: int) -> None:
        trial, constraints = self.trial(number), self.history.constraints.get(number, {})
        with answering(self._given_storage or self.spec.storage):
            tell(self.proposals, trial, constraints, self.spec.objective_metrics)


def _definition(spec: StudySpec) -> Definition:
    """What is known of a study without its task: the metrics of the task are written down with it."""
    return Definition(
        name=spec.name,
        task=spec.task,
        objectives=spec.objective_metrics,
        metrics=tuple(spec.metrics.values()),
        thresholds=spec.metric_thresholds,
        max_solver_gap=spec.solver_gap_bound,
        n_trials=spec.trials,
    )


def study_names(root: Path) -> tuple[str, ...]:
    """The studies under `root`, sorted."""
    return tuple(sorted(path.parent.name for path in root.glob(f"[!.]*/{_EVENTS}")))


def log_path(name: str, root: Path) -> Path:
    """The log of a study under `root`, which no name leads out of; raise `InputError` if there is none."""
    if name not in study_names(root):
        known = ", ".join(study_names(root)) or "none yet"
        raise InputError(f"no study {name!r} under {root}, there are: {known}; name another folder with --root")
    return root / name / _EVENTS


def open_ledger(name: str, root: Path) -> Ledger:
    """The study of this name under `root`; raise `InputError` if there is none."""
    return Ledger(log_path(name, root).parent)


def newest_study(root: Path) -> str | None:
    """The study under `root` that something happened in last; None where there is none."""
    return max(study_names(root), key=lambda name: (root / name / _EVENTS).stat().st_mtime, default=None)
