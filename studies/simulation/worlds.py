"""What a config would have measured: the nearest recorded curve, or a forest over all of them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from ndecore.errors import InputError
from ndecore.metrics import Direction, Metric
from reports.records import TrialStatus
from studies.simulation.features import Features
from studies.simulation.recorded import RecordedCurve

_TREES = 60
_LEAST_CURVES = 20
_TINY = 1e-16  # in the place of 0 under a logarithm
_COSTS = ("nfe", "train_s", "train_work", "epoch_s", "solver_gap")  # predicted by their logarithms


class World(ABC):
    """Answers in the place of training."""

    @abstractmethod
    def curve(self, config: Mapping[str, Any], number: int) -> RecordedCurve:
        """What trial `number` of a config measures, the same each time."""


class Nearest(World):
    """The recorded curve of the config that is nearest, by the sum of the differences of its keys."""

    def __init__(self, curves: Sequence[RecordedCurve]) -> None:
        self._curves = curves
        self._features = Features([each.config for each in curves])
        self._points = self._features([each.config for each in curves])

    def curve(self, config: Mapping[str, Any], number: int) -> RecordedCurve:
        """The nearest one; of equally near ones the first."""
        distances = np.abs(self._points - self._features([config])).sum(axis=1)
        return self._curves[int(distances.argmin())]


class Shuffled(World):
    """The recorded curves one after the other in a random order, whatever the config: a random search over them.

    Args:
        curves: of which a study has no more trials.
        seed: of the order.
    """

    def __init__(self, curves: Sequence[RecordedCurve], seed: int) -> None:
        self._curves, self._order = curves, np.random.default_rng(seed).permutation(len(curves))

    def curve(self, config: Mapping[str, Any], number: int) -> RecordedCurve:
        """The one whose turn it is."""
        return self._curves[self._order[number]]


class Forest(World):
    """A random forest over the complete curves: its prediction, and the error that it makes at one recorded neighbour.

    Whole curves are predicted at once: scores as they are, or by their logarithms where less is better and all are
    positive; costs, seconds of an epoch and the solver gap by their logarithms. The mean alone would be smoother than
    any training, and a search would find what is not there; so the out-of-bag error of one curve of the same leaf is
    added, drawn by the trial's number. Configs diverge as their nearest neighbours did.

    Args:
        curves: at least 20 complete ones, of one length.
        metrics: that the task scores.
        seed: of the forest and of the draws.

    Reference: L. Breiman, "Random forests", Machine Learning 45, 2001; the residuals as in N. Meinshausen, "Quantile
    regression forests", JMLR 7, 2006.
    """

    def __init__(self, curves: Sequence[RecordedCurve], metrics: Sequence[Metric], seed: int = 0) -> None:
        complete = [each for each in curves if each.status is TrialStatus.COMPLETE]
        lengths = {len(each.epochs) for each in complete}
        if len(complete) < _LEAST_CURVES or len(lengths) > 1:
            got = f"{len(complete)} complete ones of {', '.join(map(str, sorted(lengths)))} epochs"
            raise InputError(
                f"--curves: got {got}, allowed for a forest: {_LEAST_CURVES} or more of one length; or --world nearest"
            )
        self._nearest, self._seed = Nearest(curves), seed
        self._features = Features([each.config for each in complete])
        self._like = complete[0].epochs
        self._metrics = tuple(metric for metric in metrics if metric.name in self._like[0].scores)
        self._is_log = tuple(
            metric.direction is Direction.MINIMIZE
            and all(e.scores[metric.name] > 0 for c in complete for e in c.epochs)
            for metric in self._metrics
        )
        targets = np.array([self._target(each) for each in complete])
        points = self._features([each.config for each in complete]).astype(np.float32)
        self._forest = RandomForestRegressor(
            _TREES, min_samples_leaf=2, max_features=0.5, oob_score=True, random_state=seed
        ).fit(points, targets)
        self._residuals = targets - self._forest.oob_prediction_
        self._leaves = self._forest.apply(points)
        self.errors = self._errors(targets)

    def curve(self, config: Mapping[str, Any], number: int) -> RecordedCurve:
        """The forest's curve with the error of a neighbour."""
        near = self._nearest.curve(config, number)
        if near.status is not TrialStatus.COMPLETE:
            return near
        point = self._features([config]).astype(np.float32)
        generator = np.random.default_rng((self._seed, number))
        trees = [tree.tree_ for tree in self._forest.estimators_]
        mean = np.mean([tree.predict(point).ravel() for tree in trees], axis=0)
        drawn = int(generator.integers(len(trees)))
        same_leaf = np.flatnonzero(self._leaves[:, drawn] == trees[drawn].apply(point)[0])
        return self._curve(config, mean + self._residuals[generator.choice(same_leaf)])

    def _target(self, curve: RecordedCurve) -> NDArray[np.float64]:
        """(epochs x quantities,) on the scale of the prediction; what adds up as its increments."""
        scores = np.array([[each.scores[metric.name] for metric in self._metrics] for each in curve.epochs])
        scores = np.where(self._is_log, np.log(np.where(self._is_log, scores, 1.0)), scores)
        epochs = zip(curve.epochs, curve.epoch_s, strict=True)
        found = np.array([(e.nfe, e.train_s, e.train_work, s, e.solver_gap or 0.0) for e, s in epochs])
        found[:, 1:3] = np.diff(found[:, 1:3], axis=0, prepend=0.0)
        return np.hstack([scores, np.log(np.maximum(found, _TINY))]).ravel()

    def _curve(self, config: Mapping[str, Any], target: NDArray[np.float64]) -> RecordedCurve:
        table = target.reshape(len(self._like), -1)
        costs = np.exp(table[:, len(self._metrics) :])
        costs[:, 1:3] = costs[:, 1:3].cumsum(axis=0)
        records = []
        for like, row, (nfe, train_s, work, _, gap) in zip(self._like, table, costs.tolist(), strict=True):
            scores = {metric.name: self._score(i, float(row[i])) for i, metric in enumerate(self._metrics)}
            records.append(replace(like, scores=scores, nfe=nfe, train_s=train_s, train_work=work, solver_gap=gap))
        return RecordedCurve(config, tuple(records), tuple(costs[:, 3].tolist()))

    def _score(self, column: int, value: float) -> float:
        value = float(np.exp(value)) if self._is_log[column] else value
        return min(1.0, value) if self._metrics[column].is_share else value

    def _errors(self, targets: NDArray[np.float64]) -> dict[str, float]:
        """R^2 out of bag at the last epoch, dimensionless, by quantity; costs that add up by their last increments."""
        names = (*(metric.name for metric in self._metrics), *_COSTS)
        last = slice(-len(names), None)
        residual, spread = self._residuals[:, last].var(axis=0), targets[:, last].var(axis=0)
        return dict(zip(names, (1.0 - residual / np.where(spread > 0.0, spread, np.inf)).tolist(), strict=True))
