"""What may happen to a study: a type for each kind of event in its log, and the format that they are written in."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ndecore.metrics import EpochRecord, Metric
from reports.codec import Unreadable, decode, encode
from reports.records import Cause, Confirmation, Deployment, Stop, StoppedBy, SweptPoint, Threshold, TrialStatus

FORMAT = 2  # of the log; `studies.upgrade` reads older ones
_KIND = "event"  # the key under which a line has its kind


@dataclass(frozen=True)
class Digest:
    """What a file must be: found again in it, or it was damaged."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Tracking:
    """Where a study is tracked."""

    uri: str = ""  # of the MLflow store or server, without a password; "root:PATH" of a store below the root folder
    experiment_id: str = ""


@dataclass(frozen=True)
class Definition:
    """What a study is, for whoever reads it: nothing of it is looked up in the packages that are installed."""

    name: str
    task: str
    objectives: tuple[Metric, ...]
    metrics: tuple[Metric, ...]  # all that its trials measure, objectives included
    thresholds: tuple[Threshold, ...]
    max_solver_gap: float  # dimensionless
    n_trials: int  # asked for at first


@dataclass(frozen=True)
class Placement:
    """Where a trial runs."""

    node: str
    device: str
    since: float  # s since 1970
    calibration_s: float  # s, of a small fixed solve


@dataclass(frozen=True)
class Created:
    """The study begins. Also written when a study of an older format is written to again."""

    study_id: str
    study: Definition
    format: int = FORMAT
    tracking: Tracking = field(default_factory=Tracking)
    versions: Mapping[str, str] | None = None  # package -> version


@dataclass(frozen=True)
class Opened:
    """A session begins."""


@dataclass(frozen=True)
class Closed:
    """A session ends."""


@dataclass(frozen=True)
class Moved:
    """The study is tracked elsewhere from now on."""

    tracking: Tracking


@dataclass(frozen=True)
class Renamed:
    """The study has another name from now on, and so have its trials."""

    name: str


@dataclass(frozen=True)
class Extended:
    """More trials are asked for."""

    trials: int


@dataclass(frozen=True)
class Rerun:
    """One more trial is asked for: that of `parent` with other values."""

    parent: int
    changes: Mapping[str, Any]


@dataclass(frozen=True)
class Stopped:
    """No more trials are proposed."""

    stop: Stop


@dataclass(frozen=True)
class Started:
    """A trial begins, or goes on."""

    number: int
    attempt: int  # from 1
    from_epoch: int  # epochs after it are forgotten
    label: str
    config: Mapping[str, Any]
    parent: int | None = None
    sampler_s: float = 0.0


@dataclass(frozen=True)
class Placed:
    """A worker has taken up a trial."""

    number: int
    placement: Placement


@dataclass(frozen=True)
class Epoch:
    """A trial has completed an epoch."""

    number: int
    record: EpochRecord
    checkpoint: str = ""  # saved after it, below the trial's folder
    worker_s: float = 0.0  # s that it took
    points: tuple[SweptPoint, ...] = ()
    deployment: Deployment | None = None  # with which the record was measured; the trial's own settings if None
    weights: Digest | None = None  # of what holds them: after the last epoch their file, else the checkpoint


@dataclass(frozen=True)
class Interrupted:
    """A trial has stopped before its end and will go on."""

    number: int
    reason: str
    lost: bool = False  # whether its worker died
    alone: bool = False  # whether it will go on with a GPU to itself
    worker_s: float = 0.0  # s since its last epoch


@dataclass(frozen=True)
class Ended:
    """A trial has ended."""

    number: int
    status: TrialStatus
    reason: str = ""
    cause: Cause = Cause.NONE
    worker_s: float = 0.0  # s since its last epoch
    constraints: Mapping[str, float] = field(default_factory=dict)
    stopped_by: StoppedBy | None = None


@dataclass(frozen=True)
class Reopened:
    """A trial that a rule had stopped is taken up again, and no rule stops it any more."""

    number: int


@dataclass(frozen=True)
class Confirming:
    """A confirmation was asked for, of these trials."""

    trials: tuple[int, ...]


@dataclass(frozen=True)
class Confirmed:
    """A trial was trained again with another seed, or diverged with it."""

    found: Confirmation


@dataclass(frozen=True)
class Swept:
    """A trained model was solved in other ways."""

    number: int
    points: tuple[SweptPoint, ...]


@dataclass(frozen=True)
class Tracked:
    """The study is finished, and MLflow holds all of it."""


@dataclass(frozen=True)
class Repaired:
    """Something was made anew from this log, or lines of it were given up."""

    what: str  # one sentence


Event = (
    Created
    | Opened
    | Closed
    | Moved
    | Renamed
    | Extended
    | Rerun
    | Stopped
    | Started
    | Placed
    | Epoch
    | Interrupted
    | Ended
    | Reopened
    | Confirming
    | Confirmed
    | Swept
    | Tracked
    | Repaired
)
_KINDS: Mapping[str, type[Event]] = {kind.__name__.lower(): kind for kind in Event.__args__}


@dataclass(frozen=True)
class Entry:
    """An event and when it happened."""

    time: float  # s since 1970
    event: Event


def entry_data(entry: Entry) -> dict[str, Any]:
    """An entry as plain JSON types, in one flat mapping."""
    return {"time": entry.time, _KIND: type(entry.event).__name__.lower()} | encode(entry.event)


def read_entry(data: Any) -> Entry:
    """The inverse of `entry_data`; raise `Unreadable` where something is missing or of another type."""
    if not isinstance(data, dict):
        raise Unreadable(f"got {data!r:.80}, allowed: an event")
    kind = data.get(_KIND)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise Unreadable(f"{_KIND}: got {kind!r:.80}, allowed: {', '.join(_KINDS)}")
    return Entry(decode(float, data.get("time")), decode(_KINDS[kind], data))


assert not any(each.name in ("time", _KIND) for kind in Event.__args__ for each in fields(kind))
