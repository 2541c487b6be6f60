"""A rule and what it has seen: a fold over the events of a ledger."""

from collections.abc import Sequence

from ndecore.hyperparameters import last_epoch
from reports.records import StoppedBy, TrialStatus
from studies.early_stopping.base import StoppingRule, Verdict
from studies.early_stopping.curves import Aims, Curves
from studies.events import Ended, Epoch, Event, Reopened, Started


class Judge:
    """Says after an epoch whether its trial is stopped.

    It follows the events, all that a ledger has when a study is resumed, and so comes to the same decisions as if the
    study had never stopped. A trial that was taken up again is not stopped a second time.

    Args:
        name: of the rule.
        rule: which looks at the curves.
        aims: of the study.
    """

    def __init__(self, name: str, rule: StoppingRule, aims: Aims) -> None:
        self._name, self._rule, self._curves = name, rule, Curves(aims)
        self._n_taken = 0
        self._taken_up: set[int] = set()
        self._last: tuple[int, int, Verdict | None] = (-1, 0, None)

    def stops(self, events: Sequence[Event], number: int) -> StoppedBy | None:
        """Whether a trial is stopped after the epoch that it has just completed, and why.

        Args:
            events: of the ledger so far, the epoch the last of its trial.
            number: of the trial.
        """
        for event in events[self._n_taken :]:
            self._take(event)
        self._n_taken = len(events)
        judged, epoch, verdict = self._last
        if judged != number or verdict is None or not verdict.stops or number in self._taken_up:
            return None
        return StoppedBy(self._name, epoch, self._rule.figure, verdict.figure, verdict.bound)

    def _take(self, event: Event) -> None:
        if isinstance(event, Started):
            self._curves.begin(event.number, last_epoch(event.config), event.from_epoch)
        elif isinstance(event, Epoch):
            self._curves.add(event.number, event.record)
            self._last = event.number, event.record.epoch, self._judged(event)
        elif isinstance(event, Ended) and event.status is TrialStatus.COMPLETE:
            self._curves.complete(event.number)
        elif isinstance(event, Reopened):
            self._taken_up.add(event.number)

    def _judged(self, event: Epoch) -> Verdict | None:
        number, epoch = event.number, event.record.epoch
        looks = not event.record.is_last and epoch in self._rule.looks_at(self._curves.n_epochs(number))
        return self._rule.judge(self._curves, number, epoch) if looks else None
