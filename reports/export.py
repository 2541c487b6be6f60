"""Pareto-optimal configs out: which of a front, as what, and what to expect of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any

from ndecore.errors import InputError
from ndecore.metrics import COSTS, EpochRecord, Metric
from reports.choice import Rule, chosen_trial, comparison_sentence, rule_named
from reports.confirmed import confirmed_seeds, confirmed_study, published_study
from reports.deployments import cheapest_point, deployed_trial, points_of
from reports.pareto import best as best_trial
from reports.pareto import cheapest, non_empty_front
from reports.records import Deployment, StudyRecord, Threshold, TrialRecord

CHEAPEST = "cheapest"  # of the ways to solve a trained model that were swept
_SCORE_SLACK = 0.01  # of its value: what rounding elsewhere may change
_WORK_SLACK = 0.05  # as for a score; training magnifies rounding


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
    tolerances: Mapping[str, float] = field(default_factory=dict)  # of `expected`, by how much it may be missed
    confirmed: Mapping[str, float] = field(default_factory=dict)  # means over new `seeds` on the test split
    deployment: Deployment | None = None  # how it is solved once it is trained, and was where `expected` was measured
    comparison: str = ""  # one sentence: what it gains and loses against the study's baseline


def choose(
    study: StudyRecord,
    *,
    top: str | None = None,
    best: str | None = None,
    bound: Threshold | None = None,
    max_nfe: float | None = None,
    all: bool = False,
    deploy: str | None = None,
) -> tuple[ExportedConfig, ...]:
    """Configs from the front of a study by at most one rule; the knee unless told otherwise.

    Where a study has a confirmation, the rule is applied to the confirmed front, and the role says so.

    Args:
        study: with at least one member on its front.
        top: the name of a `reports.choice.Rule`.
        best: name of a metric: the member that is best in it.
        bound: on a metric that is a score: the member with the fewest held-out NFE among those that keep it.
        max_nfe: the member with the best score among those with at most so many NFE; the score is the first
            objective that is one of the task's.
        all: every member, as the front is sorted.
        deploy: how to solve what was trained: "cheapest" of what was swept and is within the study's bounds, or one
            of it, as "bosh3:1e-2"; as it was measured in the study if None.

    Raises:
        InputError: more than one rule, an unknown one, an empty front, no member within the bound, or nothing swept.
    """
    rules = {"top": top, "best": best, "bound": bound, "max_nfe": max_nfe, "all": all or None}
    given = [name for name, value in rules.items() if value is not None]
    if len(given) > 1:
        raise InputError(f"export: got {' and '.join(given)}; allowed is one of {', '.join(rules)}.")
    published, rule = published_study(study), rule_named(top or Rule.KNEE)
    members, role = non_empty_front(published), rule.value
    if all:
        role = "front"
    elif best is not None:
        members, role = (best_trial(published, study.metric(best)),), f"best {best}"
    elif bound is not None:
        members = (cheapest(members, study.metric("nfe"), {study.metric(bound.name): bound.bound}),)
        role = f"least nfe with {bound}"
    elif max_nfe is not None:
        score = _score(study)
        members, role = (
            (cheapest(members, score, {study.metric("nfe"): max_nfe}),),
            f"best {score.name} with nfe <= {max_nfe:g}",
        )
    else:
        members = (chosen_trial(published, rule),)
    role += " of the confirmed front" if published is not study else ""
    searched = {trial.number: trial for trial in study.trials}
    chosen = [(each, _deployed(study, searched[each.number], deploy)) for each in members]
    return tuple(exported(study, trial, role, comparison_sentence(published, each)) for each, trial in chosen)


def _score(study: StudyRecord) -> Metric:
    found = next((metric for metric in study.objectives if metric.name not in COSTS), None)
    if found is None:
        raise InputError("export: max_nfe: got a bound; allowed is one where an objective is a score of the task.")
    return found


def _deployed(study: StudyRecord, trial: TrialRecord, deploy: str | None) -> TrialRecord:
    if deploy is None:
        return trial
    points = points_of(study, trial.number)
    if deploy == CHEAPEST:
        point = cheapest_point(trial, points, study.max_solver_gap, study.thresholds)
    else:
        solver, _, rtol = deploy.partition(":")
        point = next((p for p in points if p.scores and p.deployment.solver == solver and _is_number(rtol, p)), None)
    if point is None:
        known = ", ".join(f"{p.deployment.solver}:{p.deployment.rtol:g}" for p in points if p.scores)
        allowed = f"{CHEAPEST}, if one is within the study's bounds, or of trial {trial.number}: {known or 'nothing'}"
        raise InputError(f"--deploy: got {deploy}, allowed: {allowed}; `nde-study sweep {study.name}` measures more")
    return deployed_trial(trial, point)


def _is_number(text: str, point: Any) -> bool:
    try:
        return isclose(float(text), point.deployment.rtol, rel_tol=1e-6)
    except ValueError:
        return False


def exported(study: StudyRecord, trial: TrialRecord, role: str, comparison: str) -> ExportedConfig:
    """A trial's config, chosen as `role`, with what its last epoch measured."""
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
        tolerances=_tolerances(study, last),
        confirmed=_confirmed(study, trial.number),
        deployment=trial.deployment,
        comparison=comparison,
    )


def _tolerances(study: StudyRecord, last: EpochRecord) -> dict[str, float]:
    """What other hardware may change: a score a little, NFE by a step, the solver gap up to the study's bound.

    Seconds are not promised.
    """
    found = {name: _SCORE_SLACK * abs(value) for name, value in last.scores.items()}
    found["nfe"] = last.nfe / max(1.0, last.accepted + last.rejected)
    found["train_work"] = _WORK_SLACK * last.train_work
    if last.solver_gap is not None:
        found["solver_gap"] = max(study.max_solver_gap - last.solver_gap, last.solver_gap / 2)
    return found


def _confirmed(study: StudyRecord, number: int) -> dict[str, float]:
    confirmed = confirmed_study(study)
    trial = next((t for t in confirmed.trials if t.number == number and t.epochs), None) if confirmed else None
    return {"seeds": len(confirmed_seeds(study))} | trial.epochs[0].objectives() if trial else {}
