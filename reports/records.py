"""What a study knows of its trials, and the names under which it is logged: one vocabulary for all rooms."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum, StrEnum
from typing import Any

from ndecore.errors import InputError
from ndecore.metrics import METRICS, Direction, EpochRecord, Metric

_MAPPINGS = ("scores", "score_gaps")


class Tag(StrEnum):
    """The MLflow tags that hold what metrics and params cannot; `nde.` keeps them apart from others."""

    KIND = "nde.kind"  # a Kind
    STUDY = "nde.study"  # the study's name, which is also the experiment's
    TASK = "nde.task"
    TRIAL = "nde.trial"  # trial runs: the number
    STATUS = "nde.status"  # trial runs: a TrialStatus
    REASON = "nde.reason"  # trial runs
    LABEL = "nde.label"  # trial runs
    CONFIG = "nde.config"  # trial runs: the exact config as JSON; params are text, and text loses types
    CAUSE = "nde.cause"  # trial runs: a Cause
    PARENT = "nde.parent"  # trial runs: the number of the trial that this one trains longer
    NODE = "nde.node"  # trial runs: the machine
    PACKED = "nde.packed"  # trial runs: "true" if it shared its device with another trial: its seconds are noisy
    FIDELITY = "nde.fidelity"  # trial runs: how much of its training it had
    FRONT = "nde.front"  # trial runs: where the trial stands in its study, a Standing; changes as others arrive
    DEPLOYMENT = "nde.deployment"  # trial runs: a Deployment as JSON, or nothing
    STUDY_ID = "nde.study_id"  # the study run: tells two studies of one name apart
    RECORD = "nde.record"  # the study run: what StudyRecord holds besides its trials, as JSON


class Kind(StrEnum):
    """What a run in a study's experiment stands for."""

    TRIAL = "trial"
    STUDY = "study"


class TrialStatus(Enum):
    """How far a trial came."""

    RUNNING = "running"
    COMPLETE = "complete"  # trained to its last epoch
    DIVERGED = "diverged"  # the config ended it: numbers, memory or time ran away; see its Cause
    FAILED = "failed"  # the program ended it: an exception, a lost worker
    INTERRUPTED = "interrupted"  # the person ended it


class Cause(StrEnum):
    """What kept a trial from completing."""

    NONE = ""
    NOT_FINITE = "not finite"
    STEP_UNDERFLOW = "step underflow"
    STEP_LIMIT = "step limit"
    MEMORY = "out of memory"
    TIMEOUT = "timeout"
    ERROR = "error"  # an exception: a mistake in a program
    LOST = "lost"  # its worker died, again and again


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
class TrialRecord:
    """One trial: its complete flat config, how it ended and why, and what each epoch measured."""

    study: str
    number: int
    config: Mapping[str, Any]
    status: TrialStatus
    reason: str = ""  # one sentence where the status is not COMPLETE or RUNNING
    label: str = ""  # where the config was proposed first under a name: "vanilla", "er-code"
    epochs: tuple[EpochRecord, ...] = ()
    cause: Cause = Cause.NONE
    parent: int | None = None  # the trial of which this one is a longer run
    node: str = ""  # the machine that it ran on last
    packed: bool = False  # whether it shared its device with another trial
    deployment: Deployment | None = None  # with which its last epoch was measured; its own settings if None
    calibration_s: float | None = field(default=None, compare=False)  # s, of a small fixed solve in its worker
    began_s: float = field(default=0.0, compare=False)  # s since 1970
    ended_s: float = field(default=0.0, compare=False)  # s since 1970
    epoch_times: tuple[float, ...] = field(default=(), compare=False)  # s since 1970, of `epochs`

    @property
    def fidelity(self) -> str:
        """How much of its training the trial has had: "full", "12 of 30 epochs"."""
        if self.status is TrialStatus.COMPLETE:
            return "full"
        return f"{len(self.epochs)} of {self.config.get('epochs', '?')} epochs"

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


def swept_point(data: Mapping[str, Any]) -> SweptPoint:
    """The inverse of `asdict`."""
    return SweptPoint(**dict(data) | {"deployment": Deployment(**data["deployment"])})


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
    stopped: str = ""  # why it ended before all its trials were run; empty if it did not
    confirming: tuple[int, ...] = ()  # the trials whose confirmation was asked for last, the baseline included
    confirmations: tuple[Confirmation, ...] = ()  # one per trial and seed, as they ended
    swept: tuple[SweptPoint, ...] = ()  # one per trial, solver and tolerance


def metric_names(record: EpochRecord) -> dict[str, float]:
    """An epoch record as flat name -> value, the names that MLflow shows.

    Values that were not measured are left out. The scores keep their own names (`accuracy`), their gaps are
    `accuracy_gap`.
    """
    measured = {key: value for key, value in asdict(record).items() if value is not None}
    plain = {key: value for key, value in measured.items() if key not in _MAPPINGS}
    gaps = {f"{name}_gap": value for name, value in record.score_gaps.items()}
    return plain | dict(record.scores) | gaps


def best_epoch(trial: TrialRecord, objective: Metric) -> EpochRecord | None:
    """The epoch that is best in one objective, of equals the first; None where none has measured it."""
    sign = -1.0 if objective.direction is Direction.MAXIMIZE else 1.0
    costs = [sign * epoch.objectives().get(objective.name, math.nan) for epoch in trial.epochs]
    finite = [cost for cost in costs if math.isfinite(cost)]
    return trial.epochs[costs.index(min(finite))] if finite else None


