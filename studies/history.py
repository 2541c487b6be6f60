"""What the events of a study add up to: trials, attempts, checkpoints, seconds. A pure fold, without side effects."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ndecore.metrics import EpochRecord
from reports.records import Cause, Confirmation, Deployment, SweptPoint, TrialRecord, TrialStatus, swept_point

OPEN = (TrialStatus.RUNNING, TrialStatus.INTERRUPTED)
_AFTERWARDS = ("confirming", "confirmed", "swept")  # kinds of events that take no time of the study


@dataclass(frozen=True)
class Rerun:
    """A trial that was asked for: that of `parent` with other values."""

    parent: int
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Saved:
    """A checkpoint that an event has named."""

    epoch: int
    path: str  # below the trial's folder


class History:
    """The events of one study so far, in the order in which they were written."""

    def __init__(self, study: str) -> None:
        self.study = study
        self.facts: dict[str, Any] = {}
        self.trials: dict[int, TrialRecord] = {}
        self.running: set[int] = set()
        self.waiting: set[int] = set()  # begun, not ended, and not running now
        self.attempts: defaultdict[int, int] = defaultdict(int)
        self.losses: defaultdict[int, int] = defaultdict(int)  # attempts whose worker died
        self.alone: set[int] = set()  # to be tried again with a GPU to itself
        self.saved: defaultdict[int, list[Saved]] = defaultdict(list)
        self.worker_s: defaultdict[int, float] = defaultdict(float)  # s inside epochs, all attempts
        self.constraints: dict[int, dict[str, float]] = {}
        self.ended: list[int] = []  # in the order in which they ended
        self.n_ended_before = 0  # of `ended`, in earlier sessions
        self.n_added = 0  # trials beyond the spec's
        self.reruns: list[Rerun] = []
        self.stopped = ""
        self.is_tracked = False
        self.confirming: tuple[int, ...] = ()
        self.confirmations: dict[tuple[int, int], Confirmation] = {}  # by trial and seed
        self.swept: dict[tuple[int, Deployment], SweptPoint] = {}
        self.elapsed_s = 0.0  # of all sessions
        self._last_time = 0.0
        self._devices: defaultdict[str, dict[int, float]] = defaultdict(dict)  # device -> trial -> since

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take in the next event; a kind that is not known, of a later version say, is passed over."""
        kind, number = event["event"], event.get("number", -1)
        if kind not in ("opened", *_AFTERWARDS):
            self.elapsed_s += max(0.0, event["time"] - self._last_time) if self._last_time else 0.0
        self._last_time = event["time"]
        if kind not in ("opened", "closed"):
            self.is_tracked = kind == "tracked"
        handler = getattr(self, f"_{kind}", None)
        if handler:
            handler(number, event)

    def _created(self, _: int, event: Mapping[str, Any]) -> None:
        self.facts = dict(event["facts"])

    def _moved(self, _: int, event: Mapping[str, Any]) -> None:
        """The study is tracked elsewhere from now on."""
        self.facts |= event["facts"]

    def _opened(self, _: int, event: Mapping[str, Any]) -> None:
        self.stopped = ""
        self.n_ended_before = len(self.ended)

    def _extended(self, _: int, event: Mapping[str, Any]) -> None:
        self.n_added += event["trials"]
        self.stopped = ""
        if "parent" in event:
            self.reruns.append(Rerun(event["parent"], event["changes"]))

    def _stopped(self, _: int, event: Mapping[str, Any]) -> None:
        self.stopped = event["reason"]

    def _started(self, number: int, event: Mapping[str, Any]) -> None:
        self.attempts[number] = event["attempt"]
        kept, known = event["from_epoch"], self.trials.get(number)
        self.saved[number] = [saved for saved in self.saved[number] if saved.epoch <= kept]
        self.trials[number] = TrialRecord(
            self.study,
            number,
            event["config"],
            TrialStatus.RUNNING,
            label=event["label"],
            parent=event["parent"],
            epochs=known.epochs[:kept] if known else (),
            epoch_times=known.epoch_times[:kept] if known else (),
            packed=known.packed if known else False,
            began_s=known.began_s if known else event["time"],
        )
        self.running.add(number)
        self.waiting.discard(number)

    def _placed(self, number: int, event: Mapping[str, Any]) -> None:
        """A trial shares its device with those that run there, or did since it began there."""
        device, since = self._devices[event["device"]], event["since"]
        beside = [n for n in device if n != number and (n in self.running or self.trials[n].ended_s > since)]
        self._devices[event["device"]] = {n: device[n] for n in beside} | {number: since}
        calibration = event["calibration_s"]
        self.trials[number] = replace(self.trials[number], node=event["node"], calibration_s=calibration)
        for each in (number, *beside) if beside else ():
            self.trials[each] = replace(self.trials[each], packed=True)

    def _epoch(self, number: int, event: Mapping[str, Any]) -> None:
        trial, record = self.trials[number], EpochRecord(**event["record"])
        times = (*trial.epoch_times, event["time"])
        deployment = Deployment(**event["deployment"]) if event.get("deployment") else None
        epochs = (*trial.epochs, record)
        self.trials[number] = replace(trial, epochs=epochs, epoch_times=times, deployment=deployment)
        self._swept(number, event)
        self.worker_s[number] += event["worker_s"]
        if event["checkpoint"]:
            self.saved[number].append(Saved(record.epoch, event["checkpoint"]))

    def _interrupted(self, number: int, event: Mapping[str, Any]) -> None:
        status, time = TrialStatus.INTERRUPTED, event["time"]
        self.trials[number] = replace(self.trials[number], status=status, reason=event["reason"], ended_s=time)
        self.losses[number] += event["lost"]
        self.worker_s[number] += event["worker_s"]
        if event["alone"]:
            self.alone.add(number)
        self.running.discard(number)
        self.waiting.add(number)

    def _ended(self, number: int, event: Mapping[str, Any]) -> None:
        self.trials[number] = replace(
            self.trials[number],
            status=TrialStatus(event["status"]),
            reason=event["reason"],
            cause=Cause(event["cause"]),
            ended_s=event["time"],
        )
        self.constraints[number] = event["constraints"]
        self.worker_s[number] += event["worker_s"]
        self.running.discard(number)
        self.waiting.discard(number)
        self.ended.append(number)

    def _confirming(self, _: int, event: Mapping[str, Any]) -> None:
        """A confirmation was asked for, of these trials."""
        self.confirming = tuple(event["trials"])

    def _confirmed(self, number: int, event: Mapping[str, Any]) -> None:
        """A trial was trained again with another seed, or diverged with it."""
        test = EpochRecord(**event["test"]) if event["test"] else None
        self.confirmations[number, event["seed"]] = Confirmation(
            number,
            event["seed"],
            test,
            event["validation"],
            TrialStatus(event["status"]),
            Cause(event["cause"]),
            event["reason"],
            event["calibration_s"],
            event["time"],
        )

    def _swept(self, number: int, event: Mapping[str, Any]) -> None:
        """A trained model was solved in other ways; a point measured again replaces the one before."""
        for point in map(swept_point, event.get("points", ())):
            self.swept[number, point.deployment] = point
