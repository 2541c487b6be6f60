"""What is asked of a run beside its spec. Ray, which takes seconds to import, is not needed to ask."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Where:
    """Where a study runs and is kept; none of it changes its results."""

    root: Path  # the folder of all studies
    tracking_uri: str  # of the MLflow store or server
    address: str | None = None  # of a Ray cluster to join; this machine if None
    workers: int | None = None  # trials at once, instead of the spec's
    storage: str | None = None  # the URL of the study's database with the password that the ledger does not keep


@dataclass(frozen=True)
class More:
    """What is asked of a study beyond its spec."""

    trials: int = 0
    rerun: int | None = None  # the number of a trial to run again
    changes: Mapping[str, Any] = field(default_factory=dict)  # with these values
    retries: bool = False  # whether trials that failed are run again, with the user's files as they are now
    reopening: tuple[int, ...] | None = ()  # trials that a rule stopped, to be trained to their end; None: all


NO_MORE = More()