def best_metric_names(record: EpochRecord) -> dict[str, float]:
    """A trial's best epoch under names of its own, as `best_accuracy`: MLflow's table shows the last value of each."""
    return {f"best_{name}": value for name, value in ({"epoch": record.epoch} | record.objectives()).items()}


def epoch_from_metrics(metrics: Mapping[str, float]) -> EpochRecord:
    """The inverse of `metric_names`; raise KeyError where a measured value is missing.

    Other names are passed over, so a run may hold more than its trial measured: a score is known by its entry
    in `METRICS`.
    """
    own = {f.name for f in fields(EpochRecord)} - set(_MAPPINGS)
    scores = {name: metrics[name] for name in METRICS if name in metrics and name not in own}
    gaps = {name: metrics[f"{name}_gap"] for name in scores if f"{name}_gap" in metrics}
    optional = {f.name for f in fields(EpochRecord) if f.default is None}
    plain: dict[str, Any] = {name: metrics[name] for name in own - optional}
    plain |= {"epoch": int(metrics["epoch"])} | {name: metrics.get(name) for name in optional}
    return EpochRecord(**plain, scores=scores, score_gaps=gaps)


def metric_named(name: str) -> Metric:
    """The metric of that name; raise InputError where there is none."""
    if name not in METRICS:
        raise InputError(f"metric: got {name!r}; allowed are {', '.join(METRICS)}.")
    return METRICS[name]


def config_params(config: Mapping[str, Any]) -> dict[str, str]:
    """A flat config as the params of its run, to read and filter by; `Tag.CONFIG` is what is read back."""
    return {key: str(value) for key, value in config.items()}


def trial_tags(trial: TrialRecord, task: str) -> dict[str, str]:
    """The tags of a trial's run: with the metrics of `metric_names`, all that `trial_from_run` needs."""
    return {
        Tag.KIND.value: Kind.TRIAL.value,
        Tag.STUDY.value: trial.study,
        Tag.TASK.value: task,
        Tag.TRIAL.value: str(trial.number),
        Tag.STATUS.value: trial.status.value,
        Tag.REASON.value: trial.reason,
        Tag.LABEL.value: trial.label,
        Tag.CONFIG.value: json.dumps(dict(trial.config)),
        Tag.CAUSE.value: trial.cause.value,
        Tag.PARENT.value: "" if trial.parent is None else str(trial.parent),
        Tag.NODE.value: trial.node,
        Tag.PACKED.value: json.dumps(trial.packed),
        Tag.FIDELITY.value: trial.fidelity,
        Tag.DEPLOYMENT.value: json.dumps(asdict(trial.deployment)) if trial.deployment else "",
    }


def trial_from_run(tags: Mapping[str, str], metrics: Mapping[str, float]) -> TrialRecord:
    """The trial that a run's tags and last metric values describe, with its last epoch alone.

    No epoch at all where a measured value is missing: the run was written half, and such a trial is feasible
    for nobody.
    """
    try:
        epochs: tuple[EpochRecord, ...] = (epoch_from_metrics(metrics),)
    except KeyError:
        epochs = ()
    return TrialRecord(
        study=tags[Tag.STUDY],
        number=int(tags[Tag.TRIAL]),
        config=json.loads(tags[Tag.CONFIG]),
        status=TrialStatus(tags[Tag.STATUS]),
        reason=tags.get(Tag.REASON, ""),
        label=tags.get(Tag.LABEL, ""),
        epochs=epochs,
        cause=Cause(tags.get(Tag.CAUSE, "")),
        parent=int(tags[Tag.PARENT]) if tags.get(Tag.PARENT) else None,
        node=tags.get(Tag.NODE, ""),
        packed=json.loads(tags.get(Tag.PACKED, "false")),
        deployment=Deployment(**json.loads(tags[Tag.DEPLOYMENT])) if tags.get(Tag.DEPLOYMENT) else None,
    )


def study_tags(study: StudyRecord) -> dict[str, str]:
    """The tags of a study's own run: all of it but the trials and where they are tracked."""
    record = {
        "objectives": [metric.name for metric in study.objectives],
        "max_solver_gap": study.max_solver_gap,
        "n_trials": study.n_trials,
        "versions": dict(study.versions) if study.versions is not None else None,
        "thresholds": [[each.name, each.bound, each.direction.value] for each in study.thresholds],
        "stopped": study.stopped,
    }
    return {
        Tag.KIND.value: Kind.STUDY.value,
        Tag.STUDY.value: study.name,
        Tag.TASK.value: study.task,
        Tag.RECORD.value: json.dumps(record),
        Tag.STUDY_ID.value: study.study_id,
    }


def study_from_tags(tags: Mapping[str, str], trials: tuple[TrialRecord, ...] = ()) -> StudyRecord:
    """The inverse of `study_tags`, with the trials given."""
    record = json.loads(tags[Tag.RECORD])
    return StudyRecord(
        name=tags[Tag.STUDY],
        task=tags[Tag.TASK],
        objectives=tuple(map(metric_named, record["objectives"])),
        max_solver_gap=record["max_solver_gap"],
        n_trials=record["n_trials"],
        trials=trials,
        versions=record.get("versions"),
        thresholds=tuple(Threshold(name, bound, Direction(way)) for name, bound, way in record.get("thresholds", ())),
        study_id=tags.get(Tag.STUDY_ID, ""),
        stopped=record.get("stopped", ""),
    )
