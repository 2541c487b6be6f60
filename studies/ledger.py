"""The study's truth: an Optuna study for what was proposed, an append-only event log for what happened.

Both lie in the study's folder and are written by one process at a time. Ray executes, MLflow shows; neither is asked.
"""

import fcntl
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TextIO

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from ndecore.errors import InputError, NDEError
from ndecore.metrics import Direction, EpochRecord
from reports.records import StudyRecord, TrialRecord, TrialStatus
from studies.spec import StudySpec, load_spec

_SPEC, _EVENTS, _PROPOSALS, _LOCK = "spec.yaml", "events.jsonl", "proposals.log", "lock"
_WORST = 1e6  # told to the sampler for each objective of a trial that diverged, beside the violated constraint
_OPEN = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)


class StudyBusy(NDEError):
    """Another process is running this study."""


class Ledger:
    """One study: its spec, its proposals, its events. Read by anyone, written by the one that holds the lock."""

    proposals: optuna.Study  # while writing
    _events: TextIO  # while writing

    def __init__(self, folder: Path) -> None:
        if not (folder / _EVENTS).exists():
            known = ", ".join(study_names(folder.parent)) or "none yet"
            raise InputError(f"no study {folder.name!r} under {folder.parent}, there are: {known}")
        self.folder = folder
        self.spec: StudySpec = load_spec(folder / _SPEC)
        self._load()

    @classmethod
    def create(cls, folder: Path, spec: StudySpec, facts: Mapping[str, Any]) -> "Ledger":
        """Begin a study in `folder`, all of it or nothing. `facts` are what `StudyRecord` has beyond spec and trials.

        Raises:
            OSError: the folder exists with something in it, or cannot be written.
        """
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            partial.chmod(0o755)  # mkdtemp's 0o700 would hide a study from one's colleagues
            (partial / _SPEC).write_text(spec.to_yaml(), encoding="utf-8")
            created = {"event": "created", "time": time.time(), "facts": dict(facts)}
            (partial / _EVENTS).write_text(json.dumps(created) + "\n", encoding="utf-8")
            study = _open_proposals(partial, spec)
            for start in spec.start:
                study.enqueue_trial(_dimension_values(spec, start.config))
            partial.rename(folder)
        except BaseException:
            shutil.rmtree(partial)
            raise
        return cls(folder)

    def record(self) -> StudyRecord:
        """The study as reports see it, now."""
        return StudyRecord(
            name=self.spec.name,
            task=self.spec.task,
            objectives=self.spec.objective_metrics,
            max_solver_gap=self.spec.max_solver_gap,
            n_trials=self.spec.trials,
            trials=tuple(self._trials[number] for number in sorted(self._trials)),
            **self._facts,
        )

    def trial(self, number: int) -> TrialRecord:
        """The trial of this number, as it stands."""
        return self._trials[number]

    def unfinished(self) -> tuple[TrialRecord, ...]:
        """Trials that were begun and neither completed nor failed, in order: a resumed study begins them again."""
        return tuple(t for _, t in sorted(self._trials.items()) if t.status in _OPEN)

    def weights_path(self, number: int) -> Path:
        """Where the trained weights of a trial are kept."""
        return self.trial_folder(number) / "weights.pt"

    def trial_folder(self, number: int) -> Path:
        """Where the files of a trial are kept."""
        return self.folder / "trials" / f"{number:04d}"

    @contextmanager
    def writing(self) -> Iterator["Ledger"]:
        """Take the lock, which the system releases if the process dies; only then may the methods below be called.

        Raises:
            StudyBusy: another process has it; the message names the holder.
        """
        with _locked(self.folder / _LOCK, self.spec.name):
            for log in (_EVENTS, _PROPOSALS):
                _drop_torn_line(self.folder / log)
            (self.folder / f"{_PROPOSALS}.lock").unlink(missing_ok=True)  # Optuna would wait 30 s for a killed writer's
            self._load()  # what another process wrote since this one looked
            self.proposals = _open_proposals(self.folder, self.spec)
            self._tell_untold()
            with (self.folder / _EVENTS).open("a", encoding="utf-8") as self._events:
                yield self

    def started(self, number: int, label: str, config: Mapping[str, Any]) -> None:
        """A trial begins, for the first time or again from its start."""
        self._append({"event": "started", "number": number, "label": label, "config": dict(config)})

    def epoch(self, number: int, record: EpochRecord) -> None:
        """A trial has completed an epoch."""
        self._append({"event": "epoch", "number": number, "record": asdict(record)})

    def ended(self, number: int, status: TrialStatus, reason: str = "") -> None:
        """A trial has ended; the sampler learns of it. An interrupted one stays open in Optuna, to be begun again."""
        self._append({"event": "ended", "number": number, "status": status.value, "reason": reason})
        if status is not TrialStatus.INTERRUPTED:
            self._tell(self._trials[number])

    def tracked(self) -> None:
        """The study is complete and MLflow holds all of it; `is_tracked` until something else happens."""
        self._append({"event": "tracked"})

    def _append(self, event: dict[str, Any]) -> None:
        event = {"time": time.time(), **event}
        self._events.write(json.dumps(event) + "\n")
        self._events.flush()
        self._apply(event)

    def _load(self) -> None:
        self._facts: dict[str, Any] = {}
        self._trials: dict[int, TrialRecord] = {}
        for event in _read_events(self.folder / _EVENTS):
            self._apply(event)

    def _apply(self, event: Mapping[str, Any]) -> None:
        kind, number = event["event"], event.get("number", -1)
        self.is_tracked = kind == "tracked"
        if kind == "created":
            self._facts = dict(event["facts"])
        elif kind == "started":
            self._trials[number] = TrialRecord(
                self.spec.name, number, event["config"], TrialStatus.RUNNING, label=event["label"]
            )
        elif kind == "epoch":
            trial = self._trials[number]
            self._trials[number] = replace(trial, epochs=(*trial.epochs, EpochRecord(**event["record"])))
        elif kind == "ended":
            status = TrialStatus(event["status"])
            self._trials[number] = replace(self._trials[number], status=status, reason=event["reason"])

    def _tell_untold(self) -> None:
        """Tell Optuna of the trials that ended just before their process was killed."""
        for frozen in self.proposals.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            trial = self._trials.get(frozen.number)
            if trial is not None and trial.status not in _OPEN:
                self._tell(trial)

    def _tell(self, trial: TrialRecord) -> None:
        """Tell Optuna how a trial ended.

        One that diverged is COMPLETE with a violated constraint: FAIL teaches the samplers nothing, and they go back.
        """
        study = self.proposals
        if trial.status is TrialStatus.FAILED:
            study.tell(trial.number, state=TrialState.FAIL)
            return
        frozen = study.get_trials(deepcopy=False)[trial.number]
        open_trial = optuna.Trial(study, frozen._trial_id)  # there is no public way to one asked for before
        values = trial.values(self.spec.objective_metrics)
        gap = trial.epochs[-1].solver_gap if values else self.spec.max_solver_gap
        excess = _WORST if gap is None or math.isnan(gap) else gap - self.spec.max_solver_gap
        open_trial.set_constraint("diverged", 0.0 if values else 1.0)
        open_trial.set_constraint("solver_gap", excess)
        worst = [_WORST if m.direction is Direction.MINIMIZE else -_WORST for m in self.spec.objective_metrics]
        study.tell(trial.number, values or worst)


