"""Pareto-optimal configs out: which of a front, as what, and as YAML that trains again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ndecore.errors import InputError
from ndecore.metrics import METRICS
from reports.pareto import best as best_trial
from reports.pareto import cheapest, knee_trial, non_empty_front
from reports.records import StudyRecord, TrialRecord, metric_named


@dataclass(frozen=True)
class ExportedConfig:
    """A trial's complete config, with where it comes from and what to expect of it."""

    study: str
    trial: int
    label: str  # the name under which it was proposed, if any
    role: str  # why it was chosen: "knee", "best accuracy", "front"
    task: str
    config: Mapping[str, Any]  # complete and flat
    expected: Mapping[str, float]  # the last epoch's objectives, in their units, and solver_gap, dimensionless
    versions: Mapping[str, str]  # package -> version that ran the trial


def choose(
    study: StudyRecord,
    *,
    top: str | None = None,
    best: str | None = None,
    min_accuracy: float | None = None,
    all: bool = False,
) -> tuple[ExportedConfig, ...]:
    """Configs from the front of a study by at most one rule; the knee unless told otherwise.

    Args:
        study: with at least one member on its front.
        top: "knee".
        best: name of a metric: the member that is best in it.
        min_accuracy: in [0, 1]: the member with the fewest held-out NFE among those with at least this
        accuracy. all: every member, as the front is sorted.

    Raises:
        InputError: more than one rule, an unknown one, an empty front, or no member with such an accuracy.
    """
    rules = {"top": top, "best": best, "min_accuracy": min_accuracy, "all": all or None}
    given = [name for name, value in rules.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"export: got {' and '.join(given)}; allowed is one of {', '.join(rules)}.")
    if top not in (None, "knee"):
        raise InputError(f"export: top: got {top!r}; allowed is 'knee'.")
    members = non_empty_front(study)
    if all:
        return tuple(_exported(study, trial, "front") for trial in members)
    if best is not None:
        return (_exported(study, best_trial(study, metric_named(best)), f"best {best}"),)
    if min_accuracy is not None:
        trial = cheapest(members, METRICS["nfe"], {"accuracy": min_accuracy})
        return (_exported(study, trial, f"least nfe with accuracy >= {min_accuracy:g}"),)
    return (_exported(study, knee_trial(study), "knee"),)


def _exported(study: StudyRecord, trial: TrialRecord, role: str) -> ExportedConfig:
    last = trial.epochs[-1]
    gap = {} if last.solver_gap is None else {"solver_gap": last.solver_gap}
    return ExportedConfig(
        study=study.name,
        trial=trial.number,
        label=trial.label,
        role=role,
        task=study.task,
        config=dict(trial.config),
        expected=last.objectives() | gap,
        versions=dict(study.versions or {}),
    )
