"""A study in simulated time: an event queue where Ray would be; sampler, rule and ledger are those of a real run."""

import heapq
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ndecore.errors import InputError
from ndecore.hyperparameters import last_epoch
from reports.records import StudyRecord, TrialStatus
from studies.bookkeeping import Bookkeeper
from studies.ledger import Ledger, Origin
from studies.messages import ORDER, Diverged, EpochDone, Message, Order
from studies.search import LedgerSearcher
from studies.simulation.recorded import RecordedCurve
from studies.simulation.worlds import World
from studies.spec import StudySpec

_RAM_DISK = Path("/dev/shm")


@dataclass(frozen=True)
class Simulated:
    """What a simulated study came to."""

    study: StudyRecord  # its times are s since it began
    workers: int
    epochs: int  # trained by all trials
    seconds: float  # simulated s, to the end of the last trial
    busy_s: float  # simulated s inside epochs, of all workers
    proposal_s: float  # real s of the driver for a proposal, mean

    @property
    def idle(self) -> float:
        """The share of the workers' time in which they had no trial."""
        whole = self.workers * self.seconds
        return 1.0 - self.busy_s / whole if whole else 0.0


@dataclass
class _Clock:
    now: float = 1.0  # s; 0 would say that a time is not known

    def __call__(self) -> float:
        return self.now


@dataclass
class _Fleet:
    """The workers: what each trial has left to tell, and when it tells the next."""

    idle: int
    busy_s: float = 0.0
    epochs: int = 0
    _queue: list[tuple[float, int]] = field(default_factory=list)  # (time, trial)
    _news: dict[int, Iterator[tuple[float, Message]]] = field(default_factory=dict)
    _next: dict[int, Message] = field(default_factory=dict)

    def begin(self, number: int, curve: RecordedCurve, now: float) -> None:
        self.idle -= 1
        self._news[number] = _messages(number, curve)
        self.go_on(number, now)

    def go_on(self, number: int, now: float) -> None:
        seconds, self._next[number] = next(self._news[number])
        self.busy_s += seconds
        heapq.heappush(self._queue, (now + seconds, number))

    def end(self, number: int) -> None:
        self.idle += 1
        del self._news[number]

    def next(self) -> tuple[float, Message]:
        now, number = heapq.heappop(self._queue)
        self.epochs += 1
        return now, self._next.pop(number)

    @property
    def is_busy(self) -> bool:
        return bool(self._queue)


def simulate(
    spec: StudySpec,
    world: World,
    folder: Path,
    workers: int,
    *,
    max_epochs: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Simulated:
    """Run a study without training.

    Args:
        spec: of the study.
        world: what its configs measure.
        folder: which the study's own is made in; on a RAM disk it is fastest.
        workers: at once.
        max_epochs: of all trials, after which no further trial begins; the spec's `trials` alone if None.
        clock: real seconds from an arbitrary origin, for what proposals cost.
    """
    now = _Clock()
    ledger = Ledger.create(folder / spec.name, spec, Origin(), now)
    with ledger.writing():
        searcher, books, fleet = LedgerSearcher(ledger, clock), Bookkeeper(ledger), _Fleet(workers)
        asked_s, began = 0.0, now()
        ledger.opened()
        while True:
            asked = clock()
            while fleet.idle and (max_epochs is None or fleet.epochs < max_epochs):
                given = searcher.suggest("")
                if given is None or given == searcher.FINISHED:
                    break
                order: Order = given[ORDER]
                fleet.begin(order.number, _checked(world.curve(order.config, order.number), order), now())
            asked_s += clock() - asked
            if not fleet.is_busy:
                break
            now.now, message = fleet.next()
            if books.note(message):
                fleet.end(message.number)
            else:
                fleet.go_on(message.number, now())
        ledger.closed()
        study = ledger.record()
    n_trials = max(1, len(study.trials))
    return Simulated(study, workers, fleet.epochs, now() - began, fleet.busy_s, asked_s / n_trials)


def in_memory(spec: StudySpec, world: World, workers: int, max_epochs: int | None = None) -> Simulated:
    """Simulate in a folder that is not kept, on a RAM disk where there is one."""
    place = _RAM_DISK if _RAM_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="nde-simulated-", dir=place) as folder:
        return simulate(spec, world, Path(folder), workers, max_epochs=max_epochs)


def _checked(curve: RecordedCurve, order: Order) -> RecordedCurve:
    if curve.status is TrialStatus.COMPLETE and len(curve.epochs) != last_epoch(order.config):
        raise InputError(
            f"epochs: got {last_epoch(order.config)} in the spec, allowed: {len(curve.epochs)}, as the curves have"
        )
    return curve


def _messages(number: int, curve: RecordedCurve) -> Iterator[tuple[float, Message]]:
    """What a worker tells of a trial, and the seconds that it takes until it does."""
    for record, seconds in zip(curve.epochs, curve.epoch_s, strict=True):
        yield seconds, Message(number, EpochDone(record), seconds)
    yield 0.0, Message(number, Diverged(f"as recorded: {curve.cause}", curve.cause), 0.0)
