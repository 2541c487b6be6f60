"""The study's truth: an Optuna study for what was proposed, an append-only event log for what happened.

Both are written by one process at a time, the driver, and each event before it is acted on. Ray executes, MLflow shows;
neither is asked.
"""

import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from ndecore.errors import InputError
from ndecore.metrics import EpochRecord
from reports.deployments import cheapest_point, deployed_record
from reports.records import Cause, Confirmation, StudyRecord, SweptPoint, TrialRecord, TrialStatus
from studies.constraints import constraints_of
from studies.events import EventLog, drop_torn_line
from studies.history import History, Saved
from studies.locks import is_locked, locked
from studies.proposals import JOURNAL, dimension_values, drop_proposals, open_proposals, tell
from studies.secret import without_password
from studies.spec import StudySpec, load_spec
from studies.trial_files import WEIGHTS, attempt_folder, settle, trial_folder

_SPEC, _EVENTS, _LOCK = "spec.yaml", "events.jsonl", "lock"
RERUN = "nde.rerun"  # user attribute of an Optuna trial: which of the reruns asked for it is


@dataclass(frozen=True)
class Attempt:
    """What a worker needs to know of a trial beside its config."""

    folder: Path  # the only place where it may write
    checkpoint: Path | None  # where to go on
    worker_s: float  # s that earlier attempts have trained
    alone: bool  # with a GPU to itself


