"""Every epoch of every trial as a model of its own: what a training that ends there reaches and costs.

A config with `stop_after` trains so many epochs of the same schedules, and comes to the same weights.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from ndecore.errors import InputError
from ndecore.hyperparameters import last_epoch
from ndecore.metrics import EpochRecord
from reports.export import ExportedConfig, exported
from reports.pareto import Costs, cost_matrix, dominated_share, feasible_trials, non_dominated
from reports.records import StudyRecord, TrialRecord, TrialStatus

_RADIUS = 1  # epochs on either side over which a score is smoothed

Moment = tuple[int, int]  # a trial and an epoch of it


@dataclass(frozen=True)
class Candidate:
    """A trial as if its training had ended after an epoch.

    Args:
        trial: with the epochs until then, complete, and `stop_after` in its config unless it is whole.
        n_epochs: of the schedules of its training.
        has_own_gap: whether its solver gap was measured at that epoch; else it is that of another one.
    """

    trial: TrialRecord
    n_epochs: int
    has_own_gap: bool

    @property
    def epoch(self) -> int:
        """With which it ends."""
        return self.trial.epochs[-1].epoch

    def __str__(self) -> str:
        return f"{self.trial.number}@{self.epoch}"


@dataclass(frozen=True)
class AnytimeFront:
    """The front over all epochs of all trials.

    Args:
        members: best in the first objective first.
        hypervolume: dimensionless, the share that they dominate of a box around them and all whole trials.
        of_whole: the same of the whole trials alone.
    """

    members: tuple[Candidate, ...]
    hypervolume: float
    of_whole: float


def candidates(study: StudyRecord, among: Collection[Moment] | None = None) -> tuple[Candidate, ...]:
    """Each epoch of each trial that has some, whatever became of it, within the study's bounds.

    The solver gap is that of the epoch where it was measured, else of the next one where it was, else of the last
    before: it seldom falls in a training. An epoch of a trial without any is no candidate.

    Args:
        study: with its trials.
        among: the only ones that are looked at; all if None.
    """
    wanted = None if among is None else {number for number, _ in among}
    return tuple(
        candidate
        for trial in study.trials
        if wanted is None or trial.number in wanted
        for i, record in enumerate(trial.epochs)
        if among is None or (trial.number, record.epoch) in among
        if (candidate := _candidate(trial, i)) is not None
        and candidate.trial.is_feasible(study.max_solver_gap, study.thresholds)
        and candidate.trial.values(study.objectives) is not None
    )


def candidate(study: StudyRecord, name: str) -> Candidate:
    """The one of a name such as 12@5; raise `InputError` if there is none, or its solver gap is not known at all."""
    number, _, epoch = name.partition("@")
    for trial in study.trials if number.isdecimal() and epoch.isdecimal() else ():
        for i, record in enumerate(trial.epochs):
            if (trial.number, record.epoch) == (int(number), int(epoch)) and (found := _candidate(trial, i)):
                return found
    raise InputError(f"got {name!r}, allowed: TRIAL@EPOCH such as 12@5, of a trial that has come so far")


def anytime_front(study: StudyRecord) -> AnytimeFront:
    """The candidates that none dominates, their scores smoothed: the median over the epoch before and after.

    Of hundreds of epochs the best by chance would be chosen otherwise, and the choice would flatter it.
    """
    found = candidates(study)
    costs = _smoothed_costs(study, found)
    members = sorted(np.flatnonzero(non_dominated(costs)), key=lambda i: (*costs[i], i))
    whole = cost_matrix(feasible_trials(study), study.objectives)
    boxed = np.vstack([costs[members], whole])
    return AnytimeFront(
        tuple(found[i] for i in members),
        dominated_share(costs[members], boxed),
        dominated_share(whole, boxed) if len(whole) else 0.0,
    )


def members_among(study: StudyRecord, among: Collection[Moment]) -> frozenset[Moment]:
    """Those epochs that none of the others dominates, compared as for `anytime_front`."""
    found = candidates(study, among)
    kept = non_dominated(_smoothed_costs(study, found))
    return frozenset((c.trial.number, c.epoch) for c, is_kept in zip(found, kept, strict=True) if is_kept)


def exported_candidate(study: StudyRecord, found: Candidate) -> ExportedConfig:
    """A config that trains so many epochs of that schedule, with what to expect of it."""
    record = found.trial.epochs[-1]
    own = record if found.has_own_gap else replace(record, solver_gap=None)
    if "stop_after" in found.trial.config:
        own = replace(own, peak_memory_mib=None)  # the last look at it is when a training ends
    trial = replace(found.trial, epochs=(own,), deployment=None)
    return exported(study, trial, f"trial {found.trial.number} after {found.epoch} of {found.n_epochs} epochs", "")


def _candidate(trial: TrialRecord, index: int) -> Candidate | None:
    record, gap = trial.epochs[index], _gap(trial.epochs, index)
    if gap is None:
        return None
    n_epochs = last_epoch(trial.config)
    config = dict(trial.config) | ({"stop_after": record.epoch} if record.epoch < n_epochs else {})
    epochs = (*trial.epochs[:index], replace(record, solver_gap=gap, is_last=True))
    deployment = trial.deployment if record.is_last else None
    own = replace(trial, status=TrialStatus.COMPLETE, reason="", epochs=epochs, config=config, deployment=deployment)
    return Candidate(own, int(trial.config["epochs"]), record.solver_gap is not None)


def _gap(epochs: Sequence[EpochRecord], index: int) -> float | None:
    later = (each.solver_gap for each in epochs[index:])
    before = (each.solver_gap for each in reversed(epochs[:index]))
    return next((gap for gap in (*later, *before) if gap is not None), None)


def _smoothed_costs(study: StudyRecord, found: Sequence[Candidate]) -> Costs:
    curves = {trial.number: trial.epochs for trial in study.trials}
    smoothed = [replace(c.trial, epochs=(_smoothed(c, curves[c.trial.number]),)) for c in found]
    return cost_matrix(smoothed, study.objectives)


def _smoothed(found: Candidate, curve: Sequence[EpochRecord]) -> EpochRecord:
    """Its record with each score the median over as many epochs before as after."""
    index = len(found.trial.epochs) - 1
    radius = min(_RADIUS, index, len(curve) - 1 - index)
    near = curve[index - radius : index + radius + 1]
    scores = {name: median(each.scores[name] for each in near) for name in found.trial.epochs[-1].scores}
    return replace(found.trial.epochs[-1], scores=scores)
