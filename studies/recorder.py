"""What Tune reports goes to the ledger first, then to MLflow and to whoever watches."""

import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from ndecore.metrics import EpochRecord
from reports.records import Cause, StudyRecord, TrialStatus, swept_point
from studies.ending import Ending
from studies.events import LedgerUnwritable
from studies.ledger import Ledger
from studies.search import LedgerSearcher
from studies.tracking import Tracker

_MAX_LOSSES = 3  # of the workers of one trial: then it is the trial that kills them
# How Ray words it: the type of an error does not come with its text.
_LOST = re.compile(r"^The (?:actor|worker|task's local raylet)\b.*(?:died unexpectedly|unavailable|raylet died)", re.M)
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

    def __getstate__(self) -> dict[str, Any]:
        """Nothing for Tune's snapshot to keep: a study is resumed from its ledger."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """A worker takes up a trial, which the searcher has entered in the ledger."""
        self._changed(trial.config["number"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """An epoch is done, or the trial ended by itself."""
        try:
            self._note(trial.config["number"], result)
        except LedgerUnwritable as error:
            self._stop(str(error))

    def _note(self, number: int, result: dict[str, Any]) -> None:
        status, cause, worker_s = TrialStatus(result["status"]), Cause(result["cause"]), result["worker_s"]
        if "placement" in result:
            self._ledger.placed(number, result["placement"])
        if "record" in result:
            points = list(map(swept_point, result["points"]))
            self._ledger.epoch(number, EpochRecord(**result["record"]), result["checkpoint"], worker_s, points)
            worker_s = 0.0
        if status is TrialStatus.INTERRUPTED:
            self._ledger.interrupted(number, result["reason"], worker_s=worker_s)
            self._stop(result["reason"])
        elif status is not TrialStatus.RUNNING:
            self._end(number, status, result["reason"], cause, worker_s)
        self._changed(number)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """The trial's process raised or was lost."""
        number = trial.config["number"]
        error = Path(trial.error_file).read_text(encoding="utf-8")
        try:
            if _LOST.search(error) and self._ledger.history.losses[number] + 1 < _MAX_LOSSES:
                self._ledger.interrupted(number, _reason(error), lost=True)
            else:
                self._keep(number, error)
                is_memory = bool(_NO_MEMORY.search(error))
                status = TrialStatus.DIVERGED if is_memory else TrialStatus.FAILED
                cause = Cause.MEMORY if is_memory else Cause.LOST if _LOST.search(error) else Cause.ERROR
                self._end(number, status, _reason(error), cause)
            self._changed(number)
        except LedgerUnwritable as unwritable:
            self._stop(str(unwritable))

    def _end(self, number: int, status: TrialStatus, reason: str, cause: Cause, worker_s: float = 0.0) -> None:
        """A trial that ran out of memory is tried once more, with a GPU to itself."""
        if cause is Cause.MEMORY and number not in self._ledger.history.alone:
            self._ledger.interrupted(number, reason, alone=True, worker_s=worker_s)
        else:
            self._ledger.ended(number, status, reason, cause, worker_s)

    def _keep(self, number: int, error: str) -> None:
        folder = self._ledger.trial_folder(number)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "error.txt").write_text(error, encoding="utf-8")

    def _stop(self, error: str) -> None:
        self._searcher.is_draining = True
        self._ending.fail(error)

    def _changed(self, number: int) -> None:
        self._tracker.update(self._ledger.trial(number))
        self._on_change(self._ledger.record())


def _reason(error: str) -> str:
    """The last line of the worker's traceback: the error itself. Ray explains a lost worker at length."""
    return textwrap.shorten([line for line in error.splitlines() if line.strip()][-1], 160, placeholder=" ...")
