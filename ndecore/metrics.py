"""What a training run is measured by: the metrics, and the record of one epoch. Plain data, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Direction(Enum):
    """Which way a metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


@dataclass(frozen=True)
class Metric:
    """A measured quantity: its name, its unit ("1" if dimensionless) and the direction in which it is better."""

    name: str
    unit: str
    direction: Direction


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        # What tasks score on held-out data.
        Metric("accuracy", "1", Direction.MAXIMIZE),
        Metric("loss", "nats", Direction.MINIMIZE),
        Metric("mse", "unit of y squared", Direction.MINIMIZE),
        # What every run costs, whatever the task.
        Metric("nfe", "evaluations per held-out solve", Direction.MINIMIZE),
        Metric("train_s", "s", Direction.MINIMIZE),
        Metric("predict_s", "s per held-out batch", Direction.MINIMIZE),
        Metric("train_work", "evaluations, forward and backward", Direction.MINIMIZE),
    )
}

COSTS = ("nfe", "train_s", "predict_s", "train_work")  # of METRICS, what every epoch record measures whatever the task


@dataclass(frozen=True)
class EpochRecord:
    """What one epoch of training measured. Seconds and work add up from the first epoch on; the rest is of this epoch.

    Held-out means the validation split; NFE and step counts are means per solve of one batch.
    """

    epoch: int  # epochs completed, from 1
    scores: Mapping[str, float]  # the task's metrics on held-out data, by Metric.name
    train_loss: float  # nats, mean over the batches, penalty not included
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
    solver_gap: float | None = None  # dimensionless, at the last epoch: |out - reference| / |reference|
    score_gaps: Mapping[str, float] = field(default_factory=dict)  # at the last epoch: score minus the reference's

    def objectives(self) -> dict[str, float]:
        """Every value that a study may optimize, by the name of its `Metric`."""
        return dict(self.scores) | {name: getattr(self, name) for name in COSTS}
