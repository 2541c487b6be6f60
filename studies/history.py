"""What the events of a study add up to: trials, attempts, checkpoints, seconds. A pure fold, without side effects."""

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import singledispatchmethod

from reports.codec import Unreadable
from reports.records import Confirmation, Deployment, Stop, SweptPoint, TrialRecord, TrialStatus
from studies.events import (
    FORMAT,
    Closed,
    Confirmed,
    Confirming,
    Created,
    Digest,
    Ended,
    Entry,
    Epoch,
    Event,
    Extended,
    Interrupted,
    Moved,
    Opened,
    Placed,
    Renamed,
    Reopened,
    Repaired,
    Rerun,
    Started,
    Stopped,
    Swept,
    Tracked,
)

OPEN = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
_OF_CURVES = (Started, Epoch, Ended, Reopened)
_TIMELESS = (Opened, Renamed, Confirming, Confirmed, Swept, Repaired)  # kinds of events that take no time of the study


@dataclass(frozen=True)
class Saved:
    """A checkpoint that an event has named."""

    epoch: int
    path: str  # below the trial's folder
    digest: Digest | None = None  # where it may be kept for its weights


class History:
    """The events of one study so far, in the order in which they were written."""

    created: Created  # from the first event on

    def __init__(self) -> None:
        self.trials: dict[int, TrialRecord] = {}
        self.running: set[int] = set()
        self.waiting: set[int] = set()  # begun, not ended, and not running now
        self.attempts: defaultdict[int, int] = defaultdict(int)
        self.losses: defaultdict[int, int] = defaultdict(int)  # attempts whose worker died
        self.alone: set[int] = set()  # to be tried again with a GPU to itself
        self.saved: defaultdict[int, list[Saved]] = defaultdict(list)
        self.weights: dict[int, Digest] = {}  # of the trials whose last epoch came
        self.worker_s: defaultdict[int, float] = defaultdict(float)  # s inside epochs, all attempts
        self.constraints: dict[int, dict[str, float]] = {}
        self.ended: list[int] = []  # in the order in which they ended
        self.n_ended_before = 0  # of `ended`, in earlier sessions
        self.n_added = 0  # trials beyond the spec's
        self.reruns: list[Rerun] = []
        self.stopped: Stop | None = None
        self.is_tracked = False
        self.confirming: tuple[int, ...] = ()
        self.confirmations: dict[tuple[int, int], Confirmation] = {}  # by trial and seed
        self.swept: dict[tuple[int, Deployment], SweptPoint] = {}
        self.repairs: list[str] = []  # a sentence each
        self.curves: list[Event] = []  # those of which the curves of the trials are made, in their order
        self.elapsed_s = 0.0  # of all sessions
        self.last: Event | None = None
        self._time = 0.0  # of the last event
        self._devices: defaultdict[str, dict[int, float]] = defaultdict(dict)  # device -> trial -> since

    def apply(self, entry: Entry) -> None:
        """Take in the next event.

        Raises:
            Unreadable: it cannot follow those before it, or is of a later format.
        """
        event = entry.event
        if not isinstance(event, Created) and not hasattr(self, "created"):
            raise Unreadable("the event that created the study is missing")
        if not isinstance(event, _TIMELESS):
            self.elapsed_s += max(0.0, entry.time - self._time) if self._time else 0.0
        self._time, self.last = entry.time, event
        if not isinstance(event, Opened | Closed | Repaired):
            self.is_tracked = isinstance(event, Tracked)
        self._take(event)
        if isinstance(event, _OF_CURVES):
            self.curves.append(event)

    def _begun(self, number: int) -> TrialRecord:
        if number not in self.trials:
            raise Unreadable(f"trial {number} was not begun before")
        return self.trials[number]

    @singledispatchmethod
    def _take(self, event: Event) -> None:
        """Nothing: the session's end, and that it was tracked, are known by their time alone."""

    @_take.register
    def _(self, event: Created) -> None:
        if event.format > FORMAT:
            raise Unreadable(f"format {event.format} of a later nde-study, allowed: up to {FORMAT}; install that one")
        self.created = event

    @_take.register
    def _(self, event: Moved) -> None:
        self.created = replace(self.created, tracking=event.tracking)

    @_take.register
    def _(self, event: Renamed) -> None:
        self.created = replace(self.created, study=replace(self.created.study, name=event.name))
        self.trials = {number: replace(trial, study=event.name) for number, trial in self.trials.items()}

    @_take.register
    def _(self, event: Opened) -> None:
        self.stopped = None
        self.n_ended_before = len(self.ended)

    @_take.register
    def _(self, event: Extended) -> None:
        self.n_added += event.trials
        self.stopped = None

    @_take.register
    def _(self, event: Rerun) -> None:
        self.n_added += 1
        self.stopped = None
        self._begun(event.parent)
        self.reruns.append(event)

    @_take.register
    def _(self, event: Stopped) -> None:
        self.stopped = event.stop

    @_take.register
    def _(self, event: Started) -> None:
        number, known = event.number, self.trials.get(event.number)
        kept = sum(record.epoch <= event.from_epoch for record in known.epochs) if known else 0
        if number in self.constraints:
            raise Unreadable(f"trial {number} had ended before")
        self.attempts[number] = event.attempt
        self.saved[number] = [saved for saved in self.saved[number] if saved.epoch <= event.from_epoch]
        self.trials[number] = TrialRecord(
            self.created.study.name,
            number,
            event.config,
            TrialStatus.RUNNING,
            label=event.label,
            parent=event.parent,
            epochs=known.epochs[:kept] if known else (),
            epoch_times=known.epoch_times[:kept] if known else (),
            packed=known.packed if known else False,
            began_s=known.began_s if known else self._time,
        )
        self.running.add(number)
        self.waiting.discard(number)

    @_take.register
    def _(self, event: Placed) -> None:
        """A trial shares its device with those that run there, or did since it began there."""
        number, place, trial = event.number, event.placement, self._begun(event.number)
        device = self._devices[place.device]
        beside = [n for n in device if n != number and (n in self.running or self.trials[n].ended_s > place.since)]
        self._devices[place.device] = {n: device[n] for n in beside} | {number: place.since}
        self.trials[number] = replace(trial, node=place.node, calibration_s=place.calibration_s)
        for each in (number, *beside) if beside else ():
            self.trials[each] = replace(self.trials[each], packed=True)

    @_take.register
    def _(self, event: Epoch) -> None:
        number, record, trial = event.number, event.record, self._begun(event.number)
        if trial.epochs and record.epoch <= trial.epochs[-1].epoch:
            raise Unreadable(f"epoch {record.epoch} of trial {number} came before")
        epochs, times = (*trial.epochs, record), (*trial.epoch_times, self._time)
        self.trials[number] = replace(trial, epochs=epochs, epoch_times=times, deployment=event.deployment)
        self._sweep(number, event.points)
        self.worker_s[number] += event.worker_s
        if event.checkpoint:
            self.saved[number].append(Saved(record.epoch, event.checkpoint, event.weights))
        elif event.weights:
            self.weights[number] = event.weights

    @_take.register
    def _(self, event: Interrupted) -> None:
        number, trial = event.number, self._begun(event.number)
        self.trials[number] = replace(trial, status=TrialStatus.INTERRUPTED, reason=event.reason, ended_s=self._time)
        self.losses[number] += event.lost
        self.worker_s[number] += event.worker_s
        if event.alone:
            self.alone.add(number)
        self.running.discard(number)
        self.waiting.add(number)

    @_take.register
    def _(self, event: Ended) -> None:
        number, trial = event.number, self._begun(event.number)
        if number in self.constraints:
            raise Unreadable(f"trial {number} had ended before")
        self.trials[number] = replace(
            trial,
            status=event.status,
            reason=event.reason,
            cause=event.cause,
            stopped_by=event.stopped_by,
            ended_s=self._time,
        )
        self.constraints[number] = dict(event.constraints)
        self.worker_s[number] += event.worker_s
        self.running.discard(number)
        self.waiting.discard(number)
        self.ended.append(number)

    @_take.register
    def _(self, event: Reopened) -> None:
        number, trial = event.number, self._begun(event.number)
        if trial.status is not TrialStatus.STOPPED:
            raise Unreadable(f"trial {number} was not stopped before")
        self.trials[number] = replace(
            trial, status=TrialStatus.INTERRUPTED, reason=f"taken up again: {trial.reason}", stopped_by=None
        )
        del self.constraints[number]
        self.ended.remove(number)
        self.waiting.add(number)
        self.stopped = None

    @_take.register
    def _(self, event: Confirming) -> None:
        self.confirming = event.trials

    @_take.register
    def _(self, event: Confirmed) -> None:
        found = event.found
        self.confirmations[found.trial, found.seed] = found

    @_take.register
    def _(self, event: Swept) -> None:
        self._sweep(event.number, event.points)

    @_take.register
    def _(self, event: Repaired) -> None:
        self.repairs.append(event.what)

    def _sweep(self, number: int, points: tuple[SweptPoint, ...]) -> None:
        """A point measured again replaces the one before."""
        for point in points:
            self.swept[number, point.deployment] = point
