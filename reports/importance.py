"""Hyperparameter importance: which of the values that a study varied change its objectives."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import KFold

from ndecore.metrics import Metric
from reports.records import StudyRecord, TrialRecord
from reports.tables import distinct_keys

LEAST_TRIALS = 12  # complete ones; of fewer a forest learns nothing that a reader does not see
_FOLDS, _TREES, _SHUFFLES = 3, 50, 5
_ABSENT = -1e12  # below every value: a key that a config does not have is a level of its own


@dataclass(frozen=True)
class Importance:
    """The importance of each hyperparameter for one objective."""

    objective: Metric
    explained: float  # dimensionless, R^2 on trials that the forest has not seen; what is below 0 explains nothing
    shares: Mapping[
        str, float
    ]  # config key -> share of the importance, dimensionless, from 0; they add up to 1, or are 0


def importances(study: StudyRecord) -> tuple[Importance, ...]:
    """The importance of each varied key for each objective; none with fewer than `LEAST_TRIALS` complete trials.

    A random forest predicts an objective's ranks from the configs, and the importance of a key is how much worse it
    does when that key's values are shuffled among trials that it has not seen, averaged over the folds and cut at 0.
    Ranks, because a few trials that ran away would rule otherwise. Not Optuna's evaluators: those look at the keys that
    all trials have, and leave out what makes these spaces, the weights and schedules that only some penalties take.

    Reference: L. Breiman, "Random forests", Machine Learning 45, 2001.
    """
    trials = [trial for trial in study.trials if trial.values(study.objectives) is not None]
    keys = distinct_keys(replace(study, trials=tuple(trials)))
    if len(trials) < LEAST_TRIALS or not keys:
        return ()
    columns = np.column_stack([_column(trials, key) for key in keys])
    values = [trial.values(study.objectives) or () for trial in trials]
    by_objective = zip(study.objectives, np.array(values, dtype=np.float64).T, strict=True)
    return tuple(_importance(metric, columns, measured, keys) for metric, measured in by_objective)


def _importance(
    metric: Metric, columns: NDArray[np.float64], measured: NDArray[np.float64], keys: tuple[str, ...]
) -> Importance:
    ranks = rankdata(measured) / len(measured)
    if not np.ptp(measured):
        return Importance(metric, 0.0, dict.fromkeys(keys, 0.0))
    gains, explained = np.zeros(len(keys)), []
    for known, unseen in KFold(_FOLDS, shuffle=True, random_state=0).split(columns):
        forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=0).fit(columns[known], ranks[known])
        errors = _errors(forest, columns[unseen], ranks[unseen])
        explained.append(1.0 - float(errors[0] / ranks[unseen].var()))
        gains += (errors[1:] - errors[0]).reshape(_SHUFFLES, len(keys)).mean(axis=0)
    gains = np.maximum(gains, 0.0)
    shares = gains / gains.sum() if gains.sum() > 0.0 else gains
    return Importance(metric, math.fsum(explained) / _FOLDS, dict(zip(keys, shares.tolist(), strict=True)))


def _errors(
    forest: RandomForestRegressor, columns: NDArray[np.float64], ranks: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean squared error as it is, then with each column shuffled, `_SHUFFLES` times over.

    What `sklearn.inspection.permutation_importance` does, in one call of the forest instead of one for each column and
    shuffle: those took four seconds for 24 trials, nearly all of it on the way in and out.
    """
    generator = np.random.default_rng(0)
    copies = np.repeat(columns[None], 1 + _SHUFFLES * columns.shape[1], axis=0)
    for i in range(_SHUFFLES * columns.shape[1]):
        at = i % columns.shape[1]
        copies[1 + i, :, at] = generator.permutation(columns[:, at])
    predicted = forest.predict(copies.reshape(-1, columns.shape[1])).reshape(len(copies), len(ranks))
    errors: NDArray[np.float64] = np.square(predicted - ranks).mean(axis=1)
    return errors


def _column(trials: list[TrialRecord], key: str) -> NDArray[np.float64]:
    """A key's values as numbers: names by their alphabet, which a tree splits as it likes."""
    values = [trial.config.get(key) for trial in trials]
    if all(value is None or isinstance(value, int | float) for value in values):
        return np.array([_ABSENT if value is None else float(value) for value in values])
    levels = {level: float(i) for i, level in enumerate(sorted({str(value) for value in values}))}
    return np.array([levels[str(value)] for value in values])
