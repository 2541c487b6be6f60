"""What a study knows of its trials: one vocabulary for all rooms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any

from ndecore.errors import InputError
from ndecore.metrics import METRICS, Direction, EpochRecord, Metric


class TrialStatus(Enum):
    """How far a trial came."""

    RUNNING = "running"
    COMPLETE = "complete"  # trained to its last epoch
    DIVERGED = "diverged"  # the config ended it: numbers, memory or time ran away; see its Cause
    FAILED = "failed"  # the program ended it: an exception, a lost worker
    STOPPED = "stopped"  # a rule ended it: what it had measured promised too little; see its StoppedBy
    INTERRUPTED = "interrupted"  # the person ended it


class Cause(StrEnum):
    """What kept a trial from completing."""

    NONE = ""
    NOT_FINITE = "not finite"
    FIRST_STEP = "not finite at the first step"  # before any update: mostly a mistake in the data or the task
    STEP_UNDERFLOW = "step underflow"
    STEP_LIMIT = "step limit"
    MEMORY = "out of memory"
    TIMEOUT = "timeout"
    ERROR = "error"  # an exception: a mistake in a program
    LOST = "lost"  # its worker died, again and again


class StopRule(StrEnum):
    """What ended a study before all its trials were run."""

    HOURS = "hours"
    DEVICE_HOURS = "device_hours"
    FLAT_TRIALS = "flat_trials"
    SAME_ERROR = "same_error"


_STOP_SENTENCES = {
    StopRule.HOURS: "it has run for {limit:g} hours",
    StopRule.DEVICE_HOURS: "its trials have taken {limit:g} device-hours",
    StopRule.FLAT_TRIALS: "the hypervolume has been flat for {limit:g} trials",
    StopRule.SAME_ERROR: "{error} ({limit:g} trials failed in a row)",
}


@dataclass(frozen=True)
class Stop:
    """Why a study ended before all its trials were run; as a text, a sentence."""

    rule: StopRule
    limit: float  # that was reached: hours, device-hours or trials
    error: str = ""  # with which the last trials failed

    def __str__(self) -> str:
        return _STOP_SENTENCES[self.rule].format(limit=self.limit, error=self.error)


@dataclass(frozen=True)
class Threshold:
    """A bound that a trial must keep to be on the front: `accuracy >= 0.95`, `nfe <= 100`."""

    name: str  # of a metric
    bound: float  # in the metric's unit
    direction: Direction  # MAXIMIZE: at least the bound

    def excess(self, measured: Mapping[str, float]) -> float:
        """How far the bound is missed, relative to it where it is not 0: dimensionless, positive if it is missed."""
        value = measured.get(self.name, math.nan)
        missed = self.bound - value if self.direction is Direction.MAXIMIZE else value - self.bound
        return missed / abs(self.bound) if self.bound else missed

    def __str__(self) -> str:
        return f"{self.name} {'>=' if self.direction is Direction.MAXIMIZE else '<='} {self.bound:g}"


@dataclass(frozen=True)
class Deployment:
    """How a trained model is solved where it is used, in place of how it was trained."""

    solver: str  # a name in SOLVERS
    rtol: float  # dimensionless
    atol: float  # unit of y

    def __str__(self) -> str:
        return f"{self.solver} at {self.rtol:.1e}"


@dataclass(frozen=True)
class StoppedBy:
    """The rule that stopped a trial before its end, and by which figures; as a text, a sentence."""

    rule: str  # a name in RULES, or a file's
    epoch: int  # after which it stopped the trial
    figure: str  # of what the values are
    value: float
    bound: float  # below which a trial is stopped

    def __str__(self) -> str:
        return f"{self.rule} after epoch {self.epoch}: {self.figure} {self.value:.3g}, needed {self.bound:.3g}"


@dataclass(frozen=True)
class TrialRecord:
    """One trial: its complete flat config, how it ended and why, and what each epoch measured."""

    study: str
    number: int
    config: Mapping[str, Any]
    status: TrialStatus
    reason: str = ""  # one sentence where the status is not COMPLETE; while RUNNING, where it has long been silent
    label: str = ""  # where the config was proposed first under a name: "vanilla", "er-code"
    epochs: tuple[EpochRecord, ...] = ()
    cause: Cause = Cause.NONE
    parent: int | None = None  # the trial of which this one is a longer run
    node: str = ""  # the machine that it ran on last
    packed: bool = False  # whether it shared its device with another trial
    deployment: Deployment | None = None  # with which its last epoch was measured; its own settings if None
    stopped_by: StoppedBy | None = None  # where the status is STOPPED
    calibration_s: float | None = field(default=None, compare=False)  # s, of a small fixed solve in its worker
    began_s: float = field(default=0.0, compare=False)  # s since 1970
    ended_s: float = field(default=0.0, compare=False)  # s since 1970
    epoch_times: tuple[float, ...] = field(default=(), compare=False)  # s since 1970, of `epochs`

    @property
    def is_mistake(self) -> bool:
        """Whether it failed, or had no finite number before its first update: hardly its config's fault."""
        return self.status is TrialStatus.FAILED or self.cause is Cause.FIRST_STEP

    @property
    def fidelity(self) -> str:
        """How much of its training the trial has had: "full", "12 of 30 epochs"."""
        if self.status is TrialStatus.COMPLETE:
            return "full"
        return f"{len(self.epochs)} of {self.config.get('stop_after') or self.config.get('epochs', '?')} epochs"

    def values(self, objectives: tuple[Metric, ...]) -> tuple[float, ...] | None:
        """The last epoch's value of each objective, in its unit; None unless complete and all finite."""
        if self.status is not TrialStatus.COMPLETE or not self.epochs:
            return None
        measured = self.epochs[-1].objectives()
        values = tuple(measured.get(metric.name, math.nan) for metric in objectives)
        return values if all(map(math.isfinite, values)) else None

    def is_feasible(self, max_solver_gap: float, thresholds: tuple[Threshold, ...] = ()) -> bool:
        """Whether the trial is complete, keeps the thresholds, and its outputs are not those of a loose tolerance."""
        if self.status is not TrialStatus.COMPLETE or not self.epochs:
            return False
        gap, measured = self.epochs[-1].solver_gap, self.epochs[-1].objectives()
        is_own = gap is not None and gap <= max_solver_gap
        return is_own and all(threshold.excess(measured) <= 0.0 for threshold in thresholds)


