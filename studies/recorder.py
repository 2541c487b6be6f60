"""What Tune reports goes to the ledger first, then to MLflow and to whoever watches."""

import re
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from reports.records import Cause, StudyRecord, TrialStatus
from studies.bookkeeping import Bookkeeper
from studies.code_files import copies
from studies.ending import Ending
from studies.event_log import LedgerUnwritable
from studies.ledger import Ledger
from studies.messages import ORDER, Message, Order, Unwritable
from studies.proposals import StorageError
from studies.search import LedgerSearcher
from studies.silence import Silence, silence
from studies.tracking import Tracker
from studies.trial_files import ERROR

_UNWRITABLE = (LedgerUnwritable, StorageError)  # Tune would tell of it with all its frames
_LOOK_S = 5.0  # between two looks for silent trials: a file of each running one, which may lie on a network
_MAX_LOSSES = 3  # of the workers of one trial: then it is the trial that kills them
# How Ray words it: the type of an error does not come with its text.
_LOST = re.compile(r"^The (?:actor|worker|task's local raylet)\b.*(?:died unexpectedly|unavailable|raylet died)", re.M)
_FRAME = re.compile(r'^\s*File "([^"]+)", line (\d+)', re.M)
_NO_MEMORY = re.compile(r"running low on memory|OutOfMemoryError|MemoryError")


class Recorder(tune.Callback):
    """Writes down what happens to the trials, and decides what becomes of those that did not end by themselves."""

    def __init__(
        self,
        ledger: Ledger,
        tracker: Tracker,
        searcher: LedgerSearcher,
        ending: Ending,
        on_change: Callable[[StudyRecord], None],
    ) -> None:
        self._ledger, self._tracker, self._searcher = ledger, tracker, searcher
        self._ending, self._on_change = ending, on_change
        self._books = Bookkeeper(ledger)
        self._silent: dict[int, Silence] = {}  # running trials whose epoch takes long
        self._looked_s = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot to keep: a study is resumed from its ledger."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker takes up a trial, which the searcher has entered in the ledger."""
        self._changed(_order(trial).number)

    def note(self, message: Message) -> bool:
        """An epoch is done, or the trial ended by itself; return whether it goes no further."""
        try:
            ends = self._books.note(message)
        except _UNWRITABLE as error:
            self._stop(str(error))
            return True
        if isinstance(message.news, Unwritable):
            self._stop(message.news.reason)
        self._changed(message.number)
        return ends

    def look(self) -> None:
        """Show which trials have been silent for long, and where they are."""
        now = time.monotonic()
        if now - self._looked_s < _LOOK_S:
            return
        self._looked_s = now
        found = {number: silence(self._ledger.attempt_folder(number)) for number in self._ledger.history.running}
        told = {number: each for number, each in found.items() if each is not None}
        if told != self._silent:
            self._silent = told
            self._on_change(self._record())

    def _record(self) -> StudyRecord:
        study = self._ledger.record()
        if not self._silent:
            return study
        trials = (
            replace(trial, reason=str(self._silent[trial.number]))
            if trial.status is TrialStatus.RUNNING and trial.number in self._silent
            else trial
            for trial in study.trials
        )
        return replace(study, trials=tuple(trials))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's process raised or was lost."""
        number = _order(trial).number
        error = Path(trial.error_file).read_text(encoding="utf-8")
        try:
            if _LOST.search(error) and self._ledger.history.losses[number] + 1 < _MAX_LOSSES:
                self._ledger.interrupted(number, _reason(error), lost=True)
            else:
                self._keep(number, error)
                is_memory = bool(_NO_MEMORY.search(error))
                status = TrialStatus.DIVERGED if is_memory else TrialStatus.FAILED
                cause = Cause.MEMORY if is_memory else Cause.LOST if _LOST.search(error) else Cause.ERROR
                self._books.end(number, status, self._placed(error) + _reason(error), cause)
            self._changed(number)
        except _UNWRITABLE as unwritable:
            self._stop(str(unwritable))

    def _placed(self, error: str) -> str:
        """`FILE:LINE: ` of the last line of the user's files in a traceback; empty if there is none."""
        files = copies(self._ledger.folder)  # which a node of a cluster has elsewhere
        ends = tuple(str(path) for name, original in files.items() for path in (Path("/", name), original))
        found = [(Path(path).name, line) for path, line in _FRAME.findall(error) if path.endswith(ends)]
        return "{}:{}: ".format(*found[-1]) if found else ""

    def _keep(self, number: int, error: str) -> None:
        folder = self._ledger.trial_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ERROR).write_text(error, encoding="utf-8")

    def _stop(self, error: str) -> None:
        self._searcher.is_draining = True
        self._ending.fail(error)

    def _changed(self, number: int) -> None:
        self._tracker.update(self._ledger.trial(number))
        self._on_change(self._record())


def _order(trial: Trial) -> Order:
    order: Order = trial.config[ORDER]
    return order


def _reason(error: str) -> str:
    """The last line of the worker's traceback: the error itself. Ray explains a lost worker at length."""
    return textwrap.shorten([line for line in error.splitlines() if line.strip()][-1], 160, placeholder=" ...")
