"""The names under which records are logged in MLflow, and the way back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import StrEnum
from typing import Any

from ndecore.metrics import METRICS, Direction, EpochRecord
from reports.records import (
    Cause,
    Deployment,
    StudyRecord,
    Threshold,
    TrialRecord,
    TrialStatus,
    metric_named,
)

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


def metric_names(record: EpochRecord) -> dict[str, float]:
    """An epoch record as flat name -> value, the names that MLflow shows.

    Values that were not measured are left out. The scores keep their own names (`accuracy`), their gaps are
    `accuracy_gap`.
    """
    measured = {key: value for key, value in asdict(record).items() if value is not None}
    plain = {key: value for key, value in measured.items() if key not in _MAPPINGS}
    gaps = {f"{name}_gap": value for name, value in record.score_gaps.items()}
    return plain | dict(record.scores) | gaps


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
