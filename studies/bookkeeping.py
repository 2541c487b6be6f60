"""What workers tell goes into the ledger, and what becomes of their trials is decided there. Without Ray."""

from reports.records import Cause, TrialStatus
from studies.early_stopping.choice import judge_of
from studies.ledger import Ledger
from studies.messages import Diverged, EpochDone, Message


class Bookkeeper:
    """Writes down what happens to trials, and stops those that the study's rule stops.

    It remembers nothing that the ledger does not have.

    Args:
        ledger: being written.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._judge = judge_of(ledger.spec, ledger.folder)

    def note(self, message: Message) -> bool:
        """Enter what a worker tells of its trial; return whether the trial goes no further.

        Raises:
            LedgerUnwritable: the disk is full, say.
        """
        ledger, number, news = self._ledger, message.number, message.news
        if message.placement:
            ledger.placed(number, message.placement)
        if isinstance(news, EpochDone):
            ledger.epoch(number, news.record, news.checkpoint, message.worker_s, news.points, weights=news.weights)
            if news.record.is_last:
                ledger.ended(number, TrialStatus.COMPLETE)
            elif stopped_by := self._judge.stops(ledger.history.curves, number):
                ledger.stopped_early(number, stopped_by)
                return True
        elif isinstance(news, Diverged):
            self.end(number, TrialStatus.DIVERGED, news.reason, news.cause, message.worker_s)
        else:
            ledger.interrupted(number, news.reason, worker_s=message.worker_s)
        return message.ends_attempt

    def end(self, number: int, status: TrialStatus, reason: str, cause: Cause, worker_s: float = 0.0) -> None:
        """A trial has not completed; one that ran out of memory is tried once more, with a GPU to itself."""
        if cause is Cause.MEMORY and number not in self._ledger.history.alone:
            self._ledger.interrupted(number, reason, alone=True, worker_s=worker_s)
        else:
            self._ledger.ended(number, status, reason, cause, worker_s)
