"""The trials of a study as curves: what a rule sees, in arrays that grow with the events of the ledger."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ndecore.metrics import COSTS, Direction, EpochRecord, Metric
from reports.dominated_region import DominatedRegion
from reports.pareto import MARGIN, Costs
from reports.records import Threshold

_LEAST_GAP = 1e-16  # below which a solver gap is rounding
_GROWTH = 2


@dataclass(frozen=True)
class Aims:
    """What the trials of a study are compared by."""

    objectives: tuple[Metric, ...]
    max_solver_gap: float  # dimensionless
    thresholds: tuple[Threshold, ...] = ()


class Curves:
    """Every epoch of every trial, as costs: less is better.

    The columns are the objectives, the other metrics that have a threshold, and the solver gap last. On the scale of a
    comparison a cost that is always positive stands by its logarithm: a factor counts alike wherever a trial is.
    """

    def __init__(self, aims: Aims) -> None:
        objectives = {metric.name: metric.direction for metric in aims.objectives}
        directions = objectives | {each.name: each.direction for each in aims.thresholds}
        self.n_objectives = len(objectives)
        self._names = tuple(directions)
        self._signs = np.array([-1.0 if each is Direction.MAXIMIZE else 1.0 for each in directions.values()])
        bounds = {each.name: each.bound for each in aims.thresholds}
        own = [sign * bounds.get(name, sign * np.inf) for name, sign in zip(self._names, self._signs, strict=True)]
        self._bounds = np.array([*own, aims.max_solver_gap])
        shares = {metric.name for metric in aims.objectives if metric.is_share}
        self._floor = np.array([-1.0 if name in shares and s < 0 else -np.inf for name, s in self._columns()])
        self._is_positive = np.array([name in COSTS or sign > 0 for name, sign in self._columns()])
        self._values = np.full((16, 16, len(self._bounds)), np.nan)
        self._rows: dict[int, int] = {}
        self._n_epochs: dict[int, int] = {}
        self._complete: defaultdict[int, list[int]] = defaultdict(list)  # trials by the length of their training
        self._region: DominatedRegion | None = None
        self._reach = np.empty((0, self.n_objectives))  # the best and the worst of what was predicted

    def _columns(self) -> list[tuple[str, float]]:
        return [*zip(self._names, self._signs, strict=True), ("solver_gap", 1.0)]

    def begin(self, number: int, n_epochs: int, from_epoch: int = 0) -> None:
        """A trial begins, or goes on: what it had measured after an epoch is forgotten."""
        row = self._rows.setdefault(number, len(self._rows))
        self._n_epochs[number] = n_epochs
        wanted = [row + 1, n_epochs]
        if any(more > has for more, has in zip(wanted, self._values.shape, strict=False)):
            rows, epochs = (_GROWTH * w if w > h else h for w, h in zip(wanted, self._values.shape, strict=False))
            grown = np.full((rows, epochs, len(self._bounds)), np.nan)
            grown[: self._values.shape[0], : self._values.shape[1]] = self._values
            self._values = grown
        self._values[row, from_epoch:] = np.nan

    def add(self, number: int, record: EpochRecord) -> None:
        """A trial has completed an epoch."""
        measured: Mapping[str, float] = record.objectives()
        costs = np.array([measured.get(name, np.nan) for name in self._names]) * self._signs
        gap = np.nan if record.solver_gap is None else max(record.solver_gap, _LEAST_GAP)
        values = np.append(costs, gap)
        self._is_positive &= ~(values <= 0.0)
        self._values[self._rows[number], record.epoch - 1] = values

    def complete(self, number: int) -> None:
        """A trial has come to its end."""
        self._complete[self._n_epochs[number]].append(number)
        self._region = None

    def n_epochs(self, number: int) -> int:
        """Of a trial's training."""
        return self._n_epochs[number]

    def completed(self, n_epochs: int, epoch: int, most: int) -> Sequence[int]:
        """The last trials of a length that are complete and have this epoch, the last first."""
        has = (
            n for n in reversed(self._complete[n_epochs]) if np.isfinite(self._values[self._rows[n], epoch - 1]).all()
        )
        return tuple(islice(has, most))

    def reached(self, n_epochs: int, epoch: int) -> Sequence[int]:
        """The trials of a length that have completed this epoch, in the order in which they began."""
        has = np.isfinite(self._values[: len(self._rows), epoch - 1, : self.n_objectives]).all(axis=1)
        return [n for n, row in self._rows.items() if has[row] and self._n_epochs[n] == n_epochs]

    def at(self, numbers: Sequence[int], epoch: int) -> Costs:
        """What trials measured at an epoch: (n, columns), on the scale of a comparison."""
        return self._scaled(self._values[[self._rows[number] for number in numbers], epoch - 1])

    def bounded(self, scaled: Costs) -> Costs:
        """Predictions without what cannot be: a share is at most 1."""
        return np.maximum(scaled, self._floor)

    def excess(self, scaled: Costs) -> NDArray[np.float64]:
        """By how much each point misses the bound on its solver gap: (n,), in logarithms; NaN where it is not known."""
        found: NDArray[np.float64] = scaled[:, -1] - np.log(self._bounds[-1])
        return found

    def widen(self, scaled: Costs) -> None:
        """Let the box reach to a predicted end: a trial beyond all complete ones is worth something, too."""
        reach = np.vstack([self._reach, scaled[:, : self.n_objectives]])
        reach = np.stack([np.nanmin(reach, axis=0), np.nanmax(reach, axis=0)])
        if not np.array_equal(reach, self._reach):
            self._reach, self._region = reach, None

    def is_feasible(self, scaled: Costs) -> NDArray[np.bool_]:
        """Which points keep every bound: (n,)."""
        costs = np.where(self._is_positive, np.exp(np.where(self._is_positive, scaled, 0.0)), scaled)
        return np.asarray((costs <= self._bounds).all(axis=1), dtype=np.bool_)

    @property
    def region(self) -> DominatedRegion:
        """What the complete, feasible trials dominate; see `in_box`."""
        if self._region is None:
            ends = self._ends()
            self._box = _Box.around(np.vstack([ends[:, : self.n_objectives], self._reach]))
            costs = self.in_box(ends[self.is_feasible(ends)])
            self._region = DominatedRegion(costs, np.full(self.n_objectives, 1.0 + MARGIN))
        return self._region

    def in_box(self, scaled: Costs) -> Costs:
        """The objectives of points, from 0 at the best to 1 at the worst of complete trials and of predictions."""
        return (scaled[:, : self.n_objectives] - self._box.low) / self._box.span

    def _ends(self) -> Costs:
        ends = [self.at(numbers, n_epochs) for n_epochs, numbers in self._complete.items()]
        found = np.vstack(ends) if ends else np.empty((0, len(self._bounds)))
        return found[np.isfinite(found[:, : self.n_objectives]).all(axis=1)]

    def _scaled(self, values: Costs) -> Costs:
        return np.where(self._is_positive, np.log(np.where(self._is_positive, values, 1.0)), values)


@dataclass(frozen=True)
class _Box:
    """Where each objective lies, and how far it ranges; 1 where it does not."""

    low: Costs
    span: Costs

    @classmethod
    def around(cls, points: Costs) -> "_Box":
        if not len(points):
            return cls(np.zeros(points.shape[1]), np.ones(points.shape[1]))
        span = np.ptp(points, axis=0)
        return cls(points.min(axis=0), np.where(span > 0.0, span, 1.0))