def study_names(root: Path) -> tuple[str, ...]:
    """The studies under `root`, sorted."""
    return tuple(sorted(path.parent.name for path in root.glob(f"[!.]*/{_EVENTS}")))


def newest_study(root: Path) -> str | None:
    """The study under `root` that something happened in last; None where there is none."""
    return max(study_names(root), key=lambda name: (root / name / _EVENTS).stat().st_mtime, default=None)


@contextmanager
def _locked(path: Path, study: str) -> Iterator[None]:
    with path.open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "an unknown process"
            raise StudyBusy(f"study {study!r} is being run by {holder}; wait for it or stop it") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        lock.flush()
        yield


def _dimension_values(spec: StudySpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a flat config under the names of the space's dimensions, as the sampler knows them."""
    return {
        dimension.name: config[dimension.key]
        for dimension in spec.space.dimensions
        if dimension.only is None and dimension.is_active(config)
    }


def _open_proposals(folder: Path, spec: StudySpec) -> optuna.Study:
    for name in ("optuna.study.study", "optuna.storages.journal._storage"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell that the study was opened
    storage = JournalStorage(JournalFileBackend(str(folder / _PROPOSALS)))
    return optuna.create_study(
        storage=storage,
        study_name=spec.name,
        directions=[metric.direction.value for metric in spec.objective_metrics],
        load_if_exists=True,
    )


def _read_events(path: Path) -> list[dict[str, Any]]:
    """Every event that was written whole; a process that was killed may leave half a line at the end."""
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _drop_torn_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with path.open("r+b") as file:
            file.truncate(whole)
