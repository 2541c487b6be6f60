"""The names under which records are logged in MLflow, and the way back."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from ndecore.metrics import METRICS, EpochRecord, Metric
from reports.codec import decode, encode
from reports.earlier_formats import METRICS_OF_FORMAT_1, metric_of_format_1, stop_of_format_1
from reports.records import Cause, Deployment, Stop, StoppedBy, StudyRecord, Threshold, TrialRecord, TrialStatus

_MAPPINGS, _LAST = ("scores", "score_gaps", "loss_parts"), "is_last"
_PART = "loss_parts/"  # before the name of each


@dataclass(frozen=True)
class StudyFacts:
    """What the tag `RECORD` holds of a study."""

    objectives: tuple[Metric, ...]
    max_solver_gap: float  # dimensionless
    n_trials: int  # asked for
    versions: Mapping[str, str] | None
    thresholds: tuple[Threshold, ...]
    stopped: Stop | None
    metrics: tuple[Metric, ...]


_FORMAT_KEY, _FORMAT = "format", 2


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
    STOPPED_BY = "nde.stopped_by"  # trial runs: a StoppedBy as JSON, or nothing
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
    measured = {key: value for key, value in encode(record).items() if value is not None and key != _LAST}
    plain = {key: value for key, value in measured.items() if key not in _MAPPINGS}
    gaps = {f"{name}_gap": value for name, value in record.score_gaps.items()}
    parts = {f"{_PART}{name}": value for name, value in record.loss_parts.items()}
    return plain | dict(record.scores) | gaps | parts


def best_metric_names(record: EpochRecord) -> dict[str, float]:
    """A trial's best epoch under names of its own, as `best_accuracy`: MLflow's table shows the last value of each."""
    return {f"best_{name}": value for name, value in ({"epoch": record.epoch} | record.objectives()).items()}


def epoch_from_metrics(metrics: Mapping[str, float], known: Collection[Metric], is_last: bool = False) -> EpochRecord:
    """The inverse of `metric_names`; raise KeyError where a measured value is missing.

    Other names are passed over, so a run may hold more than its trial measured.

    Args:
        metrics: of a run, by their names there.
        known: what the study measures: its scores are among them.
        is_last: whether the training ended with it.
    """
    own = {f.name for f in fields(EpochRecord)} - {*_MAPPINGS, _LAST}
    scores = {each.name: metrics[each.name] for each in known if each.name in metrics and each.name not in own}
    gaps = {name: metrics[f"{name}_gap"] for name in scores if f"{name}_gap" in metrics}
    parts = {name.removeprefix(_PART): value for name, value in metrics.items() if name.startswith(_PART)}
    optional = {f.name for f in fields(EpochRecord) if f.default is None}
    plain: dict[str, Any] = {name: metrics[name] for name in own - optional}
    plain |= {"epoch": int(metrics["epoch"])} | {name: metrics.get(name) for name in optional}
    plain["n_parameters"] = None if plain["n_parameters"] is None else int(plain["n_parameters"])
    return EpochRecord(**plain, scores=scores, score_gaps=gaps, loss_parts=parts, is_last=is_last)


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
        Tag.DEPLOYMENT.value: json.dumps(encode(trial.deployment)) if trial.deployment else "",
        Tag.STOPPED_BY.value: json.dumps(encode(trial.stopped_by)) if trial.stopped_by else "",
    }


def trial_from_run(
    tags: Mapping[str, str], metrics: Mapping[str, float], known: Collection[Metric] = tuple(METRICS.values())
) -> TrialRecord:
    """The trial that a run's tags and last metric values describe, with its last epoch alone.

    No epoch at all where a measured value is missing: the run was written half, and such a trial is feasible
    for nobody. `known` is what the study measures.
    """
    status = TrialStatus(tags[Tag.STATUS])
    try:
        epochs: tuple[EpochRecord, ...] = (epoch_from_metrics(metrics, known, status is TrialStatus.COMPLETE),)
    except KeyError:
        epochs = ()
    return TrialRecord(
        study=tags[Tag.STUDY],
        number=int(tags[Tag.TRIAL]),
        config=json.loads(tags[Tag.CONFIG]),
        status=status,
        reason=tags.get(Tag.REASON, ""),
        label=tags.get(Tag.LABEL, ""),
        epochs=epochs,
        cause=Cause(tags.get(Tag.CAUSE, "")),
        parent=int(tags[Tag.PARENT]) if tags.get(Tag.PARENT) else None,
        node=tags.get(Tag.NODE, ""),
        packed=json.loads(tags.get(Tag.PACKED, "false")),
        deployment=decode(Deployment, json.loads(tags[Tag.DEPLOYMENT])) if tags.get(Tag.DEPLOYMENT) else None,
        stopped_by=decode(StoppedBy, json.loads(tags[Tag.STOPPED_BY])) if tags.get(Tag.STOPPED_BY) else None,
    )


def study_tags(study: StudyRecord) -> dict[str, str]:
    """The tags of a study's own run: all of it but the trials and where they are tracked."""
    facts = StudyFacts(
        objectives=study.objectives,
        max_solver_gap=study.max_solver_gap,
        n_trials=study.n_trials,
        versions=study.versions,
        thresholds=study.thresholds,
        stopped=study.stopped,
        metrics=study.metrics,
    )
    return {
        Tag.KIND.value: Kind.STUDY.value,
        Tag.STUDY.value: study.name,
        Tag.TASK.value: study.task,
        Tag.RECORD.value: json.dumps({_FORMAT_KEY: _FORMAT} | encode(facts)),
        Tag.STUDY_ID.value: study.study_id,
    }


def study_from_tags(tags: Mapping[str, str], trials: tuple[TrialRecord, ...] = ()) -> StudyRecord:
    """The inverse of `study_tags`, with the trials given."""
    facts = decode(StudyFacts, _of_this_format(json.loads(tags[Tag.RECORD])))
    return StudyRecord(
        name=tags[Tag.STUDY],
        task=tags[Tag.TASK],
        trials=trials,
        study_id=tags.get(Tag.STUDY_ID, ""),
        **vars(facts),
    )


def _of_this_format(record: dict[str, Any]) -> dict[str, Any]:
    """Format 1 has metrics by their names, thresholds as lists, and a sentence for why the study stopped."""
    if record.get(_FORMAT_KEY, 1) >= _FORMAT:
        return record
    bounds = [dict(zip(("name", "bound", "direction"), each, strict=True)) for each in record.get("thresholds", ())]
    objectives = [encode(metric_of_format_1(name)) for name in record["objectives"]]
    stopped = stop_of_format_1(record.get("stopped", ""))
    own = {"metrics": list(map(encode, METRICS_OF_FORMAT_1)), "stopped": encode(stopped)}
    return {**record, **own, "objectives": objectives, "thresholds": bounds}
