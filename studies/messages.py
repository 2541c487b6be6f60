"""What the driver and its workers say to each other. Ray carries it as it is: both ends run the same code."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ndecore.metrics import EpochRecord
from reports.records import Cause, SweptPoint
from studies.events import Digest, Placement
from studies.trial_files import DIRECT, WorkerFiles

ORDER, MESSAGE = "order", "message"  # the keys under which Tune's mappings hold them


@dataclass(frozen=True)
class Order:
    """A trial to be trained, or gone on with."""

    number: int
    task: str
    config: Mapping[str, Any]  # flat and complete
    study: Path  # its folder, from where the files are looked for that `task` and `config` name
    folder: Path  # of this attempt: all files go there
    files: WorkerFiles = DIRECT  # how they are reached
    checkpoint: Path | None = None  # to go on from
    checkpoint_every: int = 1  # epochs
    keeps_epochs: bool = False  # whether no checkpoint is removed before the trial ends
    timeout_s: float | None = None  # of the whole trial
    spent_s: float = 0.0  # by earlier attempts
    solvers: tuple[str, ...] = ()  # with which its model is solved once more at the end,
    rtols: tuple[float, ...] = ()  # at these tolerances
    gpu: float = 0.0  # share, or whole ones
    gap_epochs: tuple[int, ...] = ()  # after which the solver gap is estimated, for a rule that asks

    def __str__(self) -> str:
        """Short: Tune makes names of folders of it."""
        return f"trial {self.number}"


@dataclass(frozen=True)
class EpochDone:
    """An epoch is trained, and its files are written."""

    record: EpochRecord
    checkpoint: str = ""  # below the trial's folder
    points: tuple[SweptPoint, ...] = ()  # of the last epoch
    weights: Digest | None = None  # of what holds them: after the last epoch their file, else a checkpoint to be kept


@dataclass(frozen=True)
class Diverged:
    """The config has ended the trial."""

    reason: str
    cause: Cause


@dataclass(frozen=True)
class Unwritable:
    """The worker's files cannot be written, which is no trial's own error."""

    reason: str


@dataclass(frozen=True)
class Message:
    """From a worker, about its trial."""

    number: int  # of the trial
    news: EpochDone | Diverged | Unwritable
    worker_s: float  # s that it took
    placement: Placement | None = None  # with the first of an attempt

    @property
    def ends_attempt(self) -> bool:
        """Whether the worker has no more to do for the trial."""
        return not isinstance(self.news, EpochDone) or self.news.record.is_last
