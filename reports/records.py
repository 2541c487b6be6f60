"""What a study knows of its trials, and the names under which it is logged: one vocabulary for all rooms."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum, StrEnum
from typing import Any

from ndecore.errors import InputError
from ndecore.metrics import METRICS, EpochRecord, Metric

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
    RECORD = "nde.record"  # the study run: what StudyRecord holds besides its trials, as JSON


class Kind(StrEnum):
    """What a run in a study's experiment stands for."""

    TRIAL = "trial"
    STUDY = "study"


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
        """The last epoch's value of each objective, in its unit; None unless complete and all finite."""
        if self.status is not TrialStatus.COMPLETE or not self.epochs:
            return None
        measured = self.epochs[-1].objectives()
        values = tuple(measured.get(metric.name, math.nan) for metric in objectives)
        return values if all(map(math.isfinite, values)) else None

    def is_feasible(self, max_solver_gap: float) -> bool:
        """Whether the trial is complete and its outputs are the model's, not those of a loose tolerance."""
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
    """An epoch record as flat name -> value, the names that MLflow shows.

    Values that were not measured are left out. The scores keep their own names (`accuracy`), their gaps are
    `accuracy_gap`.
    """
    measured = {key: value for key, value in asdict(record).items() if value is not None}
    plain = {key: value for key, value in measured.items() if key not in _MAPPINGS}
    gaps = {f"{name}_gap": value for name, value in record.score_gaps.items()}
    return plain | dict(record.scores) | gaps


def epoch_from_metrics(metrics: Mapping[str, float]) -> EpochRecord:
    """The inverse of `metric_names`; raise KeyError where a measured value is missing.

    Other names are passed over, so a run may hold more than its trial measured: a score is known by its entry
    in `METRICS`.
    """
    own = {f.name for f in fields(EpochRecord)} - set(_MAPPINGS)
    scores = {name: metrics[name] for name in METRICS if name in metrics and name not in own}
    gaps = {name: metrics[f"{name}_gap"] for name in scores if f"{name}_gap" in metrics}
    plain: dict[str, Any] = {name: metrics[name] for name in own - {"solver_gap"}}
    plain |= {"epoch": int(metrics["epoch"]), "solver_gap": metrics.get("solver_gap")}
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
    )


def study_tags(study: StudyRecord) -> dict[str, str]:
    """The tags of a study's own run: all of it but the trials and where they are tracked."""
    record = {
        "objectives": [metric.name for metric in study.objectives],
        "max_solver_gap": study.max_solver_gap,
        "n_trials": study.n_trials,
        "versions": dict(study.versions) if study.versions is not None else None,
    }
    return {
        Tag.KIND.value: Kind.STUDY.value,
        Tag.STUDY.value: study.name,
        Tag.TASK.value: study.task,
        Tag.RECORD.value: json.dumps(record),
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
    )
