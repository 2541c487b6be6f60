"""What a training run is measured by: the metrics, and the record of one epoch. Plain data, without torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from statistics import fmean
from typing import Any


class Direction(Enum):
    """Which way a metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Metric:
    """A measured quantity.

    Args:
        name: as configs, logs and commands have it.
        unit: "1" if dimensionless.
        direction: in which it is better.
        title: in words, for tables and figures; the name where there is none.
        is_share: whether it is a part of 1, to be shown in per cent.
    """

    name: str
    unit: str
    direction: Direction
    title: str = ""
    is_share: bool = False


_COSTS = (
    Metric("nfe", "evaluations per held-out batch", Direction.MINIMIZE, "NFE"),
    Metric("train_s", "s", Direction.MINIMIZE, "training time"),
    Metric("predict_s", "s per held-out batch", Direction.MINIMIZE, "prediction time"),
    Metric("train_work", "evaluations, forward and backward", Direction.MINIMIZE, "training work"),
    Metric("parameters", "1", Direction.MINIMIZE),
    Metric("peak_memory", "MiB", Direction.MINIMIZE, "peak memory"),
)
COSTS = tuple(metric.name for metric in _COSTS)  # what every run is measured by, whatever the task
TRAINING_COSTS = ("train_s", "train_work")  # those of them that grow with each epoch

ACCURACY = Metric("accuracy", "1", Direction.MAXIMIZE, is_share=True)
CROSS_ENTROPY = Metric("loss", "nats", Direction.MINIMIZE)
MSE = Metric("mse", "unit of y squared", Direction.MINIMIZE, "error")

# What a reader of a study knows without its task; a study's own metrics are in its record.
METRICS: Mapping[str, Metric] = {m.name: m for m in (ACCURACY, CROSS_ENTROPY, MSE, *_COSTS)}


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training measured. Seconds and work add up from the first epoch on; the rest is of this epoch.

    Held-out means the validation split; NFE and step counts are sums over the solves of one batch, means over batches.
    """

    epoch: int  # epochs completed, from 1
    scores: Mapping[str, float]  # the task's metrics on held-out data, by Metric.name
    train_loss: float  # unit of the loss, mean over the batches, penalty not included
    penalty: float  # dimensionless, mean over the batches, before its weight
    weight: float  # dimensionless, of the penalty in this epoch
    nfe: float  # held-out vector field evaluations, rejected steps and the initial-step probe included
    accepted: float  # held-out steps
    rejected: float  # held-out steps
    nfe_train: float  # as nfe, in training, the penalty's own evaluations included
    accepted_train: float
    rejected_train: float
    train_s: float  # s, cumulative: forward, backward and update alone, after a warm-up
    predict_s: float  # s per held-out batch, median over the batches
    train_work: float  # evaluations, cumulative: forward plus differentiated
    nfe_diffusion: float | None = (
        None  # held-out evaluations of the diffusion, which are not in nfe; None if there is none
    )
    solver_gap: float | None = (
        None  # dimensionless, |out - reference| / |reference|: at the last epoch; at others about
    )
    score_gaps: Mapping[str, float] = field(default_factory=dict)  # at the last epoch: score minus the reference's
    loss_parts: Mapping[str, float] = field(default_factory=dict)  # of train_loss, where the task names several
    n_parameters: int | None = None  # that are trained
    peak_memory_mib: float | None = None  # of a training step so far; see `ndecore.memory`
    learning_rate: float | None = None  # of the epoch's last step
    is_last: bool = False  # whether the training ends with it

    def objectives(self) -> dict[str, float]:
        """Every value that a study may optimize, by the name of its `Metric`; what was not measured is left out."""
        costs = {name: getattr(self, _FIELDS.get(name, name)) for name in COSTS}
        return dict(self.scores) | {name: float(value) for name, value in costs.items() if value is not None}


_FIELDS = {"parameters": "n_parameters", "peak_memory": "peak_memory_mib"}  # of a cost, where it has another name


def counts_epochs(objectives: Sequence[Metric]) -> bool:
    """Whether an objective is a cost of training, so that less of it is another trade-off."""
    return any(metric.name in TRAINING_COSTS for metric in objectives)


def mean_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """The mean of trainings that differ by their seed, in every number; what is equal in all of them stays as it is."""
    return EpochRecord(
        **{each.name: _mean([getattr(record, each.name) for record in records]) for each in fields(EpochRecord)}
    )


def _mean(values: Sequence[Any]) -> Any:
    first = values[0]
    if all(value == first for value in values):
        return first
    if isinstance(first, Mapping):
        return {name: _mean([value[name] for value in values]) for name in first}
    return fmean(values)
