"""What new seeds say of the trials that matter, on the test split, which the search has not seen.

Where a study has a confirmation its front is the one that is published.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ndecore.metrics import Direction, EpochRecord
from reports.pareto import front, non_dominated
from reports.records import Confirmation, StudyRecord, TrialRecord, TrialStatus

_RESAMPLES = 1000
_SEED = 0  # of the resamples: the same study has the same probabilities


def confirmed_seeds(study: StudyRecord) -> tuple[int, ...]:
    """The seeds with which every trial whose confirmation was asked for was trained again, sorted."""
    done: defaultdict[int, set[int]] = defaultdict(set)
    for each in study.confirmations:
        done[each.trial].add(each.seed)
    return tuple(sorted(set.intersection(*(done[number] for number in study.confirming)) if study.confirming else ()))


def confirmed_study(study: StudyRecord) -> StudyRecord | None:
    """The confirmed trials alone, each with one epoch: the means over the seeds, held-out values on the test split.

    `pareto.front`, `pareto.knee_trial` and all that is built on them take it as any study. A trial that diverged with
    a seed has diverged. Configs are those of the search, its seed included.

    Returns:
        None until every trial that was asked for has been trained with one new seed.
    """
    seeds = confirmed_seeds(study)
    if not seeds:
        return None
    of_trial = {n: [c for c in study.confirmations if c.trial == n and c.seed in seeds] for n in study.confirming}
    trials = tuple(_confirmed(trial, of_trial[trial.number]) for trial in study.trials if trial.number in of_trial)
    return replace(study, trials=trials, n_trials=len(trials))


def published_study(study: StudyRecord) -> StudyRecord:
    """The study whose front is to be shown: its confirmation where there is one, else the search itself."""
    return confirmed_study(study) or study


def front_sentence(study: StudyRecord) -> str:
    """One sentence that says which front is published, and what is missing; empty where nothing was confirmed."""
    confirmed = confirmed_study(study)
    if confirmed is None:
        return f"The confirmation of {len(study.confirming)} trials has begun." if study.confirming else ""
    n, left = len(confirmed_seeds(study)), {t.number for t in front(study)} - set(study.confirming)
    of = f"{len(front(confirmed))} of {len(confirmed.trials)} trials"
    text = f"Confirmed front: {of}, with {n} new seed{'s' * (n > 1)} each, on the test split."
    return text + (f" Not confirmed yet: {', '.join(map(str, sorted(left)))} of the search's front." if left else "")


def non_dominated_probabilities(study: StudyRecord, n_resamples: int = _RESAMPLES) -> dict[int, float]:
    """How sure it is that a trial is on the confirmed front, by number.

    The share of resamples of the seeds, drawn with replacement, in whose means the trial is feasible and not
    dominated. Trials share their seeds, and a resample draws the same for all: what one seed does to all of them is
    no reason to change places.

    Args:
        study: with a confirmation; empty without.
        n_resamples: one standard error of a probability is at most 1 / (2 sqrt(n)).

    Returns:
        Dimensionless, in [0, 1]; NaN with a single seed, which says nothing of its spread.

    Reference: B. Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1), 1979.
    """
    seeds = confirmed_seeds(study)
    if len(seeds) < 2:
        return dict.fromkeys(study.confirming if seeds else (), math.nan)
    told = {(each.trial, each.seed): each for each in study.confirmations}
    rows = np.array([[_row(study, told[number, seed]) for number in study.confirming] for seed in seeds])
    draws = np.random.default_rng(_SEED).integers(len(seeds), size=(n_resamples, len(seeds)))
    n_hits = np.zeros(len(study.confirming))
    for draw in draws:
        costs, excess = np.split(_rounded(rows[draw].mean(axis=0)), [len(study.objectives)], axis=1)
        n_hits += non_dominated(np.where((excess <= 0.0).all(axis=1, keepdims=True), costs, math.nan))
    return dict(zip(study.confirming, (n_hits / n_resamples).tolist(), strict=True))


def _rounded(means: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """To twelve digits: shares of a split have means that tie, and rounding is no lead."""
    return np.vectorize(lambda mean: float(f"{mean:.12g}"), otypes=[np.float64])(means)


def _row(study: StudyRecord, confirmation: Confirmation) -> list[float]:
    """One seed's costs, and by how much each bound of the study is missed; NaN where the trial diverged."""
    if confirmation.test is None:
        return [math.nan] * (len(study.objectives) + 1 + len(study.thresholds))
    measured, gap = confirmation.test.objectives(), confirmation.test.solver_gap
    costs = [-measured[m.name] if m.direction is Direction.MAXIMIZE else measured[m.name] for m in study.objectives]
    over = math.nan if gap is None else gap - study.max_solver_gap
    return [*costs, over, *(threshold.excess(measured) for threshold in study.thresholds)]


def _confirmed(trial: TrialRecord, confirmations: Sequence[Confirmation]) -> TrialRecord:
    ended = next((c for c in confirmations if c.test is None), None)
    if ended is None:
        records = [c.test for c in confirmations if c.test is not None]
        return replace(trial, status=TrialStatus.COMPLETE, epochs=(_mean(records),), epoch_times=())
    reason = f"with seed {ended.seed}: {ended.reason}"
    return replace(trial, status=ended.status, cause=ended.cause, reason=reason, epochs=(), epoch_times=())


_SAME = ("epoch", "n_parameters", "is_last")  # of all of them


def _mean(records: Sequence[EpochRecord]) -> EpochRecord:
    def mean(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return float(_rounded(math.fsum(known) / len(values))) if len(known) == len(values) else None

    values: dict[str, Any] = {}
    for name in (f.name for f in fields(EpochRecord) if f.name not in _SAME):
        of_records = [getattr(record, name) for record in records]
        is_named = isinstance(of_records[0], Mapping)
        values[name] = (
            {part: mean([parts[part] for parts in of_records]) for part in of_records[0]}
            if is_named
            else mean(of_records)
        )
    return replace(records[0], **values)