@dataclass(frozen=True)
class Confirmation:
    """A trial's config trained once more, with another seed and the machine to itself, and measured on the test split.

    `reports.confirmed` adds them up.
    """

    trial: int
    seed: int
    test: EpochRecord | None  # the last epoch; what is held-out in it is the test split. None: it did not come so far
    validation: Mapping[str, float] = field(default_factory=dict)  # the objectives on the validation split, by name
    status: TrialStatus = TrialStatus.COMPLETE  # or DIVERGED
    cause: Cause = Cause.NONE
    reason: str = ""  # one sentence where the status is not COMPLETE
    calibration_s: float | None = field(default=None, compare=False)  # s, of a small fixed solve just before
    ended_s: float = field(default=0.0, compare=False)  # s since 1970


@dataclass(frozen=True)
class SweptPoint:
    """A trained model solved in another way, without training: one point of its accuracy against NFE.

    On the validation split. Where the solve ended early there are no scores, and the numbers are NaN.
    """

    trial: int
    deployment: Deployment
    scores: Mapping[str, float]  # the task's metrics, by Metric.name
    nfe: float  # evaluations per solve
    accepted: float  # steps
    rejected: float  # steps
    predict_s: float  # s per batch
    solver_gap: float  # dimensionless, to a tight solve of the same weights
    reason: str = ""  # one sentence where the solve ended early


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
    thresholds: tuple[Threshold, ...] = ()
    study_id: str = ""
    stopped: Stop | None = None  # why it ended before all its trials were run, if it did
    confirming: tuple[int, ...] = ()  # the trials whose confirmation was asked for last, the baseline included
    confirmations: tuple[Confirmation, ...] = ()  # one per trial and seed, as they ended
    swept: tuple[SweptPoint, ...] = ()  # one per trial, solver and tolerance
    metrics: tuple[Metric, ...] = ()  # all that its trials measure, as its task declared them when it was created
    repairs: tuple[str, ...] = ()  # what had to be made anew, or was given up; a sentence each

    @property
    def by_name(self) -> Mapping[str, Metric]:
        """All that its trials measure, without asking the task: its package may not be here."""
        return {each.name: each for each in (*(self.metrics or METRICS.values()), *self.objectives)}

    def metric(self, name: str) -> Metric:
        """The metric of that name; raise `InputError` if the study does not measure it."""
        if name not in self.by_name:
            raise InputError(f"metric: got {name!r}, allowed: {', '.join(self.by_name)}")
        return self.by_name[name]


def best_epoch(trial: TrialRecord, objective: Metric) -> EpochRecord | None:
    """The epoch that is best in one objective, of equals the first; None where none has measured it."""
    sign = -1.0 if objective.direction is Direction.MAXIMIZE else 1.0
    costs = [sign * epoch.objectives().get(objective.name, math.nan) for epoch in trial.epochs]
    finite = [cost for cost in costs if math.isfinite(cost)]
    return trial.epochs[costs.index(min(finite))] if finite else None