class Ledger:
    """One study: its spec, its proposals, its events. Read by anyone, written by the one that holds the lock."""

    proposals: optuna.Study  # while writing

    def __init__(self, folder: Path, storage: str | None = None) -> None:
        """Read a study.

        Args:
            folder: of the study.
            storage: the URL of its database with the password, which the ledger does not keep.
        """
        if not (folder / _EVENTS).exists():
            known = ", ".join(study_names(folder.parent)) or "none yet"
            raise InputError(f"no study {folder.name!r} under {folder.parent}, there are: {known}")
        self.folder = folder
        self.spec: StudySpec = load_spec(folder / _SPEC)
        if storage is not None and without_password(storage) != self.spec.storage:
            got = f"got {without_password(storage)}, allowed: {self.spec.storage or 'none'}"
            raise InputError(f"--storage: {got}, where study {self.spec.name!r} is kept")
        self._storage = storage or self.spec.storage
        self._log = EventLog(folder / _EVENTS)
        self._load()

    @classmethod
    def create(cls, folder: Path, spec: StudySpec, facts: Mapping[str, Any]) -> "Ledger":
        """Begin a study in `folder`, all of it or nothing. `facts` are what `StudyRecord` has beyond spec and trials.

        Raises:
            OSError: the folder exists with something in it, or cannot be written.
            StorageError: the database cannot be used.
        """
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        facts = {"study_id": uuid.uuid4().hex} | dict(facts)
        try:
            partial.chmod(0o755)  # mkdtemp's 0o700 would hide a study from one's colleagues
            (partial / _SPEC).write_text(spec.without_passwords().to_yaml(), encoding="utf-8")
            (partial / _EVENTS).touch()
            with EventLog(partial / _EVENTS).opened() as log:
                log.append({"time": time.time(), "event": "created", "facts": facts})
            with open_proposals(partial, spec, spec.storage, facts["study_id"]) as study:
                for start in spec.start:
                    study.enqueue_trial(dimension_values(spec, start.config))
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial)
            if spec.storage:
                drop_proposals(spec, facts["study_id"])
            raise
        return cls(folder, spec.storage)

    @property
    def is_tracked(self) -> bool:
        """Whether MLflow holds all of a study that has come to its end."""
        return self.history.is_tracked

    @property
    def n_trials(self) -> int:
        """How many trials were asked for, those added later included."""
        return self.spec.trials + self.history.n_added

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        history = self.history
        return not history.running | history.waiting and (len(history.trials) >= self.n_trials or bool(history.stopped))

    @property
    def state(self) -> str:
        """What the study is doing, in a word."""
        if is_locked(self.folder / _LOCK):
            return "running"
        return "stopped" if self.history.stopped else "finished" if self.is_finished else "interrupted"

    def record(self) -> StudyRecord:
        """The study as reports see it, now."""
        trials = self.history.trials
        return StudyRecord(
            name=self.spec.name,
            task=self.spec.task,
            objectives=self.spec.objective_metrics,
            max_solver_gap=self.spec.solver_gap_bound,
            n_trials=self.n_trials,
            trials=tuple(trials[number] for number in sorted(trials)),
            thresholds=self.spec.metric_thresholds,
            stopped=self.history.stopped,
            confirming=self.history.confirming,
            confirmations=tuple(self.history.confirmations.values()),
            swept=tuple(self.history.swept.values()),
            **self.history.facts,
        )

    def trial(self, number: int) -> TrialRecord:
        """The trial of this number, as it stands."""
        return self.history.trials[number]

    def unfinished(self) -> tuple[TrialRecord, ...]:
        """Trials that were begun and neither completed nor failed, in order: a resumed study goes on with them."""
        return tuple(self.history.trials[n] for n in sorted(self.history.running | self.history.waiting))

    def weights_path(self, number: int) -> Path:
        """Where the trained weights of a trial that completed are kept."""
        return trial_folder(self.folder, number) / WEIGHTS

    def trial_folder(self, number: int) -> Path:
        """Where the files of a trial are kept."""
        return trial_folder(self.folder, number)

    @contextmanager
    def writing(self) -> Iterator["Ledger"]:
        """Take the lock, which the system releases if the process dies; only then may the methods below be called.

        Raises:
            StudyBusy: another process has it; the message names the holder.
            StorageError: the database cannot be used.
            LedgerUnwritable: the disk is full, say.
        """
        with locked(self.folder / _LOCK, self.spec.name), self._log.opened():
            drop_torn_line(self.folder / JOURNAL)
            (self.folder / f"{JOURNAL}.lock").unlink(missing_ok=True)  # Optuna would wait 30 s for a killed writer's
            self._load()  # what another process wrote since this one looked
            study_id = self.history.facts.get("study_id")
            with open_proposals(self.folder, self.spec, self._storage, study_id) as self.proposals:
                self._recover()
                yield self

    def opened(self) -> None:
        """A session begins."""
        self._append({"event": "opened"})

    def closed(self) -> None:
        """A session ends."""
        self._append({"event": "closed"})

    def moved(self, tracking_uri: str, experiment_id: str) -> None:
        """The study is tracked elsewhere from now on."""
        self._append({"event": "moved", "facts": {"tracking_uri": tracking_uri, "experiment_id": experiment_id}})

    def extended(self, n_trials: int) -> None:
        """More trials are asked for."""
        self._append({"event": "extended", "trials": n_trials})

    def rerun(self, parent: int, changes: Mapping[str, Any]) -> None:
        """One more trial is asked for: that of `parent`, with some values changed."""
        self._append({"event": "extended", "trials": 1, "parent": parent, "changes": dict(changes)})
        self._enqueue_reruns()

    def stopped(self, reason: str) -> None:
        """No more trials are proposed."""
        self._append({"event": "stopped", "reason": reason})

    def started(
        self, number: int, label: str, config: Mapping[str, Any], parent: int | None = None, sampler_s: float = 0.0
    ) -> Attempt:
        """A trial begins, or goes on from its last checkpoint; epochs after that are forgotten."""
        history, attempt = self.history, self.history.attempts[number] + 1
        saved = self._last_saved(number)
        from_epoch = saved.epoch if saved else 0
        event = {"number": number, "label": label, "config": dict(config), "parent": parent, "sampler_s": sampler_s}
        self._append({"event": "started", "attempt": attempt, "from_epoch": from_epoch, **event})
        return Attempt(
            folder=attempt_folder(self.folder, number, attempt),
            checkpoint=self.trial_folder(number) / saved.path if saved else None,
            worker_s=history.worker_s[number],
            alone=number in history.alone,
        )

    def placed(self, number: int, placement: Mapping[str, Any]) -> None:
        """A worker has taken up a trial: `node`, `device`, `since` (s since 1970) and `calibration_s`."""
        self._append({"event": "placed", "number": number, **placement}, durable=False)

    def epoch(
        self,
        number: int,
        record: EpochRecord,
        checkpoint: str = "",
        worker_s: float = 0.0,
        points: Sequence[SweptPoint] = (),
    ) -> None:
        """A trial has completed an epoch.

        Args:
            number: of the trial.
            record: what the epoch measured.
            checkpoint: saved after it, below the trial's folder.
            worker_s: s that it took.
            points: of the last epoch, what the spec's `evaluate_tolerances` measured: the trial stands in the study as
                the cheapest of them that is within the study's bounds, if one is.
        """
        spec, trial = self.spec, replace(self.trial(number), status=TrialStatus.COMPLETE, epochs=(record,))
        best = cheapest_point(trial, points, spec.solver_gap_bound, spec.metric_thresholds)
        record, deployment = (deployed_record(record, best), best.deployment) if best else (record, None)
        event = {"number": number, "record": asdict(record), "checkpoint": checkpoint, "worker_s": worker_s}
        if points:
            event |= {"points": list(map(asdict, points)), "deployment": deployment and asdict(deployment)}
        self._append({"event": "epoch", **event}, durable=False)

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
        event = {"number": number, "reason": reason, "lost": lost, "alone": alone, "worker_s": worker_s}
        self._append({"event": "interrupted", **event})

    def ended(
        self, number: int, status: TrialStatus, reason: str = "", cause: Cause = Cause.NONE, worker_s: float = 0.0
    ) -> None:
        """A trial has ended; the sampler learns of it."""
        constraints = constraints_of(self.trial(number), status, self.spec)
        event = {"number": number, "status": status.value, "reason": reason, "cause": cause.value}
        self._append({"event": "ended", **event, "worker_s": worker_s, "constraints": constraints})
        self._tell(self.trial(number))
        settle(self.folder, number, self.history.attempts[number])

    def confirming(self, trials: Sequence[int]) -> None:
        """These trials are to be trained again with new seeds."""
        if tuple(trials) != self.history.confirming:
            self._append({"event": "confirming", "trials": list(trials)})

    def confirmed(self, found: Confirmation) -> None:
        """A trial was trained again with another seed, or diverged with it."""
        event = asdict(found) | {"number": found.trial, "status": found.status.value, "cause": found.cause.value}
        self._append({"event": "confirmed", **event})

    def swept(self, points: Sequence[SweptPoint]) -> None:
        """A trained model was solved in other ways."""
        self._append({"event": "swept", "number": points[0].trial, "points": list(map(asdict, points))})

    def tracked(self) -> None:
        """The study is finished and MLflow holds all of it; `is_tracked` until something else happens."""
        self._append({"event": "tracked"})

    def _append(self, event: dict[str, Any], durable: bool = True) -> None:
        event = {"time": time.time(), **event}
        self._log.append(event, durable)
        self.history.apply(event)

    def _load(self) -> None:
        self.history = History(self.spec.name)
        for event in self._log.read():
            self.history.apply(event)

    def _last_saved(self, number: int) -> Saved | None:
        folder = self.trial_folder(number)
        return next((each for each in reversed(self.history.saved[number]) if (folder / each.path).exists()), None)

    def _recover(self) -> None:
        """Finish what a killed driver had begun."""
        for number in sorted(self.history.running):
            self.interrupted(number, "its driver was gone")
        for trial in self.unfinished():
            if trial.epochs and trial.epochs[-1].solver_gap is not None:  # its last epoch had come, and no more
                self.ended(trial.number, TrialStatus.COMPLETE)
        for frozen in self.proposals.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if frozen.number in self.history.constraints:
                self._tell(self.trial(frozen.number))
                settle(self.folder, frozen.number, self.history.attempts[frozen.number])
        self._enqueue_reruns()

    def _enqueue_reruns(self) -> None:
        known = sum(RERUN in frozen.user_attrs for frozen in self.proposals.get_trials(deepcopy=False))
        for index, rerun in list(enumerate(self.history.reruns))[known:]:
            values = dimension_values(self.spec, self.trial(rerun.parent).config)
            self.proposals.enqueue_trial(values, user_attrs={RERUN: index})

    def _tell(self, trial: TrialRecord) -> None:
        tell(self.proposals, trial, self.history.constraints.get(trial.number, {}), self.spec.objective_metrics)


def study_names(root: Path) -> tuple[str, ...]:
    """The studies under `root`, sorted."""
    return tuple(sorted(path.parent.name for path in root.glob(f"[!.]*/{_EVENTS}")))


def open_ledger(name: str, root: Path) -> Ledger:
    """The study of this name under `root`, which no name leads out of; raise `InputError` if there is none."""
    if name not in study_names(root):
        known = ", ".join(study_names(root)) or "none yet"
        raise InputError(f"no study {name!r} under {root}, there are: {known}; name another folder with --root")
    return Ledger(root / name)


def newest_study(root: Path) -> str | None:
    """The study under `root` that something happened in last; None where there is none."""
    return max(study_names(root), key=lambda name: (root / name / _EVENTS).stat().st_mtime, default=None)
