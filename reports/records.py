"""What a study knows of its trials, and the names under which that is logged: one vocabulary for ledger, MLflow and reports."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum
from typing import Any

from ndecore.metrics import METRICS, EpochRecord, Metric

_MAPPINGS = ("scores", "score_gaps")


class TrialStatus(Enum):
    """How far a trial came."""

    RUNNING = "running"
    COMPLETE = "complete"  # trained to its last epoch
    DIVERGED = "diverged"  # the numbers ended it: a failed solve, a loss that is not finite
    FAILED = "failed"  # the program ended it: an exception, a lost worker
    INTERRUPTED = "interrupted"  # the person ended it


@dataclass(frozen=True)
class TrialRecord:
    """One trial: its complete flat config, how it ended and why, and what each epoch measured."""

    study: str
    number: int
    config: Mapping[str, Any]
    status: TrialStatus
    reason: str = ""  # one sentence where the status is not COMPLETE or RUNNING
    label: str = ""  # where the config was proposed first under a name: "vanilla", "er-code"
    epochs: tuple[EpochRecord, ...] = ()

    def values(self, objectives: tuple[Metric, ...]) -> tuple[float, ...] | None:
        """The last epoch's value of each objective, in its own direction; None unless the trial is complete and all are finite."""
        if self.status is not TrialStatus.COMPLETE or not self.epochs:
            return None
        measured = self.epochs[-1].objectives()
        values = tuple(measured.get(metric.name, math.nan) for metric in objectives)
        return values if all(map(math.isfinite, values)) else None

    def is_feasible(self, max_solver_gap: float) -> bool:
        """Whether the trial is complete and its outputs are the model's, not the tolerance's (design: solver gap)."""
        if self.status is not TrialStatus.COMPLETE or not self.epochs:
            return False
        gap = self.epochs[-1].solver_gap
        return gap is not None and gap <= max_solver_gap


@dataclass(frozen=True)
class StudyRecord:
    """A study as its reports see it."""

    name: str
    task: str
    objectives: tuple[Metric, ...]
    max_solver_gap: float  # dimensionless
    n_trials: int  # asked for
    trials: tuple[TrialRecord, ...]
    tracking_uri: str = ""
    experiment_id: str = ""
    versions: Mapping[str, str] | None = None  # package -> version that ran the trials


def metric_names(record: EpochRecord) -> dict[str, float]:
    """An epoch record as flat name -> value, the names that MLflow shows; values that were not measured are left out.

    The scores keep their own names (`accuracy`), their gaps are `accuracy_gap`.
    """
    plain = {key: value for key, value in asdict(record).items() if key not in _MAPPINGS and value is not None}
    gaps = {f"{name}_gap": value for name, value in record.score_gaps.items()}
    return plain | dict(record.scores) | gaps


def epoch_from_metrics(metrics: Mapping[str, float]) -> EpochRecord:
    """The inverse of `metric_names`; raise KeyError where a measured value is missing."""
    own = {f.name for f in fields(EpochRecord)} - set(_MAPPINGS)
    scores = {name: metrics[name] for name in METRICS if name in metrics and name not in own}
    gaps = {name: metrics[f"{name}_gap"] for name in scores if f"{name}_gap" in metrics}
    plain = {name: metrics[name] for name in own - {"solver_gap"}} | {"solver_gap": metrics.get("solver_gap")}
    return EpochRecord(**plain | {"epoch": int(metrics["epoch"])}, scores=scores, score_gaps=gaps)


def trial_to_json(trial: TrialRecord) -> str:
    """A trial as one JSON text; numbers keep every digit."""
    return json.dumps(asdict(trial) | {"status": trial.status.value})


def trial_from_json(text: str) -> TrialRecord:
    """The inverse of `trial_to_json`."""
    data = json.loads(text)
    epochs = tuple(EpochRecord(**epoch) for epoch in data.pop("epochs"))
    return TrialRecord(**data | {"status": TrialStatus(data["status"]), "epochs": epochs})
